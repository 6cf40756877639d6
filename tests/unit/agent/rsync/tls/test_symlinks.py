"""Giving links their targets back."""

import os
from pathlib import Path

import pytest

from datamover.agent.errors import Stopped
from datamover.agent.rsync.tls import symlinks
from datamover.api import transfer

OLD = 1_000_000_000


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    os.utime(path, (OLD, OLD), follow_symlinks=False)


def test_the_prefix_goes_once_times_stay_and_nothing_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "volume", tmp_path / "outside"
    link(outside / "elsewhere", "/rsyncd-munged/kept")
    link(root / "a" / "absolute", "/rsyncd-munged//etc/hostname")
    link(root / "a" / "b" / "relative", "/rsyncd-munged/../x")
    link(root / "twice", "/rsyncd-munged//rsyncd-munged/x")
    link(root / "plain", "somewhere")
    link(root / "way-out", str(outside))
    for folder in (root / "a" / "b", root / "a", root):
        os.utime(folder, (OLD, OLD))
    told = symlinks.restore(str(root), tick=lambda: None)
    assert (told.links, told.missed, told.failed) == (3, 0, [])
    targets = {str(path.relative_to(root)): os.readlink(path) for path in root.rglob("*") if path.is_symlink()}
    assert targets == {
        "a/absolute": "/etc/hostname",
        "a/b/relative": "../x",
        "twice": "/rsyncd-munged/x",
        "plain": "somewhere",
        "way-out": str(outside),
    }
    assert {path.lstat().st_mtime for path in (root, *root.rglob("*"))} == {OLD}
    assert os.readlink(outside / "elsewhere") == "/rsyncd-munged/kept"


def test_odd_names_are_done(tmp_path: Path) -> None:
    odd = os.fsdecode(b"latin-\xe9\nline")
    link(tmp_path / odd, "/rsyncd-munged/x")
    assert symlinks.restore(str(tmp_path), tick=lambda: None).links == 1
    assert os.listdir(tmp_path) == [odd]


def test_what_has_the_name_of_a_new_link_by_chance_stays(tmp_path: Path) -> None:
    # what an attempt left that was killed is like a user's own, and goes with the next transfer
    link(tmp_path / "a", "/rsyncd-munged/x")
    link(tmp_path / ".~datamover-link-1", "/rsyncd-munged/y")
    (tmp_path / ".~datamover-link").write_text("precious")
    assert symlinks.restore(str(tmp_path), tick=lambda: None).links == 2
    assert (tmp_path / ".~datamover-link").read_text() == "precious"
    assert (os.readlink(tmp_path / "a"), os.readlink(tmp_path / ".~datamover-link-1")) == ("x", "y")
    assert len(os.listdir(tmp_path)) == 3


def test_a_depth_beyond_the_longest_path_is_reached(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=handle)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.symlink("/rsyncd-munged/x", "deep", dir_fd=handle)
    assert symlinks.restore(str(tmp_path), tick=lambda: None).links == 1
    assert os.readlink("deep", dir_fd=handle) == "x"
    os.close(handle)
    # pytest removes by whole paths
    os.system(f"rm -rf {tmp_path}/d*")


def test_a_stop_is_heard(tmp_path: Path) -> None:
    def stop() -> None:
        raise Stopped(transfer.INTERRUPTED)

    (tmp_path / "file").touch()
    with pytest.raises(Stopped):
        symlinks.restore(str(tmp_path), tick=stop)
