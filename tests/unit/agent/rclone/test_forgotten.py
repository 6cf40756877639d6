"""Objects that are still the older ones although the new ones were sent."""

import hashlib
import os
from collections.abc import Iterator
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
    result = find_forgotten(ledger, source=os.fsencode(tmp_path), frozen=True, tick=lambda: None)
    assert result.count == found
    failure = result.failure(place="s3:backups", deleted=0)
    assert (failure is not None) == bool(found)
    if failure is not None:
        assert (failure.reason, failure.problems) == (transfer.REASON_VERIFICATION_FAILED, ("file",))
        assert "s3:backups still has the older contents of 1 file(s)" in failure.message


def test_the_file_decides_and_one_of_a_live_source_only_while_it_is_still(ledger: Ledger, tmp_path: Path) -> None:
    arrange(ledger, tmp_path)
    ledger.mark_stood([(b"file", OLD)])

    def count(*, frozen: bool) -> int:
        return find_forgotten(ledger, source=os.fsencode(tmp_path), frozen=frozen, tick=lambda: None).count

    assert (count(frozen=True), count(frozen=False)) == (1, 1)
    os.utime(tmp_path / "file", ns=(1, 1))
    assert (count(frozen=True), count(frozen=False)) == (1, 0)
    (tmp_path / "file").write_bytes(b"old")
    assert count(frozen=True) == 0
    (tmp_path / "file").unlink()
    assert (count(frozen=True), count(frozen=False)) == (1, 0)


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

    def read(key: str) -> bytes | None:
        return file_md5(source, key.encode(), tick=lambda: None)

    assert read("new\u240aline") == read("real.rclonelink") == OLD
    assert read("link.rclonelink") == NEW
    assert read("absent") is None
