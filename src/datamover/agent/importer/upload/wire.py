"""One connection, read within limits of size and time, and never beyond a stop."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_LOOK: Final = 0.5
"""Seconds between two looks for a stop while nothing comes."""
_LINGER: Final = 2.0
"""Seconds for which a client that still sends is heard after its answer: it would else lose that together with the connection."""
PIECE: Final = 1 << 20


class CutError(Exception):
    """The connection ended, or stayed silent for too long, before all had come. The message goes on a sentence."""


class Wire:
    """Bytes from one client. `check` is called while nothing comes, and may raise whatever ends the waiting."""

    def __init__(self, connection: socket.socket, *, idle: float, check: Callable[[], None]) -> None:
        connection.settimeout(_LOOK)
        self._connection = connection
        self._idle = idle
        self._check = check
        self._rest = b""

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
            end = time.monotonic() + _LINGER
            with suppress(OSError, CutError):
                while time.monotonic() < end:
                    self._receive(PIECE, until=end)
        with suppress(OSError):
            self._connection.close()

    def _receive(self, most: int, *, until: float) -> bytes:
        while True:
            self._check()
            try:
                piece = self._connection.recv(most)
            except TimeoutError:
                if time.monotonic() >= until:
                    raise CutError("nothing came any more") from None
                continue
            except OSError as error:
                raise CutError(f"the connection broke ({error.strerror or type(error).__name__})") from None
            if not piece:
                raise CutError("the connection was closed")
            return piece
