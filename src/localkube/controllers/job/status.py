"""The status of a Job in the making: what is recorded, its conditions, and the patch that writes it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import msgspec

from kubekit.words import timestamps
from kubekit.words.batch import JobCondition
from localkube.controllers.job.kinds import Job, JobStatus, Pod, Uncounted
from localkube.controllers.notice import Notice


@dataclass(slots=True)
class Draft:
    """A status in the making."""

    conditions: list[JobCondition]
    uncounted_succeeded: list[str]
    uncounted_failed: list[str]
    succeeded: int
    failed: int
    start_time: str | None
    completion_time: str | None
    events: list[Notice] = field(default_factory=list[Notice])

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


def draft_status(job: Job, pods: Iterable[Pod]) -> Draft:
    """Begin from what is recorded; what was noted and has lost its finalizer becomes a number."""
    status = job.status or JobStatus()
    noted = status.uncounted_terminated_pods or Uncounted()
    tracked = {pod.metadata.uid for pod in pods if pod.tracked}
    succeeded, failed = noted.succeeded or (), noted.failed or ()
    return Draft(
        conditions=list(status.conditions or ()),
        uncounted_succeeded=[uid for uid in succeeded if uid in tracked],
        uncounted_failed=[uid for uid in failed if uid in tracked],
        succeeded=(status.succeeded or 0) + sum(uid not in tracked for uid in succeeded),
        failed=(status.failed or 0) + sum(uid not in tracked for uid in failed),
        start_time=status.start_time,
        completion_time=status.completion_time,
    )


def note_suspension(draft: Draft, *, suspended: bool, now: datetime) -> None:
    """Say that the Job is suspended, or is so no more."""
    moment = timestamps.seconds(now)
    if suspended:
        if draft.set("Suspended", "True", "JobSuspended", "Job suspended", moment):
            draft.events.append(Notice("Normal", "Suspended", "Job suspended"))
            draft.start_time = None
    elif draft.set("Suspended", "False", "JobResumed", "Job resumed", moment):
        draft.events.append(Notice("Normal", "Resumed", "Job resumed"))
        draft.start_time = moment  # the deadline counts active time only


def conclude(draft: Draft, target: JobCondition, *, unfinished: bool, now: datetime) -> None:
    """Say where the Job is bound for; once everything is counted and gone, say that it is there."""
    moment = timestamps.seconds(now)
    reason, message = target.reason or "", target.message or ""
    draft.set(target.type, "True", reason, message, moment)
    if unfinished or draft.uncounted_succeeded or draft.uncounted_failed:
        return
    if target.type == "SuccessCriteriaMet":
        draft.set("Complete", "True", reason, message, moment)
        draft.completion_time = moment
        draft.events.append(Notice("Normal", "Completed", "Job completed"))
    else:
        draft.set("Failed", "True", reason, message, moment)
        draft.events.append(Notice("Warning", reason, message))


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
