import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from localkube.node import trees
from localkube.node.trees import CopyFailed, Nested, NotCopyable, Stopped, copy_tree
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


async def test_a_copy_keeps_everything_that_a_volume_can_hold(odd_tree, tmp_path):
    before = fingerprint(odd_tree)
    report = await copy_tree(odd_tree, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == before
    assert fingerprint(odd_tree) == before
    assert (report.lost_owners, report.went.count, report.unkept.count) == (0, 0, 0)
    remove_tree(tmp_path / "copy")


async def test_holes_stay_holes(odd_tree, tmp_path):
    await copy_tree(odd_tree, tmp_path / "copy", reflink=False)
    assert (tmp_path / "copy/sparse").stat().st_blocks == (odd_tree / "sparse").stat().st_blocks
    remove_tree(tmp_path / "copy")


async def test_a_copy_shares_no_content_that_a_later_write_could_reach(odd_tree, tmp_path):
    await copy_tree(odd_tree, tmp_path / "copy")
    (odd_tree / "hard").write_text("other")
    (odd_tree / "ünïcödé").write_text("other")
    assert (tmp_path / "copy/hard").read_text() == "linked"
    assert (tmp_path / "copy/ünïcödé").read_text() == ""
    remove_tree(tmp_path / "copy")


async def test_removing_takes_read_only_directories_and_follows_no_link(odd_tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    await copy_tree(odd_tree, tmp_path / "copy")
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


def deep_tree(root, depth):
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=descriptor)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


async def test_a_tree_as_deep_as_a_path_is_long_is_copied_wherever_it_lies(tmp_path):
    deep_tree(tmp_path / "source", 39)
    await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert sum(len(files) for *_, files, _ in os.fwalk(tmp_path / "copy")) == 1
    remove_tree(tmp_path / "copy")
    remove_tree(tmp_path / "source")


async def test_a_tree_that_is_deeper_than_path_max_fails_with_bounded_words_and_is_removed(tmp_path):
    deep_tree(tmp_path / "source", 45)
    with pytest.raises(CopyFailed) as caught:
        await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert str(caught.value).startswith("cp said: cannot stat './ddd")
    assert str(caught.value).endswith("': File name too long; copyMethod: Direct needs no copy")
    assert len(str(caught.value)) < 400
    remove_tree(tmp_path / "copy")
    remove_tree(tmp_path / "source")
    assert os.listdir(tmp_path) == []


async def test_sockets_are_kept(tmp_path):
    (tmp_path / "source").mkdir()
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path / "source"):  # its path may not be long
        server.bind("s")
        await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert stat.S_ISSOCK((tmp_path / "copy/s").lstat().st_mode)


@pytest.mark.skipif(not AS_ROOT, reason="only root makes devices")
async def test_devices_are_kept_as_root(tmp_path):
    (tmp_path / "source").mkdir()
    os.mknod(tmp_path / "source/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy/null").lstat().st_rdev == os.makedev(1, 3)


