"""Meeting a stale cache: how what the caches show is proved where a decision builds upon it.

A cache lags. Its watch is slow, the API server behind it is behind itself, or it was filled a moment too early. Then a child that is there
seems gone, a Pod that runs is not counted, an object that another replica has moved on looks as before. The page "Stale caches" of
docs/architecture.md tells where each of these is met.

Guarantees:
- A status is written under the version that the decision was made on; where that is old, the server refuses and nothing after it is done.
  `ProveStatus` asks for the same before an effect that no status goes before.
- Nothing that only seems gone is made a second time or called removed: `ProveGone` asks the server for it by name, `ProvePods` counts the
  Pods there, `ProveListed` what else has a label. What this process has seen come and go (`Seen`) needs no proof, so that an undisturbed run reads nothing.
- What an answer shows goes into the caches, and the decision is made anew (`Conflict`): proof never acts upon what it finds.
- A name that is taken is looked at: a child of ours counts as created, anybody else's is never touched.
Caveats: without the right to read, an absence is believed.
"""

from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from datamover.api import reasons
from datamover.api.names import OWNER_UID_LABEL
from datamover.api.ownership import select_children
from datamover.plans.kind import HasStatus, Kind
from datamover.plans.known import Refusal
from datamover.plans.refusals import LONGEST_WAIT, Attempts, describe
from datamover.plans.steps import Create, ProveGone, ProveListed, ProvePods, ProveSame
from kubekit.client.client import Client
from kubekit.client.errors import Conflict, Forbidden, KubeError, NotFound
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, PersistentVolume
from kubekit.words.meta import HasMeta, Manifest, ObjectMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

T = TypeVar("T", bound=HasStatus)


class Caches(Protocol):
    """What is needed of the caches that all kinds share."""

    def observe(self, resource: Resource[Any], obj: Any) -> bool:
        """Take in what an answer of the server shows; tell whether it was news. What the watch would not show is left out."""
        ...

    def shows(self, resource: Resource[Any], obj: HasMeta) -> bool:
        """Tell whether the watch of this kind shows such an object."""
        ...


