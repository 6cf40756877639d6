"""How many movers run, where the operator allows only so many at a time. Pure.

One that others connect to waits for them most of its life: it takes no turn, and none from those that it waits for. Else a few destinations that
listen would keep every source from ever reaching them.
"""

from collections.abc import Callable, Iterable

from datamover.api.volsync import names
from kubekit.words.batch import Job


def count_running(jobs: Iterable[Job], *, but: str, listens: Callable[[Job], bool]) -> int:
    """Return how many movers of these kinds run that are not of the owner with the UID `but`, and do not only listen."""
    return sum(
        _runs(job) and not listens(job) for job in jobs if job.metadata.label(names.CLEANUP_LABEL) not in (None, but)
    )


def _runs(job: Job) -> bool:
    return not job.ended and (job.spec is None or job.spec.parallelism != 0)
