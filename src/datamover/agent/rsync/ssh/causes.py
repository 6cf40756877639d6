"""From what ssh said to a class, a reason and a sentence. Pure.

ssh ends with 255 for everything that is its own: what it was is in its lines only.
"""

import re
from typing import Final

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.printing import printable
from datamover.agent.rsync.ssh.commands import BLOCKS
from datamover.api import outside, transfer

FAILED: Final = 255
REFUSED: Final = "datamover refused: "
"""What our own destination says first when it does not run what it is asked for."""
_QUOTE: Final = 300


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One way to fail."""

    pattern: re.Pattern[str]
    failure_class: str
    reason: str
    sentence: str
    retryable: bool | None = None


CAUSES: Final = (
    Cause(
        pattern=re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|^Host key verification failed|^No \S+ host key is known"),
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_HOST_KEY_CHANGED,
        sentence="What answers at {peer} has another host key than the destination published, so nothing was sent to it. Copy the Secret that the ReplicationDestination names in status.rsync.sshKeys again, and check address and port.",
    ),
    Cause(
        pattern=re.compile(r"^Load key .*: |error in libcrypto|: invalid format$"),
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="The private key in the Secret (key `source`) cannot be read: it is damaged or has a passphrase. Copy the Secret that the ReplicationDestination names in status.rsync.sshKeys again.",
    ),
    Cause(
        pattern=re.compile(r"Permission denied \([a-z,-]*\)\.?$|^Received disconnect from .*Too many authentication failures"),
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="The destination at {peer} does not accept our key. Copy the Secret that the ReplicationDestination names in status.rsync.sshKeys again: its keys were made anew, or are another destination's.",
    ),
    Cause(
        pattern=re.compile(rf"^{REFUSED}"),
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_PEER_INCOMPATIBLE,
        sentence="The destination at {peer} does not run what this side asks for. Both sides must have volumes of one mode (Filesystem or Block), and movers that suit each other.",
    ),
    Cause(
        pattern=re.compile(r"Could not resolve hostname"),
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="The name of the destination, {peer}, is not known in this cluster. Look at the address, which the ReplicationDestination tells in status.rsync.address.",
    ),
    Cause(
        pattern=re.compile(r"Connection refused|Connection timed out|No route to host|Network is unreachable|Operation timed out"),
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="Nothing answers at {peer}. Is the destination's mover running, are address and port its own, and do network policies let this mover through?",
    ),
    Cause(
        pattern=re.compile(r"(?:Connection|Timeout|Broken pipe|kex_exchange_identification|banner exchange|client_loop|ssh_dispatch|Disconnected|Connection closed|Connection reset|not responding)"),
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="The connection to {peer} was lost, or what answers there is no ssh server. What arrived stays, and the next attempt goes on from there.",
    ),
)  # fmt: skip


class Complaints:
    """Reads the lines of ssh, among others, and keeps the first one of each cause."""

    def __init__(self) -> None:
        self._found: dict[int, str] = {}

    def take(self, line: str) -> None:
        """Take a line."""
        for place, cause in enumerate(CAUSES):
            if cause.pattern.search(line):
                self._found.setdefault(place, line)
                return

    def __bool__(self) -> bool:
        """Whether ssh has said that something is wrong."""
        return bool(self._found)

    @property
    def refused(self) -> bool:
        """Whether our own destination has refused what it was asked for."""
        return any(CAUSES[place].pattern.pattern == f"^{REFUSED}" for place in self._found)

    @property
    def broke_off(self) -> bool:
        """Whether there was a connection, as far as one can tell, and it ended."""
        return set(self._found) == {len(CAUSES) - 1}

    def explain(self, *, peer: str) -> Failure:
        """Return why ssh failed."""
        for place, cause in enumerate(CAUSES):
            if place in self._found:
                said = outside.clean(printable(self._found[place]), limit=_QUOTE)
                return Failure(
                    cause.failure_class,
                    cause.reason,
                    f"{cause.sentence.replace('{peer}', printable(peer))} ssh said: {said}",
                    retryable=cause.retryable,
                )
        return Failure(
            transfer.NETWORK,
            transfer.REASON_SERVER_UNREACHABLE,
            f"The connection to {printable(peer)} failed, and ssh did not say why. Its lines in the mover's log may.",
        )


def without_blocks(*, peer: str) -> Failure:
    """Return the failure of a destination that runs no block differ."""
    return Failure(
        transfer.CONFIG,
        transfer.REASON_PEER_INCOMPATIBLE,
        f"The destination at {printable(peer)} does not run {BLOCKS}: block volumes can be synchronized between two movers of datamover only. Let"
        " datamover run on both sides, or use a volume with a file system.",
    )
