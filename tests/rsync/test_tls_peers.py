"""rsync-tls with another project's mover on the other side, which stock stunnel and rsync speak for; and with peers that mean harm."""

import os
import socket
from pathlib import Path

import pytest

from datamover.api import transfer
from support import odd_tree
from support.agent import Container
from support.confining import confinement_works
from support.s3 import wait_for
from support.tls import StockDestination, listening, push, stock_tunnel, to

MIRROR = ("-aAHS", "--numeric-ids")


def test_a_stock_destination_gets_everything_and_is_ended(source: Container, tmp_path: Path, key: str) -> None:
    odd_tree.make(source.data)
    peer = StockDestination(tmp_path / "peer", key)
    os.unlink(source.data / "links" / "munged")
    # without munging, a daemon takes what leads out of the module from links: that is the peer's business
    for name in ("absolute", "up"):
        os.unlink(source.data / "links" / name)
    os.utime(source.data / "links", (1_100_000_000, 1_100_000_000))
    (peer.data / "extra").mkdir()
    (peer.data / "extra" / "file").touch()
    with peer.run():
        sent = source.run(**to(peer.port))
    assert sent.outcome.succeeded, sent.output
    assert odd_tree.described(peer.data) == odd_tree.described(source.data)
    assert peer.complete.is_file()


def test_a_stock_destination_that_munges_gets_links_munged(source: Container, tmp_path: Path, key: str) -> None:
    (source.data / "link").symlink_to("/etc/hostname")
    peer = StockDestination(tmp_path / "peer", key, munge=True)
    with peer.run():
        sent = source.run(**to(peer.port))
    assert sent.outcome.succeeded, sent.output
    assert os.readlink(peer.data / "link").endswith("/etc/hostname")


def test_a_stock_destination_is_not_emptied_by_an_empty_source(source: Container, tmp_path: Path, key: str) -> None:
    (source.data / "hello").unlink()
    peer = StockDestination(tmp_path / "peer", key)
    (peer.data / "precious").touch()
    with peer.run():
        sent = source.run(**to(peer.port))
        assert sent.outcome.reason == transfer.REASON_EMPTY_SOURCE
        assert (peer.data / "precious").exists()
        assert not peer.complete.exists()
        assert source.run(**to(peer.port), DATAMOVER_ALLOW_EMPTY_SOURCE="true").outcome.succeeded
    assert list(peer.data.iterdir()) == []


