"""The DataMover reconciler: gather, decide, act, report.

Guarantees: one decision at a time for each object; every effect is decided from facts, so duplicates, restarts and late events change
nothing (law L7). What is kept in memory (refusals, diagnoses, progress) only spares requests: losing it costs a repetition.
"""

import logging
from collections.abc import Callable, Iterable

from datamover.api.names import OWNER_UID_LABEL, Phase
from datamover.api.transfer import REASON_INTERNAL_ERROR
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverStatus
from datamover.plans.known import UNSEEN
from datamover.plans.memory import REMARK_PAUSE, Memory
from datamover.plans.steps import REST, Create, Delete, Emit, Inquire, ProvePods, SampleLog, SuspendJob, WriteStatus
from datamover.reconcilers.datamover.act import Actor, Recorder, RefusedError
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.decide import decide
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.gather import gather
from datamover.reconcilers.datamover.plan import Plan
from datamover.reconcilers.datamover.report import (
    Meter,
    report_cleanup_failure,
    report_forbidden_status,
    report_present,
    report_status,
)
from datamover.reconcilers.datamover.standing import source_of
from datamover.reconcilers.datamover.status import tell
from datamover.runs.verdict import blocked
from kubekit.client.client import Client
from kubekit.client.errors import Conflict, KubeError, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result
from kubekit.runtime.instruments import SILENCE, WorkInstruments
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, ObjectMeta
from kubekit.words.snapshot import VolumeSnapshotClass
from kubekit.words.storage import StorageClass

_log = logging.getLogger(__name__)

_CONFLICT_PAUSE = 0.05
_CONFLICT_PAUSE_MOST = 5.0


