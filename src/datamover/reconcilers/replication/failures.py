"""Jobs that fail: how many there were, and how long is waited before the next one. Pure.

The count is on the Job: it is made with the number of failures before it. So one that is looked at twice is counted once, and a restart of the
operator forgets nothing.

The status counts them too, so it tells which Job's failure was told. Of one Job two replicas know different things, for Pods come by a watch of
their own: that it goes on, that it failed, or why. Each would put the other right. So a failure that was told stays, and what was told of it
gives way only to who knows more (law L9).
"""

import re
from datetime import datetime
from typing import Final

from datamover.api import reasons
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import FAILURES_ANNOTATION, ConditionType
from datamover.runs.pause import pause_after
from kubekit.words.batch import Job

_MOST: Final = 1_000_000
_COUNTED: Final = re.compile(r"^([0-9]{1,6}) failures? in a row")
_VAGUE: Final = frozenset({reasons.MOVER_FAILED, reasons.BACKOFF_LIMIT_EXCEEDED})
"""Reasons of a failure of which nobody has seen the mover's own words."""


def failures_of(job: Job) -> int:
    """Return how many Jobs of a synchronisation have failed with this one."""
    said = job.metadata.annotation(FAILURES_ANNOTATION) or ""
    before = int(said) if said.isascii() and said.isdigit() and len(said) <= len(str(_MOST)) else 0
    return min(before, _MOST) + 1


def pause_left(job: Job, now: datetime) -> float:
    """Return the seconds until the next Job: the pause doubles with each failure."""
    return pause_after(job, before=failures_of(job) - 1, now=now)


def count_in_words(failures: int) -> str:
    """Return what a message about failures begins with; nothing when there are none. `failures_in` reads it."""
    return f"{failures} failure{'' if failures == 1 else 's'} in a row: " if failures else ""


def failures_in(message: str) -> int:
    """Return the number of failures that our own message of them begins with; 0 for any other message."""
    found = _COUNTED.match(message)
    return int(found[1]) if found else 0


def told_failures(status: CommonStatus) -> int:
    """Return how many Jobs of this synchronisation have failed, as the status says."""
    said = status.condition(ConditionType.STALLED)
    return failures_in(said.message) if said is not None and said.status == "True" else 0


def is_told(job: Job, status: CommonStatus) -> bool:
    """Tell whether the status says already that this Job has failed. A Job that was not made by us carries no count."""
    return job.metadata.annotation(FAILURES_ANNOTATION) is not None and told_failures(status) >= failures_of(job)


def says_more(status: CommonStatus, job: Job, reason: str) -> bool:
    """Tell whether a failure of this Job with this reason is worth telling beside what the status says."""
    if not is_told(job, status):
        return True
    said = status.condition(ConditionType.STALLED)
    vague = said is not None and said.reason in _VAGUE and reason not in _VAGUE
    return vague and told_failures(status) == failures_of(job)
