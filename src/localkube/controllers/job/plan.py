"""What a Job needs next. Pure: facts in, plan out.

The order of effects makes every end of a Pod count once, whatever is cut short (as kube-controller-manager does it): the Pod's UID is noted in
`status.uncountedTerminatedPods`, then its finalizer is dropped, then the UID becomes a number.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kubekit.words import timestamps
from kubekit.words.batch import JobCondition
from localkube.controllers.job.kinds import Job, JobStatus, Pod, Uncounted
from localkube.controllers.job.policy import fail_job_message, judge
from localkube.controllers.job.status import Draft, conclude, draft_status, note_suspension
from localkube.controllers.notice import Notice

MAX_BACKOFF = 360.0
"""Seconds; six minutes, as the Kubernetes documentation says."""
DEFAULT_BACKOFF_LIMIT = 6


@dataclass(frozen=True, slots=True)
class Facts:
    """A Job, all Pods that it controls, and the time. `backoff_base` is the pause in seconds after the first failure."""

    job: Job
    pods: tuple[Pod, ...]
    now: datetime
    backoff_base: float


@dataclass(frozen=True, slots=True)
class Plan:
    """To be done in this order: write `status`, drop finalizers of `release`, delete, create, record events.

    `withdraw` are Pods that are deleted without being counted. `wake` is in how many seconds to look again.
    """

    status: JobStatus
    release: tuple[Pod, ...] = ()
    delete: tuple[Pod, ...] = ()
    withdraw: tuple[Pod, ...] = ()
    create: int = 0
    events: tuple[Notice, ...] = ()
    wake: float | None = None
    remove: bool = False


def unsupported(job: Job) -> str | None:
    """Say what this controller cannot do for a Job, or None."""
    if job.spec.completion_mode not in (None, "NonIndexed"):
        return "Indexed Jobs are not supported by this controller; use completionMode NonIndexed"
    return None


def restart_policy(job: Job) -> str:
    """Return the Pods' restart policy."""
    spec: Any = (job.spec.template or {}).get("spec") or {}
    return str(spec.get("restartPolicy") or "Always")


