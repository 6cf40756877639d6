"""The kind of claims that are filled from a ReplicationDestination: what the reconciler of any kind needs of it."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime

from datamover.api.volsync.names import (
    CREATED_BY_VALUE,
    POPULATING_LABEL_PREFIX,
    PRIME_PREFIX,
    PopulatorReason,
    prime_name,
)
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.steps import Emit, Plan, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.population.decide import ACTION, decide
from datamover.reconcilers.population.facts import Facts
from datamover.reconcilers.population.gather import (
    destination_of,
    find_destination,
    find_image_name,
    gather,
    is_ours,
)
from datamover.volumes.binding import is_bound, is_lost
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
)
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot

_OPEN = "open"
"""Index of the claims that are not filled yet, by namespace: whom a class or a snapshot may concern."""


@dataclass(frozen=True, slots=True)
class _Filled:
    """Who wants an object to be watched: other kinds may have claims of the same key."""

    key: Key


class PopulationKind(Kind[PersistentVolumeClaim, PersistentVolumeClaimStatus, Facts]):
    """Works on the part of the shared claims that name a destination as the source of their data."""

    resource = PERSISTENT_VOLUME_CLAIMS
    created_by = (CREATED_BY_VALUE,)
    name = "populated-claim"
    speaks_by_events = True

    def __init__(self, client: Client, *, view: View) -> None:
        cluster = view.cluster
        self.objects = Part(client, cluster.claims, select=is_ours, indexes={_OPEN: _open_index})
        self._view = view
        self._destinations = cluster.by_name(REPLICATION_DESTINATIONS)
        self._images = cluster.by_name(VOLUME_SNAPSHOTS)

    # Deciding.

    def gather(self, obj: PersistentVolumeClaim, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a claim."""
        return gather(obj, view=self._view, known=known, now=now)

    def decide(self, facts: Facts) -> Plan[PersistentVolumeClaimStatus]:
        """Return what to do next. Never a status: that is Kubernetes'."""
        return decide(facts)

    def broken(
        self, obj: PersistentVolumeClaim, message: str, *, now: datetime
    ) -> tuple[Step[PersistentVolumeClaimStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", PopulatorReason.ERROR, message, ACTION),)

    def is_over(self, obj: PersistentVolumeClaim) -> bool:
        """Tell whether a claim has a volume."""
        return _is_settled(obj)

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake a claim when its destination, its image, its temporary claim, that one's volume, or its class changes."""
        cluster = self._view.cluster
        controller.watch(cluster.claims, self._of_prime)
        controller.watch(cluster.volumes, self._of_volume)
        controller.watch(cluster.classes, self._of_class)
        controller.watch(cluster.snapshots, self._of_snapshot)
        for informers in (self._destinations, self._images):
            informers.add_handler(lambda key, owners=informers.owners: _wake(controller, owners(key)))

    def notice(self, key: Key, obj: PersistentVolumeClaim) -> None:
        """Watch the destination until it is begun, and an image that is not of our making until all is done."""
        namespace, prime = key.namespace, self._view.claim(key.namespace, prime_name(obj.metadata.uid))
        waits = prime is None and not _is_settled(obj) and not obj.metadata.terminating
        destination = destination_of(obj)
        self._destinations.want(_Filled(key), (Key(namespace, destination),) if waits and destination else ())
        image = find_image_name(prime, find_destination(obj, view=self._view)) if waits or prime is not None else None
        foreign = image is not None and self._view.snapshot(namespace, image) is None
        self._images.want(_Filled(key), (Key(namespace, image),) if foreign and image else ())

    def forget(self, key: Key) -> None:
        """End the watches."""
        self._destinations.want(_Filled(key), ())
        self._images.want(_Filled(key), ())

    # Whom a change concerns.

    def _of_prime(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        found = new or old
        return self._of_prime_name(found.metadata.name) if found is not None else ()

    def _of_prime_name(self, name: str) -> Iterable[Key]:
        return self._of_uid(name.removeprefix(PRIME_PREFIX)) if name.startswith(PRIME_PREFIX) else ()

    def _of_uid(self, uid: str) -> Iterable[Key]:
        claim = self._view.populated(uid)
        return (key_of(claim.metadata),) if claim is not None else ()

    def _of_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> Iterable[Key]:
        """A volume names the temporary claim, later the user's."""
        for volume in (old, new):
            reference = volume.spec.claim_ref if volume is not None and volume.spec is not None else None
            if reference is not None:
                yield from self._of_prime_name(reference.name or "")
                yield from self._of_uid(reference.uid or "")

    def _of_class(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        del old, new
        return tuple(key_of(claim.metadata) for claim in self.objects.store.list() if not _is_settled(claim))

    def _of_snapshot(self, old: VolumeSnapshot | None, new: VolumeSnapshot | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return
        for label in found.metadata.labels or ():
            if label.startswith(POPULATING_LABEL_PREFIX):
                yield from self._of_uid(label.removeprefix(POPULATING_LABEL_PREFIX))
        for claim in self.objects.store.by_index(_OPEN, found.metadata.namespace or ""):
            yield key_of(claim.metadata)


def _wake(controller: Controller, owners: Iterable[Hashable]) -> None:
    for owner in owners:
        if isinstance(owner, _Filled):
            controller.queue.add(owner.key)


def _is_settled(claim: PersistentVolumeClaim) -> bool:
    return is_bound(claim) or is_lost(claim)


def _open_index(claim: PersistentVolumeClaim) -> Iterable[str]:
    if not _is_settled(claim):
        yield claim.metadata.namespace or ""
