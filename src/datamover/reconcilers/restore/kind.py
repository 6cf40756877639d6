"""The kind DataMoverRestore: what the reconciler of any kind needs of it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from datamover.api.names import RESTORE_PRIME_PREFIX
from datamover.api.transfer import REASON_INTERNAL_ERROR
from datamover.api.v1alpha1.definition import data_mover_restore_crd
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore, DataMoverRestoreStatus
from datamover.plans.known import Known, Seen
from datamover.plans.learned import Learned
from datamover.reconcilers.cluster import find_owner
from datamover.reconcilers.once import OnceKind
from datamover.reconcilers.restore.caches import Caches, claim_of
from datamover.reconcilers.restore.decide import decide
from datamover.reconcilers.restore.facts import Facts, Settings
from datamover.reconcilers.restore.gather import gather, secret_of
from datamover.reconcilers.restore.plan import Plan, Step
from datamover.reconcilers.restore.report import Meter, report_failure, report_present, report_status
from datamover.reconcilers.restore.status import tell
from datamover.reconcilers.restore.turn import place_of
from datamover.runs.facts import Unread
from datamover.runs.verdict import blocked
from datamover.volumes.rebinding import is_going
from kubekit.runtime.controller import Controller
from kubekit.runtime.store import Key
from kubekit.words.core import ObjectReference, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta
from kubekit.words.storage import StorageClass


class RestoreKind(OnceKind[DataMoverRestore, DataMoverRestoreStatus, Facts]):
    """Reads from `caches`, counts into `meter`. A cluster that was set up before there were restores has no definition of it."""

    resource = DATA_MOVER_RESTORES
    title = "restore"
    optional = True

    def __init__(self, *, caches: Caches, meter: Meter, settings: Settings) -> None:
        self.objects = caches.restores
        self.definition = data_mover_restore_crd()
        self._caches = caches
        self._meter = meter
        self._settings = settings

    # Deciding.

    def gather(self, obj: DataMoverRestore, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a restore."""
        found = gather(obj, view=self._caches, known=known, now=now, patience=self._settings.patience)
        return found if self._settings.population else replace(found, population=False)

    def decide(self, facts: Facts) -> Plan:
        """Return what to do next."""
        return decide(facts, settings=self._settings)

    def broken(self, obj: DataMoverRestore, message: str, *, now: datetime) -> tuple[Step, ...]:
        """Return the steps that tell of a defect of ours."""
        return tell(obj, blocked(REASON_INTERNAL_ERROR, message, action="Reconcile"), now=now).steps

    def seen(self, facts: Facts) -> Seen:
        """Return which children there were."""
        return facts.run.known.seen

    # Telling.

    def report(
        self, learned: Learned[DataMoverRestore, DataMoverRestoreStatus], obj: DataMoverRestore, *, now: datetime
    ) -> None:
        """Count what was written, and what could not be done."""
        status = obj.status
        for each in learned.written:
            report_status(each.before, each.status, meter=self._meter, now=now, cause=each.cause)
            status = each.status
        if learned.failed is not None:
            report_failure(obj.metadata, status, learned.failed, meter=self._meter)

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake a restore when its claim, its Job, a class, its source, or another restore into its claim changes."""
        cluster = self._caches.cluster
        controller.watch(self._caches.restores, self._of_rival)
        controller.watch(cluster.claims, self._of_claim)
        controller.watch(cluster.volumes, self._of_volume)
        controller.watch(cluster.classes, self._of_class)
        controller.watch(cluster.jobs, self._of_child)
        controller.watch(cluster.pods, self._of_child)
        controller.watch(cluster.snapshots, self._of_child)
        self._caches.movers.add_handler(lambda key: controller.wake(self._caches.restores_of_mover(key)))
        cluster.secrets.add_handler(lambda key: controller.wake(self._of_secret(key)))

    def survey(self) -> None:
        """Set the gauges of all restores before anybody can read one of them."""
        for restore in self._caches.restores.store.list():
            self._report_present(restore)

    def notice(self, key: Key, obj: DataMoverRestore) -> None:
        """Set the gauges, and watch what it takes from others as long as it has not begun; afterwards all of that is recorded."""
        self._report_present(obj)
        spec, status = obj.spec, obj.status
        waiting = spec is not None and (status is None or status.run is None) and not obj.metadata.terminating
        if spec is None or not waiting:
            self._end_watches(key)
            return
        mover = spec.source.data_mover
        self._caches.movers.want((DATA_MOVER_RESTORES.kind, key), (Key(key.namespace, mover),) if mover else ())
        secret = secret_of(spec, self._caches.mover(key.namespace, mover) if mover else Unread.MISSING)
        self._caches.cluster.secrets.want(
            (DATA_MOVER_RESTORES.kind, key), (Key(key.namespace, secret),) if secret else ()
        )

    def forget(self, key: Key) -> None:
        """End the gauges, and the watches of what it takes from others."""
        self._meter.forget(name=key.name, namespace=key.namespace)
        self._end_watches(key)

    def _report_present(self, restore: DataMoverRestore) -> None:
        claim = claim_of(restore)
        found = self._caches.claim(restore.metadata.namespace or "", claim) if claim else None
        report_present(restore, meter=self._meter, claim_uid=found.metadata.uid if found is not None else None)

    def _end_watches(self, key: Key) -> None:
        self._caches.movers.want((DATA_MOVER_RESTORES.kind, key), ())
        self._caches.cluster.secrets.want((DATA_MOVER_RESTORES.kind, key), ())

    # Whom a change concerns.

    def _of_rival(self, old: DataMoverRestore | None, new: DataMoverRestore | None) -> Iterable[Key]:
        """What another restore does into the same claim matters to those that wait for it."""
        found = new or old
        if found is None or (old is not None and new is not None and place_of(old) is place_of(new)):
            return ()
        claim = claim_of(found)
        return tuple(self._caches.restores_of_claim(found.metadata.namespace or "", claim)) if claim else ()

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return
        yield from self._of_claim_name(found.metadata.namespace or "", found.metadata.name)

    def _of_claim_name(self, namespace: str, name: str) -> Iterable[Key]:
        """A claim that is restored into, its safety copy, or the temporary one by which it is filled."""
        yield from self._caches.restores_of_claim(namespace, name)
        if name.startswith(RESTORE_PRIME_PREFIX):
            yield from self._caches.restore_of_uid(name.removeprefix(RESTORE_PRIME_PREFIX))

    def _of_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> Iterable[Key]:
        """A volume that comes, goes, or is handed over from one claim to another."""
        claims = {
            (held.namespace or "", held.name or "", held.uid)
            for held in map(_holder_of, (old, new))
            if held is not None
        }
        if old is not None and new is not None and len(claims) == 1 and is_going(old) == is_going(new):
            return
        for namespace, name, _ in claims:
            yield from self._of_claim_name(namespace, name)

    def _of_class(self, old: StorageClass | None, new: StorageClass | None) -> Iterable[Key]:
        del old, new
        return self._caches.unfinished()

    def _of_child(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        return find_owner(DATA_MOVER_RESTORES, new or old, by_uid=self._caches.restore_of_uid)

    def _of_secret(self, key: Key) -> Iterable[Key]:
        """Which Secret a restore needs may be a DataMover's word, so all are woken that have not begun: they are few."""
        return (each for each in self._caches.unfinished() if each.namespace == key.namespace)


def _holder_of(volume: PersistentVolume | None) -> ObjectReference | None:
    return volume.spec.claim_ref if volume is not None and volume.spec is not None else None
