"""The block differ between two files, or two block devices: what arrives, what is sent for it, and what peers of bad will or luck make of it."""

import contextlib
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.agent.blocks import device, receiving, sending, wire
from datamover.agent.errors import AgentError, Failure, Stopped
from datamover.api import transfer

CHUNK = wire.CHUNK


@dataclass
class Both:
    """What became of the two ends."""

    sent: sending.Sent | None = None
    received: receiving.Received | None = None
    sender: BaseException | None = None
    receiver: BaseException | None = None


def _keep(take: Callable[[], object], put: Callable[[object], None], fail: Callable[[BaseException], None]) -> None:
    try:
        put(take())
    except (AgentError, OSError) as error:
        fail(error)


def synchronize(
    source: Path, destination: Path, *, allow_empty: bool = False, check: Callable[[], None] = lambda: None
) -> Both:
    """Run both ends on a pair of sockets."""
    ours, theirs = socket.socketpair()
    both = Both()

    def receive() -> receiving.Received:
        try:
            return receiving.receive(
                str(destination), wire.Channel(theirs.fileno(), theirs.fileno(), check=lambda: None, patience=20)
            )
        finally:
            theirs.close()

    def send() -> sending.Sent:
        return sending.send(
            str(source),
            wire.Channel(ours.fileno(), ours.fileno(), check=check, patience=20),
            allow_empty=allow_empty,
            advance=lambda _done, _size: None,
        )

    thread = threading.Thread(
        target=_keep, args=(receive, lambda r: setattr(both, "received", r), lambda e: setattr(both, "receiver", e))
    )
    thread.start()
    _keep(send, lambda s: setattr(both, "sent", s), lambda e: setattr(both, "sender", e))
    ours.close()
    thread.join(30)
    assert not thread.is_alive()
    return both