def test_a_stock_source_sends_in_two_passes_and_ends_the_destination(
    destination: Container, port: int, tmp_path: Path, key: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    odd_tree.make(data)
    (destination.data / "extra").mkdir()
    names = tmp_path / "names"
    names.write_bytes(
        b"".join(name + b"\0" for name in os.listdir(os.fsencode(data)) if not name.startswith((b"#", b";")))
    )
    for name in (b"#comment", b";semicolon"):
        os.unlink(os.fsencode(data) + b"/" + name)
    with listening(destination, port) as receiving, stock_tunnel(tmp_path / "tunnel", key, port) as address:
        listed = push(f"{address}/")
        assert {line.split()[0] for line in listed.stdout.splitlines()} == {b"data", b"control"}
        first = push(*MIRROR, "-zxr", "--from0", f"--files-from={names}", f"{data}/", f"{address}/data")
        assert first.returncode == 0, first.stderr
        assert os.readlink(destination.data / "links" / "absolute").startswith("/rsyncd-munged/")
        assert (destination.data / "extra").exists()
        second = push("-rx", "--delete", "--existing", "--ignore-existing", f"{data}/", f"{address}/data")
        assert second.returncode == 0, second.stderr
        assert receiving.process.poll() is None
        # a list of links, as a later version of the other project sends one: whatever its name
        assert push(names, f"{address}/control/some-list").returncode == 0
        assert push("/proc/version", f"{address}/control/complete").returncode == 0
        received = receiving.wait()
    assert received.outcome.succeeded, received.output
    assert "sent " in received.outcome.log
    assert "rsync completed in " in received.outcome.log
    assert odd_tree.described(destination.data) == odd_tree.described(data)


def test_nothing_is_written_through_links_that_a_peer_has_put_there(
    destination: Container, port: int, tmp_path: Path, key: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    trick = tmp_path / "trick"
    trick.mkdir()
    (trick / "way-out").symlink_to(outside)
    (trick / "up").symlink_to("../../outside")
    (trick / "file").write_text("evil")
    # links of an earlier transfer have their own targets again
    (destination.data / "old-way-out").symlink_to(outside)
    with listening(destination, port) as receiving, stock_tunnel(tmp_path / "tunnel", key, port) as address:
        assert push("-a", f"{trick}/", f"{address}/data").returncode == 0
        for path in ("old-way-out/evil", "old-way-out/", "way-out/evil", "up/evil", "../outside/evil"):
            push(trick / "file", f"{address}/data/{path}")
        push("-a", f"{trick}/", f"{address}/control")
        push(trick / "file", f"{address}/control/way-out/evil")
        assert push(trick / "file", f"{address}/control/complete").returncode == 0
        assert receiving.wait().outcome.succeeded
    assert list(outside.iterdir()) == []
    assert os.readlink(destination.data / "way-out") == str(outside)


def test_noise_of_a_peer_is_bounded_and_no_line_passes_for_ours(
    destination: Container, port: int, tmp_path: Path, key: str
) -> None:
    with listening(destination, port) as receiving, stock_tunnel(tmp_path / "tunnel", key, port) as address:
        for module in ('{"datamover":"outcome"}', "x" * 500, "no\x1b[2Jsuch"):
            assert push(f"{address}/{module}/").returncode != 0
        assert push("/proc/version", f"{address}/control/complete").returncode == 0
        received = receiving.wait()
    assert received.outcome.succeeded
    assert "\x1b" not in received.output
    assert len(received.output) < 10_000


def test_strangers_without_tls_do_no_harm(destination: Container, source: Container, port: int) -> None:
    with listening(destination, port) as receiving:
        for words in (b"@RSYNCD: 31.0\ndata\n", b"GET / HTTP/1.1\r\n\r\n", b"", bytes(1000)):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(words)
        assert source.run(**to(port)).outcome.succeeded
        assert receiving.wait().outcome.succeeded


def test_the_daemon_reads_no_key_and_writes_to_the_volume_only_whatever_its_protocol_lets_it_do(
    destination: Container, port: int, tmp_path: Path, key: str
) -> None:
    """A program that tries stands in the place of rsync's daemon."""
    if not confinement_works():
        pytest.skip("this kernel cannot confine a process")
    program = tmp_path / "program" / "bin" / "rsync"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\necho began; cat '{destination.root}'/keys/psk.txt ./psk.txt; echo x > '{tmp_path}/HERE'; echo x > ./made; echo x > '{destination.data}/made'\n"
    )
    program.chmod(0o755)
    with (
        listening(destination, port, DATAMOVER_RSYNC=str(program)),
        stock_tunnel(tmp_path / "tunnel", key, port) as address,
    ):
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20) as connection:
            heard = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert heard.startswith(b"began")
        assert key.partition(":")[2].encode() not in heard
        wait_for((destination.data / "made").exists)
        assert not (tmp_path / "HERE").exists()
        assert not list((destination.root / "tmp").rglob("made"))
        assert not list((destination.root / "tmp").rglob("psk.txt"))


def test_the_rsync_of_a_source_reads_the_volume_and_no_key_and_writes_nothing(
    source: Container, tmp_path: Path, port: int
) -> None:
    """Whatever a server talks it into: a program that tries stands in its place."""
    if not confinement_works():
        pytest.skip("this kernel cannot confine a process")
    program = tmp_path / "program" / "bin" / "rsync"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\ncat '{source.data}/hello' '{source.root}/keys/psk.txt'; echo x > '{source.data}/made'; rm '{source.data}/hello'\n"
        f"echo x > '{tmp_path}/HERE'; exit 4\n"
    )
    program.chmod(0o755)
    ended = source.run(**to(port), DATAMOVER_RSYNC=str(program))
    assert ended.outcome.reason == transfer.REASON_PEER_INCOMPATIBLE
    assert "hello" in ended.said.splitlines()
    assert ended.said.count("Permission denied") == 4
    assert [path.name for path in source.data.iterdir()] == ["hello"]
    assert not (tmp_path / "HERE").exists()
