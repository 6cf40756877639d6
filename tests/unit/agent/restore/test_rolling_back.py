"""Rolling a target back from its safety copy: everything is as it was, after whatever the restore had done, and after a kill at any step."""

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.errors import Failure
from datamover.agent.files import flushing
from datamover.agent.restore import rolling_back
from datamover.agent.restore.in_place import recover, roll_back
from datamover.agent.restore.order import STATE, Order
from datamover.agent.restore.wanted import File
from datamover.api import restore as words
from datamover.api import transfer
from support.fidelity import Kept, as_ordinary_user, fingerprint, give_away
from support.restoring import Backup, killed_at

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")
MARK = STATE.decode()
RESTORE = "restore-1"
MISSING = b"last/object"


def copy(tree: Path, to: Path) -> Path:
    """Copy a tree as a driver clones a volume."""
    subprocess.run(["cp", "-a", str(tree), str(to)], check=True)
    return to


def nothing() -> None:
    return None


def grow_point(root: Path) -> None:
    """What was backed up: each path of it meets something else in the target."""
    (root / "both").mkdir(parents=True)
    (root / "both/changed").write_text("of the point")
    (root / "both/same").write_text("the same in both")
    (root / "both/same-time").write_text("good")
    (root / "both/was-link").write_text("a file")
    (root / "both/link").symlink_to("changed")
    (root / "both/one").write_text("joined")
    os.link(root / "both/one", root / "both/two")
    (root / "both/first").write_text("alone")
    (root / "both/kept").write_text("two names")
    (root / "new/deeper").mkdir(parents=True)
    (root / "new/deeper/file").write_text("new")
    (root / "new/link").symlink_to("deeper/file")
    (root / "both/was-pipe").write_text("a file")
    (root / "last").mkdir()
    (root / "last/object").write_text("never comes")
    (root / "last/holes").write_bytes(b"point" * 5)
    for path in (root / "both/same-time", root / "both/kept"):
        os.utime(path, ns=(1, 1_600_000_000_000_000_001))
    os.utime(root, ns=(1, 1_500_000_000_000_000_001))
    root.chmod(0o700)


