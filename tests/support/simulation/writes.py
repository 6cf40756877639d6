"""Every write of an operator, as the server sees it: counted, and held to what no kind may do.

The server's hooks call `before` and `after` around each effect, without anything happening in between.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter

from datamover.api import copy_trigger, names
from kubekit.client.transport import Request, Response
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.simulation.calls import Call, Tree, read_call
from support.simulation.destination import Destination
from support.simulation.history import History
from support.simulation.objects import Objects
from support.simulation.trees import label_of, look, name_of, owners_of, uid_of

CLAIMS = PERSISTENT_VOLUME_CLAIMS.group_resource


class Writes(ABC):
    """See the module's docstring. `agent` begins the user agent of every operator; `canary` is a secret that must show nowhere."""

    created_by = names.CREATED_BY_VALUE
    """The value of the label without which nothing may be deleted (L2)."""

    def __init__(
        self, objects: Objects, *, agent: str, canary: str, destination: Destination, history: History
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.writes = 0
        self.events: set[tuple[str, str]] = set()
        """(UID, reason) of each event that was stored."""
        self._objects = objects
        self._agent = agent
        self._canary = canary.encode()
        self._destination = destination
        self._history = history

    @abstractmethod
    def owns(self, uid: str) -> bool:
        """Tell whether a UID is that of an object whose children they may be."""

    @abstractmethod
    def makes_claims(self, call: Call) -> bool:
        """Tell whether a claim has a name of our own."""

    @abstractmethod
    def written(self, call: Call, answer: Tree) -> None:
        """An operator's write has taken effect."""

    @abstractmethod
    def deletes(self, call: Call, target: Tree) -> None:
        """An operator is about to delete what there is, and what is its own."""

    def before(self, request: Request) -> None:
        """A request is about to take effect."""
        call = read_call(request)
        if not call.agent.startswith(self._agent):
            return
        if self._canary in request.body or self._canary.decode() in repr(request.query):
            self._break("L8", f"a secret is in the request {call}")
        if not call.writes:
            return
        if call.resource == CLAIMS and call.verb == "patch":
            self._check_annotations(call)
        elif call.resource == CLAIMS and (call.verb not in {"create", "delete"} or not self.makes_claims(call)):
            self._break("L1", f"{call} touches a claim that is no clone")
        if call.verb == "delete":
            self._check_delete(call)
        elif call.verb == "deletecollection":
            self._break("L2", f"{call} deletes without looking")

    def after(self, request: Request, response: Response) -> None:
        """A request has taken effect, or was refused."""
        call = read_call(request)
        if not call.agent.startswith(self._agent):
            return
        self.counts[call.verb, call.resource + (f"/{call.subresource}" if call.subresource else "")] += 1
        if not call.writes:
            return
        self.writes += 1
        if response.status >= 400:
            return
        answer: Tree = json.loads(response.body)
        if call.resource.startswith("events"):
            about = answer.get("regarding") or answer.get("involvedObject") or {}
            self.events.add((about.get("uid", ""), answer.get("reason", "")))
        self.written(call, answer)

    def _check_annotations(self, call: Call) -> None:
        """L1: of a source that asks for it, or has asked, three annotations may change, under its version."""
        metadata = dict(call.body.get("metadata") or {})
        changed = set(metadata.pop("annotations", {}))
        guarded = bool(metadata.pop("uid", None)) and bool(metadata.pop("resourceVersion", None))
        if metadata or set(call.body) != {"metadata"} or not changed <= copy_trigger.OURS or not guarded:
            self._break("L1", f"{call} changes more of a source than may be, or unguarded: {call.body}")

    def _check_delete(self, call: Call) -> None:
        uid = look(call.body, "preconditions", "uid")
        if not uid:
            self._break("L2", f"{call} has no uid precondition")
        if call.body.get("propagationPolicy") != "Background":
            self._break("L5", f"{call} would leave dependents behind")
        target = self._objects.find(call.resource, call.name, call.namespace)
        if target is None or (uid and uid_of(target) != uid):
            return
        if not any(self.owns(owner) for owner in owners_of(target)):
            self._break("L2", f"{call} hits an object that no object of ours owns")
        if label_of(target, names.CREATED_BY_LABEL) != self.created_by:
            self._break("L2", f"{call} hits an object without our label")
        self.deletes(call, target)

    @staticmethod
    def _name(call: Call) -> str:
        return call.name or name_of(call.body)

    def _break(self, law: str, what: str) -> None:
        self._history.breaks(law, what)


def condition_of(status: Tree, kind: str) -> Tree:
    """Return a condition, empty when it is not there."""
    return next((found for found in status.get("conditions") or () if found["type"] == kind), {})
