"""The paths of a point, and what differs between two of them."""

from pathlib import Path

import pytest

from datamover.agent.files.manifest import Entry
from datamover.agent.points import difference
from datamover.agent.points.tree import Tree, is_path


def tree(path: Path, *entries: Entry) -> Tree:
    found = Tree(str(path))
    for entry in entries:
        found.add(entry)
    return found


def file(path: str, **more) -> Entry:
    return Entry(type="file", path=path, size=1) if not more else Entry(type="file", path=path, **{"size": 1} | more)


def test_paths_are_found_by_folder_and_by_name(tmp_path: Path) -> None:
    found = tree(tmp_path / "t", file("b"), file("a/x"), file("a.b"), file("a/y/z"), Entry(type="directory", path="a"))
    assert [leaf.path for leaf in found.below()] == [b"a", b"a.b", b"b", b"a/x", b"a/y/z"]
    assert [leaf.path for leaf in found.below(b"a")] == [b"a/x", b"a/y/z"]
    assert [leaf.path for leaf in found.below(b"a", deep=False)] == [b"a/x"]
    assert found.has_children(b"a/y")
    assert found.find(b"a/y") is None
    found.close()


def test_the_last_line_counts_and_what_was_not_moved_is_not_there(tmp_path: Path) -> None:
    link = Entry(type="link", path="l", target="x")
    found = tree(tmp_path / "t", file("a"), file("a", size=7), file("gone"), link)
    found.drop([b"gone", b"never"])
    found.prove([(b"a", b"m" * 16), (b"l.rclonelink", b"n" * 16)])
    assert [(leaf.path, leaf.entry.size, leaf.md5) for leaf in found.below()] == [
        (b"a", 7, b"m" * 16),
        (b"l", 0, b"n" * 16),
    ]
    found.close()


@pytest.mark.parametrize("raw", [b"", b"/a", b"a/", b"a//b", b"..", b"a/../b", b"./a", b"a\0"])
def test_what_is_no_path_is_refused(raw: bytes) -> None:
    assert not is_path(raw)


def test_differences_stream_in_order(tmp_path: Path) -> None:
    before = tree(tmp_path / "a", file("same"), file("time", mtime=1), file("size"), file("gone/x"), file("kind"))
    after = tree(
        tmp_path / "b",
        *(
            file("same"),
            file("time", mtime=2),
            file("size", size=2),
            file("new/x"),
            Entry(type="directory", path="kind"),
        ),
    )
    found = [(change.kind, change.path, change.what) for change in difference.compare(before, after)]
    assert found == [
        ("changed", b"kind", ("type",)),
        ("changed", b"size", ("contents",)),
        ("changed", b"time", ("perhaps contents", "time")),
        ("gone", b"gone/x", ()),
        ("new", b"new/x", ()),
    ]
    before.prove([(b"time", b"m" * 16)])
    after.prove([(b"time", b"m" * 16)])
    assert [change.what for change in difference.compare(before, after) if change.path == b"time"] == [("time",)]
    before.close()
    after.close()