def grow_before(root: Path) -> None:
    """What was in the volume, with much that a restore takes away."""
    (root / "both").mkdir(parents=True)
    (root / "both/changed").write_text("of the volume, and longer")
    (root / "both/same").write_text("the same in both")
    (root / "both/same-time").write_text("rots")
    (root / "both/was-link").symlink_to("/etc/passwd")
    (root / "both/link").symlink_to("elsewhere")
    (root / "both/one").write_text("one")
    (root / "both/two").write_text("two")
    (root / "both/first").write_text("three names")
    (root / "untouched").mkdir()
    os.link(root / "both/first", root / "untouched/second")
    os.link(root / "both/first", root / "untouched/third")
    (root / "both/kept").write_text("two names")
    os.link(root / "both/kept", root / "untouched/kept")
    os.mkfifo(root / "both/was-pipe", 0o640)
    (root / "untouched/file").write_text("stays")
    (root / "last").mkdir()
    (root / "last/object").write_bytes(b"before")
    with (root / "last/holes").open("wb") as file:
        file.truncate(4 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    for name in ("changed", "same", "same-time", "first", "kept", "one"):
        os.utime(root / "both" / name, ns=(1, 1_600_000_000_000_000_001))
    os.setxattr(root / "both/changed", "user.own", b"before")
    (root / "both/same").chmod(0o4751)
    (root / "both/changed").chmod(0o400)
    (root / "last").chmod(0o555)
    os.utime(root / "last", ns=(1, 1_111_111_111_111_111_111))
    (root / "both").chmod(0o2750)
    os.utime(root, ns=(1, 1_400_000_000_000_000_001))
    root.chmod(0o751)


class Volume:
    """A volume with its safety copy, and a restore into it that fails unless told otherwise."""

    def __init__(self, tmp_path: Path, backup: Backup, before: Path, name: str = "volume") -> None:
        self.path = copy(before, tmp_path / name)
        self.safety = tmp_path / "safety"
        if not self.safety.exists():
            copy(before, self.safety)
        self.backup = backup
        self.before = fingerprint(self.safety)

    @property
    def order(self) -> dict[str, Any]:
        return {"overwrite": True, "safety": str(self.safety), "restore": RESTORE}

    def restore(self) -> str:
        """Restore, and roll back when that fails; return what the volume is then."""
        attempt = self.backup.attempt(self.path, **self.order)
        try:
            attempt.run()
        except Failure as failure:
            told = recover(Order(directory=str(self.path), **self.order), failure, tick=nothing, say=lambda _: None)
            return words.ROLLED_BACK if told is not None else attempt.facts.target
        finally:
            attempt.close()
        return attempt.facts.target

    def now(self) -> dict[bytes, Kept]:
        return fingerprint(self.path)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    grow_before(tmp_path / "before")
    return tmp_path / "before"


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    grow_point(tmp_path / "point")
    found = Backup(tmp_path / "point", tmp_path)
    del found.shop.objects[MISSING]
    return found


@pytest.fixture
def volume(tmp_path: Path, backup: Backup, before: Path) -> Volume:
    return Volume(tmp_path, backup, before)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: what is killed is a process, not the machine."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(flushing, "flush_file_system", lambda _: None)


def test_after_an_object_that_is_missing_everything_is_as_it_was(volume: Volume) -> None:
    attempt = volume.backup.attempt(volume.path, **volume.order)
    with pytest.raises(Failure) as caught:
        attempt.run()
    attempt.close()
    during = volume.now()
    assert during[b"both/changed"] != volume.before[b"both/changed"], "the restore has changed much"
    assert b"new/deeper/file" in during
    assert during[b"both/one"].group == during[b"both/two"].group is not None
    order = Order(directory=str(volume.path), **volume.order)
    assert recover(order, caught.value, tick=nothing, say=lambda _: None) == ()
    assert volume.now() == volume.before
    assert stat.S_ISFIFO(volume.now()[b"both/was-pipe"].mode)
    assert (volume.path / "last/holes").stat().st_blocks * 512 < 4 << 20, "holes are holes"
    assert fingerprint(volume.safety) == volume.before
    message = caught.value.message
    assert message.startswith("1 path(s) of the point did not come back")
    assert message.endswith("The directory is as it was before: it was rolled back from its safety copy.")
    assert "not whole" not in message
    assert MARK not in message


def test_names_that_the_restore_did_not_touch_belong_to_their_file_again(volume: Volume) -> None:
    assert volume.restore() == words.ROLLED_BACK
    for name, other in (("both/first", "untouched/second"), ("both/kept", "untouched/kept")):
        assert (volume.path / name).samefile(volume.path / other)
    assert (volume.path / "both/first").stat().st_nlink == 3


def test_what_is_whole_is_not_rolled_back_and_leaves_no_list(volume: Volume, backup: Backup) -> None:
    backup.shop.objects[MISSING] = b"never comes"
    assert volume.restore() == words.WHOLE
    assert (volume.path / "last/object").read_text() == "never comes"
    assert (volume.path / "untouched/file").read_text() == "stays"
    assert MARK not in os.listdir(volume.path)
    done = volume.now()
    order = Order(directory=str(volume.path), **volume.order)
    assert roll_back(order, tick=nothing) is None
    assert volume.now() == done


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("first", [1, 5])
def test_killed_right_before_a_change_it_can_be_rolled_back_and_be_gone_on_with(
    volume: Volume, backup: Backup, before: Path, tmp_path: Path, first: int
) -> None:
    """The attempt that is killed restores, fails, and rolls back; the next one does so too, or succeeds."""
    whole = Volume(tmp_path, backup, before, "whole")
    objects = dict(backup.shop.objects)
    backup.shop.objects[MISSING] = b"never comes"
    assert whole.restore() == words.WHOLE
    wanted = whole.now()
    step, marked = first - 9, 0
    while True:
        step += 9
        shutil.rmtree(volume.path)
        again = Volume(tmp_path, backup, before)
        backup.shop.objects = dict(objects)
        if not killed_at(step, again.restore):
            break
        marked += (again.path / MARK / "marker.json").exists()
        if step % 2:
            assert again.restore() == words.ROLLED_BACK, step
            assert again.now() == volume.before, step
        else:
            backup.shop.objects[MISSING] = b"never comes"
            assert again.restore() == words.WHOLE, step
            assert again.now() == wanted, step
    assert again.now() == volume.before
    assert marked > 8


def test_a_volume_in_which_another_restore_has_begun_is_left_alone(volume: Volume) -> None:
    with pytest.raises(Failure):
        volume.backup.restore(volume.path, **{**volume.order, "restore": "another"})
    left = volume.now()
    assert roll_back(Order(directory=str(volume.path), **volume.order), tick=nothing) is None
    assert volume.now() == left


def refusal(volume: Volume) -> str:
    failure, target = volume.backup.refusal(volume.path, **volume.order)
    assert target == words.UNTOUCHED
    assert MARK not in os.listdir(volume.path)
    assert failure.message.endswith(("The directory was not touched.", "Nothing was changed.")), failure.message
    return f"{failure.reason}: {failure.message}"


def test_a_copy_that_is_not_of_this_volume_as_it_is_now_is_refused_before_anything_is_touched(
    volume: Volume, tmp_path: Path
) -> None:
    """An empty mount above all: by it everything would be taken for new, and be removed."""

    def told(act: Any, undo: Any) -> str:
        act()
        found = refusal(volume)
        assert found.startswith(transfer.REASON_SAFETY_COPY_UNUSABLE), found
        undo()
        return found

    here = volume.path / "both/changed"
    saved = tmp_path / "saved"
    assert "'both'" in told(
        lambda: (volume.safety.rename(saved), volume.safety.mkdir()),
        lambda: (volume.safety.rmdir(), saved.rename(volume.safety)),
    )
    assert "No such file" in told(lambda: volume.safety.rename(saved), lambda: saved.rename(volume.safety))
    assert "'both/changed', it has another time" in told(
        lambda: os.utime(here, ns=(1, 1_600_000_009_000_000_001)),
        lambda: os.utime(here, ns=(1, 1_600_000_000_000_000_001)),
    )
    assert "is there in one of them alone" in told(
        lambda: (volume.path / "new").mkdir(), lambda: (volume.path / "new").rmdir()
    )
    link = volume.path / "both/link"
    assert "leads elsewhere" in told(
        lambda: (link.unlink(), link.symlink_to("x")), lambda: (link.unlink(), link.symlink_to("elsewhere"))
    )
    assert volume.restore() == words.ROLLED_BACK


def test_a_copy_of_a_volume_that_was_half_restored_is_refused(volume: Volume) -> None:
    (volume.safety / MARK).mkdir()
    assert refusal(volume).startswith(transfer.REASON_TARGET_UNFINISHED)


@pytest.mark.parametrize("broken", ["list", "copy", "folder"])
def test_what_cannot_be_rolled_back_stays_marked_and_the_copy_is_named(
    volume: Volume, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure, _ = volume.backup.refusal(volume.path, **volume.order)
    if broken == "list":
        (volume.path / MARK / "manifest.jsonl.gz").write_bytes(b"nonsense")
    elif broken == "copy":
        volume.safety.rename(volume.safety.with_name("gone"))
    else:  # somebody has written there meanwhile
        (volume.path / "new/deeper/stranger").write_text("x")
    said: list[str] = []
    order = Order(directory=str(volume.path), **volume.order)
    assert recover(order, failure, tick=nothing, say=said.append) is None
    assert "It could not be rolled back: " in failure.message
    assert failure.message.endswith("The safety copy still has everything as it was before.")
    assert said[0].startswith("The volume cannot be rolled back: ")
    assert (volume.path / MARK / "marker.json").exists()


@pytest.mark.parametrize("what", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken")], ids=["full", "broken"])
def test_after_a_disk_that_is_full_or_fails_everything_is_as_it_was(volume: Volume, what: OSError) -> None:
    def fail(file: File) -> None:
        if file.key == MISSING:
            raise what

    volume.backup.shop.before = fail
    failure, target = volume.backup.refusal(volume.path, **volume.order)
    assert target == words.MARKED
    assert volume.now() != volume.before
    order = Order(directory=str(volume.path), **volume.order)
    assert recover(order, failure, tick=nothing, say=lambda _: None) == ()
    assert volume.now() == volume.before
    assert "is as it was before" in failure.message
    assert MARK not in failure.message


def test_room_that_is_missing_is_made_by_what_goes_anyway(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = False
    real = rolling_back._write_all  # pyright: ignore[reportPrivateUsage]

    def full(descriptor: int, data: bytes, offset: int) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, data, offset)

    monkeypatch.setattr(rolling_back, "_write_all", full)
    assert volume.restore() == words.ROLLED_BACK
    assert failed
    assert volume.now() == volume.before


@needs_root
def test_owners_come_back_by_root(volume: Volume, before: Path, tmp_path: Path, backup: Backup) -> None:
    os.chown(before / "both/changed", 1234, 4321)
    os.chown(before / "both/was-link", 1234, 4321, follow_symlinks=False)
    os.chown(before / "last", 1234, 4321)
    os.chown(before / "both/first", 77, 78)
    os.chown(before, 1234, 4321)
    shutil.rmtree(volume.safety)
    again = Volume(tmp_path, backup, before, "theirs")
    assert again.restore() == words.ROLLED_BACK
    assert again.now() == again.before


@needs_root
def test_an_ordinary_user_rolls_back_what_is_his_and_is_refused_what_he_cannot_read(
    volume: Volume, backup: Backup, tmp_path: Path
) -> None:
    give_away(tmp_path)
    volume.before = fingerprint(volume.safety)
    # what is above of the test's own folder may be closed to that user
    volume.path, volume.safety = Path(volume.path.name), Path(volume.safety.name)

    def restore() -> tuple[str, bool]:
        return volume.restore(), volume.now() == volume.before

    with tempfile.TemporaryDirectory() as scratch:
        backup.scratch, backup.manifest = Path(scratch), Path(shutil.copy(backup.manifest, scratch))
        give_away(Path(scratch))
        assert as_ordinary_user(restore, folder=tmp_path) == (words.ROLLED_BACK, True)
        os.chown(tmp_path / "safety/both/changed", 0, 0)
        assert "run as root" in as_ordinary_user(lambda: refusal(volume), folder=tmp_path)


def test_a_stop_ends_a_roll_back_and_the_mark_stays(volume: Volume) -> None:
    failure, _ = volume.backup.refusal(volume.path, **volume.order)
    seen = 0

    def tick() -> None:
        nonlocal seen
        seen += 1
        if seen > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(Order(directory=str(volume.path), **volume.order), failure, tick=tick, say=lambda _: None)
    assert (volume.path / MARK / "marker.json").exists()
    assert volume.restore() == words.ROLLED_BACK
    assert volume.now() == volume.before
