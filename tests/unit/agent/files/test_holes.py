"""Holes: given back where there are zeros, and nothing else is different."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamover.agent.files import holes

PIECES = st.lists(
    st.tuples(
        st.sampled_from([b"", b"\0", b"x", b"\0x", b"x\0"]),
        st.sampled_from([1, 7, 511, 512, 4095, 4096, 4097, 8192, 12_288, 65_536, (1 << 20) - 1, 1 << 20]),
    ),
    max_size=8,
)


def punched(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR)
    try:
        return holes.punch(descriptor)
    finally:
        os.close(descriptor)


@settings(deadline=None)
@given(pieces=PIECES)
def test_a_file_reads_as_before_and_a_second_time_gives_back_nothing(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, int]]
) -> None:
    path = tmp_path_factory.mktemp("holes") / "file"
    content = b"".join((piece * size)[:size] for piece, size in pieces)
    path.write_bytes(content)
    punched(path)
    assert path.read_bytes() == content
    room = path.stat().st_blocks
    punched(path)
    assert path.read_bytes() == content
    assert path.stat().st_blocks == room


def test_a_full_disk_image_takes_as_little_room_as_before(tmp_path: Path) -> None:
    original, restored = tmp_path / "original", tmp_path / "restored"
    with original.open("wb") as file:
        file.truncate(40 << 20)
        for place in (0, (9 << 20) + 4096, (39 << 20) + 5):
            file.seek(place)
            file.write(os.urandom(5000))
    restored.write_bytes(original.read_bytes())
    os.sync()
    assert restored.stat().st_blocks * 512 >= 40 << 20
    assert punched(restored) > 39 << 20
    assert restored.read_bytes() == original.read_bytes()
    assert restored.stat().st_blocks <= original.stat().st_blocks + 16


def test_zeros_at_the_end_that_are_no_whole_block_are_given_back_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    assert punched(path) == 5000
    assert path.read_bytes() == bytes(5000)
    assert path.stat().st_blocks == 0


def test_a_file_system_without_holes_says_so_and_the_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    descriptor = os.open(path, os.O_RDONLY)  # as good as one: the kernel refuses
    try:
        with pytest.raises(OSError) as caught:
            holes.punch(descriptor)
    finally:
        os.close(descriptor)
    assert caught.value.errno == errno.EBADF
    assert path.read_bytes() == bytes(5000)
