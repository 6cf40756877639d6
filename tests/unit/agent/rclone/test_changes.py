"""Whether a file is still what the walk saw."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamover.agent.rclone.changes import has_changed
from datamover.agent.rclone.ledger import Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = Ledger(":memory:")
    yield opened
    opened.close()


def nothing(path: Path) -> None:
    pass


def replaced(path: Path) -> None:
    path.with_suffix(".new").write_text("other")
    path.with_suffix(".new").rename(path)


def became_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


CASES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "it rests": (nothing, False),
    "it grew": (lambda path: path.write_text("longer"), True),
    "it was written anew, of the same size": (lambda path: (path.write_text("wrote"), os.utime(path, ns=(5, 6))), True),
    "it was replaced": (replaced, True),
    "it is gone": (lambda path: path.unlink(), True),
    "a folder has its name": (lambda path: (path.unlink(), path.mkdir()), True),
    "a link has its name": (became_a_link, True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_is_compared_with_what_the_walk_saw(tmp_path: Path, ledger: Ledger, case: str) -> None:
    change, expected = CASES[case]
    path = tmp_path / "file"
    path.write_text("first")
    os.utime(path, ns=(1, 2))
    ledger.add_source([(b"file", 5, 2)])
    change(path)
    assert has_changed(os.fsencode(tmp_path), b"file", ledger) == expected


def test_a_link_is_compared_by_itself(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    found = os.lstat(tmp_path / "link")
    ledger.add_source([(b"link.rclonelink", found.st_size, found.st_mtime_ns)])
    assert not has_changed(os.fsencode(tmp_path), b"link.rclonelink", ledger)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    assert has_changed(os.fsencode(tmp_path), b"link.rclonelink", ledger)


def test_nothing_speaks_for_what_the_walk_did_not_meet(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "late").touch()
    ledger.select([(b"late", 0)])
    assert has_changed(os.fsencode(tmp_path), b"late", ledger)
    assert has_changed(os.fsencode(tmp_path), b"a\xe2\x90\x80b", ledger)