class DataMoverReconciler:
    """Brings each DataMover to its end."""

    def __init__(
        self, client: Client, *, caches: Caches, recorder: Recorder, meter: Meter, clock: Clock, settings: Settings
    ) -> None:
        self._caches = caches
        self._meter = meter
        self._clock = clock
        self._settings = settings
        self.memory = Memory(clock=clock)
        self._surveyed = False
        self._actor = Actor(
            client,
            caches=caches,
            recorder=recorder,
            on_status=self._note_status,
            on_diagnosis=self.memory.note_diagnosis,
            on_sample=self.memory.note_sample,
            on_cleanup_failed=lambda meta: report_cleanup_failure(meta, meter=meter),
            on_status_forbidden=lambda mover: report_forbidden_status(mover, meter=meter),
        )

    def controller(
        self, *, workers: int = 4, name: str = "datamover", metrics: WorkInstruments = SILENCE
    ) -> Controller:
        """Return the controller that calls this reconciler, woken by everything that a DataMover depends on."""
        queue: Workqueue[Key] = Workqueue(name, clock=self._clock, metrics=metrics, max_delay=_RETRY_MOST)
        controller = Controller(
            name, reconcile=self.reconcile, queue=queue, workers=workers, clock=self._clock, metrics=metrics
        )
        caches = self._caches
        controller.watch(caches.movers, _own_key)
        controller.watch(caches.claims, self._of_claim)
        controller.watch(caches.volumes, self._of_volume)
        controller.watch(caches.classes, self._of_class)
        controller.watch(caches.snapshot_classes_informer, self._of_class)
        controller.watch(caches.jobs, self._of_child)
        controller.watch(caches.pods, self._of_child)
        controller.watch(caches.snapshots, self._of_child)
        caches.secrets.add_handler(lambda key: _add_all(controller, caches.movers_of_secret(key)))
        return controller

    def explain(self, key: Key) -> tuple[Facts, Plan] | None:
        """Return what is known of a DataMover and what would be done next, without doing it."""
        mover = self._caches.movers.store.get(key)
        if mover is None:
            return None
        now = self._clock.now()
        known = self.memory.known(mover.metadata.uid)
        facts = gather(mover, view=self._caches, known=known, now=now, patience=self._settings.patience)
        return facts, decide(facts, settings=self._settings)

    async def reconcile(self, key: Key) -> Result:
        """Take one DataMover one step on."""
        if not self._surveyed:
            self._survey()
        mover = self._caches.movers.store.get(key)
        if mover is None:
            self._forget(key)
            return DONE
        try:
            return await self._work_on(key, mover)
        except KubeError:
            raise
        except Exception as error:
            await self._confess(key, mover, error)
            raise  # the controller logs it and tries again, at most `_RETRY_MOST` seconds apart

    def _survey(self) -> None:
        """Set the gauges of all DataMovers before anybody can read one of them: what stands of one depends on others of its claim, and a failure
        that a later run has settled would be told after each restart until that one's turn comes.
        """
        self._surveyed = True
        for mover in self._caches.movers.store.list():
            self._report(mover)

    def _report(self, mover: DataMover) -> None:
        source = self._caches.claim(mover.metadata.namespace or "", source_of(mover))
        report_present(mover, meter=self._meter, source_exists=source is not None)

    async def _work_on(self, key: Key, mover: DataMover) -> Result:
        self._want_secret(key, mover)
        memory, uid = self.memory, mover.metadata.uid
        self._report(mover)
        for _ in range(_ROUNDS):
            explained = self.explain(key)
            if explained is None:
                return DONE
            facts, plan = explained
            memory.note_seen(uid, UNSEEN if _is_over(facts.mover) else facts.run.known.seen)
            if _is_remark(facts.mover, plan, deleted=self._actor.has_deleted) and not memory.may_remark(uid):
                return After(REMARK_PAUSE)
            tries = memory.attempts(uid)
            try:
                await self._actor.act(facts.mover, plan, refusals=tries.refusals, failures=tries.failures)
            except RefusedError as error:
                memory.note_refusal(uid, error.refusal)
                continue
            except (Conflict, NotFound):
                # Decided on facts that are no longer so: the watch brings the new ones.
                return After(min(_CONFLICT_PAUSE * 2 ** min(memory.note_conflict(uid) - 1, 16), _CONFLICT_PAUSE_MOST))
            except KubeError:
                memory.note_failure(uid)
                raise
            effect = any(isinstance(step, Create | Delete | SuspendJob | ProvePods) for step in plan.steps)
            memory.note_success(uid, effect=effect)
            if any(isinstance(step, Inquire | SampleLog) for step in plan.steps):
                continue  # what was learnt may be worth telling at once
            if plan == REST and _is_over(facts.mover):
                memory.forget(uid)
            return After(plan.wake_after) if plan.wake_after is not None else DONE
        return After(_CONFLICT_PAUSE)

    async def _confess(self, key: Key, mover: DataMover, error: Exception) -> None:
        """Say in the status that the operator itself fails at this DataMover, when it does so again and again (law L10).

        The error's text stays in the log: nobody knows what is in it (law L8). A run that is over keeps its verdict.
        """
        mover = self._caches.movers.store.get(key) or mover  # as far as it has got meanwhile
        crashes = self.memory.note_crash(mover.metadata.uid)
        if crashes < _CRASHES:
            return
        message = (
            f"the operator fails at this DataMover ({type(error).__name__}): that is a defect of datamover. It tries again, at most "
            f"{_RETRY_MOST:.0f} seconds apart. Please report it with the operator's log, which names {key.namespace}/{key.name}"
        )
        told = blocked(REASON_INTERNAL_ERROR, message, action="Reconcile")
        steps = tell(mover, told, now=self._clock.now()).steps
        if _is_over(mover):
            steps = tuple(step for step in steps if isinstance(step, Emit) and crashes == _CRASHES)
        try:
            await self._actor.act(mover, Plan(steps))
        except Exception:  # noqa: BLE001 - the failure that was to be told is the one that counts
            _log.info("%s: its status could not be written either", key, exc_info=True)

    def _note_status(self, mover: DataMover, status: DataMoverStatus, cause: str | None) -> None:
        report_status(mover, status, meter=self._meter, now=self._clock.now(), cause=cause)
        if (mover.status.phase if mover.status else None) != status.phase:
            self.memory.note_stage(mover.metadata.uid)

    def _want_secret(self, key: Key, mover: DataMover) -> None:
        """Watch the Secret as long as the run has not begun; afterwards the kubelet is the one who needs it."""
        status = mover.status
        waiting = mover.spec is not None and (status is None or status.run is None) and not mover.metadata.terminating
        wanted = (Key(key.namespace, mover.spec.secret_name),) if waiting and mover.spec is not None else ()
        self._caches.secrets.want(key, wanted)

    def _forget(self, key: Key) -> None:
        self._caches.secrets.want(key, ())
        self._meter.forget(name=key.name, namespace=key.namespace)
        if len(self.memory) > _MEMORY_SLACK:
            self.memory.keep({mover.metadata.uid for mover in self._caches.movers.store.list()})

    # Whom a change concerns.

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
        """A child names its owner; a Pod carries the owner's UID as a label."""
        found = new or old
        if found is None:
            return ()
        meta = found.metadata
        for reference in meta.owner_references or ():
            if reference.kind == DATA_MOVERS.kind:
                return (Key(meta.namespace or "", reference.name),)
        return self._by_uid(meta)

    def _by_uid(self, meta: ObjectMeta) -> Iterable[Key]:
        uid = meta.label(OWNER_UID_LABEL)
        return self._caches.mover_of_uid(uid) if uid else ()


_RETRY_MOST = 60.0
"""Seconds between two attempts at most: a right that was granted, or a server that is back, is soon made use of."""
_CRASHES = 3
"""Failures of our own in a row after which the status says so."""
_MEMORY_SLACK = 1024
_ROUNDS = 4  # decisions in one reconcile: a refusal or something learnt leads to the next


def _own_key(old: DataMover | None, new: DataMover | None) -> Iterable[Key]:
    found = new or old
    return (key_of(found.metadata),) if found is not None else ()


def _is_over(mover: DataMover) -> bool:
    return mover.status is not None and mover.status.phase in Phase.TERMINAL


def _is_remark(mover: DataMover, plan: Plan, *, deleted: Callable[[ObjectMeta], bool]) -> bool:
    """Tell whether a plan does no more than to say how a wait goes: the phase stays and nothing is done.

    `deleted` tells whether an object has been deleted already, so that asking for it again does nothing.
    """
    phase = mover.status.phase if mover.status else None
    written = [step.status for step in plan.steps if isinstance(step, WriteStatus)]
    does = any(
        not isinstance(step, WriteStatus | Emit) and not (isinstance(step, Delete) and deleted(step.target))
        for step in plan.steps
    )
    return bool(written) and not does and all(status.phase == phase for status in written)


def _policy(volume: PersistentVolume) -> str | None:
    return volume.spec.persistent_volume_reclaim_policy if volume.spec else None


def _add_all(controller: Controller, keys: Iterable[Key]) -> None:
    for key in keys:
        controller.queue.add(key)
