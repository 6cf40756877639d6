"""Whose turn it is: of many movers where the operator allows only so many at a time, and of destinations that write one claim. Pure.

One that others connect to waits for them most of its life: it takes no turn, and none from those that it waits for. Else a few destinations that
listen would keep every source from ever reaching them.

Of destinations that name one claim, one writes at a time: what two movers write at once is neither's data. Who drew the lower ticket goes first, and
all of them see that alike: it is when a synchronisation began, or when what held it up was mended. Nobody waits for one that is held up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from datamover.api.volsync import names
from kubekit.words.batch import Job


@dataclass(frozen=True, slots=True)
class Writer:
    """A destination whose synchronisation is under way: its ticket, whether its mover may be writing, and whether something holds it up."""

    name: str
    uid: str
    ticket: str
    writes: bool
    held: bool


def find_first(writers: Iterable[Writer], *, ticket: str, uid: str) -> Writer | None:
    """Return whom of the others that write its claim a destination with this ticket and UID has to wait for; None when it is its turn."""
    return next(
        (each for each in writers if each.writes or (not each.held and (each.ticket, each.uid) < (ticket, uid))), None
    )


def count_running(jobs: Iterable[Job], *, but: str, listens: Callable[[Job], bool]) -> int:
    """Return how many movers of these kinds run that are not of the owner with the UID `but`, and do not only listen."""
    return sum(
        _runs(job) and not listens(job) for job in jobs if job.metadata.label(names.CLEANUP_LABEL) not in (None, but)
    )


def _runs(job: Job) -> bool:
    return not job.ended and (job.spec is None or job.spec.parallelism != 0)
