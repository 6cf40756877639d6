"""Progress for the operator, one JSON line, and `Transferred:` lines for people. At most one of each per interval."""

from collections.abc import Callable

import msgspec

from datamover.agent import logs
from datamover.api import transfer

INTERVAL = 1.0
"""Seconds between two progress lines of one phase."""
PEOPLE_INTERVAL = 10.0
"""Seconds between two blocks of `Transferred:` lines."""
_LONGEST_TROUBLE = 600


class Reporter:
    """Says how far the attempt is. A new phase is said at once; within a phase at most one line a second."""

    def __init__(self, run_id: str, *, write: Callable[[str], None], monotonic: Callable[[], float]) -> None:
        self._write = write
        self._monotonic = monotonic
        self._started = monotonic()
        self._said: float | None = None
        self._shown = monotonic()
        self._now = transfer.Progress(run_id=run_id, phase=transfer.PROBING)
        self._encode = msgspec.json.Encoder().encode

    def phase(self, phase: str) -> None:
        """Begin a phase."""
        if phase != self._now.phase or self._said is None:
            self._now = msgspec.structs.replace(self._now, phase=phase)
            self._say()

    @property
    def trouble(self) -> str:
        """What the attempt waits for now, or empty."""
        return self._now.trouble

    def wait(self, trouble: str) -> None:
        """Say that the server does not answer and why; empty: it does again."""
        trouble = trouble[:_LONGEST_TROUBLE]
        if trouble != self._now.trouble:
            self._now = msgspec.structs.replace(self._now, trouble=trouble)
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
        # unchanged files are known to be there too; their bytes are what is neither moved nor about to be
        there = max(0, stats.checks - (stats.total_transfers - stats.transfers))
        self._now = msgspec.structs.replace(
            self._now,
            bytes=stats.bytes,
            total_bytes=total,
            files=min(total_files, stats.transfers + there) if there else stats.transfers,
            total_files=total_files,
            speed=round(stats.speed, 1),
            eta=None if stats.eta is None else round(stats.eta),
            errors=stats.errors,
        )
        if self.due():
            self._say()
        if self._monotonic() - self._shown >= PEOPLE_INTERVAL:
            self.show(line)

    def checked(self, line: logs.Line) -> None:
        """The engine's statistics while it compares files."""
        if line.stats is not None:
            self._now = msgspec.structs.replace(
                self._now, files=line.stats.checks, speed=0.0, eta=None, errors=line.stats.errors
            )
            if self.due():
                self._say()

    def show(self, line: logs.Line) -> None:
        """Show the statistics to people."""
        self._shown = self._monotonic()
        for text in logs.transferred(line):
            self._write(text)

    def _say(self) -> None:
        self._said = self._monotonic()
        self._now = msgspec.structs.replace(self._now, elapsed=round(self._said - self._started, 3))
        self._write(self._encode(self._now).decode())
