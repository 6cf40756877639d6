"""Whether a directory already is what a restore makes of it."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.files import losses, manifest
from datamover.agent.files.losses import Losses
from datamover.agent.restore.attempt import UNTOUCHED, WHOLE
from datamover.agent.restore.likeness import is_alike
from datamover.agent.restore.order import Order
from datamover.api import transfer
from support.fidelity import as_ordinary_user, fingerprint, give_away
from support.restoring import Backup

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    (source / "a/b/file").write_text("content")
    (source / "a/b/empty").touch()
    (source / "other").write_text("other")
    (source / "link").symlink_to("a/b")
    os.link(source / "other", source / "a/again")
    os.setxattr(source / "other", "user.colour", b"green")
    os.mkfifo(source / "pipe")
    (tmp_path / "scratch").mkdir()
    return Backup(source, tmp_path / "scratch")


def alike(backup: Backup, target: Path, *, lost: Losses | None = None, **order: Any) -> bool:
    top = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return is_alike(
            top,
            Order(directory=str(target), **order),
            str(backup.manifest),
            lost=Losses() if lost is None else lost,
            unkept=Losses(),
        )
    finally:
        os.close(top)


def changes(target: Path) -> dict[Path, int]:
    """Return when each path was last written to in any way."""
    return {path: path.lstat().st_ctime_ns for path in (target, *target.rglob("*"))}


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


def recolour(path: Path) -> None:
    os.setxattr(path, "user.colour", b"red")


def tag(path: Path) -> None:
    os.setxattr(path, "user.more", b"")


def part(path: Path) -> None:
    status = path.stat()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    path.chmod(status.st_mode)
    os.setxattr(path, "user.colour", b"green")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "mode": ("a/b/file", lambda path: path.chmod(0o640)),
    "mode of a folder": ("a/b", lambda path: path.chmod(0o711)),
    "mode of the top": (".", lambda path: path.chmod(0o711)),
    "time of a folder": ("a/b", touch),
    "attribute": ("other", recolour),
    "attribute more": ("a/b/file", tag),
    "hard link": ("a/again", part),
    "name of a file more": ("a/b/file", lambda path: os.link(path, path.parent.parent.parent.parent / "elsewhere")),
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
    """An empty directory is not alike."""
    (tmp_path / "empty").mkdir()
    assert not alike(backup, tmp_path / "empty")


def test_time_of_the_top(backup: Backup, tmp_path: Path) -> None:
    """Taking the mark away changes it, and a death may have come right after that: told as lost."""
    target = tmp_path / "target"
    backup.restore(target)
    touch(target)
    lost = Losses()
    assert alike(backup, target, lost=lost)
    assert [(loss.kind, loss.examples) for loss in lost.kinds()] == [(losses.TIME, (".",))]


@needs_root
@pytest.mark.parametrize("privileges", [False, True])
def test_bits(backup: Backup, tmp_path: Path, privileges: bool) -> None:
    """Bits and attributes that were not asked for are lost, and those that were must be there."""
    (tmp_path / "source/a/b/file").chmod(0o4755)
    os.setxattr(tmp_path / "source/a/b/file", "trusted.word", b"x")
    backup = Backup(tmp_path / "source", tmp_path / "scratch")
    backup.restore(tmp_path / "target")
    lost = Losses()
    assert alike(backup, tmp_path / "target", lost=lost, privileges=privileges) != privileges
    if not privileges:
        assert {loss.kind for loss in lost.kinds()} == {losses.PRIVILEGED_BITS, losses.PRIVILEGED_ATTRIBUTES}


@needs_root
def test_ordinary_user(backup: Backup, tmp_path: Path) -> None:
    """Whose the files were is lost where it could not be given back; what is another's is no work of this user."""

    def act() -> list[Any]:
        backup.restore("target", restore="r")
        again = backup.restore("target", restore="r").facts
        return [again.target, again.kept, again.fetched, *(loss.kind for loss in again.lost)]

    give_away(tmp_path)
    os.chown(tmp_path / "source/other", 1234, 4321)
    backup = Backup(tmp_path / "source", tmp_path / "scratch")
    give_away(tmp_path / "scratch")
    with tempfile.TemporaryDirectory() as scratch:
        backup.scratch, backup.manifest = Path(scratch), Path(shutil.copy(backup.manifest, scratch))
        give_away(Path(scratch))
        assert as_ordinary_user(act, folder=tmp_path) == [WHOLE, 4, 0, losses.OWNER]
    assert not alike(backup, tmp_path / "target"), "as root it is not"


# --- what a restore does with it --------------------------------------------------------------------------------------


def test_ended_unheard(backup: Backup, tmp_path: Path) -> None:
    """What is all there is whole, without a single write; of a command a directory that is not empty is refused all the same."""
    target = tmp_path / "target"
    backup.restore(target, restore="r")
    backup.shop.asked.clear()
    before = changes(target)
    facts = backup.restore(target, restore="r").facts
    assert (facts.target, facts.resumed, facts.files, facts.kept, facts.fetched) == (WHOLE, False, 4, 4, 0)
    assert [loss.kind for loss in facts.left_out] == [losses.SPECIAL]
    assert changes(target) == before
    assert not backup.shop.asked
    failure, state = backup.refusal(target)
    assert (failure.reason, state) == (transfer.REASON_TARGET_NOT_EMPTY, UNTOUCHED)


def rot(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"Content")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [*CHANGES, "content"])
def test_stranger(backup: Backup, tmp_path: Path, change: str) -> None:
    """What differs in whatever way is a stranger's: refused, and not a single write."""
    target = tmp_path / "target"
    backup.restore(target)
    name, act = (CHANGES | {"content": ("a/b/file", rot)})[change]
    act(target / name)
    before, times = fingerprint(target), changes(target)
    failure, state = backup.refusal(target, restore="r")
    assert (failure.reason, state) == (transfer.REASON_TARGET_NOT_EMPTY, UNTOUCHED)
    assert (fingerprint(target), changes(target)) == (before, times)


def test_rest_of_a_mark(backup: Backup, tmp_path: Path) -> None:
    """With the rest of a mark it is ours, and the rest goes."""
    target = tmp_path / "target"
    backup.restore(target, restore="r")
    before = fingerprint(target)
    (target / ".datamover-restore").mkdir(mode=0o700)
    (target / ".datamover-restore/lock").touch()
    facts = backup.restore(target, restore="r").facts
    assert (facts.target, facts.resumed, facts.kept, facts.fetched) == (WHOLE, True, 4, 0)
    assert fingerprint(target) == before


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
