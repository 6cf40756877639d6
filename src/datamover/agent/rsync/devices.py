"""Block devices over the connection of either rsync engine: the block differ, what it needs around it, and what is said of it."""

import sys
from collections.abc import Callable
from typing import Final

from datamover.agent.errors import Failure
from datamover.agent.progress import Reporter
from datamover.agent.rsync import orders
from datamover.agent.rsync.orders import Order
from datamover.agent.rsync.output import Statistics
from datamover.agent.rsync.volume import Volume
from datamover.api import outside, transfer

RECEIVE: Final = "receive-blocks"
"""The agent's subcommand for the receiving end, on standard input and output."""
ENGINE: Final = "datamover blocks"
_REASON: Final = 300


class Sending:
    """One try to send a device over two file descriptors. `heard`: the other side has said something."""

    def __init__(self, incoming: int, outgoing: int, *, check: Callable[[], None]) -> None:
        from datamover.agent.blocks.wire import Channel

        self._channel = Channel(incoming, outgoing, check=check)

    @property
    def heard(self) -> bool:
        """Whether the other side has said anything."""
        return self._channel.received > 0

    def run(self, volume: Volume, *, allow_empty: bool, report: Reporter, say: Callable[[str], None]) -> Statistics:
        """Send it; return what was done. Raises Failure, and Stopped."""
        from datamover.agent.blocks.sending import send

        def advance(done: int, size: int) -> None:
            report.advance(files=0, size=done, total_files=0, total_size=size, speed=0, errors=0)

        channel = self._channel
        sent = send(volume.path, channel, allow_empty=allow_empty, advance=advance)
        say(f"sent {channel.sent} bytes  received {channel.received} bytes  total size is {sent.size}")
        return Statistics(size=sent.size, transferred_size=sent.data, sent=channel.sent, received=channel.received)


def receive(folder: str) -> int:
    """Receive a device on standard input and output; tell the attempt whose folder it is. Return the exit code. Raises OSError and outside.Unusable."""
    from datamover.agent.blocks.receiving import receive as receive_blocks
    from datamover.agent.blocks.wire import Channel

    plan = orders.read_plan(folder)
    orders.register(folder)
    orders.tell(folder, Order(what=orders.BEGAN))
    try:
        received = receive_blocks(plan.volume, Channel(0, 1, check=lambda: None))
    except Failure as failure:
        orders.tell(folder, Order(what=orders.FAILED, why=outside.clean(failure.message, limit=_REASON)))
        return 1
    orders.tell(folder, Order(what=orders.BLOCKS, size=received.size, written=received.data + received.zeros))
    return 0


def main(folder: str) -> int:
    """Be the process behind stunnel; return its exit code."""
    try:
        return receive(folder)
    except (OSError, outside.Unusable) as error:
        sys.stderr.write(f"datamover: the destination is not in order: {error}\n")
        return 1


def without_words(peer: str) -> Failure:
    """Return the failure of a peer that took the connection and ended it, or let it stand, without a word."""
    return Failure(
        transfer.CONFIG,
        transfer.REASON_PEER_INCOMPATIBLE,
        f"What answers at {peer} has no word of the protocol of block devices: either its mover has just ended, or it is not datamover's. Block volumes can"
        " be synchronized between two movers of datamover only.",
        retryable=True,
    )


def tell_end(seconds: float) -> str:
    """Return the line that users search for at the end of a transfer."""
    return f"diskrsync completed in {int(seconds)}s"


def tell_sent(done: Statistics, *, peer: str) -> str:
    """Return what a source has done."""
    return f"The device at {peer} is equal to the source: {done.size} bytes, of which {done.transferred_size} were sent; all of it was read back."


def tell_received(done: Statistics) -> str:
    """Return what a destination has done."""
    return f"The device is equal to the source's: {done.size} bytes, of which {done.transferred_size} were written; all of it was read back."
