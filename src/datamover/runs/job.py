"""Following the mover's Job to its end. Pure.

Only the Job's conditions tell success and failure: a failed Pod is an attempt, and there are three (documents).
"""

from dataclasses import replace

from datamover.api import reasons
from datamover.movers.outcomes import find_hindrance, has_ended, is_running, newest
from datamover.plans.conditions import State
from datamover.plans.steps import Effect, Emit, suspend
from datamover.runs.attempts import count_attempts
from datamover.runs.ending import end
from datamover.runs.facts import RunFacts
from datamover.runs.failure import lost_copy, stop_mover
from datamover.runs.order import Order
from datamover.runs.preflight import check_restored, tell
from datamover.runs.progress import follow_progress
from datamover.runs.proof import prove_copy_gone
from datamover.runs.record import Stage
from datamover.runs.removal import await_removal, describe_lost, find_lost
from datamover.runs.retry import tell_failure, tell_retry
from datamover.runs.trigger import close_round
from datamover.runs.verdict import Answer, News, Rest, Tally, Verdict, blocked, refused, working
from datamover.runs.wait import LITTLE, age_of, wait_for
from datamover.volumes.binding import is_bound, is_lost
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, Pod

_NOT_SCHEDULED = "FailedScheduling"


def follow(order: Order, facts: RunFacts) -> Answer:
    """Return what the Job's state asks for."""
    job = facts.job
    if job is None:
        return Rest()
    if job.metadata.terminating:
        return await_removal(
            order,
            facts,
            JOBS,
            job,
            cause=reasons.MOVER_REMOVAL_WAITING,
            purpose="Another Job is made when it is gone",
            action="Synchronize",
        )
    if not order.owner.holds(job):
        message = f"Job {job.metadata.name} exists and is not this {order.fields.kind}'s: delete or rename it"
        # its end is told to its owner, not to us
        wake = facts.patience.inquire_interval
        return blocked(reasons.NAME_TAKEN, message, action="Synchronize", wake_after=wake)
    if order.record.stage is not Stage.MOVING:
        return _enter(job)
    ended = end(order, facts, job)
    if ended is not None:
        return ended
    if is_suspended(job):
        return _resume(order, facts, job)
    lost, due = find_lost(facts)
    if lost:
        return blocked(reasons.MOVER_NODE_LOST, describe_lost(order, lost), action="Synchronize")
    answer = _watch(order, facts, job)
    return answer if due is None else replace(answer, wake_after=min(due, answer.wake_after or due))


def hold(order: Order, facts: RunFacts) -> Answer:
    """Stop the mover, as somebody wishes, and begin nothing new. A copy that is taken for a trigger is told when it is there all the same."""
    closing = close_round(order, facts)
    if closing is not None and (closing.steps or closing.facets):
        return closing
    stop: tuple[Effect, ...] = ()
    job = facts.job
    if job is not None and order.owner.holds(job) and _is_active(job):
        refusal = facts.refused(patch=True)
        if refusal is not None:
            return refused(refusal, action="Suspend")
        stop = (suspend(job.metadata, yes=True),)
    told = suspended(order.fields.suspend)
    return replace(told, before=stop, wake_after=closing.wake_after if closing is not None else None)


def suspended(field: str) -> Verdict:
    """Return that nothing is begun, because somebody wishes so by this field."""
    event = Emit("Normal", reasons.SUSPENDED, f"suspended by {field}", "Suspend")
    return Verdict(
        State.SUSPENDED,
        reasons.SUSPENDED,
        f"suspended: set {field} to false to go on",
        "Suspend",
        events=(event,),
    )


def is_suspended(job: Job) -> bool:
    """Tell whether a Job is to have no Pods until it is resumed."""
    return job.spec is not None and bool(job.spec.suspend)


def _is_active(job: Job) -> bool:
    return not is_suspended(job) and not job.ended


def _enter(job: Job) -> Answer:
    """The Job is there but not recorded yet: a crash, or another replica, came in between."""
    told = working(reasons.JOB_CREATED, f"Job {job.metadata.name} moves the data")
    return replace(told, stage=Stage.MOVING, job=job.metadata.name)


