"""Telling a server that is gone from one that takes its time.

How long an answer may take is the engine's matter: its own limits are generous, and none of ours is below them, for a large upload or a
listing can take a server more than a minute. What ends a run against a dead server is this: while nothing advances, the server is asked
something small. Whoever does not answer that for the outage limit is gone.

Assumptions: one thread calls.
"""

import time
from collections.abc import Callable
from typing import Protocol

from datamover.agent.errors import Failure
from datamover.agent.rclone import classify, process
from datamover.api import transfer

_STALL = 15.0
"""Seconds without an advance after which the server is asked; it may just be a large file."""


class Server(Protocol):
    """Whom to ask."""

    def start_question(self) -> process.Child:
        """Begin to ask something small, once."""
        ...

    def explain(self, errors: classify.Errors, code: int, *, total: int | None = None) -> Failure:
        """Return what the errors of a command mean that was about `total` objects, where that is known."""
        ...

    def tell_silence(self) -> Failure:
        """Return what it means that there is none."""
        ...


class Outage:
    """See the module. `limit` in seconds; `wait` hears the server's trouble, and an empty text when it is over."""

    def __init__(
        self,
        server: Server,
        *,
        limit: float,
        wait: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._limit = limit
        self._wait = wait
        self._monotonic = monotonic
        self._advance = monotonic()
        self._since: float | None = None
        self._question: process.Child | None = None

    def advance(self) -> None:
        """Something came."""
        self._advance, self._since = self._monotonic(), None
        self._wait("")

    def look(self) -> Failure | None:
        """Ask when nothing has come for a while; return the failure when nobody has answered for the limit."""
        now = self._monotonic()
        if self._question is None:
            if now - self._advance >= min(_STALL, self._limit / 4):
                self._question = self._server.start_question()
            return None
        if not self._question.ended:
            failure = self._server.tell_silence() if self._silent(now) >= self._limit else None
            return self._told(failure, now) if failure else None
        question, self._question = self._question, None
        code = question.wait()
        failure = self._server.explain(question.errors, code) if code else None
        if failure is None or failure.failure_class != transfer.NETWORK:
            self.advance()  # it answers; the engine is busy with something of its own
            return None
        self._since = self._advance if self._since is None else self._since
        self._wait(failure.message)
        return self._told(failure, now) if self._silent(now) >= self._limit else None

    def _silent(self, now: float) -> float:
        return now - (self._advance if self._since is None else self._since)

    def _told(self, failure: Failure, now: float) -> Failure:
        failure.message = (
            f"The server has not answered for {self._silent(now):.0f} s ({transfer.OUTAGE_LIMIT}). {failure.message}"
        )
        return failure

    def close(self) -> None:
        """End a question that is still open."""
        if self._question is not None:
            self._question.close()
            self._question = None
