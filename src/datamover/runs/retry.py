"""A mover that has failed and is tried again: why, and how often yet (law L10). Pure."""

from dataclasses import replace

from datamover.api import amounts, reasons
from datamover.movers.outcomes import describe_end, is_disrupted, read_outcome
from datamover.plans.steps import Emit
from datamover.runs.attempts import count_attempts, ended_so, have_all_ended, name_cause
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.verdict import Answer, Rest, Tally, working
from kubekit.words.batch import Job
from kubekit.words.core import Pod


def tell_failure(order: Order, facts: RunFacts, job: Job, pod: Pod) -> Answer:
    """Return that the last attempt, in `pod`, has ended, and that another one follows; nothing while the Job's own end may be about to come.

    That is told once, and stays told until the next attempt begins. A Pod that a drained node ended is no attempt, and replaced at once.
    """
    left = _attempts_left(job)
    if left is None or is_disrupted(pod) or not _has_counted_all(job, facts.pods):
        return Rest()
    container = order.transfer.container
    failed, cause = (
        (job.status.failed or 0) if job.status else 0,
        name_cause(read_outcome(pod, container), (pod,), container),
    )
    message = (
        f"attempt {failed} of {failed + left} failed, and another one follows after a pause ({amounts.count(left, 'attempt')} left): "
        f"{cause}: {_describe(pod, container)}"
    )
    return replace(
        working(reasons.ATTEMPT_FAILED, message),
        tally=Tally(count_attempts(job, facts.pods)),
        cause=cause,
        events=(Emit("Warning", reasons.ATTEMPT_FAILED, message, "Synchronize"),),
    )


def tell_retry(order: Order, facts: RunFacts, *, attempts: int) -> Answer:
    """Return that another attempt has begun, with an event where the failure of the one before was told to nobody."""
    container = order.transfer.container
    failed = ended_so(facts.pods, "Failed")
    why = _describe(failed[0], container) if failed else "the attempt before failed"
    message = f"attempt {attempts}: {why}"
    told = replace(working(reasons.RETRYING, message), tally=Tally(attempts))
    if order.record.reason == reasons.ATTEMPT_FAILED and order.record.attempts == attempts - 1:
        return told
    return replace(
        told,
        cause=name_cause(read_outcome(failed[0], container) if failed else None, facts.pods, container),
        events=(Emit("Warning", reasons.RETRYING, message, "Synchronize"),),
    )


def _has_counted_all(job: Job, pods: tuple[Pod, ...]) -> bool:
    """Tell whether the Job counts just the attempts that are seen to have failed. Jobs and Pods come by different watches, and either may be behind."""
    seen = sum(not is_disrupted(pod) for pod in ended_so(pods, "Failed"))
    return job.status is not None and seen <= (job.status.failed or 0) and have_all_ended(job, pods)


def _attempts_left(job: Job) -> int | None:
    """Return how many attempts the Job may still make, None where it makes none now: it has an active one, has failed, or has not counted the last one."""
    status, limit = job.status, job.spec.backoff_limit if job.spec is not None else None
    if status is None or limit is None or not status.failed or status.active or status.succeeded:
        return None
    if job.ended or job.condition("FailureTarget") is not None or job.condition("SuccessCriteriaMet") is not None:
        return None
    left = limit + 1 - status.failed
    return left if left > 0 else None


def _describe(pod: Pod, container: str) -> str:
    said = read_outcome(pod, container)
    return said.message if said is not None and said.message else describe_end(pod, container)
