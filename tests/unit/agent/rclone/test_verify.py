"""Comparing what arrived with the source."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.verify import compare, mismatch
from datamover.api import transfer


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = Ledger(":memory:")
    yield opened
    opened.close()


def test_everything_there_is_no_mismatch(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    ledger.add_source([(key, size, 0) for key, size in [(b"a", 1)]])
    ledger.add_after([(b"a", 1), (b"other", 5)])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=False)
    assert (result.amiss, result.changed, result.vanished) == (0, 0, [])
    assert mismatch(result, place="p", direct=False) is None


@pytest.mark.parametrize(("direct", "failure_class"), [(False, transfer.VERIFY), (True, transfer.SOURCE_CHANGED)])
def test_missing_and_short_files_are_told_by_name(
    ledger: Ledger, tmp_path: Path, direct: bool, failure_class: str
) -> None:
    (tmp_path / "missing").write_text("1")
    (tmp_path / "short").write_text("123")
    (tmp_path / "link").symlink_to("target")
    ledger.add_source([(key, size, 0) for key, size in [(b"missing", 1), (b"short", 3), (b"link.rclonelink", 6)]])
    ledger.add_after([(b"short", 2)])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=not direct)
    assert (result.missing, result.differing) == (2, 1)
    failure = mismatch(result, place="s3generic:b/", direct=direct)
    assert failure is not None
    assert failure.failure_class == failure_class
    assert failure.retryable
    assert "short (3 bytes, 2 arrived)" in failure.message


def test_what_changed_in_the_source_meanwhile_is_not_held_against_the_copy(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "grew").write_text("12345")
    ledger.add_source([(key, size, 0) for key, size in [(b"grew", 1), (b"gone", 1), (b"link.rclonelink", 4)]])
    ledger.add_after([(b"grew", 5)])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=False)
    assert (result.amiss, result.changed) == (0, 1)
    assert result.vanished == [b"gone", b"link.rclonelink"]


def test_what_went_although_the_destination_has_its_older_object_is_told_apart(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add_source([(b"log", 9, 0), (b"gone", 1, 0)])
    ledger.add_after([(b"log", 3)])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=False)
    assert (result.amiss, result.vanished, result.outlived) == (0, [b"gone"], [b"log"])


def test_what_was_gone_when_it_was_to_be_read_is_not_taken_for_the_older_object_of_its_size(
    ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "back").write_text("new")
    ledger.add_source([(b"back", 3, 0), (b"gone", 3, 0), (b"same", 3, 0)])
    ledger.add_after([(b"back", 3), (b"gone", 3), (b"same", 3)])
    ledger.add_gone([b"back", b"gone"])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=False)
    assert (result.missing, result.differing, result.changed) == (0, 1, 0)
    assert (result.vanished, result.outlived) == ([], [b"gone"])
    failure = mismatch(result, place="p", direct=True)
    assert failure is not None
    assert failure.failure_class == transfer.SOURCE_CHANGED


def test_nothing_vanishes_from_a_frozen_copy(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add_source([(b"gone", 1, 0), (b"link.rclonelink", 4, 0), (b"short", 9, 0)])
    ledger.add_after([(b"short", 3)])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=True)
    assert (result.missing, result.differing, result.vanished, result.outlived) == (2, 1, [], [])
    failure = mismatch(result, place="p", direct=False)
    assert failure is not None
    assert failure.retryable
    assert "gone (missing; its file is gone from the copy of the volume)" in failure.message


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_file_that_cannot_be_looked_at_has_not_vanished(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, code: int, frozen: bool
) -> None:
    def fail(path: bytes) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "lstat", fail)
    ledger.add_source([(b"a", 1, 0), (b"link.rclonelink", 4, 0)])
    ledger.add_after([])
    result = compare(ledger, source=b"/data", frozen=frozen)
    assert (result.missing, result.vanished, result.outlived) == (2, [], [])
    assert os.strerror(code) in result.examples[0]


def test_what_had_been_deleted_before_a_mismatch_is_told(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add_source([(b"gone", 1, 0)])
    result = compare(ledger, source=os.fsencode(tmp_path), frozen=True)
    for deleted, told in ((0, "Nothing was deleted"), (2, "2 object(s) had been deleted")):
        failure = mismatch(result, place="p", direct=False, deleted=deleted)
        assert failure is not None
        assert told in failure.message


def test_odd_names_are_looked_up_as_they_are(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "new\nline").write_text("1")
    (tmp_path / "real.rclonelink").write_text("1")
    ledger.add_source([(key, size, 0) for key, size in [("new\u240aline".encode(), 1), (b"real.rclonelink", 1)]])
    assert compare(ledger, source=os.fsencode(tmp_path), frozen=False).missing == 2
