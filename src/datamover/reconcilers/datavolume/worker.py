"""Following the worker that fills a claim: started, told, started again after a pause. Pure."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.conditions import Said
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.movers.outcomes import is_running, newest
from datamover.plans.conditions import State
from datamover.plans.steps import REST, Delete, Effect, Plan, ProveSame
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filling
from datamover.reconcilers.datavolume.order import (
    order_of,
    owner_of,
    restarts_of,
    restarts_with,
    writes,
)
from datamover.reconcilers.datavolume.populated import is_replaced
from datamover.reconcilers.datavolume.shares import share_of
from datamover.reconcilers.datavolume.status import NO_PROGRESS, Told, tell
from datamover.reconcilers.datavolume.waiting import say
from datamover.runs.copy import start_mover
from datamover.runs.job import follow
from datamover.runs.order import Order
from datamover.runs.pause import pause_after
from datamover.runs.verdict import Rest, Verdict, working
from datamover.runs.wait import LITTLE
from datamover.volumes.cloning import CloneReason
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim

Decision = Plan[Any]

WITHOUT_OUTCOME: Final = (
    "the worker has ended well and left no last words, so nobody knows whether the data are on the disk: it is started again. Let the operator's mover image be "
    "one of this project"
)


def work(
    facts: Facts,
    claim: PersistentVolumeClaim,
    target: PersistentVolumeClaim,
    *,
    filling: Filling,
    wanted: Wanted,
    settings: Settings,
    done: Callable[[], Decision],
    keeper: PersistentVolumeClaim | None = None,
) -> Decision:
    """Bring the worker that writes `target` one step on. `done` says what comes when all is on the disk. Its Job is `keeper`'s, else the claim's."""
    keeper = keeper or claim
    if filling.steps:
        return Plan(filling.steps)
    run, volume = facts.run, facts.volume
    if run.job is not None and not run.job.metadata.terminating and not writes(run.job, target):
        if not owner_of(keeper).owns(run.job):
            return say(
                facts,
                None,
                reasons.NAME_TAKEN,
                f"Job {run.job.metadata.name} exists and is not of this operator's making: delete it",
            )
        return Plan(
            (Delete(JOBS, run.job.metadata),)
        )  # it was made for another claim, and its end says nothing of this one
    order = order_of(
        volume,
        claim,
        target,
        keeper=keeper,
        filling=filling,
        wanted=wanted,
        run=run,
        settings=settings,
        config=facts.config,
    )
    answer = follow(order, run) if run.job is not None else start_mover(order, run, target.metadata.name)
    if isinstance(answer, Rest):
        if _has_only_begun(facts, filling):
            begun = replace(working(reasons.SYNCHRONIZING, "the worker runs"), after=answer.steps)
            return _tell_work(facts, claim, replace(begun, wake_after=answer.wake_after), filling=filling)
        return Plan((*answer.steps, *answer.events), answer.wake_after)
    if answer.state is State.DONE:
        outcome = answer.tally.outcome if answer.tally is not None else None
        if outcome is None or not outcome.succeeded:
            lost = replace(answer, state=State.FAILED, reason=reasons.OUTCOME_MISSING, message=WITHOUT_OUTCOME)
            return _fail(facts, claim, lost, order, filling=filling)
        return _accept(facts, claim, filling=filling, done=done)
    if answer.state is State.FAILED:
        return _fail(facts, claim, answer, order, filling=filling)
    return _tell_work(facts, claim, answer, filling=filling)


def _accept(facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling, done: Callable[[], Decision]) -> Decision:
    """All is on the disk: what comes then, unless it is the copy of what nobody has looked at. Pods go by the name of what they mount, and one that came later, or once
    more, has read whatever had it then. What is copied from another namespace is asked for where it is handed over.
    """
    job, origin = facts.run.job, facts.origin
    if facts.clone.away is not None or job is None or not isinstance(origin, PersistentVolumeClaim):
        return done()  # a source that is gone by now is not needed any more
    if not is_replaced(facts, job):
        plan = done()
        proof = (ProveSame(PERSISTENT_VOLUME_CLAIMS, origin.metadata),) if plan.steps else ()
        return replace(plan, steps=(*proof, *plan.steps))
    message = f"PersistentVolumeClaim {origin.metadata.name} was replaced by another one while it was copied, so nobody knows whose data the copy has: it is copied anew"
    told = Told(filling.scheduled, CloneReason.SOURCE_REPLACED, message, progress=NO_PROGRESS)
    after = () if job.metadata.terminating else (Delete(JOBS, job.metadata),)
    return tell(facts.volume, claim, told, now=facts.run.now, after=after)


def _has_only_begun(facts: Facts, filling: Filling) -> bool:
    """Tell whether the worker runs, and nobody has been told so yet: how far it is takes a while to be known."""
    pod, status = newest(facts.run.pods), facts.volume.status
    runs = pod is not None and is_running(pod, filling.container)
    return runs and (status is None or status.phase != filling.running)


def _tell_work(facts: Facts, claim: PersistentVolumeClaim, answer: Verdict, *, filling: Filling) -> Decision:
    """Say how far the worker is."""
    job, run = facts.run.job, facts.run
    pod = newest(run.pods)
    runs = pod is not None and is_running(pod, filling.container)
    at_work = answer.state is State.WORKING
    progress = answer.tally.progress if answer.tally is not None else None
    before = facts.volume.status.progress if facts.volume.status is not None else None
    share = share_of(progress) if progress is not None else (before if runs and at_work else None)
    told = Told(
        filling.running if runs else filling.scheduled,
        Reason.TRANSFER_RUNNING if at_work else answer.reason,
        answer.message,
        running=Said("True" if runs else "False", answer.reason, answer.message),
        progress=share or NO_PROGRESS,
        restarts=max(restarts_of(facts.volume), restarts_with(job, run))
        if job is not None
        else restarts_of(facts.volume),
        kind=None if at_work else "Warning",
        cause=answer.cause,
    )
    return tell(
        facts.volume,
        claim,
        told,
        now=run.now,
        before=answer.before,
        after=answer.after,
        events=answer.events,
        wake_after=answer.wake_after,
    )


def _fail(facts: Facts, claim: PersistentVolumeClaim, answer: Verdict, order: Order, *, filling: Filling) -> Decision:
    """A worker has failed for good. Its Job stays, with its log, until the pause is over; then there is another one. It never ends by itself."""
    run, job = facts.run, facts.run.job
    if job is None:
        return REST
    restarts = restarts_with(job, run)
    left = pause_after(job, before=restarts, now=run.now)
    # counted with the Job's end, so that the next one knows of it
    counted = restarts if left else restarts + 1
    after: tuple[Effect, ...] = (Delete(JOBS, job.metadata),) if not left and order.owner.owns(job) else ()
    told = Told(
        filling.scheduled,
        answer.reason,
        answer.message,
        progress=NO_PROGRESS,
        restarts=max(restarts_of(facts.volume), counted),
        cause=answer.reason if left or not _is_told(facts, answer.reason) else None,
    )
    return tell(
        facts.volume,
        claim,
        told,
        now=run.now,
        before=answer.before,
        after=() if job.metadata.terminating else after,
        wake_after=left + LITTLE if left else None,
    )


def _is_told(facts: Facts, reason: str) -> bool:
    status = facts.volume.status
    ready = status.condition(names.ConditionType.READY) if status is not None else None
    return ready is not None and ready.reason == reason
