"""Block devices through the TLS tunnel, between two movers of ours, and against a peer that has files."""

import random
import secrets
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Ended
from support.engines import find_engine
from support.rsync_ssh import Side, free_port
from support.s3 import wait_for
from support.tls import Breaking


@pytest.fixture
def key(tmp_path: Path) -> Path:
    find_engine("stunnel")
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "psk.txt").write_text(f"volsync:{secrets.token_hex(64)}\n")
    return folder


@pytest.fixture
def sides(tmp_path: Path, key: Path) -> tuple[Side, Side]:
    """Give a source and a destination whose volumes are devices."""
    port = free_port()
    source = Side(tmp_path / "source", transfer.SOURCE_DIRECTION, key, port, engine="rsync-tls")
    destination = Side(tmp_path / "destination", transfer.DESTINATION_DIRECTION, key, port, engine="rsync-tls")
    for side in (source, destination):
        side.data.rmdir()
        side.block.write_bytes(b"")
    return source, destination


def succeeded(ended: Ended) -> transfer.Outcome:
    assert ended.code == 0, f"{ended.outcome}\n{ended.output}\n{ended.errors}"
    return ended.outcome


def test_a_device_goes_through_the_tunnel_and_the_second_time_only_what_changed(sides: tuple[Side, Side]) -> None:
    source, destination = sides
    size = 8 << 20
    content = bytearray(random.Random(1).randbytes(size // 2) + bytes(size // 2))
    for changed, moved in ((None, size // 2), (5 << 20, 1 << 18)):
        if changed is not None:
            content[changed] ^= 1
        source.block.write_bytes(content)
        with destination.start() as running:
            wait_for(lambda running=running: "Waiting for a source" in running.output, seconds=30)
            sent, received = succeeded(source.run()), succeeded(running.wait(timeout=30))
        assert destination.block.read_bytes() == content
        assert sent.transferred_bytes == moved
        assert (sent.bytes, sent.verified, received.bytes, received.verified) == (size, True, size, True)
        assert all("diskrsync completed in" in each.log for each in (sent, received))


def test_a_destination_that_is_killed_in_the_middle_is_followed_by_one_that_completes(sides: tuple[Side, Side]) -> None:
    source, destination = sides
    content = random.Random(2).randbytes(3 << 20)
    source.block.write_bytes(content)
    with destination.start() as first:
        wait_for(lambda: "Waiting for a source" in first.output)
        between = Breaking(destination.port, after=1 << 20, cutting=first.process.kill)
        try:
            with source.start(DESTINATION_PORT=str(between.port)) as sending:
                wait_for(lambda: "Trying again" in sending.output or sending.process.poll() is not None)
                first.wait()
                with destination.start() as second:
                    sent, received = succeeded(sending.wait()), succeeded(second.wait())
        finally:
            between.close()
    assert destination.block.read_bytes() == content
    assert sent.verified
    assert received.verified


def test_a_blank_device_does_not_replace_one_with_data(sides: tuple[Side, Side]) -> None:
    source, destination = sides
    source.block.write_bytes(bytes(1 << 20))
    destination.block.write_bytes(b"precious" * 1000)
    with destination.start() as running:
        wait_for(lambda: "Waiting for a source" in running.output, seconds=30)
        outcome = source.run().outcome
        assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
        wait_for(lambda: "the transfer of a device failed: The source holds nothing but zeros" in running.output)
        assert destination.block.read_bytes() == b"precious" * 1000
        succeeded(source.run(DATAMOVER_ALLOW_EMPTY_SOURCE="true"))
        succeeded(running.wait(timeout=30))
    assert destination.block.read_bytes() == bytes(1 << 20)


def test_a_destination_of_files_is_told_apart_at_once(tmp_path: Path, key: Path, sides: tuple[Side, Side]) -> None:
    """It is rsync's daemon, as with any other project's destination."""
    source, _ = sides
    source.block.write_bytes(b"x" * 4096)
    files = Side(tmp_path / "files", transfer.DESTINATION_DIRECTION, key, source.port, engine="rsync-tls")
    with files.start(PRIVILEGED_MOVER="1") as running:
        wait_for(lambda: "Waiting for a source" in running.output, seconds=30)
        outcome = source.run().outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE)
    assert "between two movers of datamover only" in outcome.message


def test_another_key_is_told_as_such(tmp_path: Path, key: Path, sides: tuple[Side, Side]) -> None:
    source, destination = sides
    source.block.write_bytes(b"x" * 4096)
    (source.root / "keys" / "psk.txt").write_text(f"volsync:{secrets.token_hex(64)}\n")
    with destination.start() as running:
        wait_for(lambda: "Waiting for a source" in running.output, seconds=30)
        outcome = source.run().outcome
    assert outcome.reason == transfer.REASON_WRONG_CREDENTIALS
    assert destination.block.read_bytes() == b""
