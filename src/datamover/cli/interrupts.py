"""Ctrl-C and SIGTERM as KeyboardInterrupt, but not in the middle of starting or stopping something: that would be left behind.

with Interrupts() as interrupts:
with interrupts.held():
process = Popen(...)     an interrupt comes after this
...                          an interrupt comes at once
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Raises the first interrupt. Further ones are ignored, because the program is already stopping."""

    def __init__(self) -> None:
        self._held = 0
        self._waiting = False
        self._raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    @contextmanager
    def held(self) -> Generator[None]:
        """Delay an interrupt until this block is left. An exception from the block goes first: it says more than the interrupt."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._raise()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._held:
            self._waiting = True
        else:
            self._raise()

    def _raise(self) -> None:
        self._waiting = False
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt
