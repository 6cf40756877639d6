"""One connection, read within limits of size and time, and never beyond a stop."""

import math
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from datamover.api import upload

SLOWEST: Final = 1024
"""Bytes a second of a body. Who sends less keeps others out."""
_WINDOW: Final = 120.0
"""Seconds of waiting within which `SLOWEST` of them must come."""
_LOOK: Final = 0.5
"""Seconds between two looks for a stop while nothing comes."""
_LINGER: Final = 2.0
"""Seconds for which a client that still sends is heard after its answer: it would else lose that together with the connection."""
PIECE: Final = 1 << 20


class CutError(Exception):
    """The connection ended before all had come. The message goes on a sentence, `reason` is what it is called for the client."""

    reason = upload.REASON_CUT


class SlowError(CutError):
    """It stayed silent for too long, or came in a trickle."""

    reason = upload.REASON_TOO_SLOW


class LateError(CutError):
    """All of it took too long."""

    reason = upload.REASON_TOO_LONG


class Wire:
    """Bytes from one client. `check` is called while nothing comes, and may raise whatever ends the waiting."""

    def __init__(self, connection: socket.socket, *, idle: float, check: Callable[[], None]) -> None:
        connection.settimeout(_LOOK)
        self._connection = connection
        self._idle = idle
        self._check = check
        self._rest = b""
        self._end = self._seconds = self._left = math.inf
        self._came = 0

    def expect(self, *, seconds: float, check: Callable[[], None]) -> None:
        """From now on a body comes: within so many seconds, and never as a trickle. `check` takes the place of the one before."""
        self._end, self._seconds, self._left, self._check = time.monotonic() + seconds, seconds, _WINDOW, check

    def read(self, most: int = PIECE) -> bytes:
        """Return some bytes, at most so many. Raises CutError."""
        if self._rest:
            piece, self._rest = self._rest[:most], self._rest[most:]
            return piece
        return self._receive(most, until=time.monotonic() + self._idle)

    def read_until(self, mark: bytes, *, limit: int, seconds: float | None = None) -> bytes | None:
        """Return the bytes before `mark`, None when there are more than `limit`. `seconds`: all of it must come within these. Raises CutError."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            place = self._rest.find(mark)
            if place > limit or (place < 0 and len(self._rest) > limit):
                return None
            if place >= 0:
                found, self._rest = self._rest[:place], self._rest[place + len(mark) :]
                return found
            self._rest += self._receive(PIECE, until=time.monotonic() + self._idle if end is None else end)

    def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        self._connection.settimeout(self._idle)
        try:
            self._connection.sendall(data)
        finally:
            self._connection.settimeout(_LOOK)

    def close(self, *, unread: bool) -> None:
        """End the connection. `unread`: the client may still send what nobody wants."""
        if unread:
            # what was demanded of the client is over, and a stop must not take the answer from it
            self._end = self._left = math.inf
            self._check = _demand_nothing
            end = time.monotonic() + _LINGER
            with suppress(OSError, CutError):
                while time.monotonic() < end:
                    self._receive(PIECE, until=end)
        with suppress(OSError):
            self._connection.close()

    def _receive(self, most: int, *, until: float) -> bytes:
        begun = time.monotonic()
        while True:
            self._check()
            self._demand_pace(time.monotonic() - begun)
            try:
                piece = self._connection.recv(most)
            except TimeoutError:
                if time.monotonic() >= until:
                    raise SlowError(f"nothing came any more for {self._idle:g} s") from None
                continue
            except OSError as error:
                raise CutError(f"the connection broke ({error.strerror or type(error).__name__})") from None
            if not piece:
                raise CutError("the connection was closed")
            self._left -= time.monotonic() - begun  # the disk may be slow as well, and that time is not the client's
            self._came += len(piece)
            if self._came >= _WINDOW * SLOWEST:
                self._left, self._came = min(self._left, 0.0) + _WINDOW, 0
            return piece

    def _demand_pace(self, waited: float) -> None:
        """See that a body comes neither too slowly nor for too long. Raises CutError."""
        if time.monotonic() > self._end:
            raise LateError(f"it takes longer than {self._seconds:g} s")
        if waited > self._left:
            raise SlowError(f"fewer than {SLOWEST} bytes a second came")


def _demand_nothing() -> None:
    pass
