"""rsync-tls in bad company: movers that are killed at each of their connections, lines that are slow, strangers and servers that say nothing or
rubbish, and clients with the key that ask for more than the volume.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from datamover.api import transfer
from support import odd_tree
from support.agent import Container
from support.proxy import Proxy
from support.s3 import wait_for
from support.tls import Breaking, listening, push, stock_tunnel, stunnel, to


@pytest.mark.parametrize("number", [0, 2, 3], ids=["in-the-first-pass", "before-the-second", "before-the-end"])
def test_a_destination_that_is_killed_at_any_time_is_followed_by_one_that_completes(
    source: Container, destination: Container, port: int, number: int
) -> None:
    odd_tree.make(source.data)
    (source.data / "big").write_bytes(os.urandom(3 << 20))
    (destination.data / "extra").touch()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listening(destination, port))
        between = Breaking(
            port,
            after=0 if number else 1 << 20,
            cutting=first.process.kill,
            opened=lambda connection: first.process.kill() or first.wait() if connection == number else None,
        )
        stack.callback(between.close)
        sending = stack.enter_context(source.start(**to(between.port)))
        wait_for(lambda: "Trying again" in sending.output or sending.process.poll() is not None)
        first.wait()
        second = stack.enter_context(listening(destination, port))
        sent, received = sending.wait(), second.wait()
    assert sent.outcome.succeeded, sent.output
    assert received.outcome.succeeded, received.output
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)


def test_a_source_that_nobody_lets_end_the_server_does_not_take_that_for_its_end(
    source: Container, destination: Container, port: int
) -> None:
    """All is sent, and then the destination's mover is gone: it has not been told, so nobody has succeeded."""
    with listening(destination, port) as receiving:
        between = Breaking(
            port, opened=lambda connection: receiving.process.kill() or receiving.wait() if connection == 3 else None
        )
        try:
            with source.start(**to(between.port)) as sending:
                wait_for(lambda: "Trying again in 4 s" in sending.output or sending.process.poll() is not None)
                sending.terminate()
                ended = sending.wait()
        finally:
            between.close()
    assert "rsync completed in" in ended.said
    assert ended.outcome.reason == transfer.REASON_INTERRUPTED
    assert (destination.data / "hello").exists()


def test_a_slow_line_is_waited_for(source: Container, destination: Container, port: int) -> None:
    (source.data / "file").write_bytes(os.urandom(300_000))
    between = Breaking(port, pause=0.01)
    try:
        with listening(destination, port) as receiving:
            assert source.run(**to(between.port)).outcome.succeeded
            assert receiving.wait().outcome.succeeded
    finally:
        between.close()
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)


def test_scanners_that_connect_and_say_nothing_keep_nobody_from_being_served(
    source: Container, destination: Container, port: int
) -> None:
    with listening(destination, port) as receiving, contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert source.run(**to(port)).outcome.succeeded
        assert receiving.wait().outcome.succeeded


def test_a_destination_with_many_connections_is_busy_until_they_end(
    source: Container, destination: Container, port: int, tmp_path: Path, key: str
) -> None:
    with listening(destination, port) as receiving, stock_tunnel(tmp_path / "tunnel", key, port) as address:
        with contextlib.ExitStack() as others:
            for _ in range(4):
                other = others.enter_context(socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))))
                greeting = other.recv(100)
                other.sendall(greeting + b"data\n")  # now it counts
                other.recv(100)
            sending = others.enter_context(source.start(**to(port)))
            wait_for(lambda: "Trying again" in sending.output or sending.process.poll() is not None)
            assert "is busy with other connections just now" in sending.output
            for each in (other,):
                each.close()
            assert sending.wait().outcome.succeeded
        assert receiving.wait().outcome.succeeded


