"""How long is waited after a Job has ended in vain, before the next one. Pure."""

from datetime import datetime
from typing import Final

from kubekit.words.batch import Job
from kubekit.words.timestamps import moment_of

FIRST: Final = 10.0
LONGEST: Final = 900.0


def pause_after(job: Job, *, before: int, now: datetime) -> float:
    """Return the seconds that are left until the next Job. The pause doubles with each failure `before` this one, from `FIRST` to `LONGEST`."""
    condition = job.condition("Failed") or job.condition("Complete")
    since = moment_of(condition.last_transition_time if condition is not None else None, default=now.timestamp())
    pause = min(FIRST * 2 ** max(0, min(before, 16)), LONGEST)
    return max(0.0, pause - max(0.0, now.timestamp() - since))
