"""From what rsync said, and how it ended, to a class, a reason and a sentence. Pure.

rsync's lines are read before its exit code, which often only says that the other side has gone. A name in a line could look like a message, so
each pattern is held to the line's end, where rsync puts the error of the kernel, behind the quoted name.
"""

import re

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.printing import printable
from datamover.api import outside, transfer

KILLED = -9
_QUOTE = 300


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One way to fail: `pattern` for a line, `codes` for how rsync ended. `{peer}` in the sentence is the other side's name."""

    failure_class: str
    reason: str
    sentence: str
    pattern: str = ""
    codes: tuple[int, ...] = ()
    retryable: bool | None = None


CAUSES = (
    Cause(
        failure_class=transfer.NO_SPACE,
        reason=transfer.REASON_NO_SPACE,
        sentence="There is no space left at the destination ({peer}), or its quota is used up: make its volume larger, or let the source need less. What arrived stays, and the next attempt goes on from there.",
        pattern=r"\[(?:receiver|generator|Receiver)\].*: (?:No space left on device \(28\)|Disk quota exceeded \(122\))$|^ERROR: out of space",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_PEER_INCOMPATIBLE,
        sentence="What answers at {peer} does not have what a mover expects (modules `data` and `control`, and rights to write into them): the address or port is another service's, or the peer is no destination of this kind.",
        pattern=r"^@ERROR: (?:Unknown module|access denied|auth failed|invalid|chroot|chdir|set[ug]id|setgroups)|module is read.only|^rsync: server sent .* rather than greeting$|^ERROR: (?:module|The server is configured to refuse)",
        retryable=True,
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_DESTINATION_BUSY,
        sentence="The destination ({peer}) is busy with other connections just now. One destination is for one source: look which other ReplicationSource has its address and key, and remove one of them.",
        pattern=r"^@ERROR: max connections",
    ),
    Cause(
        failure_class=transfer.SOURCE_UNREADABLE,
        reason=transfer.REASON_SOURCE_UNREADABLE,
        sentence="Files of the source cannot be read. Give the mover the user and groups of the application (moverSecurityContext), or allow privileged movers in this namespace (annotation volsync.backube/privileged-movers).",
        pattern=r"\[(?:sender|Sender)\].*: (?:Permission denied \(13\)|Operation not permitted \(1\))(?: -- .*)?$",
    ),
    Cause(
        failure_class=transfer.SOURCE_UNREADABLE,
        reason=transfer.REASON_SOURCE_UNREADABLE,
        sentence="The storage of the source fails: it answers with errors when it is read. Look at the volume and its node.",
        pattern=r"\[(?:sender|Sender)\].*: (?:Input/output error \(5\)|Structure needs cleaning \(117\)|Stale file handle \(116\))$",
        retryable=True,
    ),
    Cause(
        failure_class=transfer.DENIED,
        reason=transfer.REASON_ACCESS_DENIED,
        sentence="The destination ({peer}) may not write some of its files. Give its mover the user and groups that its files have (moverSecurityContext), or allow privileged movers in its namespace (annotation volsync.backube/privileged-movers).",
        pattern=r"\[(?:receiver|generator|Receiver)\].*: (?:Permission denied \(13\)|Operation not permitted \(1\)|Read-only file system \(30\))$",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_PEER_INCOMPATIBLE,
        sentence="The file systems of both sides do not suit each other: what the source has (names, ACLs, links, sizes) the destination ({peer}) cannot keep. Use the same file system on both sides.",
        pattern=r": (?:Operation not supported \(95\)|File name too long \(36\)|File too large \(27\)|Invalid argument \(22\)|Too many links \(31\))$|ACLs are not supported",
    ),
    Cause(
        failure_class=transfer.SOURCE_CHANGED,
        reason=transfer.REASON_SOURCE_CHANGED,
        sentence="Files of the source vanished or changed while they were read. Use copyMethod Snapshot or Clone, or stop the application meanwhile.",
        pattern=r"file has vanished: |vanished before they could be transferred",
        codes=(24,),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="The connection to {peer} was lost, or could not be made: is a destination there, is it running, and do network policies let the mover through?",
        codes=(5, 10, 12, 30, 35),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_PEER_INCOMPATIBLE,
        sentence="The rsync at {peer} does not understand ours: it is too old, or was built without something that is needed (ACLs). Use a newer one.",
        codes=(2, 4),
    ),
    Cause(
        failure_class=transfer.INTERNAL,
        reason=transfer.REASON_OUT_OF_MEMORY,
        sentence="rsync was killed or got no memory, as happens when a container reaches its memory limit. Raise it (moverResources).",
        codes=(22, KILLED),
    ),
)
_ENGINE_FAILED = Cause(
    failure_class=transfer.INTERNAL,
    reason=transfer.REASON_ENGINE_FAILED,
    sentence="rsync failed. Its lines in the mover's log say why.",
)
_PATTERNS = tuple((re.compile(cause.pattern), cause) for cause in CAUSES if cause.pattern)


class Complaints:
    """Reads rsync's lines while it runs and keeps what goes wrong, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._found: dict[Cause, str] = {}
        self._first = ""

    def take(self, line: str) -> bool:
        """Take a line; return whether it tells of something wrong."""
        for pattern, cause in _PATTERNS:
            if pattern.search(line):
                self._found.setdefault(cause, line)
                return True
        if not self._first and line.startswith(("rsync: ", "@ERROR", "ERROR")):
            self._first = line
            return True
        return False

    def explain(self, code: int, *, peer: str) -> Failure:
        """Return why rsync ended with this code."""
        for cause in CAUSES:
            if cause in self._found:
                return _fail(cause, peer=peer, quoted=self._found[cause], code=code)
        for cause in CAUSES:
            if code in cause.codes:
                return _fail(cause, peer=peer, quoted=self._first, code=code)
        return _fail(_ENGINE_FAILED, peer=peer, quoted=self._first, code=code)

    @property
    def out_of_space(self) -> str:
        """The line that said that there is no space, or empty."""
        return next((line for cause, line in self._found.items() if cause.reason == transfer.REASON_NO_SPACE), "")


def _fail(cause: Cause, *, peer: str, quoted: str, code: int) -> Failure:
    said = f" rsync said: {outside.clean(printable(quoted), limit=_QUOTE)}" if quoted else ""
    ended = f" (exit code {code})" if code > 0 else ""
    return Failure(
        cause.failure_class,
        cause.reason,
        f"{cause.sentence.replace('{peer}', printable(peer))}{said}{ended}",
        retryable=cause.retryable,
    )
