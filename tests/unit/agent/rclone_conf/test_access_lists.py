"""The text of getfacl and setfacl: what is written is read again, and what others wrote is understood."""

import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.files import manifest
from datamover.agent.files.walk import Tally
from datamover.agent.rclone_conf import modes
from datamover.agent.rclone_conf.access_lists import ACCESS, DEFAULT, AccessList, Reader, write
from support.rclone_conf import INHERITED, SHARED, fill


def read(text: bytes, *, base: bytes = b"data") -> tuple[list[AccessList], int]:
    names = {"root": 0, "bob": 1234, "staff": 50}
    reader = Reader(base=base, user=names.get, group=names.get)
    found = list(reader.read(text.splitlines(keepends=True)))
    return found, reader.damaged


def entry(path: bytes, **changes: object) -> manifest.Entry:
    given = {"type": manifest.FILE, "raw": path, "uid": 1, "gid": 2, "mode": 0o640}
    return manifest.Entry(**(given | changes))


def test_a_plain_file_is_written_as_getfacl_writes_it() -> None:
    assert write(entry(b"dir/a b"), base=b"data") == (
        b"# file: data/dir/a b\n# owner: 1\n# group: 2\nuser::rw-\ngroup::r--\nother::---\n\n"
    )


def test_special_bits_acls_and_defaults_are_written_in_their_order() -> None:
    folder = entry(b"d", type=manifest.DIRECTORY, mode=0o3775, xattrs={ACCESS: SHARED, DEFAULT: INHERITED})
    assert write(folder, base=b"data").decode().splitlines() == [
        "# file: data/d/",
        "# owner: 1",
        "# group: 2",
        "# flags: -st",
        "user::rw-",
        "user:1234:r--",
        "group::r--",
        "group:77:rw-",
        "mask::rw-",
        "other::---",
        "default:user::rwx",
        "default:user:1234:r-x",
        "default:group::r-x",
        "default:mask::r-x",
        "default:other::---",
        "",
    ]


@given(
    path=st.binary(min_size=1, max_size=40).filter(
        lambda raw: b"\0" not in raw and not set(raw.split(b"/")) & {b"", b".", b".."}
    ),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    folder=st.booleans(),
)
def test_whatever_is_written_is_read_again(path: bytes, mode: int, uid: int, folder: bool) -> None:
    kind = manifest.DIRECTORY if folder else manifest.FILE
    top = write(entry(b"", type=manifest.TOP), base=b"data")
    text = top + write(entry(path, type=kind, mode=mode, uid=uid), base=b"data")
    (_, found), damaged = read(text)
    assert damaged == 0
    assert (found.path, found.mode, found.uid, found.is_folder) == (path, mode, uid, folder)
    assert found.access is None


def test_acls_are_read_as_the_kernel_has_them() -> None:
    (found,), _ = read(write(entry(b"", type=manifest.TOP, xattrs={ACCESS: SHARED, DEFAULT: INHERITED}), base=b"data"))
    assert (found.access, found.default) == (SHARED, INHERITED)
    assert found.mode == 0o660  # the mask stands for the group


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        (b"data", b"data/a", b"a"),
        (b"/data/", b"/data/a", b"a"),
        (b".", b"a", b"a"),
        (b".", b"./data/a", b"data/a"),
        (b".", b"d\\012e\\134", b"d\ne\\"),
    ],
)
def test_paths_are_understood_in_both_forms(first: bytes, second: bytes, path: bytes) -> None:
    rights = (
        b"# owner: bob\n# group: staff\nuser::rwx\t\t#effective:r-x\nu:bob:r--\ngroup::r--\nmask::r-x\nother::---\n\n"
    )
    (_, found), damaged = read(b"# file: " + first + b"\n" + rights + b"# file: " + second + b"\n" + rights)
    assert (found.path, found.uid, found.gid, found.mode, damaged) == (path, 1234, 50, 0o750, 0)