def _resume(order: Order, facts: RunFacts, job: Job) -> Answer:
    """The run is no longer suspended: let the Job go on, and say so. What reads the source itself begins to read it anew."""
    written = check_restored(order.copy, order.fields, facts) if order.copy.direct else None
    if written is not None:
        return tell(written, action="Resume")
    refusal = facts.refused(patch=True)
    if refusal is not None:
        return refused(refusal, action="Resume")
    going = working(reasons.JOB_CREATED, f"Job {job.metadata.name} goes on")
    return replace(going, before=(suspend(job.metadata, yes=False),))


def _watch(order: Order, facts: RunFacts, job: Job) -> Answer:
    """The mover is on its way: say why when it does not start, and how far it is when it runs."""
    record, container = order.record, order.transfer.container
    pod = newest(facts.pods)
    attempts = count_attempts(job, facts.pods)
    begun = pod is not None and (is_running(pod, container) or has_ended(pod))
    if not begun and not order.copy.direct and _is_copy_lost(order, facts):
        return _lose_copy(order, facts, job)
    if pod is None:
        return _await_pod(facts, job)
    hindered = _tell_hindrance(order, facts, pod, attempts=attempts)
    if hindered is not None:
        return hindered
    if has_ended(pod):
        return tell_failure(order, facts, job, pod)
    if attempts > max(record.attempts, 1):
        return tell_retry(order, facts, attempts=attempts)
    if not is_running(pod, container):
        return _await_start(order, facts, pod)
    if record.halted and record.reason != reasons.NO_PROGRESS:
        return working(reasons.SYNCHRONIZING, "the mover runs")  # what held it up is over
    return follow_progress(order, facts, pod, attempts=attempts)


def _is_copy_lost(order: Order, facts: RunFacts) -> bool:
    """Tell whether no mover can start with the copy any more. Nobody provisions a volume for a claim that is going."""
    claim = facts.claim
    if claim is None or not order.owner.holds(claim):
        return True
    return is_lost(claim) or (claim.metadata.terminating and not is_bound(claim))


def _lose_copy(order: Order, facts: RunFacts, job: Job) -> Answer:
    """The copy, or its volume, went before the mover could start: stop the Job, which would wait for it for ever."""
    stop, also = stop_mover(order, facts, job)
    return replace(lost_copy(order, facts, also=also), before=(*prove_copy_gone(order, facts), *stop))


def _await_pod(facts: RunFacts, job: Job) -> Answer:
    if job.status is not None and (job.status.active or job.status.failed):
        return Rest()  # it has one, which is not in the caches yet
    subject = f"Job {job.metadata.name} has no Pod"
    return wait_for(facts, JOBS.kind, job.metadata, cause=reasons.MOVER_CANNOT_START, subject=subject)


def _await_start(order: Order, facts: RunFacts, pod: Pod) -> Answer:
    """Nobody complains, but the mover does not run: a volume that is not made, attached or mounted is told by events only."""
    claim = facts.claim
    # A volume that was made a moment after the Pod has left such a warning at nearly every Pod, and it is no reason why an image takes long.
    over = (_NOT_SCHEDULED,) if pod.spec is not None and pod.spec.node_name else ()
    unbound = claim if not order.copy.direct and claim is not None and not is_bound(claim) else None
    return wait_for(
        facts,
        PERSISTENT_VOLUME_CLAIMS.kind if unbound is not None else PODS.kind,
        unbound.metadata if unbound is not None else pod.metadata,
        cause=reasons.MOVER_CANNOT_START,
        subject=f"Pod {pod.metadata.name} does not start",
        over=over,
    )


def _tell_hindrance(order: Order, facts: RunFacts, pod: Pod, *, attempts: int) -> Answer | None:
    """Return why the Pod does not start, once it has had time to; None when nothing is known to stand against it."""
    found = find_hindrance(pod, fields=order.fields)
    if found is None:
        return None
    age = age_of(pod.metadata.creation_timestamp, facts.now)
    if age < found.patience:
        return Rest(wake_after=found.patience - age + LITTLE)
    # of an image that cannot be pulled the node speaks in two ways by turns
    news = News.REASON if found.reason == reasons.IMAGE_PULL_FAILED else News.WORDS
    told = blocked(found.reason, found.message, action="Synchronize", news=news)
    return replace(told, tally=Tally(attempts))