def as_nobody(*lines):
    """Run lines as a user without privileges, in a process of its own."""
    script = "\n".join(
        [
            "import asyncio, os, sys",
            "import concurrent.futures.thread, subprocess  # before the modules are out of reach",
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


COPY = "report = asyncio.run(copy_tree(Path({!r}), Path({!r})))"


def test_what_cannot_be_read_fails_the_copy_and_is_named_before_anything_is_copied(open_tmp):
    source = open_tmp / "source"
    source.mkdir()
    (source / "fine").write_text("x")
    for name in ("closed\n1", "closed2"):
        (source / name).write_text("x")
        (source / name).chmod(0o600)
    (source / "closed-dir").mkdir(mode=0o700)
    copying = COPY.format(str(source), str(open_tmp / "copy"))
    done = as_nobody(f"try:\n  {copying}\nexcept Unreadable as e:\n  print(e)")
    assert done.stdout.strip() == (
        "3 entries cannot be read by this user: closed\\n1, closed-dir, closed2; copyMethod: Direct needs no copy"
    ), done.stderr
    assert not (open_tmp / "copy").exists()


def test_lost_and_found_at_the_top_is_left_out_and_fails_no_copy(open_tmp):
    source = open_tmp / "source"
    (source / "dir/lost+found").mkdir(parents=True)
    (source / "dir/lost+found/theirs").write_text("x")
    (source / "-t").write_text("x")
    os.link(source / "-t", source / "dir/linked")
    (source / "lost+found").mkdir(mode=0o700)
    (source / "lost+found/inode").write_text("x")
    source.chmod(0o1755)
    os.utime(source, ns=(0, 1_500_000_000_000_000_001))
    done = as_nobody(COPY.format(str(source), str(open_tmp / "copy")), "print(report.went.count, report.unkept.count)")
    assert done.stdout.strip() == "0 0", done.stderr
    copy = open_tmp / "copy"
    assert list((copy / "lost+found").iterdir()) == []
    assert (copy / "dir/lost+found/theirs").read_text() == "x"
    assert (copy / "-t").stat().st_ino == (copy / "dir/linked").stat().st_ino
    assert (copy.stat().st_mtime_ns, stat.S_IMODE(copy.stat().st_mode)) == (1_500_000_000_000_000_001, 0o1755)


async def test_nothing_but_lost_and_found_is_an_empty_copy(tmp_path):
    (tmp_path / "source/lost+found").mkdir(parents=True)
    (tmp_path / "source/lost+found/inode").write_text("x")
    await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert list((tmp_path / "copy").rglob("*")) == [tmp_path / "copy/lost+found"]


async def test_more_names_than_a_command_line_holds_are_copied_beside_lost_and_found(tmp_path, monkeypatch):
    (tmp_path / "source/lost+found").mkdir(parents=True)
    for number in range(100):
        (tmp_path / f"source/-{number:0200}").write_text("x")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_ARG_MAX": 6_000}[name])
    await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert sorted(os.listdir(tmp_path / "copy")) == sorted(os.listdir(tmp_path / "source"))


async def test_a_file_called_lost_and_found_is_a_file(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/lost+found").write_text("x")
    await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy/lost+found").read_text() == "x"


@pytest.mark.skipif(not AS_ROOT, reason="only root mounts")
async def test_a_file_system_that_is_mounted_below_comes_along(tmp_path):
    (tmp_path / "source/deeper/below").mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "none", tmp_path / "source/deeper/below"], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        (tmp_path / "source/deeper/below/file").write_text("x")
        await copy_tree(tmp_path / "source", tmp_path / "copy")
    finally:
        subprocess.run(["umount", tmp_path / "source/deeper/below"], check=True)
    assert (tmp_path / "copy/deeper/below/file").read_text() == "x"


def test_a_device_is_refused_by_name_without_root(open_tmp):
    source = open_tmp / "source"
    source.mkdir()
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    copying = COPY.format(str(source), str(open_tmp / "copy"))
    done = as_nobody(f"try:\n  {copying}\nexcept NotCopyable as e:\n  print(e)")
    assert done.stdout.strip() == (
        "null is a device, and only root may make one; copyMethod: Direct needs no copy and leaves devices out"
    ), done.stderr


def test_owners_that_cannot_be_kept_are_counted_without_root(open_tmp):
    source = open_tmp / "source"
    source.mkdir()
    (source / "roots").write_text("x")
    done = as_nobody(COPY.format(str(source), str(open_tmp / "copy")), "print(report.lost_owners)")
    assert done.stdout.strip() == "2", done.stderr


async def test_source_and_destination_may_not_lie_in_one_another(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(Nested):
        await copy_tree(tmp_path / "a", tmp_path / "a/b/c")
    (tmp_path / "link").symlink_to(tmp_path / "a/b")
    with pytest.raises(Nested):
        await copy_tree(tmp_path / "a", tmp_path / "link/c")


CP = """#!/bin/sh
[ "$1" = --version ] && {{ echo 'cp (GNU coreutils) 9.1'; exit; }}
{}
"""


@pytest.fixture
def cp(tmp_path, monkeypatch):
    """Put a script in the place of cp."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("x")

    def put(script, text=CP):
        (tmp_path / "bin/cp").write_text(text.format(script))
        (tmp_path / "bin/cp").chmod(0o755)

    return put


def alive(pid):
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def started(path):
    while not (path.exists() and path.read_text().endswith("\n")):
        await asyncio.sleep(0.01)
    return int(path.read_text())


@pytest.mark.parametrize("way", ["called off", "cancelled"])
async def test_a_copy_that_is_given_up_ends_cp(cp, tmp_path, way):
    cp(f"echo $$ > {tmp_path}/pid; exec /bin/sleep 100")
    stop = asyncio.Event()
    copying = asyncio.create_task(copy_tree(tmp_path / "source", tmp_path / "copy", stop=stop))
    async with asyncio.timeout(10):
        pid = await started(tmp_path / "pid")
    stop.set() if way == "called off" else copying.cancel()
    with pytest.raises(Stopped if way == "called off" else asyncio.CancelledError):
        await copying
    assert not alive(pid)


KILLED = """
import asyncio, sys
from pathlib import Path
from localkube.node.trees import copy_tree
asyncio.run(copy_tree(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
async def test_a_node_that_is_killed_takes_cp_along(cp, tmp_path):
    cp(f"echo $$ > {tmp_path}/pid; exec /bin/sleep 100")
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(tmp_path / "source"), str(tmp_path / "copy")),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    async with asyncio.timeout(20):
        pid = await started(tmp_path / "pid")
        node.send_signal(signal.SIGKILL)
        await node.wait()
        while alive(pid):
            await asyncio.sleep(0.01)


async def test_a_cp_that_cannot_do_it_is_told_with_a_way_out(cp, tmp_path):
    cp("", text="#!/bin/sh\necho 'cp: unrecognized option' >&2; exit 1\n")
    with pytest.raises(
        NotCopyable, match=r"cp of GNU coreutils, which is not on the PATH.*copyMethod: Direct needs no copy"
    ):
        await copy_tree(tmp_path / "source", tmp_path / "copy")


async def test_the_cp_of_gnu_is_found_under_its_other_names(cp, tmp_path, monkeypatch):
    cp("", text="#!/bin/sh\necho 'cp (uutils coreutils) 0.2.2'\n")
    (tmp_path / "bin/gnucp").symlink_to("/bin/cp")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy/file").read_text() == "x"


WENT = (
    "cp: cannot stat './a': No such file or directory",
    "cp: cannot open './b' for reading: No such file or directory",
    "cp: cannot access './c': Not a directory",
    "cp: skipping file './d', as it was replaced while being copied",
    "cp: ‘./e’: No such file or directory",
)


async def test_what_goes_while_it_is_copied_is_told_and_fails_nothing(cp, tmp_path):
    cp("\n".join(f'echo "{line}" >&2' for line in WENT * 2) + "\nexit 1")
    report = await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert report.went.count == 10
    assert str(report.went).startswith("cp said: cannot stat './a': No such file or directory; cannot open './b'")
    assert str(report.went).endswith("; and 5 more")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo \"cp: error writing './a': No space left on device\" >&2; exit 1",
            "No space left on device; copyMethod",
        ),
        ("echo \"cp: cannot open './a' for reading: Permission denied\" >&2; exit 1", "Permission denied"),
        (
            "printf \"cp: error reading './\\033[2J': Input/output error\\n\" >&2; exit 1",
            r"'./\\x1b\[2J': Input/output",
        ),
        ("exit 3", "cp ended with 3"),
        ("kill -9 $$", "cp ended with -9"),
        (f'echo "{WENT[0]}" >&2; kill -9 $$', "cp ended with -9"),
        ("while :; do echo \"cp: error reading './a': x\" >&2; done", "cp said: error reading './a': x; .*Direct"),
    ],
)
async def test_whatever_else_cp_says_fails_the_copy(cp, tmp_path, script, words):
    cp(script)
    with pytest.raises(CopyFailed, match=words):
        await copy_tree(tmp_path / "source", tmp_path / "copy")


async def test_attributes_that_cannot_be_kept_are_told(cp, tmp_path):
    cp("echo \"cp: setting attribute 'user.a' for 'x': Operation not supported\" >&2; exit 1")
    report = await copy_tree(tmp_path / "source", tmp_path / "copy")
    assert (report.unkept.count, report.went.count) == (1, 0)


async def test_files_that_come_and_go_do_not_fail_the_copy(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(300):
        (source / f"{number:04}").write_text("x")
    churn = f"cd {source}; while :; do for i in 01 07 13 19 25; do rm -f 00$i; echo y > 00$i; done; done"
    writer = await asyncio.create_subprocess_exec("sh", "-c", churn)
    try:
        reports = [await copy_tree(source, tmp_path / f"copy{n}") for n in range(10)]
    finally:
        writer.kill()
        await writer.wait()
    for number, report in enumerate(reports):
        assert len(os.listdir(tmp_path / f"copy{number}")) >= 295
        assert report.unkept.count == 0


async def test_a_tree_that_is_gone_is_no_empty_copy(tmp_path):
    with pytest.raises(FileNotFoundError):
        await copy_tree(tmp_path / "none", tmp_path / "copy")


def test_the_survey_can_be_called_off(odd_tree):
    asked = iter([False] * 5 + [True])
    with pytest.raises(Stopped):
        trees.survey(odd_tree, lambda: next(asked))


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


async def test_content_is_shared_where_the_file_system_can(btrfs):
    (btrfs / "source").mkdir()
    (btrfs / "source/big").write_bytes(os.urandom(30_000_000))
    (btrfs / "source/empty").touch()
    os.sync()

    async def taken(copy, **options):
        before = os.statvfs(btrfs).f_bfree
        await copy_tree(btrfs / "source", btrfs / copy, **options)
        os.sync()
        return (before - os.statvfs(btrfs).f_bfree) * os.statvfs(btrfs).f_frsize

    assert await taken("copy") < 5_000_000
    assert (btrfs / "copy/big").read_bytes() == (btrfs / "source/big").read_bytes()
    with (btrfs / "source/big").open("r+b") as file:
        file.write(b"changed")
    assert (btrfs / "copy/big").read_bytes()[:7] != b"changed"
    assert await taken("plain", reflink=False) > 25_000_000
