"""Ending a run because somebody wishes so: once, honestly, and with nothing temporary left (laws L4, L5). Pure.

    wished for ──► recorded ──► the mover is stopped, and has ended ──► Job, copy and snapshot go ──► over: Failed, with the reason Cancelled
        │                            └─ it had done all before: a success stays one
        └─ the run has an end already: that counts

What is recorded is not taken back (law L6): a run of which the mover is stopped and the copy removed cannot go on. The stage stays what it was, for
nothing says that the data are moved.
"""

from dataclasses import replace
from typing import Final

from datamover.api import reasons
from datamover.movers.outcomes import has_ended, newest, read_outcome
from datamover.plans.conditions import Said, State
from datamover.plans.steps import Delete, Effect, ProvePods, suspend
from datamover.runs.attempts import count_attempts, ended_so
from datamover.runs.cleanup import complete, remove
from datamover.runs.ending import succeed
from datamover.runs.facts import RunFacts
from datamover.runs.job import is_suspended
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.removal import await_pods
from datamover.runs.trigger import close_round
from datamover.runs.verdict import Answer, Facet, News, Rest, Tally, Verdict, refused, working
from kubekit.words.batch import JOBS, Job

ACTION: Final = "Cancel"


def is_to_be_cancelled(order: Order, facts: RunFacts, *, wished: bool) -> bool:
    """Tell whether a run that has not ended is to be cancelled. A mover that has ended is judged by its outcome, and what is moved is moved."""
    if order.record.stage >= Stage.CLEANING:
        return False
    if order.record.cancelled is not None:
        return True
    job = facts.job
    decided = job is not None and order.owner.holds(job) and job.ended and not job.metadata.terminating
    return wished and not decided


def everything(order: Order) -> Order:
    """Return the order of a run that is cancelled: all that it made is temporary, for nobody can use it."""
    transfers = tuple(replace(transfer, temporary=True) for transfer in order.transfers)
    # how long a removal takes counts from when the run was cancelled
    record = replace(order.record, since=order.record.cancelled)
    return replace(order, copy=replace(order.copy, temporary=True), transfers=transfers, record=record)


def cancel(order: Order, facts: RunFacts) -> Answer:
    """Take the end of a run that `is_to_be_cancelled` one step on. Whoever was told to hold an application still for a copy is told first that it is taken."""
    closing = close_round(order, facts)
    if closing is not None and (closing.steps or closing.facets):
        return closing
    job = facts.job if order.owner.holds(facts.job) else None
    if order.record.cancelled is None:
        told = _at_work(order, "the run is being cancelled")
        return replace(told, news=News.CHANGED, tally=Tally(_count(job, facts)))
    moved = _find_success(order, facts, job) if job is not None else None
    if moved is not None:
        return moved
    return _stop(order, facts, job) or _remove(order, facts, job)


def cancelled_unbegun(field: str) -> Verdict:
    """Return the end of what was cancelled before it had a run: nothing was done, so nothing is to be removed."""
    message = f"cancelled by {field}"
    facets: dict[Facet, Said] = {Facet.MOVE: ("False", reasons.CANCELLED, message)}
    return Verdict(State.FAILED, reasons.CANCELLED, message, ACTION, facets=facets)


def refuse_retry(field: str, reason: str) -> Verdict:
    """Return the answer to a retry that is asked for while the run is not wanted. `reason` is the one that it ended with, which stays."""
    message = f"a retry is asked for, and nothing begins, because {field} is true: set it to false"
    return Verdict(State.BLOCKED, reason, message, ACTION, announced=True)


def _find_success(order: Order, facts: RunFacts, job: Job) -> Answer | None:
    """Return what follows when the mover had done all before it was told to end; None when it had not.

    Pods and Jobs come by different watches: what a Pod says is not waited for until its Job says so too.
    """
    pods = ended_so(facts.pods, "Succeeded")
    # the exit code of somebody else's image says nothing after a SIGTERM
    proved = any(read_outcome(pod, order.transfer.container) or not pod.metadata.terminating for pod in pods)
    complete = job.condition("Complete") is not None and not pods
    if job.metadata.terminating or not (proved or complete):
        return None
    found = succeed(order, facts, job)
    return None if isinstance(found, Verdict) and found.state is State.FAILED else found


def _stop(order: Order, facts: RunFacts, job: Job | None) -> Answer | None:
    """Stop the mover, and wait for its end; None when none is left. Its last words say what it leaves, so the Job goes only after them."""
    told = _at_work(order, "the mover is being stopped")
    if job is not None and not job.ended and not job.metadata.terminating and not is_suspended(job):
        refusal = facts.refused(patch=True)
        return refused(refusal, action=ACTION) if refusal is not None else Rest((suspend(job.metadata, yes=True),))
    living = tuple(pod for pod in (*facts.pods, *facts.strays) if not has_ended(pod))
    if living:
        return await_pods(
            order,
            facts,
            living,
            cause=reasons.MOVER_REMOVAL_WAITING,
            purpose="The run is over when they have",
            told=told,
        )
    # one that the caches do not show yet
    active = job is not None and not job.metadata.terminating and job.status is not None and bool(job.status.active)
    return told if active else None


def _remove(order: Order, facts: RunFacts, job: Job | None) -> Answer:
    whole = everything(order)
    answer = remove(whole, facts, wait=True)
    if answer is None:
        return _finish(whole, facts)
    if isinstance(answer, Verdict) or not answer.steps:
        return answer
    last = newest(facts.pods)
    outcome = read_outcome(last, order.transfer.container) if last is not None else None
    return replace(
        _at_work(order, "what was temporary is being removed"),
        news=News.CHANGED,
        tally=Tally(_count(job, facts), outcome=outcome),
        before=(ProvePods(order.owner.uid),),  # one that writes must not lose its copy, nor its last words
        after=tuple(_as_seen(step) for step in answer.steps),
        wake_after=answer.wake_after,
    )


def _as_seen(step: Effect) -> Effect:
    """The Job goes only as it was looked at: it may have been completed since (law L7)."""
    return replace(step, as_seen=True) if isinstance(step, Delete) and step.resource is JOBS else step


def _finish(whole: Order, facts: RunFacts) -> Verdict:
    found = complete(whole, facts)
    return replace(
        found,
        state=State.FAILED,
        reason=reasons.CANCELLED,
        message=f"cancelled by {whole.fields.cancel}",
        action=ACTION,
        stage=None,
        facets={**found.facets, **_told(whole)},
    )


def _at_work(order: Order, message: str) -> Verdict:
    told = working(reasons.CANCELLING, message, action=ACTION, news=News.HALTED)
    return replace(told, facets=_told(order))


def _told(order: Order) -> dict[Facet, Said]:
    return {Facet.MOVE: ("False", reasons.CANCELLED, f"cancelled by {order.fields.cancel}")}


def _count(job: Job | None, facts: RunFacts) -> int | None:
    """Return how many attempts are known of; None for none: what was recorded before counts then."""
    return (count_attempts(job, facts.pods) if job is not None else len(facts.pods)) or None
