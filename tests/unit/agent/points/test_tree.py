"""The paths of a point, and what differs between two of them."""

import hashlib
from pathlib import Path

import pytest

from datamover.agent.files import manifest
from datamover.agent.files.handles import Refused
from datamover.agent.files.manifest import Entry, about, skipped
from datamover.agent.points import difference
from datamover.agent.points.difference import Compared
from datamover.agent.points.tree import Leaf, Tree, is_path


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
    found.drop([about(manifest.VANISHED, b"gone"), about(manifest.EXCLUDED, b"never")])
    assert [found.why_not(raw) for raw in (b"gone", b"never", b"a")] == ["vanished", "", ""]
    found.prove([(b"a", b"m" * 16), (b"l.rclonelink", b"n" * 16)])
    assert [(leaf.path, leaf.entry.size, leaf.md5) for leaf in found.below()] == [
        (b"a", 7, b"m" * 16),
        (b"l", 0, b"n" * 16),
    ]
    found.close()


@pytest.mark.parametrize("raw", [b"", b"/a", b"a/", b"a//b", b"..", b"a/../b", b"./a", b"a\0"])
def test_what_is_no_path_is_refused(raw: bytes) -> None:
    assert not is_path(raw)


def compare(before: Tree, after: Tree, **how) -> tuple[list[tuple[str, bytes, tuple[str, ...]]], Compared]:
    compared = Compared()
    found = [
        (change.kind, change.path, change.what)
        for change in difference.compare(before, after, compared=compared, **how)
    ]
    return found, compared


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
    found, compared = compare(before, after)
    assert found == [
        ("changed", b"kind", ("type",)),
        ("changed", b"size", ("contents",)),
        ("changed", b"time", ("perhaps contents", "time")),
        ("gone", b"gone/x", ()),
        ("new", b"new/x", ()),
    ]
    assert (compared.result, compared.different, compared.by_time) == ("different", 5, 1)
    before.prove([(b"time", b"m" * 16)])
    after.prove([(b"time", b"m" * 16)])
    assert [what for _, path, what in compare(before, after)[0] if path == b"time"] == [("time",)]
    before.close()
    after.close()


def test_only_what_says_what_is_at_a_path_is_compared(tmp_path: Path) -> None:
    lines = [about(kind, b"x") for kind in ("stale", "kept", "found", "unseen", "copy", "later", "end")]
    found = tree(tmp_path / "t", *lines, skipped(b"lost+found", "lost+found"), skipped(b"odd", "a word of nobody's"))
    assert list(found.below()) == []
    assert [found.why_not(raw) for raw in (b"lost+found/x", b"odd", b"x")] == ["lost+found", "skipped", ""]
    found.close()


FIFO = Entry(type="fifo", path="pipe", skipped="special")
FOLDER = Entry(type="directory", path="sub")
CASES = {
    "both have it": ([file("a", size=0)], [file("a", size=0)], {}, [], "equal"),
    "no checksum": ([file("a", mtime=7)], [file("a", mtime=7)], {}, [], "unproved"),
    "no checksum, another time": (
        [file("a")],
        [file("a", mtime=7)],
        {"attributes": False},
        [("unproved", b"a", ("perhaps contents",))],
        "unproved",
    ),
    "lost+found": ([], [skipped(b"lost+found", "lost+found")], {}, [], "equal"),
    "the point has none": ([skipped(b"lost+found", "lost+found")], [], {}, [], "equal"),
    "special files of a restore": ([FIFO], [], {"unkept": difference.kept_by_restores}, [], "equal"),
    "special files of two points": ([FIFO], [], {}, [("gone", b"pipe", ())], "different"),
    "another special file": ([], [FIFO], {"unkept": difference.kept_by_restores}, [("new", b"pipe", ())], "different"),
    "a folder that cannot be listed": (
        [FOLDER, file("sub/x")],
        [FOLDER, skipped(b"sub", "unreadable")],
        {},
        [("unproved", b"sub", ("unreadable",)), ("unproved", b"sub/x", ("unreadable",))],
        "unproved",
    ),
    "excluded, and there": ([file("a"), "a"], [file("a")], {}, [], "equal"),
    "attributes that were not kept": (
        [file("a", size=0, skipped="attributes")],
        [file("a", size=0, xattrs={"user.a": b"x"})],
        {},
        [],
        "equal",
    ),
    "one difference is enough": (
        [file("a", mtime=7), file("b")],
        [file("a", mtime=7)],
        {},
        [("gone", b"b", ())],
        "different",
    ),
    "a name that is no path": ([file("../a")], [], {}, [], "unproved"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_compared_is_neither_equal_nor_different(tmp_path: Path, case: str) -> None:
    old, new, how, changes, result = CASES[case]
    before = tree(tmp_path / "a", *(each for each in old if isinstance(each, Entry)))
    before.drop([about(manifest.EXCLUDED, each.encode()) for each in old if isinstance(each, str)])
    after = tree(tmp_path / "b", *new)
    found, compared = compare(before, after, **how)
    assert (found, compared.result) == (changes, result)
    before.close()
    after.close()


def test_what_a_restore_does_not_bring_back_is_counted_by_its_kind(tmp_path: Path) -> None:
    before, after = tree(tmp_path / "a", FIFO), tree(tmp_path / "b", file("left"))
    after.drop([about(manifest.EXCLUDED, b"left")])
    before.add(file("left"))
    _, compared = compare(before, after, unkept=difference.kept_by_restores)
    assert {loss.kind: loss.count for loss in compared.skipped.kinds()} == {"excluded": 1, "special": 1}


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), Refused("everything")])
def test_a_file_that_cannot_be_read_is_not_called_equal(tmp_path: Path, error: Exception) -> None:
    def refuse(_: Leaf) -> bytes:
        raise error

    before, after = tree(tmp_path / "a", file("a")), tree(tmp_path / "b", file("a"))
    before.prove([(b"a", b"m" * 16)])
    found, compared = compare(before, after, sum_after=refuse)
    assert (found, compared.result) == ([("unproved", b"a", ("unreadable",))], "unproved")


def test_a_directory_is_read_with_what_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "d/lost+found").mkdir(parents=True)
    (tmp_path / "d/lost+found/x").touch()
    (tmp_path / "d/a").write_text("12345")
    found = tree(tmp_path / "t")
    difference.read_directory(str(tmp_path / "d"), found)
    assert [leaf.path for leaf in found.below()] == [b"a"]
    assert found.why_not(b"lost+found") == "lost+found"
    leaf = found.find(b"a")
    assert leaf is not None
    with difference.file_sums(str(tmp_path / "d")) as sums:
        assert sums(leaf) == hashlib.md5(b"12345").digest()
        with pytest.raises(OSError, match="No such file"):
            sums(Leaf(file("none")))
        (tmp_path / "d/a").write_text("123456789")  # no more than one byte too much is read of what grows
        assert sums(leaf) == hashlib.md5(b"123456").digest()
