"""From the caches to one frozen Facts. Reads nothing but caches."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from datamover.api.cdi.data_import_cron import DataImportCron
from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.names import Phase
from datamover.plans.known import Known
from datamover.reconcilers.import_cron.asking import Wanted, find_wanted, label_of
from datamover.reconcilers.import_cron.facts import PLAIN, Facts, Import, Reader, Worker
from datamover.reconcilers.import_cron.polling import poll_name
from datamover.reconcilers.import_cron.status import current_of
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import HasMeta
from kubekit.words.timestamps import moment_of


class View(Protocol):
    """The caches that all kinds share, read by name."""

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim."""
        ...

    def imported(self, namespace: str, label: str) -> tuple[PersistentVolumeClaim, ...]:
        """The claims with the label of a DataImportCron."""
        ...

    def job(self, namespace: str, name: str) -> Job | None:
        """A Job of ours."""
        ...

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        """The Pods that an owner controls."""
        ...

    def clones(self, namespace: str) -> Iterable[tuple[str, PersistentVolumeClaim]]:
        """The claims of a namespace that a driver makes from another one and that have no volume yet, each with the name of that other one."""
        ...


class Disks(Protocol):
    """The caches of DataVolumes and DataSources."""

    def volume(self, namespace: str, name: str) -> DataVolume | None:
        """A DataVolume."""
        ...

    def source(self, namespace: str, name: str) -> DataSource | None:
        """A DataSource."""
        ...

    def imports(self, namespace: str, label: str) -> tuple[DataVolume, ...]:
        """The DataVolumes with the label of a DataImportCron."""
        ...

    def readers(self, kind: str, namespace: str, name: str) -> tuple[DataVolume, ...]:
        """The DataVolumes whose source is this object."""
        ...

    def referrers(self, kind: str, namespace: str, name: str) -> tuple[DataSource, ...]:
        """The DataSources that stand for this object."""
        ...


def gather(
    cron: DataImportCron,
    *,
    view: View,
    disks: Disks,
    known: Known,
    now: datetime,
    worker: Worker = PLAIN,
    rivals: frozenset[str] = frozenset(),
) -> Facts:
    """Return what there is to know about a DataImportCron."""
    namespace, label, spec = cron.metadata.namespace or "", label_of(cron), cron.spec
    found = {each.metadata.name for each in (*view.imported(namespace, label), *disks.imports(namespace, label))}
    current = current_of(cron)
    if current is not None:
        found.add(current.data_volume_name)
    wanted = find_wanted(cron, spec) if spec is not None else None
    if isinstance(wanted, Wanted):
        found.add(wanted.name)
    imports = {name: Import(name, disks.volume(namespace, name), view.claim(namespace, name)) for name in sorted(found)}
    source = disks.source(namespace, spec.managed_data_source) if spec is not None else None
    # Whom it would disturb is asked only where something may have to go.
    readers = tuple(_readers(namespace, imports, source, view=view, disks=disks)) if len(imports) > 1 else ()
    poll = view.job(namespace, poll_name(cron))
    pods = view.pods_of(poll.metadata.uid) if poll is not None else ()
    return Facts(now, cron, imports, source, readers, rivals, poll, pods, worker, known)


def _readers(
    namespace: str, imports: Iterable[str], source: DataSource | None, *, view: View, disks: Disks
) -> Iterator[Reader]:
    names = set(imports)
    for name in names:
        for volume in disks.readers("pvc", namespace, name):
            if _is_unfinished(volume):
                yield Reader(_since(volume), name)
        # By way of a DataSource of its user's, which stands for this import and no other.
        for other in disks.referrers("pvc", namespace, name):
            yield from _by_source(other, name, disks=disks)
    for origin, claim in view.clones(namespace):
        if origin in names:
            yield Reader(_since(claim), origin)
    if source is not None:
        yield from _by_source(source, None, disks=disks)


def _by_source(source: DataSource, claim: str | None, *, disks: Disks) -> Iterator[Reader]:
    """Yield those that are filled by way of a DataSource, or of one that stands for it."""
    where, name = source.metadata.namespace or "", source.metadata.name
    for each in (source, *disks.referrers("dataSource", where, name)):
        for volume in disks.readers("dataSource", each.metadata.namespace or "", each.metadata.name):
            if _is_unfinished(volume):
                yield Reader(_since(volume), claim)


def _is_unfinished(volume: DataVolume) -> bool:
    return (volume.status.phase if volume.status is not None else None) != Phase.SUCCEEDED


def _since(obj: HasMeta) -> float:
    return moment_of(obj.metadata.creation_timestamp, default=0.0)