@pytest.mark.parametrize(
    "block",
    [
        b"user::rw-\ngroup::r--\nother::---",
        b"# file: data/a\nuser::rw-\ngroup::r--",
        b"# file: data/a\nuser::rw-\ngroup::r--\nother::yes",
        b"# file: data/a\nuser:nobody-here:rw-\nuser::rw-\ngroup::r--\nother::---",
        b"# file: data/a\n# owner: 99999999999\nuser::rw-\ngroup::r--\nother::---",
        b"# file: data/a\n# owner: 4294967295\nuser::rw-\ngroup::r--\nother::---",
        b"# file: data/a\n# flags: rwx\nuser::rw-\ngroup::r--\nother::---",
        b"# file: elsewhere/a\nuser::rw-\ngroup::r--\nother::---",
        b"# file: data/a\n\xff\xfe",
    ],
)
def test_what_cannot_be_understood_is_counted_and_the_rest_read(block: bytes) -> None:
    top = b"# file: data\nuser::rwx\ngroup::r-x\nother::r-x\n\n"
    found, damaged = read(top + block + b"\n\n" + top)
    assert ([each.path for each in found], damaged) == ([b"", b""], 1)


def test_an_attribute_of_another_version_is_left_out() -> None:
    (found,), _ = read(
        write(entry(b"", type=manifest.TOP, xattrs={ACCESS: struct.pack("<I", 9) + bytes(8)}), base=b"data")
    )
    assert (found.access, found.mode) == (None, 0o640)


def test_a_tree_gets_back_what_was_written_and_an_empty_folder_is_made(tmp_path: Path) -> None:
    source, target, file = tmp_path / "source", tmp_path / "target", tmp_path / "permissions.facl"
    source.mkdir()
    fill(source)
    modes.write_modes(str(source), str(file), volume="/data", tally=Tally(), tick=lambda: None)
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    shutil.rmtree(target / "empty")
    lost = modes.apply_modes(str(target), str(file), volume="/data", tick=lambda: None)
    assert lost.lines() == []
    assert stat.S_IMODE((target / "empty").stat().st_mode) == 0o1777
    again = tmp_path / "again"
    modes.write_modes(str(target), str(again), volume="/data", tally=Tally(), tick=lambda: None)
    blocks = sorted(file.read_bytes().split(b"\n\n"))
    assert sorted(again.read_bytes().split(b"\n\n")) == blocks


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is missing: apt-get install acl")
def test_setfacl_reads_what_is_written_and_what_getfacl_writes_is_read(tmp_path: Path) -> None:
    source, target, file = tmp_path / "data", tmp_path / "elsewhere" / "data", tmp_path / "permissions.facl"
    source.mkdir()
    fill(source)
    modes.write_modes(str(source), str(file), volume="/data", tally=Tally(), tick=lambda: None)
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    subprocess.run(["setfacl", f"--restore={file}"], cwd=target.parent, check=True)
    command = ["getfacl", "-R", "-n", "data"]
    theirs = [
        subprocess.run(command, cwd=each, check=True, capture_output=True).stdout for each in (tmp_path, target.parent)
    ]
    wanted, found = (sorted(each for each in text.split(b"\n\n") if b"lost+found" not in each) for text in theirs)
    assert found == wanted
    found, damaged = read(theirs[0])
    assert damaged == 0
    assert {each.path: each.mode for each in found}[b"none"] == 0o4755


def test_a_block_without_end_takes_no_memory_and_harms_no_other() -> None:
    reader = Reader(base=b"data", user=lambda _: None, group=lambda _: None)
    block = [b"# file: data/a\n", *[b"user::rwx\n"] * 100_000, b"\n"]
    rights = [b"user::rwx\n", b"group::r--\n", b"other::r--\n", b"\n"]
    lines = [b"# file: data/\n", *rights, *block, b"# file: data/b\n", *rights]
    assert [each.path for each in reader.read(iter(lines))] == [b"", b"b"]
    assert reader.damaged == 1
