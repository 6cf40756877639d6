"""The reconciler of any kind: gather, decide, act, report.

Guarantees: one decision at a time for each object; every effect is decided from facts, so duplicates, restarts and late events change
nothing (law L7). What is kept in memory only spares requests: losing it costs a repetition.

Each of our own writes wakes its object again: what was written is gathered and decided upon once more, and as a rule nothing is to do.
"""

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Generic, TypeVar

from datamover.plans.actor import Actor, Recorder
from datamover.plans.kind import HasStatus, Kind
from datamover.plans.known import UNSEEN
from datamover.plans.learned import Learned
from datamover.plans.memory import REMARK_PAUSE, Memory
from datamover.plans.proof import Caches
from datamover.plans.pruned import Pruned
from datamover.plans.refusals import Attempts
from datamover.plans.steps import (
    REST,
    Annotate,
    AskOwners,
    Create,
    Delete,
    Emit,
    Inquire,
    Locate,
    Patch,
    Plan,
    ProvePods,
    ProveStatus,
    Rebind,
    SampleLog,
    Step,
    WriteStatus,
)
from kubekit.client.client import Client
from kubekit.client.errors import Conflict, KubeError, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result
from kubekit.runtime.instruments import SILENCE, WorkInstruments
from kubekit.runtime.store import Key
from kubekit.runtime.workqueue import Workqueue

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasStatus)
S = TypeVar("S")
F = TypeVar("F")

_CONFLICT_PAUSE = 0.05
_CONFLICT_PAUSE_MOST = 5.0
_RETRY_MOST = 60.0
"""Seconds between two attempts at most: a right that was granted, or a server that is back, is soon made use of."""
_CRASHES = 3
"""Failures of our own in a row after which the status says so."""
_MEMORY_SLACK = 1024
_ROUNDS = 4
"""Decisions in one reconcile: a refusal, or an answer to a question, leads to the next."""


