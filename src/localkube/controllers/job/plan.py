"""What a Job needs next. Pure: facts in, plan out.

The order of effects makes every end of a Pod count once, whatever is cut short (as kube-controller-manager does it): the Pod's UID is noted in
`status.uncountedTerminatedPods`, then its finalizer is dropped, then the UID becomes a number.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from kubekit.words import timestamps
from kubekit.words.batch import JobCondition
from localkube.controllers.job.policy import fail_job_message, judge
from localkube.controllers.job.words import Job, JobStatus, Pod, Uncounted

MAX_BACKOFF = 360.0
"""Seconds; six minutes, as the Kubernetes documentation says."""
DEFAULT_BACKOFF_LIMIT = 6


@dataclass(frozen=True, slots=True)
class Event:
    """What people are told."""

    type: str
    reason: str
    message: str


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
    events: tuple[Event, ...] = ()
    wake: float | None = None
    remove: bool = False


@dataclass(slots=True)
class _Draft:
    """A status in the making."""

    conditions: list[JobCondition]
    uncounted_succeeded: list[str]
    uncounted_failed: list[str]
    succeeded: int
    failed: int
    start_time: str | None
    completion_time: str | None
    events: list[Event] = field(default_factory=list[Event])

    def condition(self, type_: str) -> JobCondition | None:
        """Return the condition when it is True."""
        return next((c for c in self.conditions if c.type == type_ and c.status == "True"), None)

    def set(self, type_: str, status: str, reason: str, message: str, now: str) -> bool:
        """Set a condition; a False one that is not there yet is not added. Tell whether that changed anything."""
        for index, condition in enumerate(self.conditions):
            if condition.type == type_:
                if condition.status == status:
                    return False
                self.conditions[index] = JobCondition(
                    type=type_, status=status, reason=reason, message=message, last_transition_time=now
                )
                return True
        if status != "True":
            return False
        self.conditions.append(
            JobCondition(type=type_, status=status, reason=reason, message=message, last_transition_time=now)
        )
        return True


def unsupported(job: Job) -> str | None:
    """Say what this controller cannot do for a Job, or None."""
    if job.spec.completion_mode not in (None, "NonIndexed"):
        return "Indexed Jobs are not supported by this controller; use completionMode NonIndexed"
    return None


def restart_policy(job: Job) -> str:
    """Return the Pods' restart policy."""
    spec: Any = (job.spec.template or {}).get("spec") or {}
    return str(spec.get("restartPolicy") or "Always")