@dataclass(frozen=True, slots=True)
class _Tally:
    """The Job's Pods by what they count as. `new` have ended and are not noted in the status yet; the sums include them."""

    active: list[Pod]
    terminating: list[Pod]
    ended: list[Pod]
    new: list[Pod]
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done with Pods; see `Plan`. `new` are those that are noted in the status with it."""

    release: list[Pod]
    new: list[Pod]
    delete: list[Pod] = field(default_factory=list[Pod])
    withdraw: list[Pod] = field(default_factory=list[Pod])
    create: int = 0
    wake: float | None = None


def decide(facts: Facts) -> Plan:
    """Return the plan for a Job that is not being deleted."""
    job, now = facts.job, facts.now
    if job.finished:
        return _finished(facts)
    draft = draft_status(job, facts.pods)
    tally = _count(facts, draft)
    if draft.start_time is None and not job.spec.suspend:
        draft.start_time = timestamps.seconds(now)
    target = _target(job, draft, facts, failed=tally.failed)
    if target is not None:
        work = _end_all(facts, draft, tally)
    else:
        work = _go_on(facts, tally)
        target = _success(job, tally, work, now=now)
        if target is None:
            note_suspension(draft, suspended=bool(job.spec.suspend), now=now)
    _note_ended(draft, job, work.new, failing=target is not None and target.type == "FailureTarget")
    if target is not None:
        conclude(draft, target, unfinished=bool(tally.active or tally.terminating), now=now)
    # a Job that is bound for its end waits for its Pods, not for a deadline that may be long over
    waits_for_deadline = target is None and not job.spec.suspend
    deadline = _deadline_in(job, draft.start_time, now) if waits_for_deadline else None
    return Plan(
        status=_status(draft, tally, stopped=bool(work.delete or work.withdraw)),
        release=tuple(work.release),
        delete=tuple(work.delete),
        withdraw=tuple(work.withdraw),
        create=work.create,
        events=tuple(draft.events),
        wake=_earliest(work.wake, deadline),
    )


def _count(facts: Facts, draft: Draft) -> _Tally:
    job, pods = facts.job, facts.pods
    ended = [pod for pod in pods if pod.tracked and _counts_as_ended(pod, job)]
    new = _unnoted(ended, draft)
    succeeded = draft.succeeded + len(draft.uncounted_succeeded) + sum(p.phase == "Succeeded" for p in new)
    failed = draft.failed + len(draft.uncounted_failed) + sum(_counts_as_failure(p, job) for p in new)
    return _Tally(
        active=[pod for pod in pods if not pod.finished and not pod.metadata.terminating],
        terminating=[pod for pod in pods if not pod.finished and pod.metadata.terminating],
        ended=ended,
        new=new,
        succeeded=succeeded,
        failed=failed,
    )


def _unnoted(pods: list[Pod], draft: Draft) -> list[Pod]:
    noted = {*draft.uncounted_succeeded, *draft.uncounted_failed}
    return [pod for pod in pods if pod.metadata.uid not in noted]


def _end_all(facts: Facts, draft: Draft, tally: _Tally) -> _Work:
    """The Job is bound for its end: whatever runs is deleted, and counts like what has ended."""
    tracked = [pod for pod in facts.pods if pod.tracked]
    return _Work(release=tracked, new=_unnoted(tracked, draft), delete=tally.active)


def _go_on(facts: Facts, tally: _Tally) -> _Work:
    """The Job is open: create what is missing; while it is suspended withdraw what runs."""
    if facts.job.spec.suspend:
        return _Work(release=tally.ended, new=tally.new, withdraw=tally.active)
    create, wake = _wanted(facts, tally.active, tally.terminating, succeeded=tally.succeeded, failed=tally.failed)
    return _Work(release=tally.ended, new=tally.new, create=create, wake=wake)


def _success(job: Job, tally: _Tally, work: _Work, *, now: datetime) -> JobCondition | None:
    """Return the condition of a Job that has all its successes, once nothing of it runs or is about to; else None."""
    if work.create or tally.active or not _complete(job, tally.succeeded):
        return None
    return JobCondition(
        type="SuccessCriteriaMet",
        status="True",
        reason="CompletionsReached",
        message="Reached expected number of succeeded pods",
        last_transition_time=timestamps.seconds(now),
    )


def _note_ended(draft: Draft, job: Job, pods: list[Pod], *, failing: bool) -> None:
    for pod in pods:
        if pod.phase == "Succeeded":
            draft.uncounted_succeeded.append(pod.metadata.uid)
        elif failing or _counts_as_failure(pod, job):
            draft.uncounted_failed.append(pod.metadata.uid)


def _status(draft: Draft, tally: _Tally, *, stopped: bool) -> JobStatus:
    """Return the status. `stopped`: what is active now is being deleted with this plan, so it counts as terminating."""
    active = [] if stopped else tally.active
    return JobStatus(
        active=len(active) or None,
        ready=sum(pod.ready for pod in active),
        terminating=len(tally.terminating) + len(tally.active) - len(active),
        succeeded=draft.succeeded or None,
        failed=draft.failed or None,
        start_time=draft.start_time,
        completion_time=draft.completion_time,
        conditions=tuple(draft.conditions) or None,
        uncounted_terminated_pods=Uncounted(
            succeeded=tuple(draft.uncounted_succeeded) or None, failed=tuple(draft.uncounted_failed) or None
        ),
    )


def _finished(facts: Facts) -> Plan:
    """A finished Job only keeps its Pods free of our finalizer, and goes when its time to live is over."""
    job = facts.job
    status = job.status or JobStatus()
    release = tuple(pod for pod in facts.pods if pod.tracked)
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None:
        return Plan(status=status, release=release)
    ends = [c.last_transition_time for c in (job.condition("Complete"), job.condition("Failed")) if c is not None]
    since = timestamps.parse(ends[0] or timestamps.seconds(facts.now))
    left = (since + timedelta(seconds=ttl) - facts.now).total_seconds()
    return Plan(status=status, release=release, remove=left <= 0, wake=left if left > 0 else None)


def _only_replaces_failed(job: Job) -> bool:
    return job.spec.pod_replacement_policy == "Failed" or job.spec.pod_failure_policy is not None


def _counts_as_ended(pod: Pod, job: Job) -> bool:
    """A Pod that is being deleted has ended, unless the Job waits for Pods to really fail."""
    return pod.finished or (pod.metadata.terminating and not _only_replaces_failed(job))


def _counts_as_failure(pod: Pod, job: Job) -> bool:
    if pod.phase == "Succeeded" or not _counts_as_ended(pod, job):
        return False
    return judge(job.spec.pod_failure_policy, pod).counts


def _target(job: Job, draft: Draft, facts: Facts, *, failed: int) -> JobCondition | None:
    """Return the condition that the Job is bound for, or None while it is open."""
    met = draft.condition("SuccessCriteriaMet") or draft.condition("FailureTarget")
    if met is not None:
        return met
    limit = job.spec.backoff_limit if job.spec.backoff_limit is not None else DEFAULT_BACKOFF_LIMIT
    reason, message = "PodFailurePolicy", fail_job_message(job, facts.pods)
    if message is None and (failed > limit or _restarted_too_often(job, facts.pods, limit)):
        reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = None if job.spec.suspend else _deadline_in(job, draft.start_time, facts.now)
    if message is None and left is not None and left <= 0:
        reason, message = "DeadlineExceeded", "Job was active longer than specified deadline"
    if message is None:
        return None
    return JobCondition(
        type="FailureTarget",
        status="True",
        reason=reason,
        message=message,
        last_transition_time=timestamps.seconds(facts.now),
    )


def _restarted_too_often(job: Job, pods: Iterable[Pod], limit: int) -> bool:
    """With restartPolicy OnFailure the Pod stays and its containers' restarts count."""
    if restart_policy(job) != "OnFailure":
        return False
    restarts = sum(
        status.restart_count or 0
        for pod in pods
        if not pod.finished
        for status in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ()))
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def _deadline_in(job: Job, start_time: str | None, now: datetime) -> float | None:
    if job.spec.active_deadline_seconds is None or start_time is None:
        return None
    return (timestamps.parse(start_time) - now).total_seconds() + job.spec.active_deadline_seconds


