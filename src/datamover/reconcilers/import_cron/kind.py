"""The kind DataImportCron: what the reconciler of any kind needs of it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS, DataImportCron, DataImportCronStatus
from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.definition import data_import_cron_crd
from datamover.plans.kind import Kind, Line
from datamover.plans.known import Known
from datamover.plans.learned import Learned
from datamover.plans.steps import Plan, Step
from datamover.reconcilers.cluster import View, find_owner
from datamover.reconcilers.disks import Disks
from datamover.reconcilers.import_cron.asking import Reason, Wanted, find_wanted, label_of
from datamover.reconcilers.import_cron.decide import decide
from datamover.reconcilers.import_cron.facts import PLAIN, Facts, Worker
from datamover.reconcilers.import_cron.gather import gather
from datamover.reconcilers.import_cron.report import Meter, report, show
from datamover.reconcilers.import_cron.status import current_of, is_up_to_date, last_imported, tell
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Index, Key, key_of
from kubekit.words.meta import HasMeta

_BY_LABEL: Final = "label"
_BY_NAME: Final = "name"


def indexes() -> Mapping[str, Index[DataImportCron]]:
    """Return what the cache of the kind is looked up by."""
    return {_BY_LABEL: _label_index, _BY_NAME: _name_index}


class DataImportCronKind(Kind[DataImportCron, DataImportCronStatus, Facts]):
    """Imports again what has changed, and lets the oldest imports go."""

    resource = DATA_IMPORT_CRONS
    optional = True

    def __init__(
        self,
        objects: Informer[DataImportCron],
        *,
        view: View,
        disks: Disks,
        worker: Worker = PLAIN,
        meter: Meter | None = None,
    ) -> None:
        """`objects` has the indexes of `indexes`."""
        self.objects = objects
        self.definition = data_import_cron_crd()
        self._view, self._disks, self._worker, self._meter = view, disks, worker, meter

    def gather(self, obj: DataImportCron, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a DataImportCron."""
        meta = obj.metadata
        rivals = frozenset(
            each.metadata.uid
            for each in self.objects.store.list()
            if each.metadata.namespace == meta.namespace and each.metadata.uid != meta.uid
        )
        return gather(obj, view=self._view, disks=self._disks, known=known, now=now, worker=self._worker, rivals=rivals)

    def decide(self, facts: Facts) -> Plan[DataImportCronStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(self, obj: DataImportCron, message: str, *, now: datetime) -> tuple[Step[DataImportCronStatus], ...]:
        """Return the steps that tell of a defect of ours."""
        return tell(obj, Reason.INTERNAL, message, now=now)

    def stage(self, status: DataImportCronStatus | None) -> str:
        """Return the import that it is at, and whether that is the newest."""
        current = status.current_imports[0] if status is not None and status.current_imports else None
        return f"{current.data_volume_name if current else ''}/{is_up_to_date(status)}"

    def headline(self, before: DataImportCronStatus | None, status: DataImportCronStatus) -> Line | None:
        """Tell of each import that begins, and of each that is there."""
        if self.stage(before) == self.stage(status):
            return None
        name = status.current_imports[0].data_volume_name if status.current_imports else "nothing"
        return Line(f"{name} is the newest import" if is_up_to_date(status) == "True" else f"importing {name}")

    def report(
        self, learned: Learned[DataImportCron, DataImportCronStatus], obj: DataImportCron, *, now: datetime
    ) -> None:
        """Count what was imported, deleted and asked."""
        del now
        if self._meter is not None:
            report(learned, obj, meter=self._meter)

    # Coming and going.

    def notice(self, key: Key, obj: DataImportCron) -> None:
        """Show how it stands, also after a start of the operator, when nothing is to be done."""
        if self._meter is not None:
            show(key, obj.status, meter=self._meter)

    def forget(self, key: Key) -> None:
        """Take its series away."""
        if self._meter is not None:
            self._meter.forget(key.namespace or "", key.name)

    def connect(self, controller: Controller) -> None:
        """Wake a DataImportCron when one of its imports or its DataSource changes, or whoever is filled from one."""
        controller.watch(self._view.cluster.claims, self._of_import)
        controller.watch(self._disks.volumes, self._of_import)
        controller.watch(self._disks.volumes, self._of_reader)
        controller.watch(self._disks.sources, self._of_source)
        controller.watch(self._view.cluster.jobs, self._of_child)
        controller.watch(self._view.cluster.pods, self._of_child)

    def _of_child(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        return find_owner(DATA_IMPORT_CRONS, new or old, by_uid=self._by_uid)

    def _by_uid(self, uid: str) -> Iterable[Key]:
        return tuple(key_of(each.metadata) for each in self.objects.store.list() if each.metadata.uid == uid)

    def _of_import(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        for each in (old, new):
            if each is None:
                continue
            namespace, label = each.metadata.namespace or "", each.metadata.label(names.CRON_LABEL)
            if label:
                yield from self._by(_BY_LABEL, namespace, label)
            yield from self._by(_BY_NAME, namespace, each.metadata.name)

    def _of_reader(self, old: DataVolume | None, new: DataVolume | None) -> Iterable[Key]:
        """A DataVolume that has ended, or is gone, may have kept an import from going."""
        found = new or old
        for field, namespace, name in self._disks.origins(found) if found is not None else ():
            if field == "pvc":
                yield from self._of_import(None, self._view.claim(namespace, name))
            elif field == "dataSource":
                yield from self._of_chain(namespace, name)

    def _of_chain(self, namespace: str, name: str) -> Iterable[Key]:
        """Return those that a DataSource is of, or the one that it stands for, or the claim."""
        found = self._disks.source(namespace, name)
        yield from self._of_source(None, found)
        source = found.spec.source if found is not None and found.spec is not None else None
        if source is not None and source.data_source is not None:
            yield from self._of_source(None, self._disks.source(namespace, source.data_source.name))
        if source is not None and source.pvc is not None:
            yield from self._of_import(None, self._view.claim(source.pvc.namespace or namespace, source.pvc.name))

    def _of_source(self, old: DataSource | None, new: DataSource | None) -> Iterable[Key]:
        found = new or old
        if found is not None:
            yield from self._by(_BY_NAME, found.metadata.namespace or "", f"source/{found.metadata.name}")

    def _by(self, index: str, namespace: str, value: str) -> Iterable[Key]:
        return tuple(key_of(each.metadata) for each in self.objects.store.by_index(index, f"{namespace}/{value}"))


def _label_index(cron: DataImportCron) -> Iterable[str]:
    yield f"{cron.metadata.namespace}/{label_of(cron)}"


def _name_index(cron: DataImportCron) -> Iterable[str]:
    """Yield the names of what concerns it, whatever label that bears."""
    spec, current, last = cron.spec, current_of(cron), last_imported(cron)
    found = {current.data_volume_name if current is not None else "", last}
    if spec is not None:
        wanted = find_wanted(cron, spec)
        found |= {wanted.name if isinstance(wanted, Wanted) else "", f"source/{spec.managed_data_source}"}
    for name in found - {""}:
        yield f"{cron.metadata.namespace}/{name}"
