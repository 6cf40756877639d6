"""One pass over a source."""

import errno
import os
import socket
from pathlib import Path
from typing import Self

import pytest

from datamover.agent.files import manifest
from datamover.agent.files.walk import Tally, describe, measure, walk
from localkube.node.walking import remove_tree


def go(source: Path, *, prefix_size: int = 0) -> tuple[Tally, dict[bytes, int], dict[str, manifest.Entry]]:
    tally = Tally()
    entries: list[manifest.Entry] = []
    walked = walk(os.fsencode(source), tally=tally, add=entries.append, prefix_size=prefix_size, tick=lambda: None)
    found = {key: size for key, size, _ in walked}
    return tally, found, {entry.path: entry for entry in entries}


def test_files_and_links_become_objects_and_everything_is_described(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_bytes(b"12345")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("dir/file")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket may not be long
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    tally, found, entries = go(tmp_path)
    assert found == {b"dir/file": 5, b"link.rclonelink": 8}
    assert (tally.files, tally.symlinks, tally.directories, tally.special) == (1, 1, 2, 2)
    assert tally.bytes == 13
    assert sorted(tally.special_names) == ["fifo", "socket"]
    assert {path for path, entry in entries.items() if entry.skipped == manifest.SPECIAL_FILE} == {"fifo", "socket"}
    assert {path: entry.type for path, entry in entries.items()} == {
        "": "top",
        "dir": "directory",
        "dir/file": "file",
        "empty": "directory",
        "link": "link",
        "fifo": "fifo",
        "socket": "socket",
    }
    assert entries["link"].target == "dir/file"


def test_what_the_store_cannot_keep_is_in_the_entry(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    os.chmod(tmp_path / "one", 0o2640)
    os.link(tmp_path / "one", tmp_path / "two")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 20)
    os.utime(tmp_path / "sparse", ns=(0, 1_700_000_000_987_654_321))
    _, _, entries = go(tmp_path)
    assert entries["one"].mode == 0o2640
    assert entries["one"].hardlink == entries["two"].hardlink is not None
    assert entries["sparse"].sparse
    assert entries["sparse"].mtime == 1_700_000_000_987_654_321
    assert (entries["one"].uid, entries["one"].gid) == (os.getuid(), os.getgid())


def test_lost_and_found_is_left_out_at_the_top_only(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found/1").touch()
    (tmp_path / "dir/lost+found").mkdir(parents=True)
    (tmp_path / "dir/lost+found/2").touch()
    tally, found, entries = go(tmp_path)
    assert tally.lost_and_found
    assert set(found) == {b"dir/lost+found/2"}
    assert entries["lost+found"] == manifest.Entry(
        type=manifest.SKIPPED, path="lost+found", skipped=manifest.LOST_AND_FOUND
    )


def test_a_file_called_lost_and_found_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "lost+found").touch()
    tally, found, _ = go(tmp_path)
    assert not tally.lost_and_found
    assert set(found) == {b"lost+found"}


def test_names_that_are_not_text_keep_their_bytes(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"bad\xff"), "wb") as file:
        file.write(b"x")
    _, found, entries = go(tmp_path)
    assert found == {b"bad\xff": 1}
    assert entries["bad\\xff"].raw == b"bad\xff"


@pytest.mark.parametrize(("prefix", "too_long"), [(1024 - 100, 0), (1024 - 99, 1)])
def test_keys_are_measured_with_their_prefix(tmp_path: Path, prefix: int, too_long: int) -> None:
    (tmp_path / ("x" * 100)).touch()
    tally, _, _ = go(tmp_path, prefix_size=prefix)
    assert tally.too_long == too_long


def test_bytes_that_are_not_text_take_more_room_at_the_server(tmp_path: Path) -> None:
    open(os.path.join(os.fsencode(tmp_path), b"\xff" * 100), "wb").close()
    assert go(tmp_path, prefix_size=1024 - 500)[0].too_long == 0
    assert go(tmp_path, prefix_size=1024 - 499)[0].too_long == 1


def test_our_own_folder_is_noticed_at_the_top_only(tmp_path: Path) -> None:
    (tmp_path / "dir/.datamover").mkdir(parents=True)
    assert not go(tmp_path)[0].reserved
    (tmp_path / ".datamover").mkdir()
    assert go(tmp_path)[0].reserved


