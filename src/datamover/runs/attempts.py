"""The Pods of a Job, one an attempt: how many there were, in which order, and what became of them. Pure."""

from datamover.api import reasons
from datamover.api.outside import known
from datamover.api.transfer import REASON_OUT_OF_MEMORY, REASON_SUCCEEDED, Outcome
from datamover.movers.outcomes import KNOWN_REASONS, has_ended, ran_out_of_memory
from datamover.runs.facts import RunFacts
from datamover.runs.wait import age_of
from kubekit.words.batch import Job
from kubekit.words.core import Pod


def newest_first(pods: tuple[Pod, ...]) -> list[Pod]:
    """Return the Pods, the one of the last attempt first."""
    return sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name), reverse=True)


def ended_so(pods: tuple[Pod, ...], phase: str) -> tuple[Pod, ...]:
    """Return the Pods that ended in this phase, the last one first."""
    return tuple(pod for pod in newest_first(pods) if pod.status is not None and pod.status.phase == phase)


def count_attempts(job: Job, pods: tuple[Pod, ...]) -> int:
    """Return how many Pods there were: as many as the Job counts, or as are seen."""
    status = job.status
    counted = (status.failed or 0) + (status.succeeded or 0) + (status.active or 0) if status else 0
    return max(counted, len(pods))


def have_all_ended(job: Job, pods: tuple[Pod, ...]) -> bool:
    """Tell whether every Pod that the Job counts is seen to have ended."""
    status = job.status
    counted = (status.failed or 0) + (status.succeeded or 0) if status else 0
    return 0 < counted <= sum(has_ended(pod) for pod in pods)


def time_for_last_words(facts: RunFacts, job: Job) -> float:
    """Return the seconds that the Pods' last words may still take to arrive: Jobs and Pods come by different watches.

    Nothing is waited for when every Pod that the Job counts is seen to have ended.
    """
    if have_all_ended(job, facts.pods):
        return 0.0
    status = job.status
    moment = status.completion_time if status else None
    for condition in (status.conditions if status else None) or ():
        moment = moment or condition.last_transition_time
    return facts.patience.outcome - age_of(moment, facts.now) if moment else 0.0


def name_failure(outcome: Outcome) -> str:
    """Return the outcome's reason; `MoverFailed` for one that our own agent does not give for a failure."""
    return known(outcome.reason, KNOWN_REASONS - {REASON_SUCCEEDED}, otherwise=reasons.MOVER_FAILED)


def name_cause(outcome: Outcome | None, pods: tuple[Pod, ...], container: str) -> str:
    """Return the reason of an attempt that failed, of a closed list: it becomes a metric's label."""
    if outcome is not None:
        return known(outcome.reason, KNOWN_REASONS, otherwise=reasons.MOVER_FAILED)
    return REASON_OUT_OF_MEMORY if any(ran_out_of_memory(pod, container) for pod in pods) else reasons.MOVER_FAILED
