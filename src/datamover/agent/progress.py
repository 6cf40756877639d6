"""Progress for the operator, one JSON line, and `Transferred:` lines for people. At most one of each per interval."""

from collections import deque
from collections.abc import Callable

import msgspec

from datamover.agent.rclone import logs
from datamover.api import outside, transfer

INTERVAL = 1.0
"""Seconds between two progress lines of one phase."""
PEOPLE_INTERVAL = 10.0
"""Seconds between two blocks of `Transferred:` lines."""
_LONGEST_TROUBLE = 600
_WINDOW = 60
"""Intervals from which the speed of the work is reckoned."""
_LONGEST_ETA = 100 * 3600
"""Seconds; what takes longer nobody can tell from a minute."""


class Reporter:
    """Says how far the attempt is. A new phase is said at once; within a phase at most one line a second."""

    def __init__(
        self,
        run_id: str,
        *,
        write: Callable[[str], None],
        monotonic: Callable[[], float],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`write` takes lines for people, `tell` those for the operator (the same when it is None)."""
        self._write = write
        self._tell = tell or write
        self._monotonic = monotonic
        self._started = monotonic()
        self._said: float | None = None
        self._shown = monotonic()
        self._now = transfer.Progress(run_id=run_id, phase=transfer.PROBING)
        self._encode = msgspec.json.Encoder().encode
        self._seen: deque[tuple[float, int]] = deque([(self._started, 0)], maxlen=_WINDOW)

    def phase(self, phase: str) -> None:
        """Begin a phase."""
        if phase != self._now.phase or self._said is None:
            self._now = msgspec.structs.replace(self._now, phase=phase, eta=None)
            self._seen.clear()
            self._seen.append((self._monotonic(), 0))
            self._say()

    @property
    def trouble(self) -> str:
        """What the attempt waits for now, or empty."""
        return self._now.trouble

    def wait(self, trouble: str) -> None:
        """Say that the server does not answer and why; empty: it does again."""
        trouble = outside.clean(trouble, limit=_LONGEST_TROUBLE)
        if trouble != self._now.trouble:
            self._now = msgspec.structs.replace(self._now, trouble=trouble, eta=None)
            self._say()

    def due(self) -> bool:
        """Tell whether the next `update` would be written; lets hot loops skip building it."""
        return self._said is None or self._monotonic() - self._said >= INTERVAL

    def found(self, *, files: int, size: int) -> None:
        """The walk has found this much so far."""
        self._now = msgspec.structs.replace(self._now, total_files=files, total_bytes=size)
        if self.due():
            self._say()

    def statistics(self, line: logs.Line) -> None:
        """The engine's statistics while it moves files."""
        stats = line.stats
        if stats is None:
            return
        total_files = max(self._now.total_files, stats.transfers)
        total = max(self._now.total_bytes, stats.bytes)
        # unchanged files are known to be there too: of those that are not to be moved, what was compared and does not wait to be moved
        others = max(0, total_files - stats.total_transfers)
        there = min(others, max(0, stats.checks - (stats.total_transfers - stats.transfers)))
        # the engine tells no bytes of what it compares, so they are reckoned from the number of files
        unmoved = max(0, total - max(stats.total_bytes, stats.bytes))
        done = stats.bytes + (unmoved * there // others if others else 0)
        self._now = msgspec.structs.replace(
            self._now,
            bytes=min(total, max(done, self._now.bytes)),
            total_bytes=total,
            files=min(total_files, max(stats.transfers + there, self._now.files)),
            total_files=total_files,
            speed=round(stats.speed, 1),
            errors=stats.errors,
        )
        self._estimate()
        if self.due():
            self._say()
        if self._monotonic() - self._shown >= PEOPLE_INTERVAL:
            self.show(line)

    def checked(self, line: logs.Line) -> None:
        """The engine's statistics while it compares files."""
        if line.stats is not None:
            files = min(line.stats.checks, self._now.total_files)
            share = self._now.total_bytes * files // self._now.total_files if self._now.total_files else 0
            self._now = msgspec.structs.replace(
                self._now, files=files, bytes=share, speed=0.0, errors=line.stats.errors
            )
            self._estimate()
            if self.due():
                self._say()

    def _estimate(self) -> None:
        """Reckon what is left from how much was done in the last minute; nothing is said while the server does not answer."""
        now = self._monotonic()
        done, total = self._now.work
        begun, before = self._seen[0]
        eta = None
        if done > before and now > begun and not self._now.trouble:
            eta = round((total - done) * (now - begun) / (done - before))
        if now - self._seen[-1][0] >= INTERVAL:
            self._seen.append((now, done))
        self._now = msgspec.structs.replace(self._now, eta=eta if eta is None or eta < _LONGEST_ETA else None)

    def show(self, line: logs.Line) -> None:
        """Show the statistics to people."""
        self._shown = self._monotonic()
        for text in logs.transferred(line):
            self._write(text)

    def _say(self) -> None:
        self._said = self._monotonic()
        self._now = msgspec.structs.replace(self._now, elapsed=round(self._said - self._started, 3))
        self._tell(self._encode(self._now).decode())
