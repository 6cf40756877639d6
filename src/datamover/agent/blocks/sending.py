"""The end of the block differ that reads a device and sends what differs."""

from collections.abc import Callable

import msgspec

from datamover.agent.blocks import refusals, wire
from datamover.agent.blocks.device import Device, digest, hash_chunk, hash_of_zeros, is_blank, open_source
from datamover.agent.blocks.wire import Channel
from datamover.agent.errors import AgentError, Failure

Advance = Callable[[int, int], None]
"""Takes how many bytes are compared, and of how many."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the size of the device, the bytes of chunks that were sent, and of those that were told to be zeros."""

    size: int
    data: int
    zeros: int


def send(path: str, channel: Channel, *, allow_empty: bool, advance: Advance) -> Sent:
    """Make the device at the other end equal to the one at `path`. Raises Failure, and what the channel's check raises.

    A device of nothing but zeros does not replace one that holds something, unless that is allowed.
    """
    with open_source(path) as device:
        try:
            return _Sender(device, channel, advance=advance).run(allow_empty=allow_empty)
        except OSError as error:
            failure = refusals.of_source(error, path=path)
            channel.refuse(refusals.UNREADABLE, failure.message)
            raise failure from None
        except Failure:
            raise
        except AgentError:
            channel.refuse(refusals.STOPPED, "The sender was told to stop.")
            raise


class _Sender:
    def __init__(self, device: Device, channel: Channel, *, advance: Advance) -> None:
        self._device = device
        self._channel = channel
        self._advance = advance
        self._whole = digest()
        self._data = 0
        self._zeros = 0

    def run(self, *, allow_empty: bool) -> Sent:
        channel, size = self._channel, self._device.size
        channel.greet()
        channel.expect_greeting()
        blank = not allow_empty and is_blank(self._device, alive=lambda _: channel.send(wire.ALIVE, wire.PLACE.pack(0)))
        channel.send(wire.HELLO, wire.SENDER_HELLO.pack(wire.VERSION, size, wire.CHUNK, wire.BLANK if blank else 0))
        _, hello = self._receive_patiently(wire.HELLO)
        if len(hello) != wire.RECEIVER_HELLO.size or wire.RECEIVER_HELLO.unpack(hello)[0] != wire.VERSION:
            raise wire.incompatible("it speaks another version")
        for region in wire.regions(wire.chunk_count(size, wire.CHUNK)):
            self._send_region(region)
        return self._finish()

    def _send_region(self, region: range) -> None:
        """Send what differs in a region."""
        channel, size = self._channel, self._device.size
        _, hashes = self._receive_patiently(wire.HASHES)
        if len(hashes) != wire.DIGEST * len(region):
            raise wire.incompatible("it told too few hashes")
        zeros_from: int | None = None
        for place, number in enumerate(region):
            offset = number * wire.CHUNK
            chunk = self._device.read(offset, min(wire.CHUNK, size - offset))
            own = hash_chunk(chunk)
            self._whole.update(own)
            differs = own != hashes[place * wire.DIGEST : (place + 1) * wire.DIGEST]
            if differs and own == hash_of_zeros(len(chunk)):
                zeros_from = number if zeros_from is None else zeros_from
                self._zeros += len(chunk)
                continue
            self._send_zeros(zeros_from, number)
            zeros_from = None
            if differs:
                channel.send(wire.DATA, wire.PLACE.pack(number), chunk)
                self._data += len(chunk)
        self._send_zeros(zeros_from, region.stop)
        channel.send(wire.REGION_END)
        self._advance(min(size, region.stop * wire.CHUNK), size)

    def _send_zeros(self, first: int | None, end: int) -> None:
        if first is not None:
            self._channel.send(wire.ZEROS, wire.RUN.pack(first, end - first))

    def _finish(self) -> Sent:
        """Tell the digest of all that was read, and hear that the other side has read the same back."""
        own = self._whole.digest()
        self._channel.send(wire.END, own)
        _, done = self._receive_patiently(wire.DONE)
        if done[: wire.DIGEST] != own:
            raise refusals.refusal(
                refusals.MISMATCH,
                "The other side read back something else than was sent to it, and did not notice: do not use it. Look at its storage.",
            )
        return Sent(size=self._device.size, data=self._data, zeros=self._zeros)

    def _receive_patiently(self, kind: int) -> tuple[int, bytes]:
        """Return the frame of that kind; before it the peer may say that it is alive."""
        while True:
            found, payload = self._channel.receive(kind, wire.ALIVE)
            if found == kind:
                return found, payload
