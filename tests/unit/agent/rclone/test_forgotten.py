"""Objects that are still the older ones although the new ones were sent."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamover.agent.rclone.forgotten import file_md5, find_forgotten
from datamover.agent.rclone.ledger import Ledger
from datamover.api import transfer

OLD = hashlib.md5(b"old").digest()
NEW = hashlib.md5(b"new").digest()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = Ledger(":memory:")
    yield opened
    opened.close()


def arrange(ledger: Ledger, source: Path, *, before: bool = True, moved: bool = True, digest: bytes = OLD) -> None:
    """One file, `new` in the source, and what is known of its object."""
    (source / "file").write_bytes(b"new")
    ledger.add_source([(b"file", 3, (source / "file").stat().st_mtime_ns)])
    if before:
        ledger.add_remote([(b"file", 3)])
    if moved:
        ledger.add_moved([(b"file", 3)])
    ledger.add_listed([(b"file", 3, digest)])


@pytest.mark.parametrize(
    ("given", "found"),
    {
        "forgotten": ({}, 1),
        "was not there": ({"before": False}, 0),
        "was not moved": ({"moved": False}, 0),
        "is the new one": ({"digest": NEW}, 0),
        "no checksum": ({"digest": b""}, 0),
    }.values(),
    ids=("forgotten", "was not there", "was not moved", "is the new one", "no checksum"),
)
def test_only_what_was_moved_over_an_object_and_has_its_checksum_is_forgotten(
    ledger: Ledger, tmp_path: Path, given: dict, found: int
) -> None:
    arrange(ledger, tmp_path, **given)
    assert ledger.may_have_replaced() == (given.get("before", True) and given.get("moved", True))
    ledger.mark_stood([(b"file", OLD), (b"other", OLD)])
    result = find_forgotten(ledger, source=os.fsencode(tmp_path), frozen=True, tick=lambda *_: None)
    assert result.forgotten.count == found
    failure = result.failure(place="s3:backups", deleted=0)
    assert (failure is not None) == bool(found)
    if failure is not None:
        assert (failure.reason, failure.problems) == (transfer.REASON_VERIFICATION_FAILED, ("file",))
        assert "s3:backups still has the older contents of 1 file(s)" in failure.message


def test_the_file_decides_and_one_of_a_live_source_only_while_it_is_still(ledger: Ledger, tmp_path: Path) -> None:
    arrange(ledger, tmp_path)
    ledger.mark_stood([(b"file", OLD)])

    def judge(*, frozen: bool) -> tuple[int, int, int]:
        """Return how many are forgotten, changed and unreadable."""
        found = find_forgotten(ledger, source=os.fsencode(tmp_path), frozen=frozen, tick=lambda *_: None)
        return found.forgotten.count, found.changed.count, found.unreadable.count

    assert (judge(frozen=True), judge(frozen=False)) == ((1, 0, 0), (1, 0, 0))
    os.utime(tmp_path / "file", ns=(1, 1))
    assert (judge(frozen=True), judge(frozen=False)) == ((0, 1, 0), (0, 0, 0))
    (tmp_path / "file").write_bytes(b"old")
    assert judge(frozen=True) == (0, 0, 0)
    (tmp_path / "file").unlink()
    assert (judge(frozen=True), judge(frozen=False)) == ((0, 0, 1), (0, 0, 0))


@pytest.mark.parametrize(
    ("damage", "reason", "told", "retryable"),
    [
        (
            os.unlink,
            transfer.REASON_SOURCE_UNREADABLE,
            "cannot be read any more: 'file (No such file or directory)'",
            True,
        ),
        (
            lambda path: os.utime(path, ns=(1, 1)),
            transfer.REASON_SOURCE_CHANGED,
            "changed while it was backed up",
            True,
        ),
        (lambda _: None, transfer.REASON_VERIFICATION_FAILED, "still has the older contents of 1 file(s)", True),
    ],
    ids=["gone", "changed", "forgotten"],
)
def test_the_store_is_not_blamed_for_what_the_volume_does(
    ledger: Ledger, tmp_path: Path, damage: Callable[[Path], None], reason: str, told: str, retryable: bool
) -> None:
    arrange(ledger, tmp_path)
    ledger.mark_stood([(b"file", OLD)])
    damage(tmp_path / "file")
    found = find_forgotten(ledger, source=os.fsencode(tmp_path), frozen=True, tick=lambda *_: None)
    failure = found.failure(place="s3:backups", deleted=0)
    assert failure is not None
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert told in failure.message


def test_it_is_told_how_far_the_reading_is(ledger: Ledger, tmp_path: Path) -> None:
    arrange(ledger, tmp_path)
    ledger.mark_stood([(b"file", OLD)])
    assert ledger.stood_size() == (1, 3)
    told: list[tuple[int, int]] = []
    find_forgotten(
        ledger, source=os.fsencode(tmp_path), frozen=True, tick=lambda files, size: told.append((files, size))
    )
    assert told == [(0, 3), (1, 3)]


def test_a_name_that_the_log_spells_like_others_is_found(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add_source([(b"\xe9", 3, 7)])
    ledger.add_remote([(b"\xe9", 3)])
    ledger.add_moved([("\ufffd".encode(), 3)])
    ledger.add_listed([(b"\xe9", 3, OLD)])
    assert ledger.may_have_replaced()
    ledger.mark_stood([(b"\xe9", OLD)])
    assert list(ledger.stood()) == [(b"\xe9", OLD)]


def test_what_becomes_an_object_is_read_as_the_engine_reads_it(tmp_path: Path) -> None:
    (tmp_path / "new\nline").write_bytes(b"old")
    (tmp_path / "link").symlink_to("new")
    (tmp_path / "real.rclonelink").write_bytes(b"old")
    os.mkfifo(tmp_path / "pipe")
    source = os.fsencode(tmp_path)

    def read(key: str) -> bytes:
        return file_md5(source, key.encode(), tick=lambda _: None)

    assert read("new\u240aline") == read("real.rclonelink") == OLD
    assert read("link.rclonelink") == NEW
    with pytest.raises(FileNotFoundError):
        read("absent")
