"""From the caches to one frozen Facts. Reads nothing but caches."""

from datetime import datetime
from typing import Protocol, TypeVar

from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume
from datamover.plans.known import Known
from datamover.reconcilers.data_source.facts import Facts
from datamover.reconcilers.data_source.resolve import Unresolved, resolve
from datamover.runs.facts import Unread
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

T = TypeVar("T", bound=HasMeta)


class View(Protocol):
    """The caches that all kinds share, read by name."""

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim."""
        ...

    def named(self, resource: Resource[T], namespace: str, name: str) -> T | Unread:
        """An object that somebody wants to know by its name."""
        ...


class Disks(Protocol):
    """The caches of DataVolumes and DataSources."""

    def volume(self, namespace: str, name: str) -> DataVolume | None:
        """A DataVolume."""
        ...

    def source(self, namespace: str, name: str) -> DataSource | None:
        """A DataSource."""
        ...


def gather(found: DataSource, *, view: View, disks: Disks, known: Known, now: datetime) -> Facts:
    """Return what there is to know about a DataSource."""
    resolved = resolve(found, look_up=disks.source)
    if isinstance(resolved, Unresolved):
        return Facts(now, found, resolved, known=known)
    namespace, name = resolved.namespace, resolved.name
    if resolved.is_snapshot:
        return Facts(now, found, resolved, snapshot=view.named(VOLUME_SNAPSHOTS, namespace, name), known=known)
    return Facts(now, found, resolved, disks.volume(namespace, name), view.claim(namespace, name), known=known)
