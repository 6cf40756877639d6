"""The end of the block differ that tells hashes of its device, writes what differs, and reads it all back."""

import threading
from typing import Final

import msgspec

from datamover.agent.blocks import refusals, wire
from datamover.agent.blocks.device import Device, digest, hash_chunk, is_blank, open_destination
from datamover.agent.blocks.wire import Channel
from datamover.agent.errors import AgentError, Failure

_ALIVE_EVERY: Final = 64 << 20
"""Bytes of long work after which the sender hears that we live."""
_AHEAD: Final = 8
"""Regions whose hashes may be told before they are answered: what any pipe or socket holds, so that telling them never waits for a sender that waits
for us."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the size of the sender's device, bytes that were written, and bytes that were made zeros."""

    size: int
    data: int
    zeros: int


def receive(path: str, channel: Channel) -> Received:
    """Let the device at `path` become equal to the sender's. Raises Failure, of which the sender has heard then.

    A file in the place of a device gets the sender's size; a real device must have it at least, and what is beyond stays as it is.
    """
    try:
        channel.greet()
        channel.expect_greeting()
        with open_destination(path) as device:
            try:
                return _Receiver(device, channel).run()
            except OSError as error:
                raise refusals.of_destination(error, path=path) from None
    except Failure as failure:
        channel.refuse(refusals.code_of(failure), failure.message)
        raise
    except AgentError:
        channel.refuse(refusals.STOPPED, "The receiver was told to stop.")
        raise


class _Receiver:
    def __init__(self, device: Device, channel: Channel) -> None:
        self._device = device
        self._channel = channel
        self._size = 0
        self._chunk = wire.CHUNK
        self._data = 0
        self._zeros = 0
        self._next = 0
        self._over = False
        self._ahead = threading.Semaphore(_AHEAD)

    def run(self) -> Received:
        self._begin()
        hasher = threading.Thread(target=self._tell_hashes, daemon=True)
        hasher.start()
        try:
            whole = self._write_all()
        finally:
            # the device is closed after this: whoever still reads it would read another file of the same number
            self._over = True
            self._ahead.release()
            hasher.join()
        self._prove(whole)
        return Received(size=self._size, data=self._data, zeros=self._zeros)

    def _begin(self) -> None:
        """Read the sender's hello, see whether this can be done, and say so."""
        kind, hello = self._channel.receive(wire.HELLO, wire.ALIVE)
        while kind != wire.HELLO:
            kind, hello = self._channel.receive(wire.HELLO, wire.ALIVE)
        if len(hello) != wire.SENDER_HELLO.size:
            raise wire.incompatible("its hello has another length")
        version, self._size, self._chunk, flags = wire.SENDER_HELLO.unpack(hello)
        if version != wire.VERSION:
            raise wire.incompatible(f"it speaks version {version}, and this side version {wire.VERSION}")
        chunk = self._chunk
        if not wire.SMALLEST_CHUNK <= chunk <= wire.LARGEST_CHUNK or chunk & (chunk - 1):
            raise wire.incompatible(f"it compares chunks of {chunk} bytes")
        if self._size > wire.LARGEST_DEVICE:
            raise wire.incompatible(f"its device has {self._size} bytes")
        device = self._device
        if flags & wire.BLANK and not is_blank(device, alive=self._tell_alive):
            raise refusals.refusal(
                refusals.EMPTY_SOURCE,
                "The source holds nothing but zeros, and the destination holds data: it stays as it is. If the source is meant to be empty,"
                " allow that.",
            )
        if device.is_file:
            if device.size < self._size:
                device.resize(self._size)
        elif device.size < self._size:
            raise refusals.refusal(
                refusals.TOO_SMALL,
                f"The destination has {device.size} bytes, and the source {self._size}: give the destination's volume at least as much.",
            )
        self._channel.send(wire.HELLO, wire.RECEIVER_HELLO.pack(wire.VERSION, device.size))

    def _tell_hashes(self) -> None:
        """Tell the hashes of one region after another. They may run ahead: nothing is written but in regions that were told."""
        try:
            for region in wire.regions(wire.chunk_count(self._size, self._chunk)):
                self._ahead.acquire()
                if self._over:
                    return
                self._channel.send(wire.HASHES, *(hash_chunk(self._read(number)) for number in region))
        except (OSError, AgentError) as error:
            # the other thread waits for the sender, which waits for us: it hears, and gives up
            self._channel.refuse(refusals.BROKEN, f"The destination cannot be read: {error}")

    def _write_all(self) -> bytes:
        """Write what the sender sends; return its digest of the whole. Chunks come in order, so that each is written once at most."""
        count = wire.chunk_count(self._size, self._chunk)
        for region in wire.regions(count):
            while True:
                kind, payload = self._channel.receive(wire.DATA, wire.ZEROS, wire.REGION_END)
                if kind == wire.REGION_END:
                    break
                if kind == wire.DATA:
                    self._write_data(payload, region)
                else:
                    self._write_zeros(payload, region)
            self._next = region.stop
            self._ahead.release()
        _, whole = self._channel.receive(wire.END)
        if len(whole) != wire.DIGEST:
            raise wire.incompatible("its digest has another length")
        return whole

    def _write_data(self, payload: bytes, region: range) -> None:
        if len(payload) < wire.PLACE.size:
            raise wire.incompatible("a chunk without its number came")
        (number,) = wire.PLACE.unpack_from(payload)
        data = memoryview(payload)[wire.PLACE.size :]
        if not self._next <= number < region.stop or len(data) != self._length(number):
            raise wire.incompatible("a chunk came out of place")
        self._device.write(number * self._chunk, data)
        self._data += len(data)
        self._next = number + 1

    def _write_zeros(self, payload: bytes, region: range) -> None:
        if len(payload) != wire.RUN.size:
            raise wire.incompatible("zeros of no place came")
        first, count = wire.RUN.unpack(payload)
        if not count or not self._next <= first < region.stop or count > region.stop - first:
            raise wire.incompatible("zeros came out of place")
        start = first * self._chunk
        length = min(self._size, (first + count) * self._chunk) - start
        self._device.write_zeros(start, length)
        self._zeros += length
        self._next = first + count

    def _prove(self, whole: bytes) -> None:
        """Read everything back, and compare it with what the sender has (law L4)."""
        device = self._device
        if device.is_file and device.size != self._size:
            device.resize(self._size)
        device.settle()
        own = digest()
        for number in range(wire.chunk_count(self._size, self._chunk)):
            own.update(hash_chunk(self._read(number)))
            self._tell_alive(number * self._chunk)
        if own.digest() != whole:
            raise refusals.refusal(
                refusals.MISMATCH,
                "What was read back from the destination is not what the source holds. Another attempt compares everything again; if it happens again,"
                " look at the storage, or at who else writes there.",
            )
        self._channel.send(wire.DONE, own.digest(), wire.PLACE.pack(self._data))

    def _tell_alive(self, offset: int) -> None:
        if offset % _ALIVE_EVERY == 0:
            self._channel.send(wire.ALIVE, wire.PLACE.pack(offset))

    def _read(self, number: int) -> bytes:
        return self._device.read(number * self._chunk, self._length(number))

    def _length(self, number: int) -> int:
        return min(self._chunk, self._size - number * self._chunk)