def image(size: int, *, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "source", tmp_path / "destination"


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_an_empty_destination_becomes_equal(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    write(source, image(5 * CHUNK + 4096))
    write(destination, b"")
    both = synchronize(source, destination)
    assert destination.read_bytes() == source.read_bytes()
    assert both.sent == sending.Sent(size=5 * CHUNK + 4096, data=5 * CHUNK + 4096, zeros=0)
    assert both.received == receiving.Received(size=5 * CHUNK + 4096, data=5 * CHUNK + 4096, zeros=0)


def test_only_chunks_that_differ_are_sent(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    content = bytearray(image(150 * CHUNK))  # more than one region
    write(destination, bytes(content))
    for number in (0, 127, 128, 149):
        content[number * CHUNK + 7] ^= 1
    write(source, bytes(content))
    both = synchronize(source, destination)
    assert destination.read_bytes() == bytes(content)
    assert both.sent is not None
    assert both.sent.data == 4 * CHUNK


def test_zeros_are_told_and_become_holes(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    size = 64 * CHUNK
    write(destination, image(size))
    with source.open("wb") as file:
        file.truncate(size)
        file.write(b"superblock")
    both = synchronize(source, destination)
    assert destination.read_bytes() == source.read_bytes()
    assert both.sent is not None
    assert (both.sent.data, both.sent.zeros) == (CHUNK, 63 * CHUNK)
    assert destination.stat().st_blocks * 512 <= 2 * CHUNK, "the zeros take room"


def test_where_holes_cannot_be_made_zeros_are_written(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(device.holes, "give_back", refuse)
    source, destination = pair
    write(destination, image(8 * CHUNK))
    write(source, b"x" + bytes(8 * CHUNK - 1))
    assert synchronize(source, destination).received is not None
    assert destination.read_bytes() == source.read_bytes()


def test_a_file_in_the_place_of_a_device_gets_the_size_of_the_source(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    write(source, image(3 * CHUNK))
    write(destination, image(9 * CHUNK, seed=2))
    assert synchronize(source, destination).received is not None
    assert destination.read_bytes() == source.read_bytes()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_image_becomes_any_other(tmp_path: Path, data: st.DataObject) -> None:
    """Random images of blocks that are random, zeros or equal, of any size, with small chunks."""
    source, destination = tmp_path / "source", tmp_path / "destination"
    blocks = st.lists(st.sampled_from([b"\0", b"a", b"b", None]), max_size=40)
    tails = st.integers(0, 4095)

    def draw(seed: int) -> bytes:
        parts = [
            image(4096, seed=seed + place) if kind is None else kind * 4096
            for place, kind in enumerate(data.draw(blocks))
        ]
        return b"".join(parts) + b"t" * data.draw(tails)

    write(source, draw(1))
    write(destination, draw(data.draw(st.sampled_from([1, 100]))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "CHUNK", 4096)
        patch.setattr(wire, "REGION", 4)
        both = synchronize(source, destination, allow_empty=True)
    assert (both.sender, both.receiver) == (None, None)
    assert destination.read_bytes() == source.read_bytes()


def test_a_blank_source_does_not_replace_data(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    write(source, bytes(3 * CHUNK))
    write(destination, bytes(2 * CHUNK) + b"precious" + bytes(CHUNK - 8))
    before = destination.read_bytes()
    both = synchronize(source, destination)
    for error in (both.sender, both.receiver):
        assert isinstance(error, Failure)
        assert (error.failure_class, error.reason) == (transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
    assert destination.read_bytes() == before


def test_a_blank_source_replaces_data_where_that_is_allowed_and_blank_meets_blank_anyway(
    pair: tuple[Path, Path],
) -> None:
    source, destination = pair
    write(source, bytes(3 * CHUNK))
    write(destination, bytes(CHUNK))
    assert synchronize(source, destination).received is not None
    write(destination, image(3 * CHUNK))
    assert synchronize(source, destination, allow_empty=True).received is not None
    assert destination.read_bytes() == bytes(3 * CHUNK)


def test_a_second_transfer_into_the_same_device_is_refused_while_the_first_runs(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    write(source, image(CHUNK))
    write(destination, b"")
    with device.open_destination(str(destination)):
        both = synchronize(source, destination)
    assert isinstance(both.sender, Failure)
    assert both.sender.reason == transfer.REASON_DESTINATION_BUSY
    assert both.sender.retryable


def test_a_full_destination_is_told_to_the_sender_as_such(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    source, destination = pair
    write(source, image(200 * CHUNK))
    write(destination, b"")
    monkeypatch.setattr(device.Device, "write", full)
    both = synchronize(source, destination)
    assert isinstance(both.sender, Failure)
    assert both.sender.reason == transfer.REASON_NO_SPACE
    assert "give its volume more" in both.sender.message


def test_storage_that_keeps_something_else_is_found(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read back differs from what was sent: neither side calls that a success."""
    honest = device.Device.write
    monkeypatch.setattr(
        device.Device, "write", lambda self, offset, chunk: honest(self, offset, bytes(chunk[:-1]) + b"?")
    )
    source, destination = pair
    write(source, image(2 * CHUNK))
    write(destination, b"")
    both = synchronize(source, destination)
    for error in (both.sender, both.receiver):
        assert isinstance(error, Failure)
        assert error.reason == transfer.REASON_VERIFICATION_FAILED


def test_a_missing_device_on_either_side_is_said_to_both(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    write(source, image(CHUNK))
    both = synchronize(source, destination)  # no destination
    assert isinstance(both.sender, Failure)
    assert "The other side refuses: The destination" in both.sender.message
    source.unlink()
    write(destination, b"kept")
    both = synchronize(source, destination)
    assert isinstance(both.sender, Failure)
    assert both.sender.reason == transfer.REASON_SOURCE_UNREADABLE
    assert destination.read_bytes() == b"kept"


def test_a_stopped_sender_leaves_a_destination_that_the_next_attempt_completes(pair: tuple[Path, Path]) -> None:
    source, destination = pair
    write(source, image(16 * wire.REGION * CHUNK // 8))
    write(destination, b"")
    waits = iter(range(40))

    def check() -> None:
        if next(waits, None) is None:
            raise Stopped(transfer.INTERRUPTED)

    both = synchronize(source, destination, check=check)
    assert isinstance(both.sender, Stopped)
    assert isinstance(both.receiver, Failure)
    assert both.receiver.retryable
    again = synchronize(source, destination)
    assert again.sent is not None
    assert destination.read_bytes() == source.read_bytes()


# --- peers of another kind, and of bad will -------------------------------------------------------------------------


@contextlib.contextmanager
def against(script: Callable[[socket.socket], None]) -> Iterator[wire.Channel]:
    """Give a channel whose other end runs a script, and closes then."""
    ours, theirs = socket.socketpair()

    def talk() -> None:
        with theirs, contextlib.suppress(OSError):
            script(theirs)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield wire.Channel(ours.fileno(), ours.fileno(), check=lambda: None, patience=0.6, first_patience=0.6)
    finally:
        ours.close()
        thread.join(10)


def frame(kind: int, payload: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack("!BI", kind, len(payload) if size is None else size) + payload


def listen(peer: socket.socket) -> None:
    while peer.recv(1 << 16):
        pass


def hello(size: int = 1 << 20, *, version: int = 1, chunk: int = CHUNK, flags: int = 0) -> bytes:
    return wire.MAGIC + frame(wire.HELLO, wire.SENDER_HELLO.pack(version, size, chunk, flags))


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"@RSYNCD: 31.0\n", id="an rsync daemon"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="sshd"),
        pytest.param(b"DATAMOVER-BLOBS\n", id="nearly ours"),
        pytest.param(b"\0" * 64, id="zeros"),
    ],
)
def test_a_peer_that_speaks_something_else_is_named_so_at_its_first_byte(tmp_path: Path, first: bytes) -> None:
    write(tmp_path / "source", image(CHUNK))
    with against(lambda peer: (peer.sendall(first), listen(peer))[0]) as channel, pytest.raises(Failure) as failed:
        sending.send(str(tmp_path / "source"), channel, allow_empty=False, advance=lambda _a, _b: None)
    assert (failed.value.failure_class, failed.value.reason) == (transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE)
    assert "does not speak datamover's protocol" in failed.value.message


def test_a_peer_that_says_nothing_is_not_waited_for_without_end(tmp_path: Path) -> None:
    write(tmp_path / "source", image(CHUNK))
    with against(listen) as channel, pytest.raises(Failure) as failed:
        sending.send(str(tmp_path / "source"), channel, allow_empty=False, advance=lambda _a, _b: None)
    assert failed.value.reason == transfer.REASON_SERVER_UNREACHABLE
    assert failed.value.retryable


BAD_SENDERS = {
    "a version that is not known": hello(version=2),
    "chunks of no size": hello(chunk=0),
    "chunks of a gigabyte": hello(chunk=1 << 30),
    "chunks of an odd size": hello(chunk=5000),
    "a device larger than any": hello(size=1 << 62),
    "a short hello": wire.MAGIC + frame(wire.HELLO, b"abc"),
    "a long hello": wire.MAGIC + frame(wire.HELLO, b"", size=1 << 31),
    "an unknown frame": wire.MAGIC + frame(77),
    "an end before the beginning": wire.MAGIC + frame(wire.END, bytes(32)),
    "a chunk beyond the end": hello() + frame(wire.DATA, wire.PLACE.pack(4) + bytes(CHUNK)),
    "a chunk beyond the world": hello() + frame(wire.DATA, wire.PLACE.pack((1 << 64) - 1) + bytes(CHUNK)),
    "a chunk too short": hello() + frame(wire.DATA, wire.PLACE.pack(0) + bytes(5)),
    "a chunk without number": hello() + frame(wire.DATA, b"x"),
    "a chunk twice": hello() + 2 * frame(wire.DATA, wire.PLACE.pack(1) + bytes(CHUNK)),
    "chunks backwards": hello()
    + frame(wire.DATA, wire.PLACE.pack(2) + bytes(CHUNK))
    + frame(wire.DATA, wire.PLACE.pack(1) + bytes(CHUNK)),
    "a frame longer than any chunk": hello() + frame(wire.DATA, b"", size=1 << 30),
    "zeros beyond the end": hello() + frame(wire.ZEROS, wire.RUN.pack(3, 2)),
    "zeros that overflow": hello() + frame(wire.ZEROS, wire.RUN.pack(1, (1 << 64) - 1)),
    "no zeros at all": hello() + frame(wire.ZEROS, wire.RUN.pack(1, 0)),
    "half a run of zeros": hello() + frame(wire.ZEROS, b"1234"),
    "a short digest": hello() + frame(wire.REGION_END) + frame(wire.END, b"short"),
    "another digest": hello() + frame(wire.REGION_END) + frame(wire.END, bytes(32)),
    "hashes": hello() + frame(wire.HASHES, bytes(32)),
    "a close in the middle": hello() + frame(wire.DATA, wire.PLACE.pack(0))[:7],
    "a refusal of no word": hello() + frame(wire.REFUSED),
}


@pytest.mark.parametrize("words", BAD_SENDERS.values(), ids=BAD_SENDERS)
def test_a_sender_of_bad_will_harms_nothing_outside_its_device(tmp_path: Path, words: bytes) -> None:
    destination = tmp_path / "destination"
    write(destination, image(1 << 20))

    def attack(peer: socket.socket) -> None:
        peer.sendall(words)
        peer.shutdown(socket.SHUT_WR)
        listen(peer)

    with against(attack) as channel, pytest.raises(Failure) as failed:
        receiving.receive(str(destination), channel)
    assert len(failed.value.message) < 1000
    assert destination.stat().st_size == 1 << 20


BAD_RECEIVERS = {
    "another version": frame(wire.HELLO, wire.RECEIVER_HELLO.pack(9, 1)),
    "a short hello": frame(wire.HELLO, b"abc"),
    "too few hashes": frame(wire.HELLO, wire.RECEIVER_HELLO.pack(1, 1 << 20)) + frame(wire.HASHES, bytes(31)),
    "too many hashes": frame(wire.HELLO, wire.RECEIVER_HELLO.pack(1, 1 << 20)) + frame(wire.HASHES, b"", size=1 << 31),
    "data": frame(wire.HELLO, wire.RECEIVER_HELLO.pack(1, 1 << 20)) + frame(wire.DATA, bytes(9)),
    "a success of another device": frame(wire.HELLO, wire.RECEIVER_HELLO.pack(1, 1 << 20))
    + frame(wire.HASHES, bytes(4 * 32))
    + frame(wire.DONE, bytes(40)),
    "a success without a digest": frame(wire.HELLO, wire.RECEIVER_HELLO.pack(1, 1 << 20))
    + frame(wire.HASHES, bytes(4 * 32))
    + frame(wire.DONE),
    "a refusal that plays tricks": frame(wire.REFUSED, b"\x06\x1b[2Jnone\xff\xfe\n" + b"a" * 900),
    "a long refusal": frame(wire.REFUSED, b"", size=1 << 30),
}


@pytest.mark.parametrize("words", BAD_RECEIVERS.values(), ids=BAD_RECEIVERS)
def test_a_receiver_of_bad_will_is_not_believed(tmp_path: Path, words: bytes) -> None:
    write(tmp_path / "source", image(1 << 20))

    def attack(peer: socket.socket) -> None:
        peer.sendall(wire.MAGIC + words)
        listen(peer)

    with against(attack) as channel, pytest.raises(Failure) as failed:
        sending.send(str(tmp_path / "source"), channel, allow_empty=False, advance=lambda _a, _b: None)
    assert "\x1b" not in failed.value.message
    assert len(failed.value.message) < 1000


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_real_block_devices_are_synchronized_and_never_while_they_are_mounted(tmp_path: Path) -> None:
    if not Path("/dev/loop-control").exists() or not shutil.which("losetup") or not shutil.which("mkfs.ext4"):
        pytest.skip("no loop devices here")
    source, backing = tmp_path / "source", tmp_path / "backing"
    write(source, b"x" + bytes(3 * CHUNK) + image(2 * CHUNK))
    with backing.open("wb") as file:
        file.truncate(16 * CHUNK)
    made = subprocess.run(["losetup", "--find", "--show", str(backing)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr}")
    loop = Path(made.stdout.strip())
    try:
        both = synchronize(source, loop)
        assert (both.sender, both.receiver) == (None, None)
        assert backing.read_bytes()[: source.stat().st_size] == source.read_bytes()
        small = synchronize(source, loop)
        assert small.sent is not None
        assert small.sent.data == 0
        with source.open("r+b") as file:
            file.truncate(17 * CHUNK)
        refused = synchronize(source, loop)
        assert isinstance(refused.sender, Failure)
        assert refused.sender.reason == transfer.REASON_DESTINATION_TOO_SMALL
    finally:
        subprocess.run(["losetup", "--detach", str(loop)], check=True)