class Reconciler(Generic[T, S, F]):
    """Brings each object of a kind to its end."""

    def __init__(
        self, kind: Kind[T, S, F], *, client: Client, caches: Caches, recorder: Recorder, clock: Clock
    ) -> None:
        self.kind = kind
        self.memory = Memory(clock=clock)
        self._clock = clock
        self._surveyed = False
        self._pruned = Pruned()
        self._actor: Actor[T, S] = Actor(client, kind=kind, caches=caches, recorder=recorder, clock=clock)

    def controller(self, *, workers: int = 4, metrics: WorkInstruments = SILENCE) -> Controller:
        """Return the controller that calls this reconciler, woken by everything that an object depends on."""
        name = self.kind.name or self.kind.resource.kind.lower()
        queue: Workqueue[Key] = Workqueue(name, clock=self._clock, metrics=metrics, max_delay=_RETRY_MOST)
        controller = Controller(
            name, reconcile=self.reconcile, queue=queue, workers=workers, clock=self._clock, metrics=metrics
        )
        controller.watch(self.kind.objects)
        self.kind.connect(controller)
        return controller

    def rest(self, keys: Collection[Key]) -> None:
        """Nothing of the kind is reconciled for now: forget the objects with these keys, which are looked at anew when it is."""
        self._surveyed = False
        for key in keys:
            self.kind.forget(key)
        self.memory.keep(())

    def explain(self, key: Key) -> tuple[F, Plan[S]] | None:
        """Return what is known of an object and what would be done next, without doing it."""
        obj = self.kind.objects.store.get(key)
        if obj is None:
            return None
        facts = self.kind.gather(obj, known=self.memory.known(obj.metadata.uid), now=self._clock.now())
        return facts, self.kind.decide(facts)

    async def reconcile(self, key: Key) -> Result:
        """Take one object one step on."""
        if not self._surveyed:
            self._surveyed = True
            self.kind.survey()
        obj = self.kind.objects.store.get(key)
        if obj is None:
            self._forget(key)
            return DONE
        try:
            return await self._work_on(key, obj)
        except KubeError:
            raise
        except Exception as error:
            await self._report_defect(key, obj, error)
            raise  # the controller logs it and tries again, at most `_RETRY_MOST` seconds apart

    async def _work_on(self, key: Key, obj: T) -> Result:
        self.kind.notice(key, obj)
        for _ in range(_ROUNDS):
            current = self.kind.objects.store.get(key)
            explained = self.explain(key)
            if current is None or explained is None:
                return DONE
            result = await self._carry_out(current, *explained)
            if result is not None:
                return result
        return After(_CONFLICT_PAUSE)

    async def _carry_out(self, obj: T, facts: F, plan: Plan[S]) -> Result | None:
        """Act on a decision; return when to look again, None when what was learnt is to be decided upon at once."""
        memory, uid = self.memory, obj.metadata.uid
        memory.note_seen(uid, UNSEEN if self.kind.is_over(obj) else self.kind.seen(facts))
        due = self._spare(obj, memory.due(plan))
        can_wait = self._is_remark(obj, due) or any(isinstance(step, Patch) and step.unhurried for step in due.steps)
        if can_wait and not memory.may_remark(uid):
            return After(REMARK_PAUSE)
        learned = await self._actor.act(obj, due, memory.attempts(uid))
        self._take_note(obj, learned)
        if learned.refusal is not None:
            return None
        if learned.failed is not None:
            return self._pause_after(uid, learned.failed.error)
        effect = any(isinstance(step, Create | Delete | Patch | Annotate | Rebind | ProvePods) for step in plan.steps)
        memory.note_success(uid, effect=effect)
        if any(isinstance(step, Inquire | Locate | AskOwners | SampleLog) for step in plan.steps):
            return None  # what was learnt may be worth telling at once
        if plan == REST and self.kind.is_over(obj):
            memory.forget(uid)
        return After(plan.wake_after) if plan.wake_after is not None else DONE

    def _take_note(self, obj: T, learned: Learned[T, S]) -> None:
        """Remember and count what was learnt. Raises the defect of ours that ended the plan, if one did."""
        uid, stage = obj.metadata.uid, self.kind.stage
        for each in learned.written:
            if each.stored is not None:
                self._pruned.learn(each.status, each.stored)
        if any(stage(each.before.status) != stage(each.status) for each in learned.written):
            self.memory.note_stage(uid)
        self.memory.learn(uid, learned)
        if self.kind.speaks_by_events and learned.told is not None:
            self.memory.note_told(uid, learned.told)
        self.kind.report(learned, obj, now=self._clock.now())
        if learned.crash is not None:
            raise learned.crash

    def _pause_after(self, uid: str, error: KubeError) -> Result:
        """Return when to try again after a step that failed. Raises what is no conflict."""
        if isinstance(error, Conflict | NotFound):
            # Decided on facts that are no longer so: the watch brings the new ones.
            conflicts = self.memory.note_conflict(uid)
            return After(min(_CONFLICT_PAUSE * 2 ** min(conflicts - 1, 16), _CONFLICT_PAUSE_MOST))
        self.memory.note_failure(uid)
        raise error

    async def _report_defect(self, key: Key, obj: T, error: Exception) -> None:
        """Say in the status that the operator itself fails at this object, when it does so again and again (law L10).

        The error's text stays in the log: nobody knows what is in it (law L8). A run that is over keeps its verdict.
        """
        obj = self.kind.objects.store.get(key) or obj  # as far as it has got meanwhile
        crashes = self.memory.note_crash(obj.metadata.uid)
        if crashes < _CRASHES:
            return
        message = (
            f"the operator fails at this {self.kind.resource.kind} ({type(error).__name__}): that is a defect of datamover. It tries again, at most "
            f"{_RETRY_MOST:.0f} seconds apart. Please report it with the operator's log, which names {key.namespace}/{key.name}"
        )
        try:
            steps = self.kind.broken(obj, message, now=self._clock.now())
            if self.kind.is_over(obj):
                steps = tuple(step for step in steps if isinstance(step, Emit) and crashes == _CRASHES)
            learned = await self._actor.act(obj, Plan(steps), Attempts())
            self._take_note(obj, learned)
            problem = learned.failed.error if learned.failed is not None else None
        except Exception as another:  # noqa: BLE001 - the failure that was to be told is the one that counts
            problem = another
        if problem is not None:
            _log.info("%s: its status could not be written either", key, exc_info=problem)

    def _spare(self, obj: T, plan: Plan[S]) -> Plan[S]:
        """Return a plan without statuses that differ from the present one only in what this server drops (law L9).

        With nothing else to do the events go as well: a status that is not written does not remember that they were. Before an effect
        the status is proved in the place of being written: whoever decided on a stale one is refused.
        """
        if not len(self._pruned):
            return plan
        vain = [isinstance(step, WriteStatus) and self._pruned.same(step.status, obj.status) for step in plan.steps]
        if not any(vain):
            return plan
        left = [step for step, is_vain in zip(plan.steps, vain, strict=True) if not is_vain]
        if all(isinstance(step, Emit | Inquire | Locate | AskOwners | SampleLog) for step in left):
            return replace(plan, steps=tuple(step for step in left if not isinstance(step, Emit)))
        if any(isinstance(step, WriteStatus) for step in left):
            return plan
        steps = [ProveStatus() if is_vain else step for step, is_vain in zip(plan.steps, vain, strict=True)]
        return replace(plan, steps=tuple(steps))

    def _is_remark(self, obj: T, plan: Plan[S]) -> bool:
        """Tell whether a plan does no more than to say how a wait goes: the stage stays and nothing is done."""
        now = self.kind.stage(obj.status)

        def is_remark(step: Step[S]) -> bool:
            if isinstance(step, WriteStatus):
                return self.kind.stage(step.status) == now
            return isinstance(step, Annotate) and step.remark

        told = [step for step in plan.steps if not isinstance(step, Emit)]
        return bool(told) and all(is_remark(step) for step in told)

    def _forget(self, key: Key) -> None:
        self.kind.forget(key)
        if len(self.memory) > _MEMORY_SLACK:
            self.memory.keep({obj.metadata.uid for obj in self.kind.objects.store.list()})
