"""The watcher of hosted control planes' backups over caches that are filled by hand: what it writes, tells and counts, and when it would look again."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from datamover.api.hosted_control_plane import StatusMap
from datamover.api.velero.backup import Backup
from datamover.metrics.hosted_control_planes import HostedControlPlaneMetrics
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.learned import Learned
from datamover.plans.steps import Create, Emit, Patch, ProveListed
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.hosted_control_plane.facts import Facts
from datamover.reconcilers.hosted_control_plane.gather import Around
from datamover.reconcilers.hosted_control_plane.kind import HostedControlPlaneKind
from datamover.reconcilers.hosted_control_plane.record import Record, read
from datamover.runs.facts import Unread
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import key_of
from kubekit.words.core import ConfigMap
from kubekit.words.meta import ObjectMeta, OwnerReference
from support.clock import VirtualClock
from support.control_planes import BEGAN, VELERO, backup, hcp

PREFIX = "datamover_hosted_control_plane_"


class _View:
    """The view of a cluster whose ConfigMap of the plugin is given."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.configuration: ConfigMap | Unread = Unread.MISSING

    def named(self, *place: Any) -> ConfigMap | Unread:
        """The plugin's ConfigMap."""
        del place
        return self.configuration


class Following:
    """See the module's docstring. What it writes is kept by `statuses`, as an API server would; `restart` is another process that finds it there."""

    def __init__(self, *objects: Any, of: Backup | None = None, plane: Any = None) -> None:
        nobody: Any = None
        self.clock = VirtualClock(BEGAN)
        self.cluster = Cluster(nobody, clock=self.clock)
        self.view = _View(self.cluster)
        view: Any = self.view
        self.around = Around(view, velero=VELERO)
        self.writes = 0
        self.told: list[Emit] = []
        self.proved: list[ProveListed] = []
        self.known: Known = UNKNOWN
        self.registry, self.kind = self._begin()
        for informer in self.cluster.informers():
            informer.synced.set()
        self.put(*objects, of or backup(), plane or hcp())

    def restart(self) -> None:
        """Go on as another process: all that is in memory is lost, and the caches are as they were."""
        before = self.kind.objects.store.list()
        self.registry, self.kind = self._begin()
        for each in before:
            self.kind.objects.store.put(each)
        self.kind.survey()

    def _begin(self) -> tuple[CollectorRegistry, HostedControlPlaneKind]:
        nobody: Any = None
        registry = CollectorRegistry()
        meter = HostedControlPlaneMetrics(registry)
        return registry, HostedControlPlaneKind(nobody, around=self.around, meter=meter, clock=self.clock)

    def put(self, *objects: Any) -> None:
        """Put objects into the caches, each as the newest of its name."""
        for each in objects:
            store = self.informer(type(each)).store
            store.put(replace(each, metadata=replace(each.metadata, resource_version=str(store.high_water + 1))))

    def garble(self, obj: Any) -> None:
        """Let the server's newest state of an object be one that cannot be read."""
        store = self.informer(type(obj)).store
        store.poison(replace(obj.metadata, resource_version=str(store.high_water + 1)))

    def remove(self, obj: Any) -> None:
        """Take an object out of the caches."""
        store = self.informer(type(obj)).store
        store.remove(replace(obj.metadata, resource_version=str(store.high_water + 1)))

    def informer(self, kind: type[Any]) -> Informer[Any]:
        """The cache of a kind: the narrowest that there is."""
        if kind is Backup:
            return self.kind.objects
        return next(each for each in reversed(self.cluster.informers()) if each.resource.type is kind)

    def live_until(self, now: datetime) -> None:
        """Let the clock show another moment, which may be an earlier one."""
        self.clock.show(now)

    def facts(self, now: datetime, name: str = "test-backup") -> Facts:
        """What is known of a backup."""
        return self.kind.gather(self._backup(name), known=self.known, now=now)

    def look(self, now: datetime, name: str = "test-backup") -> float | None:
        """Reconcile a backup once; return after how many seconds it would be looked at again."""
        self.live_until(now)
        obj = self._backup(name)
        plan = self.kind.decide(self.facts(now, name))
        learned: Learned[Any, Any] = Learned()
        for step in plan.steps:
            match step:
                case Create():
                    meta = step.manifest["metadata"]
                    (owner,) = meta["ownerReferences"]
                    self._write(meta["name"], owner["uid"], step.manifest)
                case Patch():
                    self._write(step.target.name, obj.metadata.uid, step.patch)
                case ProveListed():
                    self.proved.append(step)
                case Emit():
                    self.told.append(step)
                    learned = Learned(told=step)
                case _:
                    raise AssertionError(f"nothing but its ConfigMap is written: {step}")
        self.kind.report(learned, obj, now=now)
        return plan.wake_after

    def record(self, name: str = "test-backup") -> Record:
        """What is written of a backup."""
        found = self._backup(name)
        record = read(self.around.status_of(found), of=found)
        assert record is not None
        return record

    @property
    def reasons(self) -> list[str]:
        """The reasons of all events so far."""
        return [each.reason for each in self.told]

    def count(self, name: str, **labels: str) -> float | None:
        """The number of a series, None where there is none."""
        return self.registry.get_sample_value(PREFIX + name, labels)

    def _backup(self, name: str) -> Backup:
        return next(each for each in self.kind.objects.store.list() if each.metadata.name == name)

    def _write(self, name: str, owner: str, written: Any) -> None:
        self.writes += 1
        labels, data = written["metadata"]["labels"], written["data"]
        reference = OwnerReference(api_version="velero.io/v1", kind="Backup", name="test-backup", uid=owner)
        meta = ObjectMeta(
            name=name, namespace=VELERO, uid=f"status-{name}", owner_references=(reference,), labels=labels
        )
        self.put(StatusMap(metadata=meta, data=data))
        assert key_of(meta) in self.around.statuses.store
