"""The laws of the collection of DataVolumes: what an operator may write, and what must never come of it, whoever else is at work.

A claim is a disk. Its UID, its volume and its existence never change because of an operator; a DataVolume that an operator has deleted never
vanishes while its claim names it as owner.
"""

from collections import Counter
from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from kubekit.client.transport import Request
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from support.simulation.calls import Call, Tree, read_call
from support.simulation.trees import finalizers_of, is_going, look, name_of, owners_of, space_of, uid_of
from support.simulation.writes import CLAIMS, Writes

VOLUMES = DATA_VOLUMES.group_resource
ELSEWHERE = {
    ("create", "selfsubjectaccessreviews.authorization.k8s.io"),
    ("create", "configmaps"),
    ("create", "leases.coordination.k8s.io"),
    ("update", "leases.coordination.k8s.io"),
    ("create", "events"),
    ("patch", "events"),
    ("create", "events.events.k8s.io"),
    ("patch", "events.events.k8s.io"),
}
"""What an operator writes besides DataVolumes and claims."""
ON_CLAIM = {
    names.CREATED_FOR,
    names.POPULATED_FOR,
    names.GARBAGE_COLLECTED,
    names.DELETE_AFTER_COMPLETION,
    names.RECORD,
}
ON_VOLUME = {names.COLLECTION, names.HANDING_OVER, names.DELETE_AFTER_COMPLETION, names.STAMPED}