def test_a_missing_source_is_an_error_and_a_vanished_folder_is_not(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        go(tmp_path / "missing")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    tally = Tally()

    def add(entry: manifest.Entry) -> None:
        if entry.path == "a":
            (tmp_path / "a/file").unlink()
            (tmp_path / "a").rmdir()

    found = {key for key, *_ in walk(os.fsencode(tmp_path), tally=tally, add=add, prefix_size=0, tick=lambda: None)}
    assert found == {b"b/file"}
    assert tally.unreadable == 0


def test_a_large_tree_is_interrupted_by_the_tick(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}").touch()
    seen: list[bytes] = []

    def tick() -> None:
        raise InterruptedError

    def consume() -> None:
        for key, *_ in walk(os.fsencode(tmp_path), tally=Tally(), add=lambda _: None, prefix_size=0, tick=tick):
            seen.append(key)

    with pytest.raises(InterruptedError):
        consume()
    assert len(seen) < 300


def test_what_came_later_is_described_as_it_is_then(tmp_path: Path) -> None:
    (tmp_path / "late").write_text("12")
    (tmp_path / "link").symlink_to("late")
    source = os.fsencode(tmp_path)
    late = describe(source, b"late", follows=False)
    assert (late.type, late.size) == ("file", 2)
    assert describe(source, b"link.rclonelink", follows=False).target == "late"
    assert describe(source, b"gone", follows=False).type == manifest.KEPT


def test_what_has_another_kind_by_now_is_kept_under_its_own_key(tmp_path: Path) -> None:
    (tmp_path / "now-a-link").symlink_to("late")
    (tmp_path / "now-a-file").write_text("12")
    (tmp_path / "now-a-folder").mkdir()
    os.mkfifo(tmp_path / "now-a-pipe")
    for key in (b"now-a-link", b"now-a-file.rclonelink", b"now-a-folder", b"now-a-pipe"):
        line = describe(os.fsencode(tmp_path), key, follows=False)
        assert (line.type, line.key) == (manifest.KEPT, key)


def test_behind_a_link_that_the_engine_follows_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "late").write_text("12")
    (tmp_path / "current").symlink_to("late")
    line = describe(os.fsencode(tmp_path), b"current", follows=True)
    assert (line.type, line.key, line.size) == (manifest.FILE, b"current", 2)


def test_a_file_named_like_a_link_is_counted_and_a_link_is_not(tmp_path: Path) -> None:
    (tmp_path / "real.rclonelink").touch()
    (tmp_path / "link").symlink_to("late")
    tally = Tally()
    source = os.fsencode(tmp_path)
    found = [key for key, *_ in walk(source, tally=tally, add=lambda _: None, prefix_size=0, tick=lambda: None)]
    assert (tally.link_like, tally.link_like_names) == (1, ["real.rclonelink"])
    measure(source, found, tally=tally, prefix_size=0)
    assert (tally.link_like, tally.link_like_names) == (1, ["real.rclonelink"])
    measure(source, [b"link.rclonelink"], tally=tally, prefix_size=0)
    assert tally.link_like == 0


def test_a_link_that_the_engine_misspells_is_counted_and_a_file_of_that_name_is_not(tmp_path: Path) -> None:
    (tmp_path / "\uff0e").symlink_to("x")
    (tmp_path / "\uff0e\uff0e").touch()
    tally, found, _ = go(tmp_path)
    assert (tally.misspelt, tally.misspelt_names) == (1, ["\uff0e"])
    measure(os.fsencode(tmp_path), found, tally=tally, prefix_size=0)
    assert (tally.misspelt, tally.misspelt_names) == (1, ["\uff0e"])
    measure(os.fsencode(tmp_path), [], tally=tally, prefix_size=0)
    assert (tally.misspelt, tally.misspelt_names) == (0, [])


