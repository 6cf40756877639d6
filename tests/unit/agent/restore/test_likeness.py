"""Whether a directory already is what a restore makes of it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.agent.files import manifest
from datamover.agent.restore.likeness import is_alike
from datamover.agent.restore.order import Order
from support.restoring import Backup


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    (source / "a/b/file").write_text("content")
    (source / "a/b/empty").touch()
    (source / "other").write_text("other")
    (source / "link").symlink_to("a/b")
    os.mkfifo(source / "pipe")
    (tmp_path / "scratch").mkdir()
    return Backup(source, tmp_path / "scratch")


def alike(backup: Backup, target: Path, **order: bytes) -> bool:
    return is_alike(str(target), Order(directory=str(target), **order), str(backup.manifest))


def test_restored(backup: Backup, tmp_path: Path) -> None:
    """What a restore has left is alike; with the rest of its mark, which may not have gone, it still is."""
    target = tmp_path / "target"
    backup.restore(target)
    before = sorted(os.listdir(target))
    assert alike(backup, target)
    (target / ".datamover-restore").mkdir()
    (target / ".datamover-restore/lock").touch()
    (target / "lost+found").mkdir()
    assert alike(backup, target)
    assert sorted(os.listdir(target)) == sorted([*before, ".datamover-restore", "lost+found"]), "nothing was changed"


def test_part(backup: Backup, tmp_path: Path) -> None:
    target = tmp_path / "target"
    backup.restore(target, path=b"a/b")
    assert alike(backup, target, path=b"a/b")
    assert not alike(backup, target)
    assert not alike(backup, target, path=b"other")


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def rewrite(path: Path) -> None:
    status = path.stat()
    path.write_text("other content")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def lead_out(path: Path) -> None:
    shutil.move(path, path.parent.parent / "outside")
    path.symlink_to("../outside")


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "time": ("a/b/file", touch),
    "size": ("a/b/file", rewrite),
    "gone": ("a/b/empty", Path.unlink),
    "kind": ("other", link),
    "leads": ("link", link),
    "folder": ("a", lead_out),
    "more": ("a/b/more", Path.touch),
    "more folders": ("more", Path.mkdir),
    "pipe": ("pipe", Path.touch),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed(backup: Backup, tmp_path: Path, change: str) -> None:
    """One nanosecond, one name or one kind: it is somebody else's."""
    target = tmp_path / "target"
    backup.restore(target)
    name, act = CHANGES[change]
    act(target / name)
    assert not alike(backup, target)


def test_nothing(backup: Backup, tmp_path: Path) -> None:
    """An empty directory is not alike, nor is one that is not there or a link."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("source")
    for name in ("empty", "missing", "link"):
        assert not alike(backup, tmp_path / name)


def test_damaged_manifest(backup: Backup, tmp_path: Path) -> None:
    backup.restore(tmp_path / "target")
    backup.manifest.write_bytes(backup.manifest.read_bytes()[:-30])
    with pytest.raises(ValueError, match="it "):
        alike(backup, tmp_path / "target")


def test_what_was_not_moved(backup: Backup, tmp_path: Path) -> None:
    """A file that the run listed and did not move is not missed."""
    target = tmp_path / "target"
    backup.restore(target)
    entries = [*manifest.entries(str(backup.manifest))]
    vanished = next(entry for entry in entries if entry.path == "other")
    writer = manifest.Writer(str(backup.manifest), manifest.Header(run_id=backup.run_id))
    for entry in entries:
        writer.add(entry)
    writer.add(manifest.Entry(type=manifest.VANISHED, path=vanished.path))
    writer.close()
    assert not alike(backup, target), "it should not be there"
    (target / "other").unlink()
    assert alike(backup, target)
