"""Watching over a mover that runs: what the samples of its log say one after the other. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from datamover.api.transfer import Progress


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of the log of the Pod with the UID `pod`: its last progress, if any, or the `problem` of reading it."""

    pod: str
    progress: Progress | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ProgressWatch:
    """What was seen of one Pod so far. `since` and `last` are monotonic seconds.

    `since` is when `progress` was first seen with these numbers, `last` when it was last seen so. `moved` tells that it has changed
    while this process looked. `failures` counts the samples in a row that could not be had, since `blind_since`; `problem` is the last
    one's, and `blind` for how many seconds it is so.
    """

    pod: str = ""
    progress: Progress | None = None
    since: float = 0.0
    last: float = 0.0
    moved: bool = False
    failures: int = 0
    problem: str | None = None
    blind_since: float = 0.0
    blind: float = 0.0

    @property
    def idle(self) -> float:
        """Seconds for which the mover is known to have done nothing; what could not be read counts as nothing known."""
        return self.last - self.since

    def take(self, sample: Sample, *, now: float) -> "ProgressWatch":
        """Return the watch with one more sample. Another Pod begins another one."""
        known = self if sample.pod == self.pod else ProgressWatch(sample.pod)
        if sample.problem is not None:
            since = known.blind_since if known.failures else now
            return replace(
                known, failures=known.failures + 1, problem=sample.problem, blind_since=since, blind=now - since
            )
        if sample.progress is None:
            return replace(known, failures=0, problem=None, blind=0.0)
        before = known.progress
        changed = before is None or _numbers(before) != _numbers(sample.progress)
        return ProgressWatch(
            sample.pod,
            sample.progress,
            since=now if changed else known.since,
            last=now,
            moved=known.moved or (changed and before is not None),
        )


UNWATCHED: Final = ProgressWatch()
"""Nothing was seen yet."""


def _numbers(progress: Progress) -> tuple[str, int, int, int, int]:
    """What moves when anything does. Speed, ETA and elapsed time vary by themselves."""
    return progress.phase, progress.bytes, progress.files, progress.total_bytes, progress.total_files
