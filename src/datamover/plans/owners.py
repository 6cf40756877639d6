"""Asking the server of owners: is there one with this UID, and may we keep it from going first.

An owner reference names a kind by words, and an object by a name that somebody else may have by now. Only the UID tells. What is asked of a kind
(its resource, and our right) is remembered for a while, so that a thousand children of one kind cost one question.

Guarantees: an owner that could not be seen for any reason counts neither as alive nor as gone; why is told. Words from references are checked
before they become part of a path (law L11).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from datamover.plans.known import OwnerFound, OwnersFound
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, KubeError, NotFound
from kubekit.runtime.clock import Clock
from kubekit.words.meta import Model, OwnerReference, PartialObject, Resource

REMEMBERED: Final = 300.0
"""Seconds for which what was said of a kind is believed. A right that is given meanwhile is made use of then."""
_MOST_KINDS: Final = 256
_WORD: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class _Kind(Model, frozen=True):
    name: str = ""
    kind: str = ""
    namespaced: bool = True


class _Kinds(Model, frozen=True):
    resources: tuple[_Kind, ...] | None = None


class _AccessStatus(Model, frozen=True):
    allowed: bool | None = None


class _AccessReview(Model, frozen=True):
    status: _AccessStatus | None = None


_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", _AccessReview, namespaced=False
)


class _Question(NamedTuple):
    about: str
    api_version: str
    kind: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any
    problem: str
    at: float


class Owners:
    """Looks owners up."""

    def __init__(self, client: Client, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._answers: dict[_Question, _Answer] = {}

    async def find(self, owners: Iterable[OwnerReference], *, namespace: str) -> OwnersFound:
        """Return what there is to know of the owners of an object in a namespace."""
        return OwnersFound({owner.uid: await self._find(owner, namespace) for owner in owners})

    async def _find(self, owner: OwnerReference, namespace: str) -> OwnerFound:
        resource, problem = await self._resource_of(owner)
        if resource is None:
            return OwnerFound(None, problem=problem)
        if _WORD.fullmatch(owner.name) is None:
            return OwnerFound(None, problem="its name cannot be asked for")
        where = namespace if resource.namespaced else None
        try:
            found = await self._client.get(resource, owner.name, namespace=where)
        except NotFound:
            return OwnerFound(False)
        except Forbidden:
            return OwnerFound(None, problem=f"the operator may not get {resource.group_resource}")
        except KubeError as error:
            return OwnerFound(None, problem=str(error) or type(error).__name__)
        if found.metadata.uid != owner.uid:
            return OwnerFound(False)
        if found.metadata.terminating:
            # It may go and leave its children behind: what becomes its child now is not one of those.
            return OwnerFound(False, problem="being deleted")
        if not owner.block_owner_deletion:
            return OwnerFound(True)
        allowed, problem = await self._may_block(owner, resource, where)
        return OwnerFound(True, may_block=allowed, problem=problem)

    async def _resource_of(self, owner: OwnerReference) -> tuple[Resource[PartialObject] | None, str]:
        """Return the resource of an owner's kind, else why it is not known."""
        group, _, version = owner.api_version.rpartition("/")
        if _WORD.fullmatch(version) is None or (group and _WORD.fullmatch(group) is None):
            return None, "its kind cannot be asked for"
        question = _Question("kind", owner.api_version, owner.kind, "")
        known = self._recall(question)
        if known is not None:
            return known.value, known.problem
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            said = msgspec.convert(await self._client.request_json("GET", path), _Kinds, strict=False)
        except NotFound:
            return None, f"the cluster has no {owner.api_version}"
        except (KubeError, msgspec.ValidationError) as error:
            return None, str(error) or type(error).__name__
        kinds = (each for each in said.resources or () if each.kind == owner.kind and "/" not in each.name)
        found = next((each for each in kinds if _WORD.fullmatch(each.name) is not None), None)
        if found is None:
            return None, f"the cluster has no kind {owner.kind} in {owner.api_version}"
        resource = Resource(group, version, found.name, owner.kind, PartialObject, namespaced=found.namespaced)
        self._remember(question, resource)
        return resource, ""

    async def _may_block(
        self, owner: OwnerReference, resource: Resource[Any], namespace: str | None
    ) -> tuple[bool, str]:
        """Return whether we may update the finalizers of a kind: some clusters ask that of whoever blocks an owner's deletion."""
        question = _Question("right", owner.api_version, owner.kind, namespace or "")
        known = self._recall(question)
        if known is not None:
            return known.value, known.problem
        asked = {
            "verb": "update",
            "group": resource.group,
            "resource": resource.plural,
            "subresource": "finalizers",
            **({"namespace": namespace} if namespace else {}),
        }
        review = {
            "apiVersion": _REVIEWS.api_version,
            "kind": _REVIEWS.kind,
            "spec": {"resourceAttributes": asked},
        }
        try:
            said = await self._client.create(_REVIEWS, review)
        except KubeError as error:
            return False, f"the API server does not say what the operator may do: {error or type(error).__name__}"
        allowed = bool(said.status is not None and said.status.allowed)
        self._remember(question, allowed)
        return allowed, ""

    def _recall(self, question: _Question) -> _Answer | None:
        found = self._answers.get(question)
        return found if found is not None and self._clock.monotonic() - found.at < REMEMBERED else None

    def _remember(self, question: _Question, value: Any) -> None:
        self._answers.pop(question, None)
        while len(self._answers) >= _MOST_KINDS:
            self._answers.pop(next(iter(self._answers)))
        self._answers[question] = _Answer(value, "", self._clock.monotonic())