class Scan:
    """A directory that behaves until somebody asks for one of its items, as one of a failing disk does."""

    def __init__(self, items: list[os.DirEntry[bytes]], error: OSError) -> None:
        self._items = iter(items)
        self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __next__(self) -> os.DirEntry[bytes]:
        for item in self._items:
            return item
        raise self._error


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("code", "missed"),
    [
        (errno.EIO, {False: 1, True: 1}),
        (errno.ESTALE, {False: 1, True: 1}),
        (errno.EACCES, {False: 1, True: 1}),
        (errno.ENOENT, {False: 0, True: 1}),
        (errno.ENOTDIR, {False: 0, True: 1}),
    ],
)
def test_a_folder_that_cannot_be_listed_counts_and_in_a_frozen_copy_so_does_one_that_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, missed: dict[bool, int], frozen: bool
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/file").touch()
    (tmp_path / "good").touch()
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"/bad"):
            raise OSError(code, os.strerror(code))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tally = Tally()
    walked = walk(
        os.fsencode(tmp_path), tally=tally, add=lambda _: None, prefix_size=0, tick=lambda: None, frozen=frozen
    )
    assert {key for key, *_ in walked} == {b"good"}
    assert tally.unreadable == missed[frozen]
    assert tally.unreadable_names == (["bad"] if missed[frozen] else [])


def test_a_folder_that_fails_in_the_middle_counts_and_what_came_before_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/first").touch()
    real = os.scandir

    def scandir(path: bytes) -> object:
        with real(path) as items:
            return Scan(list(items), OSError(errno.EIO, "")) if path.endswith(b"/dir") else real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tally, found, _ = go(tmp_path)
    assert set(found) == {b"dir/first"}
    assert (tally.unreadable, tally.unreadable_names) == (1, ["dir"])


@pytest.mark.parametrize("frozen", [False, True])
def test_a_file_that_vanishes_before_it_is_looked_at_counts_in_a_frozen_copy_only(tmp_path: Path, frozen: bool) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()

    def add(entry: manifest.Entry) -> None:
        if entry.path:
            (tmp_path / ("b" if entry.path == "a" else "a")).unlink()

    tally = Tally()
    source = os.fsencode(tmp_path)
    found = list(walk(source, tally=tally, add=add, prefix_size=0, tick=lambda: None, frozen=frozen))
    assert len(found) == 1
    assert tally.unreadable == int(frozen)


# --- beyond what the kernel takes in one call ------------------------------------------------------------------------------


def dig(source: Path, *, levels: int, name: bytes = b"d" * 200) -> int:
    """Make folders in one another, opened step by step; return a handle on the deepest."""
    folder = os.open(source, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    return folder


def test_every_path_is_walked_however_deep_and_files_there_are_too_long_by_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    folder = dig(source, levels=60)
    os.close(os.open(b"deep", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.symlink("target", b"link", dir_fd=folder)
    os.close(folder)
    tally, found, entries = go(source)
    assert (tally.files, tally.directories, tally.unreadable, tally.too_long) == (1, 60, 0, 2)
    assert {len(key) for key in found} == {60 * 201 + 4, 60 * 201 + len("link.rclonelink")}
    assert entries["/".join(["d" * 200] * 60 + ["link"])].target == "target"
    assert list(tally.out_of_reach.values()) == [True]
    remove_tree(source)


@pytest.mark.parametrize("name", [b"d" * 255, b"[a]{b}*?\\" * 20, b"\xff\n\x1b" * 60, b" " * 200])
def test_empty_folders_at_any_depth_are_in_the_manifest_and_kept_from_the_engine_by_a_pattern(
    tmp_path: Path, name: bytes
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").touch()
    levels = 4200 // (len(name) + 1) + 1
    os.close(dig(source, levels=levels, name=name))
    tally, found, _ = go(source)
    assert set(found) == {b"file"}
    assert (tally.directories, tally.unreadable, tally.too_long) == (levels, 0, 0)
    [(folder, content)] = tally.out_of_reach.items()
    assert not content
    assert 1024 <= len(folder) <= 1024 + len(name)
    assert set(folder.split(b"/")) == {name}
    remove_tree(source)


def test_a_folder_that_ends_right_where_the_kernel_stops_is_walked(tmp_path: Path) -> None:
    for length in (*range(3838, 3844), *range(4093, 4099)):
        room = length - len(os.fsencode(tmp_path)) - 1 - 2
        source = tmp_path / "s"
        source.mkdir()
        folder = dig(source, levels=room // 101, name=b"d" * 100)
        rest = room % 101
        if rest > 1:
            os.mkdir(b"r" * (rest - 1), dir_fd=folder)
        os.close(os.open(b"f", os.O_CREAT, dir_fd=folder))
        os.close(folder)
        tally, found, _ = go(source)
        assert (tally.files, tally.directories, tally.unreadable) == (1, room // 101 + (rest > 1), 0), length
        assert len(found) == 1
        remove_tree(source)