def _complete(job: Job, succeeded: int) -> bool:
    return succeeded > 0 if job.spec.completions is None else succeeded >= job.spec.completions


def _wanted(
    facts: Facts, active: list[Pod], terminating: list[Pod], *, succeeded: int, failed: int
) -> tuple[int, float | None]:
    """Return how many Pods to create now, and in how many seconds to look again."""
    job = facts.job
    parallelism = job.spec.parallelism if job.spec.parallelism is not None else 1
    if job.spec.completions is None:
        wanted = len(active) if succeeded else parallelism
    else:
        wanted = min(parallelism, job.spec.completions - succeeded)
    missing = wanted - len(active) - (len(terminating) if _only_replaces_failed(job) else 0)
    if missing <= 0:
        return 0, None
    failures = [pod for pod in facts.pods if pod.phase == "Failed" or (pod.metadata.terminating and not pod.finished)]
    last_success = max((_end(p) for p in facts.pods if p.phase == "Succeeded"), default=None)
    since_success = [p for p in failures if last_success is None or _end(p) > last_success]
    if not since_success:
        return missing, None
    count = len(since_success) if last_success is not None else max(len(since_success), failed)
    pause = min(facts.backoff_base * 2 ** min(count - 1, 32), MAX_BACKOFF)
    left = (max(_end(p) for p in since_success) - facts.now).total_seconds() + pause
    return (0, left) if left > 0 else (missing, None)


def _end(pod: Pod) -> datetime:
    """Return when a Pod ended, as far as that is known."""
    ends = [
        status.state.terminated.finished_at
        for status in pod.status.container_statuses or ()
        if status.state is not None and status.state.terminated is not None and status.state.terminated.finished_at
    ]
    if ends:
        return max(timestamps.parse(end) for end in ends)
    ready = next((c for c in pod.status.conditions or () if c.type == "Ready" and c.status == "False"), None)
    for text in (
        ready and ready.last_transition_time,
        pod.metadata.deletion_timestamp,
        pod.metadata.creation_timestamp,
    ):
        if text:
            return timestamps.parse(text)
    return timestamps.parse("1970-01-01T00:00:00Z")


def _earliest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)
