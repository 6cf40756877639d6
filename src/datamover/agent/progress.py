"""Progress for the operator: one line of JSON, at most one per interval."""

from collections import deque
from collections.abc import Callable

import msgspec

from datamover.api import outside, transfer

INTERVAL = 1.0
"""Seconds between two progress lines of one phase."""
_LONGEST_TROUBLE = 600
_WINDOW = 60
"""Intervals from which the speed of the work is reckoned."""
_LONGEST_ETA = 100 * 3600
"""Seconds; what takes longer nobody can tell from a minute."""


class Reporter:
    """Says how far the attempt is. A new phase is said at once; within a phase at most one line a second."""

    def __init__(self, run_id: str, *, tell: Callable[[str], None], monotonic: Callable[[], float]) -> None:
        """`tell` takes lines for the operator."""
        self._tell = tell
        self._monotonic = monotonic
        self._started = monotonic()
        self._said: float | None = None
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

    def start(self, phase: str, *, files: int, size: int) -> None:
        """Begin a phase in which nothing is done yet, of so many files and bytes. What an earlier one has done does not count in it."""
        self._now = msgspec.structs.replace(
            self._now, phase=phase, eta=None, bytes=0, files=0, total_files=files, total_bytes=size, speed=0.0
        )
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

    def repeat(self) -> None:
        """Say once more how far it is, when that is due: work goes on that cannot be counted."""
        if self.due():
            self._say()

    def found(self, *, files: int, size: int) -> None:
        """The walk has found this much so far."""
        self._now = msgspec.structs.replace(self._now, total_files=files, total_bytes=size)
        if self.due():
            self._say()

    def advance(self, *, files: int, size: int, total_files: int, total_size: int, speed: float, errors: int) -> None:
        """So much is done of so much. Sizes in bytes, `speed` in bytes a second."""
        self._now = msgspec.structs.replace(
            self._now,
            bytes=size,
            total_bytes=total_size,
            files=files,
            total_files=total_files,
            speed=speed,
            errors=errors,
        )
        self._estimate()
        if self.due():
            self._say()

    def finish(self, *, files: int, size: int, speed: float | None = None) -> None:
        """All is moved, so many files and bytes; at what speed is as was told last, unless it is given."""
        self.wait("")
        self.advance(
            files=files,
            size=size,
            total_files=files,
            total_size=size,
            speed=self._now.speed if speed is None else speed,
            errors=0,
        )

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

    def _say(self) -> None:
        self._said = self._monotonic()
        self._now = msgspec.structs.replace(self._now, elapsed=round(self._said - self._started, 3))
        self._tell(self._encode(self._now).decode())
