"""The kind DataSource: what the reconciler of any kind needs of it."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime

from datamover.api.cdi.data_source import DATA_SOURCES, DataSource, DataSourceStatus
from datamover.api.cdi.definition import data_source_crd
from datamover.plans.kind import Kind, Line
from datamover.plans.known import Known
from datamover.plans.steps import Plan, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.data_source.decide import decide
from datamover.reconcilers.data_source.facts import Facts
from datamover.reconcilers.data_source.gather import gather
from datamover.reconcilers.data_source.resolve import Reason, Resolved, resolve
from datamover.reconcilers.data_source.status import READY, Finding, tell
from datamover.reconcilers.disks import Disks
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who wants a snapshot to be watched. No tuple: other kinds' would be equal to it."""

    key: Key


class DataSourceKind(Kind[DataSource, DataSourceStatus, Facts]):
    """Says of each DataSource whether it can be used."""

    resource = DATA_SOURCES
    optional = True

    def __init__(self, client: Client, *, view: View, disks: Disks) -> None:
        self.objects = Part(client, disks.sources, select=lambda _: True)
        self.definition = data_source_crd()
        self._view, self._disks = view, disks
        self._snapshots = view.cluster.by_name(VOLUME_SNAPSHOTS)

    def gather(self, obj: DataSource, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a DataSource."""
        return gather(obj, view=self._view, disks=self._disks, known=known, now=now)

    def decide(self, facts: Facts) -> Plan[DataSourceStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(self, obj: DataSource, message: str, *, now: datetime) -> tuple[Step[DataSourceStatus], ...]:
        """Return the steps that tell of a defect of ours."""
        return tell(obj, Finding(False, Reason.INTERNAL, message), now=now)

    def stage(self, status: DataSourceStatus | None) -> str:
        """Return whether it is ready."""
        return _ready(status)

    def headline(self, before: DataSourceStatus | None, status: DataSourceStatus) -> Line | None:
        """Tell of each change between ready and not."""
        is_news = _ready(before) != _ready(status)
        return Line(f"DataSource is {'ready' if _ready(status) == 'True' else 'not ready'}") if is_news else None

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake a DataSource when its claim, its DataVolume, its snapshot, or the DataSource that it stands for changes."""
        controller.watch(self._view.cluster.claims, self._of_disk)
        controller.watch(self._disks.volumes, self._of_disk)
        controller.watch(self._disks.sources, self._of_source)
        snapshots = self._snapshots
        snapshots.add_handler(lambda key: _wake(controller, snapshots.owners(key)))

    def notice(self, key: Key, obj: DataSource) -> None:
        """Watch the snapshot that it comes to."""
        found = resolve(obj, look_up=self._disks.source)
        wanted: tuple[Key, ...] = ()
        if isinstance(found, Resolved) and found.is_snapshot and not obj.metadata.terminating:
            wanted = (Key(found.namespace, found.name),)
        self._snapshots.want(_Reader(key), wanted)

    def forget(self, key: Key) -> None:
        """End the watch."""
        self._snapshots.want(_Reader(key), ())

    def _of_disk(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return
        for each in self._disks.referrers("pvc", found.metadata.namespace or "", found.metadata.name):
            yield key_of(each.metadata)
            yield from self._of_source(None, each)

    def _of_source(self, old: DataSource | None, new: DataSource | None) -> Iterable[Key]:
        """Return those that stand for a DataSource."""
        found = new or old
        if found is None:
            return ()
        there = self._disks.referrers("dataSource", found.metadata.namespace or "", found.metadata.name)
        return tuple(key_of(each.metadata) for each in there)


def _wake(controller: Controller, owners: Iterable[Hashable]) -> None:
    for owner in owners:
        if isinstance(owner, _Reader):
            controller.queue.add(owner.key)


def _ready(status: DataSourceStatus | None) -> str:
    return next((each.status for each in (status.conditions if status else None) or () if each.type == READY), "")
