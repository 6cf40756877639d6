"""Restoring into a directory: whole, once more after a kill at any step, and what is refused. Without an engine."""

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.errors import Failure, Stopped
from datamover.agent.files import flushing, manifest
from datamover.agent.restore import attempt, checking, reasons
from datamover.agent.restore.ahead import WORTH, Ahead
from datamover.agent.restore.attempt import MARKED, UNTOUCHED, WHOLE
from datamover.agent.restore.order import STATE
from datamover.agent.restore.target import Target
from datamover.agent.restore.wanted import File
from datamover.api import transfer
from support.fidelity import as_ordinary_user, fingerprint, give_away
from support.restoring import Backup, killed_at

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")
MARK = STATE.decode()


def grow(root: Path) -> None:
    """Make a tree with something of everything."""
    root.mkdir()
    (root / "folder/inner").mkdir(parents=True)
    (root / "folder/inner/file").write_bytes(b"content")
    (root / "empty-folder").mkdir()
    (root / "empty").touch()
    (root / "secret").write_bytes(b"only mine")
    (root / "secret").chmod(0o400)
    (root / "closed").mkdir()
    (root / "closed/file").write_bytes(b"in a closed folder")
    (root / "link").symlink_to("folder/inner")
    (root / "folder/dangling").symlink_to("/no/such/thing")
    (root / "folder/first").write_bytes(b"one inode")
    os.link(root / "folder/first", root / "second")
    os.setxattr(root / "second", "user.colour", b"green")
    name = os.fsencode(root) + b"/odd\n\xff-name"
    Path(os.fsdecode(name)).write_bytes(b"odd")
    with (root / "sparse").open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(number, 1_500_000_000_123_456_789 + number), follow_symlinks=False)
    (root / "closed").chmod(0o500)
    os.utime(root, ns=(1, 1_400_000_000_000_000_001))
    root.chmod(0o750)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    grow(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def backup(source: Path, tmp_path: Path) -> Backup:
    return Backup(source, tmp_path)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: what is killed is a process, not the machine."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(flushing, "flush_file_system", lambda _: None)


def test_a_tree_comes_back_as_it_was_and_nothing_else_is_there(backup: Backup, source: Path, tmp_path: Path) -> None:
    attempt = backup.restore(tmp_path / "target")
    assert fingerprint(tmp_path / "target") == fingerprint(source)
    facts = attempt.facts
    assert (facts.target, facts.resumed, facts.lost, facts.kept, facts.by_size) == (WHOLE, False, (), 0, 0)
    assert (facts.fetched, facts.linked) == (facts.files - 1, 1)


def test_a_file_with_two_names_is_fetched_once_where_the_manifest_proves_that_it_is_one(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    backup.restore(tmp_path / "target")
    assert len({b"second", b"folder/first"} & set(backup.shop.asked)) == 1
    backup.sums.clear()
    backup.shop.asked.clear()
    attempt = backup.restore(tmp_path / "other")
    assert {b"second", b"folder/first"} <= set(backup.shop.asked)
    assert fingerprint(tmp_path / "other") == fingerprint(source)
    assert attempt.facts.by_size == attempt.facts.files - 1


@pytest.fixture
def large(tmp_path: Path) -> Backup:
    """The backup of one file that is read as soon as it has arrived."""
    source = tmp_path / "large-source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(WORTH))
    return Backup(source, tmp_path)


def test_a_large_file_is_read_once_when_it_has_arrived(
    large: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(checking, "digest_of", lambda handle, tick: read.append(handle))
    attempt = large.restore(tmp_path / "target")
    assert (tmp_path / "target/large").read_bytes() == large.shop.objects[b"large"]
    assert (attempt.facts.target, attempt.facts.fetched, read) == (WHOLE, 1, [])


def test_what_becomes_of_a_large_file_between_its_being_read_and_its_being_placed_is_seen(
    large: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Ahead.settle
    changed: list[Path] = []

    def settle_and_change(self: Ahead) -> None:
        settle(self)
        (there,) = (path for path in (tmp_path / "target" / MARK).rglob("large") if path.is_file())
        if not changed:
            with there.open("r+b") as file:
                file.write(b"else")
        changed.append(there)

    monkeypatch.setattr(Ahead, "settle", settle_and_change)
    attempt = large.restore(tmp_path / "target")
    assert (tmp_path / "target/large").read_bytes() == large.shop.objects[b"large"]
    assert large.shop.asked == [b"large", b"large"], "the first one was refused"
    assert (attempt.facts.target, attempt.facts.fetched) == (WHOLE, 1)


def test_a_large_file_that_came_otherwise_is_not_let_in_by_its_being_read_ahead(large: Backup, tmp_path: Path) -> None:
    large.shop.objects[b"large"] = bytes(WORTH)
    failure, target = large.refusal(tmp_path / "target")
    assert (failure.problems, target) == (("large: it has another checksum",), MARKED)


@pytest.mark.usefixtures("quick_disk")
def test_killed_right_before_any_change_the_same_restore_goes_on_and_another_one_is_refused(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    wanted = fingerprint(source)
    other = Backup(source, tmp_path, run_id="run-2")
    step = marked = 0
    while killed_at(step := step + 1, lambda: backup.restore(tmp_path / f"target-{step}")):
        target = tmp_path / f"target-{step}"
        if not target.exists() or not os.listdir(target):
            backup.restore(target)
        elif (target / MARK / "marker.json").exists():
            marked += 1
            failure, state = other.refusal(target)
            assert (failure.reason, state) == (transfer.REASON_TARGET_UNFINISHED, UNTOUCHED), step
            assert "run-1" in failure.message
            assert backup.restore(target).facts.resumed
        elif os.listdir(target) == [MARK]:
            backup.restore(target)  # nothing was written there yet
        else:
            # the mark had just been taken away
            done = fingerprint(target)
            done.pop(MARK.encode(), None), done.pop(MARK.encode() + b"/lock", None)
            assert done.keys() == wanted.keys()
            assert all(done[name] == wanted[name] for name in wanted if name != b"."), step
            # of the directory itself but the time is another one, which taking the mark away changes
            assert done[b"."]._replace(mtime=0) == wanted[b"."]._replace(mtime=0), step
            continue
        assert fingerprint(target) == wanted, step
    assert step > 60
    assert marked > 50


@needs_root
@pytest.mark.usefixtures("quick_disk")
def test_an_ordinary_user_s_restore_goes_on_after_a_kill_although_modes_keep_it_out(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    def act() -> int:
        step = 30  # later, for before modes are given there is nothing that could keep it out
        while killed_at(step := step + 2, lambda: backup.restore(f"target-{step}")):
            if os.path.exists(f"target-{step}/{MARK}/marker.json"):
                facts = backup.restore(f"target-{step}").facts
                assert facts.target == WHOLE, step
                assert {loss.kind for loss in facts.lost} <= {"owner or group, which only root may give away"}
        return step

    give_away(tmp_path)
    # what is above of the test's own folder may be closed to that user
    with tempfile.TemporaryDirectory() as scratch:
        backup.scratch, backup.manifest = Path(scratch), Path(shutil.copy(backup.manifest, scratch))
        give_away(Path(scratch))
        steps = as_ordinary_user(act, folder=tmp_path)
    assert steps > 60
    assert not list(tmp_path.glob(f"target-*/{MARK}/marker.json"))


def test_what_is_there_and_right_is_not_fetched_again(backup: Backup, source: Path, tmp_path: Path) -> None:
    def end(file: object) -> None:
        if len(backup.shop.asked) == 5:
            raise Stopped(transfer.INTERRUPTED)

    backup.shop.before = end
    with pytest.raises(Stopped):
        backup.restore(tmp_path / "target")
    assert (tmp_path / "target" / MARK / "marker.json").exists()
    before = set(backup.shop.asked[:3])
    backup.shop.asked.clear()
    backup.shop.before = lambda _: None
    facts = backup.restore(tmp_path / "target").facts
    assert (facts.resumed, facts.kept) == (True, 3)
    assert not before & set(backup.shop.asked)
    assert fingerprint(tmp_path / "target") == fingerprint(source)


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("summed", [True, False])
def test_after_a_crash_of_the_machine_no_size_proves_that_bytes_came_to_the_disk(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool, summed: bool
) -> None:
    backup = Backup(source, tmp_path, summed=summed)
    target = tmp_path / "target"

    def end(file: File) -> None:
        if len(backup.shop.asked) > 4:
            raise Stopped(transfer.INTERRUPTED)

    backup.shop.before = end
    with pytest.raises(Stopped):
        backup.restore(target)
    backup.shop.before = lambda _: None
    backup.shop.asked.clear()
    placed = [path for path in target.rglob("*") if path.is_file() and MARK not in path.parts and path.stat().st_size]
    assert placed
    if not same:
        monkeypatch.setattr(attempt, "boot_id", lambda: "another")
        for path in placed:
            path.write_bytes(bytes(path.stat().st_size))
    facts = backup.restore(target).facts
    assert fingerprint(target) == fingerprint(source)
    assert (facts.kept >= len(placed)) == same


# --- targets --------------------------------------------------------------------------------------------------------


def test_a_directory_with_something_in_it_is_refused_and_not_touched(backup: Backup, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")
    before = fingerprint(target)
    failure, state = backup.refusal(target)
    assert (failure.reason, state, failure.problems) == (transfer.REASON_TARGET_NOT_EMPTY, UNTOUCHED, ("mine",))
    assert fingerprint(target) == before


def test_what_the_point_has_replaces_what_is_there_when_told_and_everything_else_stays(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    (target / "folder").mkdir(parents=True)
    (target / "mine").write_text("mine")
    (target / "secret").write_bytes(b"not mine!")
    (target / "empty").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("outside")
    (target / "link").symlink_to("elsewhere")
    backup.restore(target, overwrite=True)
    found, wanted = fingerprint(target), fingerprint(source)
    assert found.pop(b"mine").content == b"mine"
    assert found == wanted
    assert (tmp_path / "outside").read_text() == "outside"


def put(path: Path, kind: str) -> None:
    """Make a file, a link, or a folder with or without something in it."""
    if kind == "file":
        path.write_text("of before")
    elif kind == "link":
        path.symlink_to("../outside")
    else:
        path.mkdir()
        if kind == "full":
            (path / "mine").write_text("mine")


@pytest.mark.parametrize("there", ["file", "link", "empty", "full"])
@pytest.mark.parametrize("wanted", ["file", "link", "empty", "full"])
@pytest.mark.usefixtures("quick_disk")
def test_whatever_is_at_a_path_gives_way_but_no_folder_with_something_in_it(
    tmp_path: Path, wanted: str, there: str
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source, target, tmp_path / "outside"):
        path.mkdir()
    (source / "other").write_text("other")
    put(source / "thing", wanted)
    put(target / "thing", there)
    if there == "full":
        (target / "thing/mine").rename(target / "thing/kept")
    backup = Backup(source, tmp_path)
    if there == "full" and wanted in {"file", "link"}:
        failure, state = backup.refusal(target, overwrite=True)
        assert (failure.reason, state) == (transfer.REASON_RESTORED_OTHERWISE, MARKED)
        assert len(failure.problems) == 1
        assert failure.problems[0].startswith("thing: everything, because a folder with something in it is there")
        assert "Look at the directory: " in failure.message
        assert "Look at the store" not in failure.message
        assert (target / "other").read_text() == "other"
        # moved away, the same restore ends
        (target / "thing").rename(tmp_path / "away")
        backup.restore(target, overwrite=True)
        assert (tmp_path / "away/kept").read_text() == "mine"
    else:
        backup.restore(target, overwrite=True)
        assert (target / "thing/kept").exists() == (there == "full")
        if there == "full":
            (target / "thing/kept").unlink()
            status = (source / "thing").stat()
            os.utime(target / "thing", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(target) == fingerprint(source)
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.usefixtures("quick_disk")
def test_what_the_store_and_the_directory_keep_back_are_told_apart(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("gone", "thing"):
        (source / name).write_text(name)
    backup = Backup(source, tmp_path)
    del backup.shop.objects[b"gone"]
    (target / "thing/mine").mkdir(parents=True)
    failure, _ = backup.refusal(target, overwrite=True)
    assert "Look at the store: " in failure.message
    assert "Look at the directory: " in failure.message
    (target / "thing/mine").rmdir()
    failure, _ = backup.refusal(target, overwrite=True)
    assert "Look at the store: " in failure.message
    assert "Look at the directory: " not in failure.message


def test_lost_and_found_does_not_count(backup: Backup, tmp_path: Path) -> None:
    (tmp_path / "target/lost+found").mkdir(parents=True)
    assert backup.restore(tmp_path / "target").facts.target == WHOLE


def test_a_target_that_is_a_link_or_a_file_or_has_no_parent_is_refused(backup: Backup, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name, word in (
        ("link", str(tmp_path / "real")),
        ("link/", "symbolic link"),
        ("file", "no directory"),
        ("a/b", "No such"),
    ):
        failure, state = backup.refusal(f"{tmp_path}/{name}")
        assert (failure.reason, state) == (transfer.REASON_TARGET_UNUSABLE, UNTOUCHED), name
        assert word in failure.message
    assert not os.listdir(tmp_path / "real")


def test_a_second_restore_into_one_directory_is_refused_while_the_first_is_at_it(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def second(file: object) -> None:
        other = Backup(source, tmp_path / "scratch", run_id="run-1")
        seen.append(other.refusal(tmp_path / "target")[0].reason)

    (tmp_path / "scratch").mkdir()
    backup.shop.before = second
    backup.restore(tmp_path / "target")
    assert set(seen) == {transfer.REASON_TARGET_BUSY}
    assert fingerprint(tmp_path / "target") == fingerprint(source)


def test_too_little_room_is_told_before_anything_is_made(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstatvfs

    def small(handle: int) -> object:
        found = list(real(handle))
        found[2:5] = [3, 3, 3]
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "fstatvfs", small)
    failure, state = backup.refusal(tmp_path / "target")
    assert (failure.reason, state) == (transfer.REASON_TARGET_TOO_SMALL, UNTOUCHED)
    assert not failure.retryable
    assert not (tmp_path / "target").exists()


def full_for(monkeypatch: pytest.MonkeyPatch, name: str, *, after: int = 0) -> None:
    """Let there be no room for a file or folder of this name, once it was made so often."""
    made = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(path: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal made
            making = real is os.mkdir or bool(arguments and arguments[0] & os.O_CREAT)
            if making and os.fsdecode(path) == name:
                made += 1
                if made > after:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, *arguments, **named)

        return act

    for function in ("open", "mkdir"):
        monkeypatch.setattr(os, function, wrapped(getattr(os, function)))


@pytest.mark.parametrize("name", ["target", "lock", "marker.json.new", "files", "aside"])
def test_where_the_mark_has_no_room_nothing_is_left(
    backup: Backup, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        full_for(patch, str(tmp_path / name) if name == "target" else name)
        failure, state = backup.refusal(tmp_path / "target")
    assert (failure.reason, state) == (transfer.REASON_TARGET_TOO_SMALL, UNTOUCHED)
    assert "The directory was not touched." in failure.message
    assert list(tmp_path.glob("target/*")) == []
    backup.restore(tmp_path / "target")
    assert fingerprint(tmp_path / "target") == fingerprint(source)


def test_where_a_mark_is_already_and_there_is_no_room_it_stays_and_that_is_said(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(backup, tmp_path / "target")
    full_for(monkeypatch, "marker.json.new", after=1)  # one is made to see whose it is
    failure, _ = backup.refusal(tmp_path / "target")
    assert failure.reason == transfer.REASON_TARGET_TOO_SMALL
    assert "the same command goes on from there" in failure.message
    assert (tmp_path / "target" / MARK / "marker.json").exists()


def unfinished(backup: Backup, target: Path) -> None:
    """Leave a restore that was ended while files came."""

    def end(file: object) -> None:
        raise Stopped(transfer.INTERRUPTED)

    before, backup.shop.before = backup.shop.before, end
    with pytest.raises(Stopped):
        backup.restore(target)
    backup.shop.before = before


def test_whatever_fails_behind_the_mark_is_told_as_marked(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Target) -> tuple[bool, bool]:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Target, "folds", fail)
        failure, state = backup.refusal(tmp_path / "target")
    assert (failure.reason, state) == (transfer.REASON_TARGET_READ_ONLY, MARKED)
    assert "Read-only file system. Look at its file system. The directory is neither" in failure.message

    def down(file: object) -> None:
        raise Failure(transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "It does not answer.")

    backup.shop.before = down
    failure, state = backup.refusal(tmp_path / "target")
    assert (failure.message, state) == (f"It does not answer. {reasons.MARKED}", MARKED)


@pytest.mark.parametrize("resumed", [False, True], ids=["first", "resumed"])
def test_a_file_system_that_takes_names_for_others_is_refused_also_when_it_was_marked_before(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    (source / "Readme").touch()
    (source / "README").touch()
    backup = Backup(source, tmp_path)
    target = tmp_path / "target"
    if resumed:
        unfinished(backup, target)
    monkeypatch.setattr(Target, "folds", lambda _: (True, False))
    failure, state = backup.refusal(target)
    assert (failure.reason, state) == (transfer.REASON_NAME_COLLISION, MARKED if resumed else UNTOUCHED)
    assert set(failure.problems) == {"README", "Readme"}
    assert (target / MARK).exists() == resumed
    assert ("empty that directory" in failure.message) == resumed


def test_a_full_place_for_temporary_files_is_told_as_that(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(path: str, **how: Any) -> sqlite3.Connection:
        database = connect(path, **how)
        database.execute("PRAGMA max_page_count = 1")
        return database

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(Failure) as caught:
        backup.attempt(tmp_path / "target")
    assert (caught.value.failure_class, caught.value.reason) == (transfer.NO_SPACE, transfer.REASON_NO_LOCAL_SPACE)
    assert "give TMPDIR a place with room" in caught.value.message
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("pages", [8, 12, 24, 40])
def test_a_place_for_temporary_files_that_fills_up_later_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1500):
        (source / f"{number}-{'x' * 100}").touch()
    backup = Backup(source, tmp_path)
    attempt = backup.attempt(tmp_path / "target")
    attempt._wanted._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Failure) as caught:
        attempt.run()
    attempt.close()
    assert caught.value.reason == transfer.REASON_NO_LOCAL_SPACE
    assert "It wants about 300 bytes a path" in caught.value.message
    assert not (tmp_path / "target").exists()


def test_a_list_that_would_be_too_long_says_how_many_more_there_are(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_LISTED", 1)
    count = len(backup.shop.objects)
    backup.shop.objects.clear()
    failure, _ = backup.refusal(tmp_path / "target")
    assert failure.message.startswith(f"{count} path(s) of the point did not come back")
    first, more = (tmp_path / "target" / MARK / "problems.txt").read_text().splitlines()
    assert first == f"{failure.problems[0]}"
    assert more == f"... and {count - 1} more"


def test_the_list_of_what_did_not_come_is_that_of_the_last_attempt(backup: Backup, tmp_path: Path) -> None:
    target = tmp_path / "target"
    kept = dict(backup.shop.objects)
    backup.shop.objects.clear()
    failure, _ = backup.refusal(target)
    listed = (target / MARK / "problems.txt").read_text().splitlines()
    assert len(listed) == len(kept)
    assert f"{MARK}/problems.txt" in failure.message
    backup.shop.objects |= kept
    unfinished(backup, target)
    assert not (target / MARK / "problems.txt").exists()


# --- stores ---------------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_or_another_one_is_fetched_once_more_and_then_told(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    objects = backup.shop.objects
    del objects[b"folder/inner/file"]
    objects[b"secret"] = b"onlY mine"
    objects[b"closed/file"] = b"longer than it was, by far"
    failure, state = backup.refusal(tmp_path / "target")
    assert (failure.reason, state) == (transfer.REASON_RESTORED_OTHERWISE, MARKED)
    assert {line.partition(":")[0] for line in failure.problems} == {"folder/inner/file", "secret", "closed/file"}
    assert all(backup.shop.asked.count(key) == 2 for key in (b"folder/inner/file", b"secret", b"closed/file"))
    told = (tmp_path / "target" / MARK / "problems.txt").read_text()
    assert "secret: it has another checksum\n" in told
    assert "closed/file: it has 26 bytes, not 18\n" in told
    assert not (tmp_path / "target/secret").exists()
    assert (tmp_path / "target/second").read_bytes() == b"one inode"
    # the store was mended
    objects |= {b"folder/inner/file": b"content", b"secret": b"only mine", b"closed/file": b"in a closed folder"}
    facts = backup.restore(tmp_path / "target").facts
    assert (facts.resumed, facts.fetched) == (True, 3)
    assert fingerprint(tmp_path / "target") == fingerprint(source)


def test_what_fails_once_and_then_not_is_no_failure(backup: Backup, source: Path, tmp_path: Path) -> None:
    good = backup.shop.objects[b"secret"]
    backup.shop.objects[b"secret"] = b"x"

    def mend(file: object) -> None:
        if backup.shop.asked.count(b"secret"):
            backup.shop.objects[b"secret"] = good

    backup.shop.before = mend
    backup.restore(tmp_path / "target")
    assert fingerprint(tmp_path / "target") == fingerprint(source)


def test_the_attributes_of_a_file_that_did_not_come_are_not_given_to_what_lies_in_its_place(
    backup: Backup, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "secret").write_text("an older one")
    (target / "secret").chmod(0o604)
    del backup.shop.objects[b"secret"]
    failure, _ = backup.refusal(target, overwrite=True)
    assert failure.reason == transfer.REASON_RESTORED_OTHERWISE
    assert stat.S_IMODE((target / "secret").stat().st_mode) == 0o604


def test_no_name_is_joined_to_a_file_whose_own_content_did_not_come(backup: Backup, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "folder").mkdir(parents=True)
    for name in ("folder/first", "second"):
        (target / name).write_bytes(b"old bytes")
        del backup.shop.objects[name.encode()]
    failure, state = backup.refusal(target, overwrite=True)
    assert (failure.reason, state) == (transfer.REASON_RESTORED_OTHERWISE, MARKED)
    assert {line.partition(":")[0] for line in failure.problems} == {"folder/first", "second"}


@pytest.mark.parametrize("gone", ["first", "second"])
def test_of_two_names_of_one_file_either_object_brings_its_own(
    backup: Backup, source: Path, tmp_path: Path, gone: str
) -> None:
    pair = {b"second": b"folder/first", b"folder/first": b"second"}
    first = next(entry.key for entry in manifest.entries(str(backup.manifest)) if entry.key in pair)
    target = tmp_path / "target"
    target.joinpath(first.decode()).parent.mkdir(parents=True)
    target.joinpath(first.decode()).write_bytes(b"old bytes")
    if gone == "second":
        # its object is not even asked for
        del backup.shop.objects[pair[first]]
        backup.restore(target, overwrite=True)
        assert fingerprint(target) == fingerprint(source)
        return
    del backup.shop.objects[first]
    failure, _ = backup.refusal(target, overwrite=True)
    assert {line.partition(":")[0] for line in failure.problems} == {first.decode()}
    assert (target / pair[first].decode()).read_bytes() == b"one inode"


def test_a_first_name_that_comes_at_the_second_try_has_its_other_names_joined(
    backup: Backup, source: Path, tmp_path: Path
) -> None:
    good = dict(backup.shop.objects)
    for name in (b"second", b"folder/first"):
        backup.shop.objects[name] = b"x"

    def mend(file: File) -> None:
        if file.key in backup.shop.asked:
            backup.shop.objects[file.key] = good[file.key]

    backup.shop.before = mend
    facts = backup.restore(tmp_path / "target").facts
    assert facts.linked == 1
    assert fingerprint(tmp_path / "target") == fingerprint(source)


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "there"),
    [
        (b"folder/inner", {b".", b"folder", b"folder/inner", b"folder/inner/file"}),
        (b"second", {b".", b"second"}),
        (b"link", {b".", b"link"}),
        (b"folder/first", {b".", b"folder", b"folder/first"}),
    ],
)
def test_a_part_of_a_point_comes_back_where_it_was(
    backup: Backup, source: Path, tmp_path: Path, path: bytes, there: set[bytes]
) -> None:
    backup.restore(tmp_path / "target", path=path)
    found, wanted = fingerprint(tmp_path / "target"), fingerprint(source)
    assert found.keys() == there
    for name in there - {b"."}:
        assert found[name]._replace(group=None) == wanted[name]._replace(group=None)


def test_a_part_that_the_point_does_not_have_is_told_and_nothing_is_made(backup: Backup, tmp_path: Path) -> None:
    failure, state = backup.refusal(tmp_path / "target", path=b"Folder")
    assert (failure.reason, state) == (transfer.REASON_PATH_NOT_FOUND, UNTOUCHED)
    assert not (tmp_path / "target").exists()


# --- hostile manifests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../out", "a//b", "./a", "a/.", ""])
def test_a_path_that_no_volume_has_makes_the_manifest_unusable(backup: Backup, tmp_path: Path, path: str) -> None:
    for kind in (manifest.FILE, manifest.DIRECTORY, manifest.LINK):
        backup.rewrite([manifest.Entry(type=kind, path=path, target="x", mode=0o644)])
        failure, state = backup.refusal(tmp_path / "target")
        assert (failure.reason, state) == (transfer.REASON_RECORD_UNUSABLE, UNTOUCHED)
    assert sorted(os.listdir(tmp_path)) == sorted(name for name in os.listdir(tmp_path) if name != "target")


def test_a_path_that_is_listed_twice_makes_the_manifest_unusable(backup: Backup, tmp_path: Path) -> None:
    backup.rewrite([manifest.Entry(type=manifest.FILE, path="a", mode=0o644)] * 2)
    failure, state = backup.refusal(tmp_path / "target")
    assert (failure.reason, state) == (transfer.REASON_RECORD_UNUSABLE, UNTOUCHED)
    assert "twice" in failure.message


def test_nothing_is_written_through_a_link_that_the_manifest_lists_as_well(backup: Backup, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    before = fingerprint(outside)
    backup.shop.objects[b"door/file"] = b"x"
    backup.rewrite(
        [
            manifest.Entry(type=manifest.LINK, path="door", target=str(outside)),
            manifest.Entry(type=manifest.FILE, path="door/file", size=1, mode=0o4755),
            manifest.Entry(type=manifest.DIRECTORY, path="door/folder", mode=0o777),
        ]
    )
    failure, state = backup.refusal(tmp_path / "target")
    assert (failure.reason, state) == (transfer.REASON_RESTORED_OTHERWISE, MARKED)
    assert fingerprint(outside) == before


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(backup: Backup, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    before = fingerprint(outside)
    target = tmp_path / "target"

    def swap(file: object) -> None:
        folder = target / "folder"
        if folder.is_dir() and not folder.is_symlink():
            folder.rename(target / "moved")
            folder.symlink_to(outside)

    backup.shop.before = swap
    with pytest.raises(Failure):
        backup.restore(target)
    assert fingerprint(outside) == before


def test_a_mark_that_is_a_link_or_open_to_others_is_not_trusted(backup: Backup, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "outside").mkdir()
    target.mkdir()
    (target / MARK).symlink_to(tmp_path / "outside")
    failure, state = backup.refusal(target)
    assert (failure.reason, state) == (transfer.REASON_TARGET_UNFINISHED, UNTOUCHED)
    (target / MARK).unlink()
    (target / MARK).mkdir()
    (target / MARK).chmod(0o777)
    failure, state = backup.refusal(target)
    assert (failure.reason, state) == (transfer.REASON_TARGET_UNFINISHED, UNTOUCHED)
    assert not os.listdir(tmp_path / "outside")


def test_set_id_bits_and_devices_come_only_when_asked_for(source: Path, tmp_path: Path) -> None:
    (source / "tool").write_text("x")
    (source / "tool").chmod(0o4755)
    os.mkfifo(source / "pipe")
    backup = Backup(source, tmp_path)
    facts = backup.restore(tmp_path / "plain").facts
    assert stat.S_IMODE((tmp_path / "plain/tool").stat().st_mode) == 0o755
    assert not (tmp_path / "plain/pipe").exists()
    assert [(loss.count, loss.examples) for loss in facts.lost] == [(1, ("tool",))]
    assert [(loss.count, loss.examples) for loss in facts.left_out] == [(1, ("pipe",))]
    facts = backup.restore(tmp_path / "asked", privileges=True, special=True).facts
    assert (facts.lost, facts.left_out) == ((), ())
    assert fingerprint(tmp_path / "asked") == fingerprint(source)


def test_the_mark_of_a_restore_within_a_backup_is_left_out_and_told(source: Path, tmp_path: Path) -> None:
    (source / MARK).mkdir()
    (source / MARK / "marker.json").write_text("{}")
    backup = Backup(source, tmp_path)
    facts = backup.restore(tmp_path / "target").facts
    assert not (tmp_path / "target" / MARK).exists()
    assert "2 paths" in facts.notes[0]


@pytest.mark.parametrize("levels", [200])
def test_a_path_of_many_levels_comes_back(tmp_path: Path, levels: int) -> None:
    source = tmp_path / "source"
    deep = source.joinpath(*["d"] * levels)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    Backup(source, tmp_path).restore(tmp_path / "target")
    assert fingerprint(tmp_path / "target") == fingerprint(source)
