import contextlib
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localkube.node import trees
from localkube.node.trees import Nested, Stopped, copy_tree
from localkube.node.walking import measure_tree, quote, remove_tree

AS_ROOT = bool(int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) & 1)  # CAP_CHOWN
UNICODE = ["ünïcödé", "日本語", "with space", "new\nline", "-dash", "%41&", "emoji 🎈", "trailing.", "a" * 255]


def fingerprint(root):
    """Everything that a volume holds, by relative path; hard-link groups by their first name."""
    found, groups = {}, {}
    for directory, subdirectories, files in os.walk(os.fsencode(root)):
        for name in (
            sorted([*subdirectories, *files, b"."])
            if directory == os.fsencode(root)
            else sorted([*subdirectories, *files])
        ):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            key = os.path.relpath(path, os.fsencode(root))
            content = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            attributes = {}
            if not stat.S_ISLNK(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
                attributes = {a: os.getxattr(path, a) for a in os.listxattr(path)}
            group = None
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                group = groups.setdefault(status.st_ino, key)
            found[key] = (status.st_mode, status.st_mtime_ns, status.st_uid, status.st_gid, content, attributes, group)
    return found


@pytest.fixture
def odd_tree(tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    for number, name in enumerate(UNICODE):
        (root / name).write_bytes(random.Random(number).randbytes(number * 1000))
        os.utime(root / name, ns=(1_000_000_007, 1_600_000_000_123_456_789 + number))
    os.mkdir(os.fsencode(root) + b"/not\xff\xfeutf8")
    with open(os.fsencode(root) + b"/not\xff\xfeutf8/\x80", "wb") as file:
        file.write(b"bytes")
    (root / "empty").mkdir()
    (root / "deep/er/still").mkdir(parents=True)
    (root / "deep/er/still/file").write_text("x")
    (root / "deep/er/still/file").chmod(0o4751)
    (root / "deep/er").chmod(0o1777)
    (root / "hard").write_text("linked")
    os.link(root / "hard", root / "deep/hard2")
    os.symlink("hard", root / "link")
    os.symlink("/nowhere/../at all", root / "dangling")
    os.symlink("../..", root / "deep/up")
    os.link(root / "link", root / "deep/link2", follow_symlinks=False)
    os.mkfifo(root / "pipe", 0o640)
    with open(root / "sparse", "wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
        file.truncate(9_000_000)
    (root / "attributes").write_text("x")
    os.setxattr(root / "attributes", "user.colour", b"\x00green")
    os.setxattr(root / "deep", "user.dir", b"yes")
    (root / "locked").mkdir()
    (root / "locked/inside").write_text("x")
    (root / "locked/inside").chmod(0o444)
    (root / "locked").chmod(0o555)
    os.utime(root / "deep", ns=(0, 1_500_000_000_000_000_001))
    os.utime(root / "link", ns=(0, 1_400_000_000_000_000_001), follow_symlinks=False)
    if AS_ROOT:
        os.chown(root / "hard", 1234, 4321)
        os.chown(root / "link", 1234, 4321, follow_symlinks=False)
        os.chown(root / "empty", 99, 98)
    yield root
    (root / "locked").chmod(0o755)


def test_a_copy_keeps_everything_that_a_volume_can_hold(odd_tree, tmp_path):
    before = fingerprint(odd_tree)
    report = copy_tree(odd_tree, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == before
    assert fingerprint(odd_tree) == before
    assert (report.changed, report.vanished, report.lost_attributes) == (0, 0, 0)
    assert report.directories == 7
    assert report.special == 1
    assert report.files == report.reflinked + report.copied + 1  # one is empty
    remove_tree(tmp_path / "copy")


def test_holes_stay_holes(odd_tree, tmp_path):
    copy_tree(odd_tree, tmp_path / "copy", reflink=False)
    assert (tmp_path / "copy/sparse").stat().st_blocks == (odd_tree / "sparse").stat().st_blocks
    remove_tree(tmp_path / "copy")


def test_a_copy_shares_no_content_that_a_later_write_could_reach(odd_tree, tmp_path):
    copy_tree(odd_tree, tmp_path / "copy")
    (odd_tree / "hard").write_text("other")
    (odd_tree / "ünïcödé").write_text("other")
    assert (tmp_path / "copy/hard").read_text() == "linked"
    assert (tmp_path / "copy/ünïcödé").read_text() == ""
    remove_tree(tmp_path / "copy")


def test_removing_takes_read_only_directories_and_follows_no_link(odd_tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    copy_tree(odd_tree, tmp_path / "copy")
    os.symlink(outside, tmp_path / "copy/escape")
    (tmp_path / "copy/closed").mkdir(mode=0o000)
    remove_tree(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert (outside / "precious").read_text() == "x"
    remove_tree(tmp_path / "copy")


def test_removing_a_link_leaves_what_it_points_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    remove_tree(tmp_path / "link")
    assert (tmp_path / "real").is_dir()
    assert not os.path.lexists(tmp_path / "link")


def test_trees_deeper_than_path_max_are_copied_and_removed(tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(45):
        os.mkdir("d" * 100, dir_fd=descriptor)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    report = copy_tree(root, tmp_path / "copy")
    assert (report.directories, report.files) == (46, 1)
    remove_tree(tmp_path / "copy")
    remove_tree(root)
    assert os.listdir(tmp_path) == []


def test_sockets_are_kept(tmp_path):
    (tmp_path / "source").mkdir()
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path / "source"):  # its path may not be long
        server.bind("s")
        report = copy_tree(tmp_path / "source", tmp_path / "copy")
    assert stat.S_ISSOCK((tmp_path / "copy/s").lstat().st_mode)
    assert report.special == 1


@pytest.mark.skipif(not AS_ROOT, reason="only root makes devices")
def test_devices_are_kept_as_root(tmp_path):
    (tmp_path / "source").mkdir()
    os.mknod(tmp_path / "source/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    copy_tree(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy/null").lstat().st_rdev == os.makedev(1, 3)


def as_nobody(tmp_path, *lines):
    """Run lines as a user without privileges, in a process of its own."""
    script = "\n".join(
        [
            "import os, sys",
            f"sys.path[:0] = {sys.path!r}",
            "from pathlib import Path",
            "from localkube.node.trees import *",
            "os.setgid(65534); os.setuid(65534)",
            *lines,
        ]
    )
    return subprocess.run(
        [sys.executable, "-c", script], cwd="/", capture_output=True, text=True, timeout=20, check=False
    )


@pytest.fixture
def open_tmp(tmp_path):
    """A directory that every user may enter."""
    if not AS_ROOT:
        pytest.skip("needs root to become another user")
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def test_what_cannot_be_read_fails_the_copy_and_is_named(open_tmp):
    source = open_tmp / "source"
    source.mkdir()
    (source / "fine").write_text("x")
    for name in ("closed\n1", "closed2"):
        (source / name).write_text("x")
        (source / name).chmod(0o600)
    (source / "closed-dir").mkdir(mode=0o700)
    done = as_nobody(
        open_tmp,
        f"try:\n  copy_tree(Path({str(source)!r}), Path({str(open_tmp / 'copy')!r}))\nexcept Unreadable as e:\n  print(e)",
    )
    assert done.stdout.strip() == "3 entries cannot be read by this user: closed\\n1, closed2, closed-dir", done.stderr


def test_lost_and_found_at_the_top_is_left_out_and_fails_no_copy(open_tmp):
    source = open_tmp / "source"
    (source / "dir/lost+found").mkdir(parents=True)
    (source / "dir/lost+found/theirs").write_text("x")
    (source / "lost+found").mkdir(mode=0o700)
    (source / "lost+found/inode").write_text("x")
    done = as_nobody(
        open_tmp,
        f"report = copy_tree(Path({str(source)!r}), Path({str(open_tmp / 'copy')!r}))",
        "print(report.files, report.directories, report.vanished)",
    )
    assert done.stdout.strip() == "1 3 0", done.stderr
    assert list((open_tmp / "copy/lost+found").iterdir()) == []
    assert (open_tmp / "copy/dir/lost+found/theirs").read_text() == "x"


def test_a_file_called_lost_and_found_is_a_file(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/lost+found").write_text("x")
    copy_tree(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy/lost+found").read_text() == "x"


@pytest.mark.skipif(not AS_ROOT, reason="only root mounts")
def test_a_file_system_that_is_mounted_below_comes_along(tmp_path):
    (tmp_path / "source/below").mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "none", tmp_path / "source/below"], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        (tmp_path / "source/below/file").write_text("x")
        copy_tree(tmp_path / "source", tmp_path / "copy")
    finally:
        subprocess.run(["umount", tmp_path / "source/below"], check=True)
    assert (tmp_path / "copy/below/file").read_text() == "x"


def test_a_device_is_refused_by_name_without_root(open_tmp):
    source = open_tmp / "source"
    source.mkdir()
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    done = as_nobody(
        open_tmp,
        f"try:\n  copy_tree(Path({str(source)!r}), Path({str(open_tmp / 'copy')!r}))\nexcept NotCopyable as e:\n  print(e)",
    )
    assert done.stdout.strip() == (
        "null is a device, and only root may make one; copyMethod: Direct needs no copy and leaves devices out"
    ), done.stderr


def test_owners_that_cannot_be_kept_are_counted_without_root(open_tmp):
    source = open_tmp / "source"
    source.mkdir()
    (source / "roots").write_text("x")
    done = as_nobody(open_tmp, f"print(copy_tree(Path({str(source)!r}), Path({str(open_tmp / 'copy')!r})).lost_owners)")
    assert done.stdout.strip() == "2", done.stderr


def test_source_and_destination_may_not_lie_in_one_another(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(Nested):
        copy_tree(tmp_path / "a", tmp_path / "a/b/c")
    (tmp_path / "link").symlink_to(tmp_path / "a/b")
    with pytest.raises(Nested):
        copy_tree(tmp_path / "a", tmp_path / "link/c")


def test_a_copy_can_be_called_off(odd_tree, tmp_path):
    asked = iter([False] * 5 + [True] * 100)
    with pytest.raises(Stopped):
        copy_tree(odd_tree, tmp_path / "copy", stop=lambda: next(asked))
    remove_tree(tmp_path / "copy")


def test_files_that_change_while_they_are_copied_are_counted(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    file = tmp_path / "source/log"
    file.write_bytes(b"x" * 100)
    original = trees._Copy._copy_content

    def grow_meanwhile(self, reader, writer, size):
        original(self, reader, writer, size)
        with file.open("ab") as log:
            log.write(b"more")

    monkeypatch.setattr(trees._Copy, "_copy_content", grow_meanwhile)
    report = copy_tree(tmp_path / "source", tmp_path / "copy", reflink=False)
    assert report.changed == 1
    assert (tmp_path / "copy/log").stat().st_size == 108
    assert (tmp_path / "copy/log").stat().st_mtime_ns <= file.stat().st_mtime_ns


def test_a_file_that_changed_once_is_copied_again(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    file = tmp_path / "source/log"
    file.write_bytes(b"x" * 100)
    original, done = trees._Copy._copy_content, []

    def change_once(self, reader, writer, size):
        original(self, reader, writer, size)
        if not done:
            done.append(1)
            file.write_bytes(b"short")

    monkeypatch.setattr(trees._Copy, "_copy_content", change_once)
    report = copy_tree(tmp_path / "source", tmp_path / "copy", reflink=False)
    assert report.changed == 0
    assert (tmp_path / "copy/log").read_bytes() == b"short"


def test_files_that_come_and_go_do_not_fail_the_copy(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(300):
        (source / f"{number:04}").write_text("x")
    done = threading.Event()

    def churn():
        number = 0
        while not done.is_set():
            name = source / f"{number % 300:04}"
            name.unlink(missing_ok=True)
            name.write_text("y" * (number % 50))
            number += 7

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        report = copy_tree(source, tmp_path / "copy")
    finally:
        done.set()
        writer.join()
    assert report.files + report.vanished <= 300 + report.vanished
    assert len(os.listdir(tmp_path / "copy")) == report.files


def test_sizes_count_hard_links_once(odd_tree):
    expected = sum(number * 1000 for number in range(len(UNICODE))) + 5 + 1 + 6 + 9_000_000 + 1 + 1
    assert measure_tree(odd_tree) == expected


def test_names_are_printed_on_one_line():
    assert quote("a\nb\udcff\x1b[1m") == "a\\nb\\\\xff\\x1b[1m".replace("\\\\", "\\")


@pytest.fixture
def btrfs(tmp_path):
    """A file system that can share content between files."""
    if not AS_ROOT or shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs root and mkfs.btrfs")
    image, place = tmp_path / "image", tmp_path / "mount"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(150 * 1024 * 1024)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True).returncode:
        pytest.skip("cannot mount btrfs")
    yield place
    subprocess.run(["umount", place], check=True)


def test_content_is_shared_where_the_file_system_can(btrfs):
    (btrfs / "source").mkdir()
    (btrfs / "source/big").write_bytes(os.urandom(30_000_000))
    (btrfs / "source/empty").touch()
    os.sync()
    before = os.statvfs(btrfs).f_bfree
    report = copy_tree(btrfs / "source", btrfs / "copy")
    os.sync()
    assert (report.method, report.reflinked) == ("reflink", 1)
    assert (before - os.statvfs(btrfs).f_bfree) * os.statvfs(btrfs).f_frsize < 5_000_000
    assert (btrfs / "copy/big").read_bytes() == (btrfs / "source/big").read_bytes()
    with (btrfs / "source/big").open("r+b") as file:
        file.write(b"changed")
    assert (btrfs / "copy/big").read_bytes()[:7] != b"changed"
    assert copy_tree(btrfs / "source", btrfs / "plain", reflink=False).method == "copy"
