"""Applying a manifest to restored files, above all one that somebody else wrote."""

import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.agent.files import manifest, restoration
from datamover.agent.files.manifest import Entry

ROOT = os.geteuid() == 0
MINE = {"uid": os.geteuid(), "gid": os.getegid()}
YEAR_2001 = 1_000_000_000_123_456_789
TOP = Entry(type=manifest.TOP, mode=0o755, mtime=YEAR_2001, **MINE)


def write(path: Path, *entries: Entry) -> str:
    writer = manifest.Writer(str(path), manifest.Header(run_id="run-1"))
    for entry in (*([] if any(entry.type == manifest.TOP for entry in entries) else [TOP]), *entries):
        writer.add(entry)
    writer.close()
    return str(path)


def entry(kind: str, path: str, **facts: object) -> Entry:
    return Entry(**{"type": kind, "path": path, "mode": 0o640, "mtime": YEAR_2001, **MINE, **facts})


class Restored:
    """A directory into which files came back, and one beside it that must stay as it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = root / "restored"
        self.top.mkdir()
        (self.top / "dir").mkdir()
        (self.top / "file").write_text("content")
        (self.top / "dir/inner").write_text("content")
        self.outside = root / "outside"
        self.outside.mkdir()
        self.victim = self.outside / "victim"
        self.victim.write_text("theirs")
        self.victim.chmod(0o600)
        self.before = self.look_outside()
        self.said: list[str] = []

    def look_outside(self) -> list[tuple[object, ...]]:
        found = []
        for path in (self.outside, *sorted(self.outside.rglob("*"))):
            status = path.lstat()
            attributes = os.listxattr(path, follow_symlinks=False)
            found.append((path, status.st_mode, status.st_uid, status.st_mtime_ns, status.st_nlink, attributes))
        return found

    def apply(self, *entries: Entry, privileges: bool = False, special: bool = False) -> int:
        path = write(self.root / "manifest", *entries)
        left = restoration.apply(path, str(self.top), privileges=privileges, special=special, say=self.said.append)
        assert bool(left) == any(said.startswith("left out: ") for said in self.said)
        assert self.look_outside() == self.before, "something outside the directory was touched"
        return left


@pytest.fixture
def restored(tmp_path: Path) -> Restored:
    return Restored(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_modes_times_attributes_and_empty_folders_come_back(restored: Restored) -> None:
    (restored.top / "link").symlink_to("file")
    left = restored.apply(
        entry("directory", "dir", mode=0o2750),
        entry("directory", "new", mode=0o500),
        entry("directory", "new/deep", mode=0o700),
        entry("file", "file", mode=0o400, xattrs={"user.note": b"\x00x"}),
        entry("file", "dir/inner"),
        entry("link", "link", target="file"),
        manifest.about(manifest.STALE, b"gone"),
    )
    assert (left, restored.said) == (0, [])
    assert mode(restored.top / "dir") == 0o2750, "of a folder the group's bit is no privilege"
    assert mode(restored.top / "new") == 0o500
    assert mode(restored.top / "file") == 0o400
    assert os.getxattr(restored.top / "file", "user.note") == b"\x00x"
    for name in ("dir", "new", "new/deep", "file", "dir/inner", "link"):
        assert (restored.top / name).lstat().st_mtime_ns == YEAR_2001


def test_twice_is_as_once(restored: Restored) -> None:
    os.link(restored.top / "file", restored.top / "second")
    entries = (
        entry("directory", "dir", mode=0o755),
        entry("file", "file", hardlink="h"),
        entry("file", "dir/inner", hardlink="h"),
    )
    for _ in range(2):
        assert restored.apply(*entries) == 0
    assert (restored.top / "file").stat().st_ino == (restored.top / "dir/inner").stat().st_ino
    assert not [name for name in os.listdir(restored.top / "dir") if name.startswith(".datamover")]


# --- attacks ------------------------------------------------------------------------------------------------------------


def plain(restored: Restored) -> None:
    pass


def link_to_folder(restored: Restored) -> None:
    (restored.top / "way").symlink_to(restored.outside)


def link_upwards(restored: Restored) -> None:
    (restored.top / "way").symlink_to("../outside")


def link_to_file(restored: Restored) -> None:
    (restored.top / "x").symlink_to(restored.victim)


ATTACKS = {
    "an absolute path": (plain, "file", "{outside}/victim", "is no path below"),
    "two dots": (plain, "file", "../outside/victim", "is no path below"),
    "two dots further down": (plain, "file", "dir/../../outside/victim", "is no path below"),
    "two dots alone": (plain, "directory", "..", "is no path below"),
    "a dot": (plain, "directory", ".", "is no path below"),
    "nothing": (plain, "directory", "", "is no path below"),
    "two slashes": (plain, "file", "dir//inner", "is no path below"),
    "a NUL": (plain, "file", "dir/\x00", "is no path below"),
    "a folder through a link": (link_to_folder, "file", "way/victim", "no folder (1 path): 'way/victim'"),
    "a folder through a relative link": (link_upwards, "file", "way/victim", "no folder (1 path): 'way/"),
    "a new folder through a link": (link_to_folder, "directory", "way/new", "no folder (1 path): 'way/"),
    "a link that is said to be a file": (link_to_file, "file", "x", "something else is there"),
    "a link that is said to be a folder": (link_to_folder, "directory", "way", "something else is there"),
    "a file that is said to be a folder": (plain, "directory", "file", "something else is there"),
    "a folder that is said to be a file": (plain, "file", "dir", "something else is there"),
    "a path through a file": (plain, "file", "file/x", "no folder (1 path): 'file/x'"),
    "what is not there": (plain, "file", "missing", "nothing of that name"),
    "a time that no clock shows": (plain, "file", "file", ""),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_nothing_outside_the_directory_is_touched(restored: Restored, case: str) -> None:
    arrange, kind, path, words = ATTACKS[case]
    arrange(restored)
    attack = entry(
        kind,
        path.format(outside=restored.outside),
        mode=0o4777,
        uid=0,
        gid=0,
        xattrs={"user.evil": b"1"},
        **({"mtime": 1 << 62} if not words else {}),
    )
    assert restored.apply(attack) >= 1
    assert words in restored.said[-1] or words in restored.said[0]


def test_the_time_of_a_link_is_its_own(restored: Restored) -> None:
    link_to_file(restored)
    assert restored.apply(entry("link", "x", target="whatever", xattrs={"user.evil": b"1"})) == 0
    assert (restored.top / "x").lstat().st_mtime_ns == YEAR_2001


@pytest.mark.parametrize("first", ["../outside/victim", "way/victim", "x"])
def test_a_hard_link_never_takes_in_or_replaces_what_is_outside(restored: Restored, first: str) -> None:
    link_to_folder(restored)
    link_to_file(restored)
    assert restored.apply(entry("file", first, hardlink="h"), entry("file", "file", hardlink="h")) == 1
    assert (restored.top / "file").read_text() == "content"
    assert (restored.top / "file").stat().st_nlink == 1


def test_files_that_differ_are_no_names_of_one_another(restored: Restored) -> None:
    (restored.top / "file").write_text("CONTENT")
    left = restored.apply(entry("file", "dir/inner", hardlink="h"), entry("file", "file", hardlink="h"))
    assert left == 1
    assert "contents differ" in restored.said[0]
    assert (restored.top / "file").read_text() == "CONTENT"


# --- privileges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6755])
def test_bits_that_give_rights_need_to_be_asked_for(restored: Restored, bits: int) -> None:
    assert restored.apply(entry("file", "file", mode=bits)) == 1
    assert "--privileges" in restored.said[0]
    assert mode(restored.top / "file") == 0o755
    restored.said.clear()
    assert restored.apply(entry("file", "file", mode=bits), privileges=True) == 0
    assert mode(restored.top / "file") == bits


@pytest.mark.parametrize("name", ["security.capability", "trusted.overlay.opaque"])
def test_attributes_of_the_kernel_need_to_be_asked_for(restored: Restored, name: str) -> None:
    assert restored.apply(entry("file", "file", xattrs={name: b"x" * 20, "user.fine": b"1"})) == 1
    assert name in restored.said[0]
    assert os.listxattr(restored.top / "file") == ["user.fine"]


def test_special_files_need_to_be_asked_for(restored: Restored) -> None:
    assert restored.apply(entry("fifo", "pipe"), entry("block device", "disk", device="8:0"), entry("socket", "s")) == 0
    assert restored.said == [
        "not in the backup: pipes and devices (--special makes them) (2 paths): 'pipe', 'disk'",
        "not in the backup: what nobody can make, such as sockets; programs make them anew (1 path): 's'",
    ]
    assert sorted(os.listdir(restored.top)) == ["dir", "file"]
    restored.said.clear()
    assert restored.apply(entry("fifo", "pipe", mode=0o620), entry("socket", "s"), special=True) == 0
    assert stat.S_ISFIFO((restored.top / "pipe").lstat().st_mode)
    assert mode(restored.top / "pipe") == 0o620


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_owners_come_back_for_root_and_bits_survive_that(restored: Restored) -> None:
    assert restored.apply(entry("file", "file", uid=1234, gid=4321, mode=0o4711), privileges=True) == 0
    status = (restored.top / "file").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, 0o4711)


# --- the command --------------------------------------------------------------------------------------------------------


def test_the_exit_code_says_whether_all_came_back(
    restored: Restored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good", entry("file", "file"))
    bad = write(tmp_path / "bad", entry("file", "file\x1b[2J"))
    (tmp_path / "damaged").write_bytes(Path(good).read_bytes()[:-12])
    top = str(restored.top)
    assert restoration.main([good, top]) == 0
    assert capsys.readouterr().out == ""
    lines = gzip.decompress(Path(good).read_bytes()).splitlines(keepends=True)
    (tmp_path / "old").write_bytes(gzip.compress(b"".join(line for line in lines if b'"type":"top"' not in line)))
    assert restoration.main([str(tmp_path / "old"), top]) == 0
    assert "of an earlier version" in capsys.readouterr().out
    assert restoration.main([bad, top]) == restoration.LEFT_OUT
    told = capsys.readouterr().out
    assert "nothing of that name" in told
    assert "1 left out." in told
    assert "\x1b" not in told, "a terminal must not obey a name"
    assert restoration.main([str(tmp_path / "damaged"), top]) == restoration.UNUSABLE
    assert restoration.main([good, str(tmp_path / "nowhere")]) == restoration.UNUSABLE
    assert restoration.main([str(tmp_path / "none"), top]) == restoration.UNUSABLE


def test_what_the_run_did_not_move_is_not_missed(restored: Restored) -> None:
    left = restored.apply(
        entry("file", "file"),
        entry("file", "excluded"),
        entry("file", "closed/excluded"),
        entry("file", "vanished"),
        entry("file", "lost"),
        manifest.about(manifest.EXCLUDED, b"excluded"),
        manifest.about(manifest.EXCLUDED, b"closed/excluded"),
        manifest.about(manifest.VANISHED, b"vanished"),
    )
    assert left == 1
    assert restored.said == ["left out: everything, because nothing of that name was restored (1 path): 'lost'"]


@pytest.mark.parametrize("nobody", ["| head -c0", "> /dev/full"])
def test_everything_comes_back_although_nobody_listens(restored: Restored, tmp_path: Path, nobody: str) -> None:
    path = write(
        tmp_path / "manifest", *(entry("file", f"missing-{number}") for number in range(9)), entry("file", "file")
    )
    program = f"{sys.executable} -m datamover.agent.main apply-manifest {path} {restored.top}"
    done = subprocess.run(
        ["bash", "-c", f"{program} {nobody}; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (restoration.LEFT_OUT, b"")
    assert mode(restored.top / "file") == 0o640