def decide(facts: Facts) -> Plan:
    """Return the plan for a Job that is not being deleted."""
    job, now = facts.job, facts.now
    if job.finished:
        return _finished(facts)
    draft = _draft(job, facts.pods)
    active = [pod for pod in facts.pods if not pod.finished and not pod.metadata.terminating]
    terminating = [pod for pod in facts.pods if not pod.finished and pod.metadata.terminating]
    ended = [pod for pod in facts.pods if pod.tracked and _counts_as_ended(pod, job)]
    new = [p for p in ended if p.metadata.uid not in {*draft.uncounted_succeeded, *draft.uncounted_failed}]
    succeeded = draft.succeeded + len(draft.uncounted_succeeded) + sum(p.phase == "Succeeded" for p in new)
    failed = draft.failed + len(draft.uncounted_failed) + sum(_counts_as_failure(p, job) for p in new)
    suspended = bool(job.spec.suspend)
    if draft.start_time is None and not suspended:
        draft.start_time = timestamps.seconds(now)
    target = _target(job, draft, facts, failed=failed)
    delete: list[Pod] = []
    withdraw: list[Pod] = []
    create, wake = 0, None
    if target is not None:
        delete = active
        release = [pod for pod in facts.pods if pod.tracked]
        new = [p for p in release if p.metadata.uid not in {*draft.uncounted_succeeded, *draft.uncounted_failed}]
    else:
        release = ended
        if suspended:
            withdraw = active
        else:
            create, wake = _wanted(facts, active, terminating, succeeded=succeeded, failed=failed)
        if not create and not active and _complete(job, succeeded):
            target = JobCondition(
                type="SuccessCriteriaMet",
                status="True",
                reason="CompletionsReached",
                message="Reached expected number of succeeded pods",
                last_transition_time=timestamps.seconds(now),
            )
        else:
            _note_suspension(draft, suspended=suspended, now=now)
    for pod in new:
        if pod.phase == "Succeeded":
            draft.uncounted_succeeded.append(pod.metadata.uid)
        elif _counts_as_failure(pod, job) or (target is not None and target.type == "FailureTarget"):
            draft.uncounted_failed.append(pod.metadata.uid)
    if target is not None:
        _conclude(draft, target, unfinished=bool(active or terminating), now=now)
    remaining = 0 if delete or withdraw else len(active)
    status = JobStatus(
        active=remaining or None,
        ready=0 if delete or withdraw else sum(pod.ready for pod in active),
        terminating=len(terminating) + (len(active) - remaining),
        succeeded=draft.succeeded or None,
        failed=draft.failed or None,
        start_time=draft.start_time,
        completion_time=draft.completion_time,
        conditions=tuple(draft.conditions) or None,
        uncounted_terminated_pods=Uncounted(
            succeeded=tuple(draft.uncounted_succeeded) or None, failed=tuple(draft.uncounted_failed) or None
        ),
    )
    return Plan(
        status=status,
        release=tuple(release),
        delete=tuple(delete),
        withdraw=tuple(withdraw),
        create=create,
        events=tuple(draft.events),
        # a Job that is bound for its end waits for its Pods, not for a deadline that may be long over
        wake=_earliest(wake, _deadline_in(job, draft.start_time, now) if target is None and not suspended else None),
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


def _draft(job: Job, pods: Iterable[Pod]) -> _Draft:
    """Begin from what is recorded; what was noted and has lost its finalizer becomes a number."""
    status = job.status or JobStatus()
    noted = status.uncounted_terminated_pods or Uncounted()
    tracked = {pod.metadata.uid for pod in pods if pod.tracked}
    succeeded, failed = noted.succeeded or (), noted.failed or ()
    return _Draft(
        conditions=list(status.conditions or ()),
        uncounted_succeeded=[uid for uid in succeeded if uid in tracked],
        uncounted_failed=[uid for uid in failed if uid in tracked],
        succeeded=(status.succeeded or 0) + sum(uid not in tracked for uid in succeeded),
        failed=(status.failed or 0) + sum(uid not in tracked for uid in failed),
        start_time=status.start_time,
        completion_time=status.completion_time,
    )


def _only_replaces_failed(job: Job) -> bool:
    return job.spec.pod_replacement_policy == "Failed" or job.spec.pod_failure_policy is not None


def _counts_as_ended(pod: Pod, job: Job) -> bool:
    """A Pod that is being deleted has ended, unless the Job waits for Pods to really fail."""
    return pod.finished or (pod.metadata.terminating and not _only_replaces_failed(job))


def _counts_as_failure(pod: Pod, job: Job) -> bool:
    if pod.phase == "Succeeded" or not _counts_as_ended(pod, job):
        return False
    return judge(job.spec.pod_failure_policy, pod).counts


def _target(job: Job, draft: _Draft, facts: Facts, *, failed: int) -> JobCondition | None:
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


def _note_suspension(draft: _Draft, *, suspended: bool, now: datetime) -> None:
    moment = timestamps.seconds(now)
    if suspended:
        if draft.set("Suspended", "True", "JobSuspended", "Job suspended", moment):
            draft.events.append(Event("Normal", "Suspended", "Job suspended"))
            draft.start_time = None
    elif draft.set("Suspended", "False", "JobResumed", "Job resumed", moment):
        draft.events.append(Event("Normal", "Resumed", "Job resumed"))
        draft.start_time = moment  # the deadline counts active time only


def _conclude(draft: _Draft, target: JobCondition, *, unfinished: bool, now: datetime) -> None:
    """Say where the Job is bound for; once everything is counted and gone, say that it is there."""
    moment = timestamps.seconds(now)
    reason, message = target.reason or "", target.message or ""
    draft.set(target.type, "True", reason, message, moment)
    if unfinished or draft.uncounted_succeeded or draft.uncounted_failed:
        return
    if target.type == "SuccessCriteriaMet":
        draft.set("Complete", "True", reason, message, moment)
        draft.completion_time = moment
        draft.events.append(Event("Normal", "Completed", "Job completed"))
    else:
        draft.set("Failed", "True", reason, message, moment)
        draft.events.append(Event("Warning", reason, message))


def _earliest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


def status_patch(before: JobStatus | None, after: JobStatus) -> dict[str, object]:
    """Return the merge patch between two statuses, with null for what goes; empty when they are the same."""
    return _difference(msgspec.to_builtins(before or JobStatus()), msgspec.to_builtins(after))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, object]:
    patch: dict[str, object] = {}
    for key in sorted({*old, *new}):
        was, will = old.get(key), new.get(key)
        if was == will:
            continue
        if isinstance(was, dict) and isinstance(will, dict):
            patch[key] = _difference(cast("dict[str, Any]", was), cast("dict[str, Any]", will))
        else:
            patch[key] = will
    return patch
