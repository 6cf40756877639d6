"""From the caches to one frozen Facts. Reads nothing but caches."""

from datetime import datetime
from typing import Protocol, TypeVar

from datamover.api.volsync.names import GROUP, prime_name
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS, ReplicationDestination
from datamover.plans.known import Known
from datamover.reconcilers.population.facts import Facts
from datamover.runs.facts import Unread
from datamover.volumes.population import filled_from, image_of, names_kind
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot
from kubekit.words.storage import StorageClass

T = TypeVar("T", bound=HasMeta)


class View(Protocol):
    """The caches, read by name."""

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim."""
        ...

    def volume(self, name: str) -> PersistentVolume | Unread:
        """A PersistentVolume."""
        ...

    def storage_class(self, name: str) -> StorageClass | None:
        """A StorageClass."""
        ...

    def snapshot(self, namespace: str, name: str) -> VolumeSnapshot | None:
        """A VolumeSnapshot of ours."""
        ...

    def named(self, resource: Resource[T], namespace: str, name: str) -> T | Unread:
        """An object that somebody wants to know by its name."""
        ...


def is_ours(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim is to be filled from a ReplicationDestination."""
    return names_kind(claim, group=GROUP, kind=REPLICATION_DESTINATIONS.kind)


def destination_of(claim: PersistentVolumeClaim) -> str:
    """Return the name of the destination that a claim is filled from; empty when it is none in its namespace."""
    return filled_from(claim)


def gather(claim: PersistentVolumeClaim, *, view: View, known: Known, now: datetime) -> Facts:
    """Return what there is to know about a claim that is to be filled."""
    namespace, spec = claim.metadata.namespace or "", claim.spec
    prime = view.claim(namespace, prime_name(claim.metadata.uid))
    destination = find_destination(claim, view=view)
    name = find_image_name(prime, destination)
    volume = prime.spec.volume_name if prime is not None and prime.spec is not None else None
    of_class = spec.storage_class_name if spec is not None else None
    return Facts(
        now,
        claim,
        destination=destination,
        image=_find_image(namespace, name, view=view),
        prime=prime,
        volume=view.volume(volume) if volume else None,
        storage_class=view.storage_class(of_class) if of_class else None,
        known=known,
    )


def find_destination(claim: PersistentVolumeClaim, *, view: View) -> ReplicationDestination | Unread:
    """Return the destination that a claim is filled from."""
    name = destination_of(claim)
    return view.named(REPLICATION_DESTINATIONS, claim.metadata.namespace or "", name) if name else Unread.MISSING


def find_image_name(prime: PersistentVolumeClaim | None, destination: ReplicationDestination | Unread) -> str | None:
    """Return the snapshot that filling was begun with, else the one that it would begin with."""
    if prime is not None:
        return image_of(prime)
    if isinstance(destination, Unread) or destination.status is None or destination.status.latest_image is None:
        return None
    return destination.status.latest_image.name or None


def _find_image(namespace: str, name: str | None, *, view: View) -> VolumeSnapshot | Unread:
    if name is None:
        return Unread.NOT_SYNCED
    return view.snapshot(namespace, name) or view.named(VOLUME_SNAPSHOTS, namespace, name)
