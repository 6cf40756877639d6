"""The kind DataMover: what the reconciler of any kind needs of it."""

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from datamover.api.names import Phase
from datamover.api.transfer import REASON_INTERNAL_ERROR
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverStatus
from datamover.api.v1alpha1.definition import data_mover_crd
from datamover.plans.known import Known, Seen
from datamover.plans.learned import Learned
from datamover.reconcilers.cluster import find_owner
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.decide import decide
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.gather import gather
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.reconcilers.datamover.report import Meter, report_failure, report_present, report_status
from datamover.reconcilers.datamover.sharing import is_backing_up
from datamover.reconcilers.datamover.standing import source_of
from datamover.reconcilers.datamover.status import tell
from datamover.reconcilers.once import OnceKind
from datamover.runs.verdict import blocked
from kubekit.runtime.controller import Controller
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VolumeSnapshotClass
from kubekit.words.storage import StorageClass


class DataMoverKind(OnceKind[DataMover, DataMoverStatus, Facts]):
    """Reads from `caches`, counts into `meter`."""

    resource = DATA_MOVERS
    title = "phase"

    def __init__(self, *, caches: Caches, meter: Meter, settings: Settings) -> None:
        self.objects = caches.movers
        self.definition = data_mover_crd()
        self._caches = caches
        self._meter = meter
        self._settings = settings

    # Deciding.

    def gather(self, obj: DataMover, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a DataMover."""
        return gather(obj, view=self._caches, known=known, now=now, patience=self._settings.patience)

    def decide(self, facts: Facts) -> Plan:
        """Return what to do next."""
        return decide(facts, settings=self._settings)

    def broken(self, obj: DataMover, message: str, *, now: datetime) -> tuple[Step, ...]:
        """Return the steps that tell of a defect of ours."""
        return tell(obj, blocked(REASON_INTERNAL_ERROR, message, action="Reconcile"), now=now).steps

    def says_same(self, one: DataMoverStatus | None, other: DataMoverStatus | None) -> bool:
        """Tell whether two statuses differ in nothing but times, that of the last verification among them."""
        return super().says_same(_untimed(one), _untimed(other))

    def seen(self, facts: Facts) -> Seen:
        """Return which children there were."""
        return facts.run.known.seen

    # Telling.

    def report(self, learned: Learned[DataMover, DataMoverStatus], obj: DataMover, *, now: datetime) -> None:
        """Count what was written, and what could not be done."""
        status = obj.status
        for each in learned.written:
            report_status(each.before, each.status, meter=self._meter, now=now, cause=each.cause)
            status = each.status
        if learned.failed is not None:
            report_failure(obj.metadata, status, learned.failed, meter=self._meter)

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake a DataMover when its source, its copy, its mover, a class or its Secret changes, or a backup ends that it waits for."""
        cluster = self._caches.cluster
        controller.watch(self._caches.movers, self._of_backup)
        controller.watch(cluster.claims, self._of_claim)
        controller.watch(cluster.volumes, self._of_volume)
        controller.watch(cluster.classes, self._of_class)
        controller.watch(cluster.snapshot_classes, self._of_class)
        controller.watch(cluster.jobs, self._of_child)
        controller.watch(cluster.pods, self._of_child)
        controller.watch(cluster.snapshots, self._of_child)
        cluster.secrets.add_handler(lambda key: controller.wake(self._caches.movers_of_secret(key)))

    def survey(self) -> None:
        """Set the gauges of all DataMovers before anybody can read one of them: what stands of one depends on others of its claim, and a failure
        that a later run has settled would be told after each restart until that one's turn comes.
        """
        for mover in self._caches.movers.store.list():
            self._report_present(mover)

    def notice(self, key: Key, obj: DataMover) -> None:
        """Set the gauges, and watch the Secret as long as the run has not begun; afterwards the kubelet is the one who needs it."""
        status = obj.status
        waiting = obj.spec is not None and (status is None or status.run is None) and not obj.metadata.terminating
        wanted = (Key(key.namespace, obj.spec.secret_name),) if waiting and obj.spec is not None else ()
        self._want_secrets(key, wanted)
        self._report_present(obj)

    def forget(self, key: Key) -> None:
        """End the gauges and the watch of the Secret."""
        self._want_secrets(key, ())
        self._meter.forget(name=key.name, namespace=key.namespace)

    def _want_secrets(self, key: Key, wanted: tuple[Key, ...]) -> None:
        # Another kind may have an object of the same name.
        self._caches.cluster.secrets.want((DATA_MOVERS.kind, key), wanted)

    def _report_present(self, mover: DataMover) -> None:
        source = self._caches.claim(mover.metadata.namespace or "", source_of(mover))
        report_present(mover, meter=self._meter, source_exists=source is not None)

    # Whom a change concerns.

    def _of_backup(self, old: DataMover | None, new: DataMover | None) -> Iterable[Key]:
        """The end of a backup is what verifications of its claim wait for."""
        if old is None or not is_backing_up(old) or (new is not None and is_backing_up(new)):
            return ()
        return tuple(self._caches.verified_again(old.metadata.namespace or "", source_of(old)))

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return ()
        if new is None:
            self._meter.forget_source(source=found.metadata.name, namespace=found.metadata.namespace or "")
        return self._caches.movers_of_claim(found.metadata.namespace or "", found.metadata.name)

    def _of_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> Iterable[Key]:
        """A run waits at its beginning for the source's volume to be seen, and at its end for the clone's to go or to be kept."""
        if old is None:
            seen = new.spec.claim_ref if new is not None and new.spec is not None else None
            return self._caches.movers_of_claim(seen.namespace or "", seen.name or "") if seen is not None else ()
        if old.spec is None or old.spec.claim_ref is None:
            return ()
        if new is not None and new.spec is not None and _policy(new) == _policy(old):
            return ()
        claim = old.spec.claim_ref
        return self._caches.movers_of_claim(claim.namespace or "", claim.name or "")

    def _of_class(
        self, old: StorageClass | VolumeSnapshotClass | None, new: StorageClass | VolumeSnapshotClass | None
    ) -> Iterable[Key]:
        """A class that appears or changes may free whoever waits for one."""
        del old, new
        return tuple(
            key_of(mover.metadata)
            for mover in self._caches.movers.store.list()
            if (mover.status.phase if mover.status else None) not in Phase.TERMINAL
        )

    def _of_child(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        return find_owner(DATA_MOVERS, new or old, by_uid=self._caches.mover_of_uid)


def _untimed(status: DataMoverStatus | None) -> DataMoverStatus | None:
    return replace(status, last_verified="") if status is not None and status.last_verified else status


def _policy(volume: PersistentVolume) -> str | None:
    return volume.spec.persistent_volume_reclaim_policy if volume.spec else None