@pytest.mark.parametrize("words", ["", "SSH-2.0-OpenSSH_9.2\r\n"], ids=["nothing", "rubbish"])
def test_a_server_that_is_no_destination_is_told(source: Container, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, source.start(**to(server.getsockname()[1])) as sending:
        server.settimeout(60)
        with server.accept()[0] as connection:
            connection.sendall(words.encode())
            connection.shutdown(socket.SHUT_WR)
            wait_for(lambda: "Trying again" in sending.output)
            sending.terminate()
            ended = sending.wait()
    assert "does not speak TLS 1.3 with a key of both sides" in ended.said


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("/usr/bin/yes", "does not have what a mover expects"),
        ("/bin/echo @RSYNCD: 31.0 sha512", "was lost, or could not be made"),
    ],
    ids=["rubbish", "half-a-greeting"],
)
def test_a_server_with_the_key_that_speaks_no_rsync_is_told(
    source: Container, tmp_path: Path, port: int, key: str, answer: str, told: str
) -> None:
    program = answer.split(maxsplit=1)[0]
    (tmp_path / "psk.txt").write_text(f"{key}\n")
    service = f"accept = 127.0.0.1:{port}\nPSKsecrets = {tmp_path}/psk.txt\nexec = {program}\nexecArgs = {answer.rpartition('/')[2]}\n"
    with stunnel(tmp_path, service), source.start(**to(port)) as sending:
        wait_for(lambda: "Trying again" in sending.output or sending.process.poll() is not None)
        sending.terminate()
        ended = sending.wait()
    assert told in ended.said
    assert len(ended.output) < 20_000


def test_a_client_with_the_key_gets_nothing_but_the_volume(
    destination: Container, port: int, tmp_path: Path, key: str
) -> None:
    outside, trick = tmp_path / "outside", tmp_path / "trick"
    for folder in (outside, trick):
        folder.mkdir()
    (trick / "file").write_text("evil")
    (outside / "secret").write_text("secret")
    (destination.data / "way").symlink_to(outside)
    remote = [
        (f"--log-file={outside}/log",),
        (f"--temp-dir={outside}",),
        (f"--backup-dir={outside}", "--backup"),
        (f"--partial-dir={outside}", "--delay-updates"),
        (f"--link-dest={outside}",),
        (f"--copy-dest={outside}",),
        (f"--write-batch={outside}/batch",),
        (f"--rsync-path=touch {outside}/rsync-path;rsync",),
        ("--write-devices",),
        ("--copy-devices",),
        (f"--config={outside}/rsyncd.conf",),
        ("--daemon",),
        ("--keep-dirlinks",),
    ]
    with listening(destination, port) as receiving, stock_tunnel(tmp_path / "tunnel", key, port) as address:
        for options in remote:
            push("-a", *(part for option in options for part in ("-M", option)), f"{trick}/", f"{address}/data")
        for module in ("data", "control"):
            for path in ("../keys/psk.txt", "/../../keys/psk.txt", f"{'../' * 12}etc/passwd", "way/secret"):
                push("-aL", f"{address}/{module}/{path}", tmp_path / "loot")
        for module in ("", "etc", "keys", "DATA/.."):
            push("-a", f"{address}/{module}/passwd", tmp_path / "loot")
        assert push("/proc/version", f"{address}/control/complete").returncode == 0
        assert receiving.wait().outcome.succeeded
    assert [path.name for path in outside.iterdir()] == ["secret"]
    loot = tmp_path / "loot"
    found = [path for path in (loot, *loot.rglob("*")) if path.is_file()]
    assert not found, found
    assert (destination.data / "file").read_text() == "evil"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_devices_pipes_and_the_longest_names_arrive_as_they_are(
    source: Container, destination: Container, port: int
) -> None:
    try:
        os.mknod(source.data / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices here")
    os.mkfifo(source.data / "pipe")
    folders = [os.fsencode(source.data)]
    for letter in (b"a", b"\n", b"\xff"):
        folders.append(folders[-1] + b"/" + letter * 255)
        os.mkdir(folders[-1])
    for path in (source.data / "null", source.data / "pipe"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    setuid = source.data / "setuid"
    setuid.write_text("x")
    os.chown(setuid, 1234, 4321)
    setuid.chmod(0o6755)
    # rsync compares whole seconds: what it makes in the same one keeps its own fraction
    for folder in folders:
        os.utime(folder, (1_100_000_000, 1_100_000_000))
    with listening(destination, port) as receiving:
        assert source.run(**to(port)).outcome.succeeded
        assert receiving.wait().outcome.succeeded
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)


def test_files_that_vanish_while_they_are_read_are_left_out_and_that_is_told(
    source: Container, destination: Container, port: int
) -> None:
    (source.data / "a").write_bytes(
        os.urandom(16 << 20)
    )  # more than what is under way between the two, for four seconds
    (source.data / "z").touch()
    with (
        listening(destination, port) as receiving,
        Proxy(port, rate=4 << 20) as slow,
        source.start(**to(slow.port)) as sending,
    ):
        wait_for(lambda: any(destination.data.glob(".a.*")))
        (source.data / "z").unlink()
        sent, received = sending.wait(), receiving.wait()
    assert sent.outcome.succeeded, sent.output
    assert received.outcome.succeeded
    assert "vanished" in sent.outcome.message
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)