class RefusedError(KubeError):
    """The API server refused a step; `refusal` says why, in words for the status."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Proof(Generic[T]):
    """Asks the server. Every method raises Conflict when the caches were wrong; they know better then."""

    def __init__(self, client: Client, *, caches: Caches, kind: Kind[T, Any, Any]) -> None:
        self._client = client
        self._caches = caches
        self._kind = kind

    async def prove_gone(self, owner: ObjectMeta, step: ProveGone, attempts: Attempts) -> None:
        """Return when the server has no such child of an owner, or may not be asked. Raises RefusedError when that has to be certain."""
        namespace = (step.namespace or owner.namespace) if step.resource.namespaced else None
        try:
            found: HasMeta = await self._client.get(step.resource, step.name, namespace=namespace)
        except NotFound:
            return
        except Forbidden as error:
            if step.certain:
                raise RefusedError(describe(step.resource, "get", step.name, namespace, error, attempts)) from error
            return
        if step.namespace is not None:
            ours = step.uid in (None, found.metadata.uid)
        elif isinstance(found, PersistentVolume):
            # A volume has no owner. It is the copy's as long as it is bound to it.
            ours = _is_bound_to(found, owner.namespace, step.claim)
        else:
            ours = found.metadata.owned_by(owner.uid) and self._caches.shows(step.resource, found)
        if ours:
            if self._caches.shows(step.resource, found):
                self._caches.observe(step.resource, found)
            raise Conflict(f"{step.resource.kind} {step.name} is still there")

    async def prove_same(self, step: ProveSame) -> None:
        """Return when the server has this very version of an object."""
        target = step.target
        found: HasMeta = await self._client.get(step.resource, target.name, namespace=target.namespace)
        if (found.metadata.uid, found.metadata.resource_version) != (target.uid, target.resource_version):
            if self._caches.shows(
                step.resource, found
            ):  # what a watch of ours does not show would never leave its cache again
                self._caches.observe(step.resource, found)
            raise Conflict(f"{step.resource.kind} {target.name} is not as it was seen")

    async def look_again(self, resource: Resource[Any], target: ObjectMeta) -> None:
        """Take in what an object is now that was changed since the caches showed it. Their watch may be late for long, and would ask again."""
        try:
            found: HasMeta = await self._client.get(resource, target.name, namespace=target.namespace)
        except KubeError:
            return  # the watch will say what has become of it
        self._caches.observe(resource, found)

    async def prove_pods(self, owner: ObjectMeta, step: ProvePods, attempts: Attempts) -> None:
        """Return when the server's Pods of an owner are those of the cache. Raises RefusedError when they may not be listed."""
        selector = f"{select_children(self._kind.created_by)},{OWNER_UID_LABEL}={step.owner or owner.uid}"
        await self.prove_listed(ProveListed(PODS, owner.namespace or "", selector), attempts)

    async def prove_listed(self, step: ProveListed, attempts: Attempts) -> None:
        """Return when the server has no object with these labels that the cache does not know so. Raises RefusedError when they may not be listed."""
        try:
            listed = await self._client.list(step.resource, namespace=step.namespace, label_selector=step.labels)
        except Forbidden as error:
            raise RefusedError(describe(step.resource, "list", None, step.namespace, error, attempts)) from error
        news = [each.metadata.name for each in listed if self._caches.observe(step.resource, each)]
        if news:
            raise Conflict(f"{step.resource.kind} {', '.join(news[:3])} was not known so")

    async def identify(self, owner: ObjectMeta, step: Create, attempts: Attempts) -> HasMeta:
        """Return the child that holds the name of one that was to be created, if it is ours. Raises RefusedError.

        Caches of Jobs and snapshots hold what carries our label; anything else would never leave them again.
        """
        metadata: Manifest = step.manifest["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace")
        try:
            found: HasMeta = await self._client.get(step.resource, name, namespace=namespace)
        except Forbidden as error:
            refusal = describe(step.resource, "get", name, namespace, error, attempts)
            raise RefusedError(replace(refusal, verb="create")) from error
        shown = self._caches.shows(step.resource, found)
        # Whose it is to be says the manifest: what fills a claim belongs to the claim.
        ours = {owner.uid, *(reference["uid"] for reference in metadata.get("ownerReferences", ()))}
        if shown and any(found.metadata.owned_by(uid) for uid in ours):
            return found
        # A copy can take another name, which the next decision does. What else there is has a name that follows from the owner's.
        if shown and step.resource in (PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS):
            self._caches.observe(step.resource, found)
            raise Conflict(f"{step.resource.kind} {found.metadata.name} is somebody else's")
        kind = self._kind.resource.kind
        message = f"{step.resource.kind} {name} exists and is not this {kind}'s: delete or rename it"
        raise RefusedError(
            Refusal(reasons.NAME_TAKEN, message, retry_after=LONGEST_WAIT, target=(step.resource.kind, name))
        )

    async def find_written(self, obj: T, status: Any, conflict: Conflict) -> T:
        """Return the object after a write that met a conflict, when that was our own write whose answer was lost. Raises the conflict."""
        meta = obj.metadata
        try:
            written = await self._client.get(self._kind.resource, meta.name, namespace=meta.namespace)
        except Forbidden:
            raise conflict from None  # the watch will say what has become of it
        same = self._kind.says_same
        # A status that was to stay as it is looks the same whoever was faster, and whatever he has changed beside it.
        if written.metadata.uid == meta.uid and same(written.status, status) and not same(obj.status, status):
            return written
        self._kind.objects.store.observe(written)  # somebody was faster: we know better now
        raise conflict


def _is_bound_to(volume: PersistentVolume, namespace: str | None, claim: str | None) -> bool:
    bound = volume.spec and volume.spec.claim_ref
    return bound is not None and claim is not None and (bound.namespace, bound.name) == (namespace, claim)
