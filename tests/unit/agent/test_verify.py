"""Comparing what arrived with the source."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.ledger import Ledger
from datamover.agent.verify import compare, mismatch
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
    result = compare(ledger, source=os.fsencode(tmp_path))
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
    result = compare(ledger, source=os.fsencode(tmp_path))
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
    result = compare(ledger, source=os.fsencode(tmp_path))
    assert (result.amiss, result.changed) == (0, 1)
    assert result.vanished == [b"gone", b"link.rclonelink"]


def test_odd_names_are_looked_up_as_they_are(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "new\nline").write_text("1")
    (tmp_path / "real.rclonelink").write_text("1")
    ledger.add_source([(key, size, 0) for key, size in [("new\u240aline".encode(), 1), (b"real.rclonelink", 1)]])
    assert compare(ledger, source=os.fsencode(tmp_path)).missing == 2
