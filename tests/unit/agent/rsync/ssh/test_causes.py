"""What ssh says, and what it means."""

import pytest

from datamover.agent.rsync.ssh.causes import CAUSES, Complaints
from datamover.api import transfer

LINES = [
    ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", transfer.REASON_HOST_KEY_CHANGED, False),
    ("Host key verification failed.", transfer.REASON_HOST_KEY_CHANGED, False),
    ("No ED25519 host key is known for destination and you have requested strict checking.", transfer.REASON_HOST_KEY_CHANGED, False),
    ('Load key "/tmp/x/identity": error in libcrypto', transfer.REASON_WRONG_CREDENTIALS, False),
    ('Load key "/tmp/x/identity": invalid format', transfer.REASON_WRONG_CREDENTIALS, False),
    ("root@10.0.0.1: Permission denied (publickey).", transfer.REASON_WRONG_CREDENTIALS, False),
    ("datamover refused: the volume here is a Block volume", transfer.REASON_PEER_INCOMPATIBLE, False),
    ("ssh: Could not resolve hostname nowhere.example: Name or service not known", transfer.REASON_SERVER_UNREACHABLE, True),
    ("ssh: connect to host 127.0.0.1 port 1: Connection refused", transfer.REASON_SERVER_UNREACHABLE, True),
    ("ssh: connect to host 10.9.9.9 port 22: No route to host", transfer.REASON_SERVER_UNREACHABLE, True),
    ("ssh: connect to host 10.9.9.9 port 22: Connection timed out", transfer.REASON_SERVER_UNREACHABLE, True),
    ("kex_exchange_identification: Connection closed by remote host", transfer.REASON_SERVER_UNREACHABLE, True),
    ("client_loop: send disconnect: Broken pipe", transfer.REASON_SERVER_UNREACHABLE, True),
    ("Timeout, server 10.0.0.1 not responding.", transfer.REASON_SERVER_UNREACHABLE, True),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason", "retryable"), LINES)
def test_a_line_of_ssh_has_its_reason(line: str, reason: str, retryable: bool) -> None:
    complaints = Complaints()
    complaints.take("debug1: something else")
    complaints.take(line)
    failure = complaints.explain(peer="peer.example:22")
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert "peer.example:22" in failure.message or reason == transfer.REASON_WRONG_CREDENTIALS
    assert line.split(":", maxsplit=1)[0][:20] in failure.message


def test_every_cause_is_met() -> None:
    assert all(any(cause.pattern.search(line) for line, _, _ in LINES) for cause in CAUSES)


def test_the_graver_cause_is_told() -> None:
    complaints = Complaints()
    complaints.take("Connection closed by 127.0.0.1 port 22")
    complaints.take("Host key verification failed.")
    assert complaints.explain(peer="p").reason == transfer.REASON_HOST_KEY_CHANGED
    assert not complaints.broke_off


def test_a_silent_ssh_is_told_as_a_lost_connection() -> None:
    assert Complaints().explain(peer="p").reason == transfer.REASON_SERVER_UNREACHABLE


def test_what_a_peer_says_plays_no_tricks_and_is_cut() -> None:
    complaints = Complaints()
    complaints.take("datamover refused: \x1b[2J" + "x" * 5000)
    message = complaints.explain(peer="p\u202eq").message
    assert "\x1b" not in message
    assert "\u202e" not in message
    assert len(message) < 800
