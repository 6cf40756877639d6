"""From rsync's words to reasons. The lines are rsync's own, as they were seen."""

import pytest

from datamover.agent.rsync.causes import KILLED, Complaints
from datamover.api import transfer

FULL = 'rsync: [receiver] write failed on "big" (in data): No space left on device (28)'
VANISHED = 'file has vanished: "/data/x"'


@pytest.mark.parametrize(
    ("code", "lines", "reason", "retryable"),
    [
        (11, [FULL], transfer.REASON_NO_SPACE, True),
        (12, ["rsync: connection unexpectedly closed (28 bytes received so far) [sender]", FULL], transfer.REASON_NO_SPACE, True),
        (11, ['rsync: [receiver] mkstemp ".x" (in data) failed: Disk quota exceeded (122)'], transfer.REASON_NO_SPACE, True),
        (23, ['rsync: [sender] send_files failed to open "/data/s": Permission denied (13)'], transfer.REASON_SOURCE_UNREADABLE, False),
        (23, ['rsync: [sender] opendir "/data/s" failed: Permission denied (13)'], transfer.REASON_SOURCE_UNREADABLE, False),
        (23, ['rsync: [sender] readlink_stat("/data/s") failed: Input/output error (5)'], transfer.REASON_SOURCE_UNREADABLE, True),
        (23, ['rsync: [receiver] mkstemp "/.a" (in data) failed: Permission denied (13)'], transfer.REASON_ACCESS_DENIED, False),
        (23, ['rsync: [generator] chgrp "/.a" (in data) failed: Operation not permitted (1)'], transfer.REASON_ACCESS_DENIED, False),
        (24, [VANISHED], transfer.REASON_SOURCE_CHANGED, True),
        (24, [], transfer.REASON_SOURCE_CHANGED, True),
        (5, ["@ERROR: Unknown module 'data'"], transfer.REASON_PEER_INCOMPATIBLE, True),
        (5, ["@ERROR: max connections (1) reached -- try again later"], transfer.REASON_DESTINATION_BUSY, True),
        (10, ["rsync: [sender] failed to connect to 127.0.0.1 (127.0.0.1): Connection reset by peer (104)"], transfer.REASON_SERVER_UNREACHABLE, True),
        (12, [], transfer.REASON_SERVER_UNREACHABLE, True),
        (30, [], transfer.REASON_SERVER_UNREACHABLE, True),
        (2, [], transfer.REASON_PEER_INCOMPATIBLE, False),
        (22, [], transfer.REASON_OUT_OF_MEMORY, True),
        (KILLED, [], transfer.REASON_OUT_OF_MEMORY, True),
        (1, ["rsync: --what: unknown option"], transfer.REASON_ENGINE_FAILED, True),
        # a name is no message
        (12, ['rsync: [receiver] open "x: No space left on device (28)" (in data) failed: Broken pipe (32)'], transfer.REASON_SERVER_UNREACHABLE, True),
    ],
)  # fmt: skip
def test_each_way_to_fail_has_its_reason(code: int, lines: list[str], reason: str, retryable: bool) -> None:
    complaints = Complaints()
    for line in lines:
        complaints.take(line)
    failure = complaints.explain(code, peer="peer.example:8000")
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert "{peer}" not in failure.message
    if lines:
        assert lines[-1] in failure.message or reason == transfer.REASON_SERVER_UNREACHABLE


def test_what_is_mended_first_is_told_first_and_no_more_than_one_line_is_kept_of_each() -> None:
    complaints = Complaints()
    assert not complaints.take("sending incremental file list")
    for number in range(1000):
        assert complaints.take(f'rsync: [sender] send_files failed to open "/data/{number}": Permission denied (13)')
    assert complaints.out_of_space == ""
    assert complaints.take(FULL)
    assert complaints.out_of_space == FULL
    failure = complaints.explain(23, peer="peer")
    assert failure.reason == transfer.REASON_NO_SPACE
    assert failure.message.endswith("(exit code 23)")


def test_names_play_no_tricks_in_a_sentence() -> None:
    complaints = Complaints()
    complaints.take('rsync: [sender] send_files failed to open "/data/\x1b[2J\u202e": Permission denied (13)')
    message = complaints.explain(23, peer="a\x1b[2Jb").message
    assert message.isprintable()
