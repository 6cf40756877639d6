"""What people are told although nothing is wrong."""

import os
from pathlib import Path

from datamover.agent.files.walk import Tally
from datamover.agent.rclone import remarks
from datamover.agent.rclone.deleting import Deletions
from datamover.agent.rclone.ledger import Ledger


def test_nothing_is_said_about_an_ordinary_source() -> None:
    assert remarks.about_source(Tally(files=3, bytes=9)) == []


def test_what_is_left_out_is_named() -> None:
    tally = Tally(
        special=2, special_names=["pipe", "socket"], unreadable=1, unreadable_names=["key"], lost_and_found=True
    )
    told = " | ".join(remarks.about_source(tally))
    for words in ("2 special file(s)", "pipe, socket", "1 path(s) cannot be read: key", "lost+found"):
        assert words in told


def test_objects_that_stay_are_named_with_the_reason(tmp_path: Path) -> None:
    ledger = Ledger(":memory:")
    (tmp_path / "back").touch()
    ledger.add_known([(b"back", None, False)], finished=True, again=False)
    ledger.add_remote([(b"back", 0)])
    deletions = Deletions(
        ledger,
        source=os.fsencode(tmp_path),
        place="s3generic:backups/",
        frozen=False,
        follows=False,
        listed=False,
        delete=lambda keys: len(list(keys)),
    )
    assert remarks.about_deletions(deletions) == []
    deletions.sweep(Tally())
    (told,) = remarks.about_deletions(deletions)
    assert told.startswith("1 object(s) stay")
    assert "back (its file is there)" in told
    ledger.close()


def test_a_success_is_told_in_figures() -> None:
    assert remarks.about_success(3, 14, moved=2, deleted=1) == (
        "3 files (14 B) of the source are at the destination; 2 were moved, 1 deleted"
    )
    assert remarks.about_success(1, 5 << 20, moved=1, deleted=0) == (
        "1 file (5.0 MiB) of the source is at the destination; 1 was moved, 0 deleted"
    )
