"""Frames over a byte stream: what the two ends of the block differ say, and how much of it is read.

A frame is one byte of kind, four bytes of length (big endian) and so many bytes. Each end knows what may come next, and how long it may be.
"""

import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from datamover.agent.blocks import refusals
from datamover.agent.errors import Failure
from datamover.api import outside, transfer

MAGIC: Final = b"DATAMOVER-BLOCKS\n"
"""The first bytes of both ends. What another program answers differs in one of them, so that nobody waits for the rest."""
VERSION: Final = 1
CHUNK: Final = 1 << 18
"""Bytes that are compared, and sent, as one."""
SMALLEST_CHUNK: Final = 1 << 12
LARGEST_CHUNK: Final = 1 << 20
REGION: Final = 128
"""Chunks whose hashes are told in one frame."""
DIGEST: Final = 32
"""Bytes of a hash (BLAKE2b)."""
LARGEST_DEVICE: Final = 1 << 60

HELLO: Final = 1
HASHES: Final = 2
DATA: Final = 3
ZEROS: Final = 4
REGION_END: Final = 5
END: Final = 6
ALIVE: Final = 7
DONE: Final = 8
REFUSED: Final = 9

_HEADER: Final = struct.Struct("!BI")
SENDER_HELLO: Final = struct.Struct("!IQIB")
"""Version, size, chunk, flags."""
RECEIVER_HELLO: Final = struct.Struct("!IQ")
"""Version, size."""
PLACE: Final = struct.Struct("!Q")
"""Number of a chunk, or bytes."""
RUN: Final = struct.Struct("!QQ")
"""Number of the first chunk, and how many."""
BLANK: Final = 1
"""Flag: the sender's device holds nothing but zeros, and is not known to be meant to."""

_LIMITS: Final = {
    HELLO: 64,
    HASHES: DIGEST * REGION,
    DATA: PLACE.size + LARGEST_CHUNK,
    ZEROS: RUN.size,
    REGION_END: 0,
    END: DIGEST,
    ALIVE: PLACE.size,
    DONE: DIGEST + PLACE.size,
    REFUSED: 1024,
}
_PIECE: Final = 1 << 18
_TICK: Final = 0.5
PATIENCE: Final = 120.0
"""Seconds without a byte of the peer after which it counts as gone. A peer with long work says that it is alive."""
FIRST_PATIENCE: Final = 60.0
"""The same for its first word, for a program that speaks something else may wait as well."""


class Channel:
    """Two file descriptors, one to read from and one to write to (they may be the same), on which frames travel.

    `check` is called while waiting, and raises what is to end the wait. Sending is safe in threads; receiving is that of the thread which expects the greeting. The descriptors
    become non-blocking, and are not closed here.
    """

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        *,
        check: Callable[[], None],
        patience: float = PATIENCE,
        first_patience: float = FIRST_PATIENCE,
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._check = check
        self._patience = patience
        self._first_patience = first_patience
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._reader = threading.get_ident()
        self.sent = 0
        self.received = 0
        os.set_blocking(incoming, False)
        os.set_blocking(outgoing, False)

    def greet(self) -> None:
        """Say that this is the block differ."""
        self._write(MAGIC)

    def expect_greeting(self) -> None:
        """Make sure that the peer is a block differ as well. Raises Failure."""
        self._reader = threading.get_ident()
        greeted = 0
        while greeted < len(MAGIC):
            if not self._buffer:
                self._fill(self._first_patience)
            if self._buffer[0] != MAGIC[greeted]:
                raise Failure(transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE, refusals.NOT_OURS)
            del self._buffer[0]
            greeted += 1

    def send(self, kind: int, *parts: bytes | memoryview) -> None:
        """Send a frame. Raises Failure when the peer is gone, with its last words if it had any."""
        size = sum(map(len, parts))
        try:
            self._write(_HEADER.pack(kind, size), *parts)
        except Failure:
            # another thread may be reading: what is taken from it would be missing there
            if threading.get_ident() == self._reader:
                self._raise_last_words()
            raise

    def refuse(self, code: int, sentence: str) -> None:
        """Say why nothing comes of it, if the peer still listens."""
        text = outside.clean(sentence, limit=300).encode("utf-8", "replace")
        try:
            self._write(_HEADER.pack(REFUSED, 1 + len(text)), bytes((code,)), text)
        except Failure:
            return

    def receive(self, *kinds: int) -> tuple[int, bytes]:
        """Return the next frame, which must be of one of these kinds. Raises Failure, also when the peer refuses."""
        kind, size = _HEADER.unpack(self._take(_HEADER.size))
        if kind != REFUSED and kind not in kinds:
            raise incompatible(f"frame {kind} came where it may not come")
        if size > _LIMITS[kind]:
            raise incompatible(f"frame {kind} has {size} bytes, more than it may have")
        payload = self._take(size)
        if kind == REFUSED:
            raise refusals.read(payload)
        return kind, payload

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill(self._patience)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _fill(self, patience: float) -> None:
        until = time.monotonic() + patience
        while True:
            self._check()
            try:
                piece = os.read(self._incoming, _PIECE)
            except BlockingIOError:
                if not _wait(self._incoming, select.POLLIN) and time.monotonic() > until:
                    raise gone(f"it said nothing for {patience:g} s") from None
                continue
            except OSError as error:
                raise gone(error.strerror) from None
            if not piece:
                raise gone("it closed the connection")
            self.received += len(piece)
            self._buffer += piece
            return

    def _write(self, *parts: bytes | memoryview) -> None:
        with self._lock:
            for part in parts:
                left = memoryview(part)
                until = time.monotonic() + self._patience
                while left:
                    self._check()
                    try:
                        count = os.write(self._outgoing, left[:_PIECE])
                    except BlockingIOError:
                        if not _wait(self._outgoing, select.POLLOUT) and time.monotonic() > until:
                            raise gone(f"it took nothing for {self._patience:g} s") from None
                        continue
                    except OSError as error:
                        raise gone(error.strerror) from None
                    self.sent += count
                    left = left[count:]
                    until = time.monotonic() + self._patience

    def _raise_last_words(self) -> None:
        """Raise what the peer said before it closed the connection, if that was why it refuses."""
        try:
            while True:
                kind, size = _HEADER.unpack(self._take(_HEADER.size))
                if size > _LIMITS.get(kind, 0):
                    return
                payload = self._take(size)
                if kind == REFUSED:
                    raise refusals.read(payload)
        except Failure as failure:
            if failure.reason != transfer.REASON_SERVER_UNREACHABLE:
                raise


def gone(how: str | None) -> Failure:
    """Return the failure of a peer that is gone."""
    return Failure(
        transfer.NETWORK,
        transfer.REASON_SERVER_UNREACHABLE,
        f"The other side is gone in the middle of a block device: {how or 'no reason given'}. What arrived stays, and another attempt sends only"
        " what still differs.",
    )


def incompatible(what: str) -> Failure:
    """Return the failure of a peer that breaks the protocol."""
    return Failure(
        transfer.CONFIG,
        transfer.REASON_PEER_INCOMPATIBLE,
        f"The other side breaks the protocol of block devices: {what}. Let both sides run the same version of datamover.",
    )


def chunk_count(size: int, chunk: int) -> int:
    """Return how many chunks a device has."""
    return -(-size // chunk)


def regions(count: int) -> Iterator[range]:
    """Yield the chunks of each region."""
    for first in range(0, count, REGION):
        yield range(first, min(count, first + REGION))


def _wait(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(_TICK * 1000))
