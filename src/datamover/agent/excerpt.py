"""The few lines of an engine's log that go into the outcome, and from there into `status.latestMoverStatus.logs`.

A success is told by its summary lines only, a failure by all lines or by those that a pattern picks. Users search both for words, so the
lines stay as they were printed. Memory does not grow with the length of the log.
"""

import re
from collections import deque
from collections.abc import Callable

from datamover.agent import printing
from datamover.api import transfer

LINE: int = transfer.LOG_LIMIT // 2
"""Bytes that are kept of one line, so that a long one does not take the place of all others."""


class Excerpt:
    """Shows the lines of a log to people and keeps the last ones that count."""

    def __init__(
        self,
        *,
        success: re.Pattern[str],
        failure: re.Pattern[str] | None = None,
        show: Callable[[str], None],
        redact: Callable[[str], str],
    ) -> None:
        """`success` and `failure` find the lines that tell of one (None: every line does). `show` prints a line; `redact` takes secrets out."""
        self._success = success
        self._failure = failure
        self._show = show
        self._redact = redact
        self._lines: dict[bool, _Tail] = {True: _Tail(), False: _Tail()}

    def say(self, text: str) -> None:
        """Print the lines of `text`, and keep those that count."""
        self._show(text)
        # secrets first: lines are cut when they are kept, and half of a secret is one as well
        for line in self._redact(text).splitlines():
            if line.strip():
                self._keep(line.rstrip())

    def of_success(self) -> str:
        """Return the end of the log as a success tells it."""
        return self._lines[True].text()

    def of_failure(self) -> str:
        """Return the end of the log as a failure tells it."""
        return self._lines[False].text()

    def end(self, message: str) -> str:
        """Print why it failed, and return the end of the log with that as its last line, whatever the pattern is: the status shows little more."""
        self._show(message)
        self._lines[False].add(" ".join(self._redact(message).split()))
        return self.of_failure()

    def _keep(self, line: str) -> None:
        # a pattern may take the square of a line's length, which a peer chooses
        head = line[:LINE]
        if self._success.search(head):
            self._lines[True].add(line)
        if self._failure is None or self._failure.search(head):
            self._lines[False].add(line)


class _Tail:
    """The last lines of a text, as many as an outcome may hold."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._size = 0

    def add(self, line: str) -> None:
        """Add a line and let go of those that have no place any more."""
        raw = printing.printable(line).encode()
        if len(raw) > LINE:
            raw = raw[: LINE - 3].decode("utf-8", "ignore").encode() + "…".encode()
        self._lines.append(raw)
        self._size += len(raw) + 1
        while self._size > transfer.LOG_LIMIT and len(self._lines) > 1:
            self._size -= len(self._lines.popleft()) + 1

    def text(self) -> str:
        """Return the last whole lines within the limit, in bytes."""
        return transfer.clean_log(b"\n".join(self._lines).decode())
