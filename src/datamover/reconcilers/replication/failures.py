"""Jobs that fail: how many there were, and how long is waited before the next one. Pure.

The count is on the Job: it is made with the number of failures before it. So one that is looked at twice is counted once, and a restart of the
operator forgets nothing.
"""

from datetime import datetime
from typing import Final

from datamover.api.volsync.names import FAILURES_ANNOTATION
from kubekit.words.batch import Job
from kubekit.words.timestamps import moment_of

FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 900.0
_MOST: Final = 1_000_000


def failures_of(job: Job) -> int:
    """Return how many Jobs of a synchronisation have failed with this one."""
    said = job.metadata.annotation(FAILURES_ANNOTATION) or ""
    before = int(said) if said.isascii() and said.isdigit() and len(said) <= len(str(_MOST)) else 0
    return min(before, _MOST) + 1


def pause_left(job: Job, now: datetime) -> float:
    """Return the seconds until the next Job: the pause doubles with each failure, from `FIRST_PAUSE` to `LONGEST_PAUSE`."""
    condition = job.condition("Failed")
    since = moment_of(condition.last_transition_time if condition is not None else None, default=now.timestamp())
    pause = min(FIRST_PAUSE * 2 ** min(failures_of(job) - 1, 16), LONGEST_PAUSE)
    return max(0.0, pause - max(0.0, now.timestamp() - since))