class CollectionLedger(Writes):
    """See the module's docstring. `observe` is called after each change of anybody."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.kinds: list[Resource[Any]] = [DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS]
        """Kinds of which it notes who has deleted what."""
        self.deleted: dict[str, str] = {}
        """Who has deleted what, by UID."""
        self.collected: set[str] = set()
        """UIDs of DataVolumes that an operator has deleted and that are gone."""
        self.lost: list[str] = []
        """UIDs of claims that went because of an operator."""
        self.spent: Counter[str] = Counter()
        """Requests to write for each DataVolume, by UID, those that were refused as well."""
        self._there: dict[str, tuple[Resource[Any], Tree]] = {}

    def owns(self, uid: str) -> bool:
        return False

    def makes_claims(self, call: Call) -> bool:
        return False

    def deletes(self, call: Call, target: Tree) -> None:
        """Judged in `_check_delete`."""

    # --- what an operator writes ----------------------------------------------------------------------

    def before(self, request: Request) -> None:
        super().before(request)
        call = self._call(request)
        if call is None:
            return
        if call.resource == VOLUMES:
            if call.subresource or call.verb not in ("patch", "delete"):
                self._break("hands off", f"{call}: nothing of a DataVolume is written but its metadata")
            elif call.verb == "patch":
                self._check_volume_patch(call)
        elif call.resource != CLAIMS and (call.verb, call.resource) not in ELSEWHERE:
            self._break("hands off", f"{call} has no business here")
        self._count(call)

    def _call(self, request: Request) -> Call | None:
        call = read_call(request)
        return call if call.agent.startswith(self._agent) and call.writes else None

    def _count(self, call: Call) -> None:
        if call.resource in (VOLUMES, CLAIMS):
            found = self._objects.find(VOLUMES, call.name, call.namespace)
            if found is not None:
                self.spent[uid_of(found)] += 1
        elif call.resource.startswith("events"):
            about = call.body.get("regarding") or call.body.get("involvedObject") or {}
            self.spent[about.get("uid", "")] += 1

    def _check_volume_patch(self, call: Call) -> None:
        metadata = dict(call.body.get("metadata") or {})
        live = self._objects.find(VOLUMES, call.name, call.namespace)
        guarded = bool(metadata.pop("uid", None)) and bool(metadata.get("resourceVersion"))
        version = metadata.pop("resourceVersion", None)
        touched, changed = "finalizers" in metadata, set(metadata.pop("annotations", None) or {})
        finalizers = metadata.pop("finalizers", None) or []
        if metadata or set(call.body) != {"metadata"} or not changed <= ON_VOLUME or not guarded:
            self._break("hands off", f"{call} changes more of a DataVolume than may be, or unguarded: {call.body}")
        if not touched or live is None or live["metadata"]["resourceVersion"] != version:
            return
        if (set(finalizers) ^ set(finalizers_of(live))) - {names.FINALIZER}:
            self._break("hands off", f"{call} changes finalizers of others: {finalizers_of(live)} to {finalizers}")

    def _check_annotations(self, call: Call) -> None:
        """Of a claim: owners and the annotations of the contract, under its version."""
        metadata = dict(call.body.get("metadata") or {})
        guarded = bool(metadata.pop("uid", None)) and bool(metadata.get("resourceVersion"))
        version = metadata.pop("resourceVersion", None)
        touched, changed = "ownerReferences" in metadata, set(metadata.pop("annotations", None) or {})
        owners = metadata.pop("ownerReferences", None) or []
        if metadata or set(call.body) != {"metadata"} or not changed <= ON_CLAIM or not guarded:
            self._break("claim", f"{call} changes more of a claim than may be, or unguarded: {call.body}")
        live = self._objects.find(CLAIMS, call.name, call.namespace)
        if not touched or live is None or live["metadata"]["resourceVersion"] != version:
            return
        volume = self._objects.find(VOLUMES, call.name, call.namespace)
        its = {uid_of(volume), *owners_of(volume)} if volume is not None else set[str]()
        before, after = owners_of(live), [each["uid"] for each in owners]
        if len(after) != len(set(after)):
            self._break("owners", f"{call} names an owner twice: {after}")
        dropped, added = set(before) - set(after), set(after) - set(before)
        gone = {each for each in dropped if each in self.deleted or each in its}
        if dropped - gone or added - its:
            self._break(
                "owners", f"{call} drops the owners {dropped - gone}, adds {added - its} that have no part in it"
            )

    def _check_delete(self, call: Call) -> None:
        if call.resource != VOLUMES:
            self._break("L2", f"{call} deletes what is no DataVolume")
            return
        uid, version = look(call.body, "preconditions", "uid"), look(call.body, "preconditions", "resourceVersion")
        if not uid or not version:
            self._break("L2", f"{call} has no precondition of UID and version: {call.body}")
        if call.body.get("propagationPolicy") != "Background":
            self._break("L5", f"{call} is not in the background")
        live = self._objects.find(VOLUMES, call.name, call.namespace)
        if live is None or uid not in (None, uid_of(live)):
            return
        if version not in (None, live["metadata"]["resourceVersion"]):
            return
        if not is_asked(live) or look(live, "status", "phase") != names.Phase.SUCCEEDED:
            self._break("asked", f"{call} hits a DataVolume that is not done, or of which nobody has asked it")
        if not is_going(live):
            self.deleted.setdefault(uid_of(live), self._agent)

    def written(self, call: Call, answer: Tree) -> None:
        """Nothing is to be said once more of what was judged before it took effect."""

    # --- what comes of it -----------------------------------------------------------------------------

    def observe(self, who: str) -> None:
        """Something has changed, and `who` has done it."""
        who = self._agent if who.startswith(self._agent) else who
        there = {uid_of(each): (kind, each) for kind in self.kinds for each in self._objects.all(kind)}
        before, self._there = self._there, there
        for uid, (kind, old) in before.items():
            now = there.get(uid)
            if now is not None and now[1] is old:
                continue
            if (now is None or is_going(now[1])) and not is_going(old):
                self.deleted.setdefault(uid, who)
                if kind is PERSISTENT_VOLUME_CLAIMS:
                    self._see_claim_go(old)
            if kind is DATA_VOLUMES and now is None:
                self._see_volume_go(uid, old)
            if kind is PERSISTENT_VOLUME_CLAIMS and now is not None and who == self._agent:
                self._see_claim_change(old, now[1])

    def _see_claim_go(self, claim: Tree) -> None:
        """A claim goes because a person wants it, or all its owners went because persons wanted that."""
        uid, who = uid_of(claim), self.deleted[uid_of(claim)]
        if who == "user":
            return
        causes = {owner: self.deleted.get(owner, "nobody") for owner in owners_of(claim)}
        if who == self._agent or not causes or set(causes.values()) & {self._agent, "nobody"}:
            self.lost.append(uid)
            self._break("disk", f"claim {name_of(claim)} goes, with its data: by {who}, its owners went by {causes}")

    def _see_volume_go(self, uid: str, volume: Tree) -> None:
        if self.deleted.get(uid) != self._agent:
            return
        self.collected.add(uid)
        claim = self._objects.find(PERSISTENT_VOLUME_CLAIMS, name_of(volume), space_of(volume))
        if claim is not None and uid in owners_of(claim):
            self._break("handover", f"DataVolume {name_of(volume)} {uid[:8]} vanishes, and its claim names it as owner")

    def _see_claim_change(self, old: Tree, new: Tree) -> None:
        for part in ("spec", "status"):
            if old.get(part) != new.get(part):
                self._break("claim", f"the {part} of claim {name_of(new)} was changed by an operator")
        for field in ("labels", "finalizers"):
            if old["metadata"].get(field) != new["metadata"].get(field):
                self._break("claim", f"the {field} of claim {name_of(new)} were changed by an operator")


def is_asked(volume: Tree) -> bool:
    """Tell whether a DataVolume's collection is asked for."""
    said = [(volume["metadata"].get("annotations") or {}).get(key) for key in names.ASKING_KEYS]
    return "true" in said and "false" not in said
