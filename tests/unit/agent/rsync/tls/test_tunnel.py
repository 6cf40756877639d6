"""What stunnel's log tells. The lines are its own, as they were seen, said by a shell in its place."""

import os
import threading
from pathlib import Path

import pytest

from datamover.agent.children import Stop
from datamover.agent.errors import Failure, Stopped
from datamover.agent.rsync.process import child_environment
from datamover.agent.rsync.tls import tunnel
from datamover.agent.rsync.tls.tunnel import Tunnel
from datamover.api import transfer
from support.s3 import wait_for

BOUND = "LOG6[ui]: Service [volume] (FD=8) bound to 127.0.0.1:18000"
ACCEPTED = "LOG5[1]: Service [volume] accepted connection from ::ffff:10.0.0.7:44440"
CLOSED = "LOG5[1]: Connection reset/closed: 0 byte(s) sent to TLS, 0 byte(s) sent to socket"


def ended(lines: list[str], folder: Path, refused: list[str]) -> Tunnel:
    text = "".join(f"2026.11.29 19:03:20 {line}\n" if line.startswith("LOG") else f"{line}\n" for line in lines)
    (folder / "lines").write_text(text)
    running = Tunnel(
        ["/bin/sh", "-c", "cat lines"],
        stop=Stop(grace=1),
        environment=child_environment(os.environ),
        folder=str(folder),
        changed=threading.Event(),
        refused=refused.append,
    )
    wait_for(lambda: running.ended)  # its lines are still read then
    return running


@pytest.mark.parametrize(
    ("line", "other_key", "trouble"),
    [
        ("LOG3[1]: SSL_accept: ../ssl/statem/extensions.c:1578: error:0A0000FD:SSL routines::binder does not verify", True, False),
        ("LOG3[1]: SSL_connect: ../ssl/record/rec_layer_s3.c:1601: error:0A000417:SSL routines::sslv3 alert illegal parameter", True, False),
        ("LOG3[1]: SSL_connect: ../ssl/record/rec_layer_s3.c:1601: error:0A000410:SSL routines::sslv3 alert handshake failure", True, False),
        ("LOG3[1]: SSL_connect: ../ssl/record/ssl3_record.c:354: error:0A00010B:SSL routines::wrong version number", False, False),
        ("LOG3[1]: s_connect: connect 127.0.0.1:1: Connection refused (111)", False, True),
        ('LOG3[1]: Error resolving "x.invalid": Neither nodename nor servname known (EAI_NONAME)', False, True),
    ],
)  # fmt: skip
def test_why_a_connection_came_to_nothing(line: str, other_key: bool, trouble: bool, tmp_path: Path) -> None:
    refused: list[str] = []
    running = ended([BOUND, ACCEPTED, line, CLOSED], tmp_path, refused)
    running.close()
    seen = running.seen
    assert seen.ready
    assert (seen.opened, seen.closed) == (1, 1)
    assert (seen.other_key, bool(seen.trouble)) == (other_key, trouble)
    assert bool(seen.other_tls) == (not other_key and not trouble)
    assert refused == ([] if trouble else ["10.0.0.7:44440"])
    running.forget()
    assert not seen.other_key
    assert not seen.trouble


def test_many_strangers_are_told_once_in_a_while(tmp_path: Path) -> None:
    refused: list[str] = []
    wrong = "LOG3[1]: SSL_accept: ../ssl/record/ssl3_record.c:354: error:0A00010B:SSL routines::wrong version number"
    running = ended([BOUND, *[ACCEPTED, wrong, CLOSED] * 500], tmp_path, refused)
    running.close()
    assert len(refused) == 1
    assert running.seen.refused == 500


def test_a_tunnel_that_does_not_start_says_why(tmp_path: Path) -> None:
    running = ended(
        ["[!] No trusted certificates found", "[.] Binding service [v] to :::8000: Address already in use (98)"],
        tmp_path,
        [],
    )
    with pytest.raises(Failure, match="Address already in use"):
        running.wait_ready(Stop(grace=1))
    running.close()


def test_a_stop_ends_the_wait_for_the_start(tmp_path: Path) -> None:
    running = ended([], tmp_path, [])
    stop = Stop(grace=1)
    stop.request(transfer.INTERRUPTED)
    with pytest.raises(Stopped):
        running.wait_ready(stop)
    running.close()


def test_the_configuration_names_the_key_by_its_file_and_asks_for_tls_1_3() -> None:
    text = tunnel.at_source(key="/tmp/psk.txt", port=9000, peer="fd00::7", peer_port=8000)
    assert "connect = fd00::7:8000\n" in text
    for line in ("PSKsecrets = /tmp/psk.txt", "sslVersionMin = TLSv1.3", "ciphers = PSK", "accept = 127.0.0.1:9000"):
        assert line in text.splitlines()
