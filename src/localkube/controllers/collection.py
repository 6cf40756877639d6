"""Owner-reference garbage collection: background, foreground and orphaning deletion. The rules are kube-controller-manager's.

Guarantees: only an object whose owners are all gone (asked of the server, by UID) or are being deleted in the foreground is deleted, with
its UID as a precondition; an owner that is deleted in the foreground goes when nothing that blocks it is left.
Caveat: a cluster-scoped object with a namespaced owner is left alone, with a Warning event, as in a real cluster.
"""

from dataclasses import dataclass
from enum import Enum

from kubekit.client.client import Client
from kubekit.client.errors import Conflict, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.store import Key
from kubekit.words.meta import OwnerReference, PartialObject
from localkube.controllers import names
from localkube.controllers.census import Census, Kind


class Owner(Enum):
    """What is known of an owner."""

    SOLID = "solid"
    """It exists and stays, or goes without waiting for anybody."""
    WAITING = "waiting"
    """It is being deleted in the foreground."""
    ABSENT = "absent"
    """It does not exist any more."""
    UNKNOWN = "unknown"
    """It cannot be told, so nothing is done."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Disown:
    """Take out the references to these UIDs: other owners stay."""

    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object with this propagation policy."""

    propagation: str


Step = Leave | Disown | Delete


def decide(
    finalizers: tuple[str, ...], owners: tuple[tuple[OwnerReference, Owner], ...], *, has_dependents: bool
) -> Step:
    """Return what is to be done with an object, given what is known of each of its owners. Pure."""
    if not owners or any(state is Owner.UNKNOWN for _, state in owners):
        return Leave()
    gone = frozenset(reference.uid for reference, state in owners if state is not Owner.SOLID)
    if any(state is Owner.SOLID for _, state in owners):
        return Disown(gone) if gone else Leave()
    if has_dependents and any(state is Owner.WAITING for _, state in owners):
        return Delete("Foreground")
    if names.ORPHAN in finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if names.FOREGROUND in finalizers else "Background")


class Collector:
    """Looks at one object of the census at a time."""

    def __init__(self, client: Client, *, clock: Clock, events: EventRecorder) -> None:
        self._client = client
        self._events = events
        self.census = Census(client, clock=clock, look=self.look)
        self.census.add_handler(self._hear)

    def _hear(self, _kind: Kind, old: PartialObject | None, new: PartialObject | None) -> None:
        """When an object goes, look at those that it owned, and at its owners, which may have waited for it."""
        if old is None or (new is not None and new.metadata.uid == old.metadata.uid):
            return
        for dependent_kind, dependent in list(self.census.dependents(old.metadata.uid)):
            self.census.look_at(dependent_kind, dependent.metadata)
        for reference in old.metadata.owner_references or ():
            self._look_at_owner(reference)

    def _look_at_owner(self, reference: OwnerReference) -> None:
        kind = self.census.kind_of(reference)
        owner = self.census.find(kind, reference.uid) if kind is not None else None
        if kind is not None and owner is not None and owner.metadata.terminating:
            self.census.look_at(kind, owner.metadata)

    async def look(self, kind: Kind, key: Key) -> Result:
        """Do what owner references ask for about one object."""
        obj = self.census.get(kind, key)
        if obj is None:
            return DONE
        finalizers = obj.metadata.finalizers or ()
        if obj.metadata.terminating and names.ORPHAN in finalizers:
            await self._orphan_dependents(kind, obj)
        elif obj.metadata.terminating and names.FOREGROUND in finalizers:
            await self._delete_dependents_first(kind, obj)
        if not obj.metadata.terminating:
            await self._collect(kind, obj)
        return DONE

    async def _collect(self, kind: Kind, obj: PartialObject) -> None:
        meta = obj.metadata
        owners = tuple([(r, await self._owner(kind, obj, r)) for r in meta.owner_references or ()])
        has_dependents = next(self.census.dependents(meta.uid), None) is not None
        step = decide(meta.finalizers or (), owners, has_dependents=has_dependents)
        if isinstance(step, Disown):
            await self._disown(kind, obj, step.uids)
        elif isinstance(step, Delete):
            try:
                await self._client.delete(
                    kind, meta.name, namespace=meta.namespace, uid=meta.uid, propagation=step.propagation
                )
            except (NotFound, Conflict):
                return  # gone, or another object by now

    async def _owner(self, kind: Kind, obj: PartialObject, reference: OwnerReference) -> Owner:
        owner_kind = self.census.kind_of(reference)
        if owner_kind is None:
            return Owner.UNKNOWN
        if owner_kind.namespaced and not kind.namespaced:
            self._events.record(
                obj.metadata,
                kind,
                "Warning",
                "OwnerRefInvalidNamespace",
                f"ownerRef [{reference.api_version}/{reference.kind}, name: {reference.name}, uid: {reference.uid}] "
                "does not exist in the cluster scope",
                "Collect",
            )
            return Owner.UNKNOWN
        owner = self.census.find(owner_kind, reference.uid)
        if owner is None or (owner_kind.namespaced and owner.metadata.namespace != obj.metadata.namespace):
            owner = await self._fetch(owner_kind, obj, reference)
        if owner is None:
            return Owner.ABSENT
        waits = owner.metadata.terminating and names.FOREGROUND in (owner.metadata.finalizers or ())
        return Owner.WAITING if waits else Owner.SOLID

    async def _fetch(self, kind: Kind, obj: PartialObject, reference: OwnerReference) -> PartialObject | None:
        """Ask the server before an owner is declared absent."""
        namespace = obj.metadata.namespace if kind.namespaced else None
        try:
            owner = await self._client.get(kind, reference.name, namespace=namespace)
        except NotFound:
            return None
        return owner if owner.metadata.uid == reference.uid else None

    async def _delete_dependents_first(self, kind: Kind, owner: PartialObject) -> None:
        blocking = False
        for dependent_kind, dependent in list(self.census.dependents(owner.metadata.uid)):
            reference = next(r for r in dependent.metadata.owner_references or () if r.uid == owner.metadata.uid)
            blocking = blocking or bool(reference.block_owner_deletion)
            if not dependent.metadata.terminating:
                self.census.look_at(dependent_kind, dependent.metadata)
        if not blocking:
            await self._drop_finalizer(kind, owner, names.FOREGROUND)

    async def _orphan_dependents(self, kind: Kind, owner: PartialObject) -> None:
        uid = owner.metadata.uid
        for dependent_kind, dependent in list(self.census.dependents(uid)):
            await self._disown(dependent_kind, dependent, frozenset({uid}))
        await self._drop_finalizer(kind, owner, names.ORPHAN)

    async def _disown(self, kind: Kind, obj: PartialObject, uids: frozenset[str]) -> None:
        meta = obj.metadata
        kept = [
            {
                "apiVersion": r.api_version,
                "kind": r.kind,
                "name": r.name,
                "uid": r.uid,
                "controller": r.controller,
                "blockOwnerDeletion": r.block_owner_deletion,
            }
            for r in meta.owner_references or ()
            if r.uid not in uids
        ]
        references = [{key: value for key, value in reference.items() if value is not None} for reference in kept]
        await self._patch_meta(kind, obj, {"ownerReferences": references or None})

    async def _drop_finalizer(self, kind: Kind, obj: PartialObject, finalizer: str) -> None:
        kept = [each for each in obj.metadata.finalizers or () if each != finalizer]
        await self._patch_meta(kind, obj, {"finalizers": kept or None})

    async def _patch_meta(self, kind: Kind, obj: PartialObject, change: dict[str, object]) -> None:
        meta = obj.metadata
        patch = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, **change}}
        try:
            await self._client.patch(
                kind, meta.name, patch, namespace=meta.namespace, field_manager=names.FIELD_MANAGER
            )
        except NotFound:
            return
