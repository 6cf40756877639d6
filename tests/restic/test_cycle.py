"""There and back: a volume is backed up, and comes back bit for bit. Real restic."""

import os
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from datamover.api import transfer
from support.engines import path_with
from support.fidelity import Kept, fingerprint
from support.restic import PASSWORD, Mover
from support.s3 import S3Server


def fill(tree: Path) -> None:
    """Everything that a volume may hold and an ordinary user can make."""
    (tree / "folder" / "below").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "folder" / "file").write_bytes(os.urandom(200_000))
    (tree / "folder" / "hard").hardlink_to(tree / "folder" / "file")
    (tree / "link").symlink_to("folder/file")
    (tree / "dangling").symlink_to("/nowhere")
    (tree / "private").write_text("secret")
    (tree / "private").chmod(0o600)
    (tree / "script").write_text("#!/bin/true\n")
    (tree / "script").chmod(0o750)
    (tree / "folder" / "below").chmod(0o700)
    (tree / "naïve name\nof two lines").write_text("x")
    with (tree / "sparse").open("wb") as file:
        file.truncate(20_000_000)
        file.seek(10_000_000)
        file.write(b"island")
    os.utime(tree / "script", (1_000_000_000, 1_000_000_000))
    os.setxattr(tree / "private", "user.origin", b"test")


def everything(tree: Path) -> dict[bytes, Kept]:
    """The volume's top folder itself is not in a snapshot."""
    found = fingerprint(tree)
    del found[b"."]
    return found


def empty(mover: Mover) -> None:
    shutil.rmtree(mover.data)
    mover.data.mkdir()


def test_a_half_restored_volume_is_refused(mover: Mover) -> None:
    fill(mover.data)
    (mover.data / ".datamover-restore").mkdir()
    outcome = mover.act("backup").outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_SOURCE_UNFINISHED)
    (mover.data / ".datamover-restore").rmdir()
    assert mover.act("backup").code == 0


def test_a_volume_comes_back_bit_for_bit(mover: Mover) -> None:
    fill(mover.data)
    before = everything(mover.data)
    backup = mover.act("backup", "prune")
    assert backup.code == 0, backup.output
    outcome = backup.outcome
    assert (outcome.reason, outcome.files, outcome.engine) == (transfer.REASON_SUCCEEDED, 6, "restic 0.18.0")
    assert outcome.bytes > 20_000_000
    assert 0 < outcome.transferred_bytes < 2_000_000
    empty(mover)
    restore = mover.act("restore")
    assert restore.code == 0, restore.output
    assert everything(mover.data) == before
    # the holes are back too
    assert (mover.data / "sparse").stat().st_blocks * 512 < 1_000_000
    assert restore.outcome.transferred_bytes > 20_000_000


def test_the_lines_that_users_look_for_are_printed_and_kept(bare_mover: Mover) -> None:
    mover = bare_mover
    (mover.data / "file").write_text("x")
    backup = mover.act("backup")
    lines = (
        "Initialize Dir",
        "created restic repository",
        r"processed.*files",
        r"snapshot.*saved",
        "Restic completed in",
    )
    for line in lines:
        assert re.search(line, backup.said), line
        assert re.search(line, backup.outcome.log), line
    assert "kept" not in backup.outcome.log  # a success is told by its summary
    restore = mover.act("restore", RESTORE_OPTIONS="--delete")
    for line in (r"restoring snapshot .*volsync", "RESTORE_OPTIONS: --delete", "Restic completed in"):
        assert re.search(line, restore.said), line
        assert re.search(line, restore.outcome.log), line
    assert "Initialize Dir" not in restore.outcome.log


def test_the_snapshots_are_of_host_volsync_and_the_policy_is_kept(mover: Mover) -> None:
    for number in range(4):
        (mover.data / f"file-{number}").write_text("x")
        ended = mover.act("backup")
        assert ended.code == 0, ended.output
    snapshots = mover.snapshots()
    assert [each["hostname"] for each in snapshots] == ["volsync", "volsync"]
    assert ended.outcome.deleted == 1


def test_an_empty_volume_is_a_success_that_touches_no_repository(bare_mover: Mover) -> None:
    (bare_mover.data / "lost+found").mkdir()
    ended = bare_mover.act("backup", "prune")
    assert ended.code == 0, ended.output
    assert not bare_mover.repository.exists()
    assert "prune" not in ended.said
    assert "The volume is empty" in ended.outcome.message


def test_a_folder_of_the_users_that_is_called_like_the_file_systems_own_comes_back(mover: Mover) -> None:
    for folder in ("lost+found", "app/lost+found"):
        (mover.data / folder).mkdir(parents=True)
        (mover.data / folder / "file").write_text(folder)
    assert mover.act("backup").code == 0
    shutil.rmtree(mover.data / "app")
    shutil.rmtree(mover.data / "lost+found")
    assert mover.act("restore").code == 0
    assert (mover.data / "app/lost+found/file").read_text() == "app/lost+found"
    assert not (mover.data / "lost+found").exists()


def test_a_restic_that_is_killed_as_it_starts_is_tried_again(mover: Mover, tmp_path: Path) -> None:
    (mover.data / "file").write_text("x")
    killed = tmp_path / "restic"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    outcome = mover.act("backup", DATAMOVER_RESTIC=str(killed)).outcome
    assert (outcome.reason, outcome.retryable) == (transfer.REASON_OUT_OF_MEMORY, True)


def test_the_last_snapshot_with_data_outlives_those_without(mover: Mover) -> None:
    """A volume with folders alone is not empty, and its snapshot would be the newest one."""
    (mover.data / "file").write_text("precious")
    mover.act("backup", FORGET_OPTIONS="--keep-last 1")
    (mover.data / "file").unlink()
    (mover.data / "folder").mkdir()
    ended = mover.act("backup", FORGET_OPTIONS="--keep-last 1")
    assert ended.code == 0, ended.output
    assert len(mover.snapshots()) == 2
    mover.act("restore", SELECT_PREVIOUS="1")
    assert (mover.data / "file").read_text() == "precious"


@pytest.mark.parametrize("policy", ["--keep-last 0", " --keep-daily 0", "--keep-within 0h"])
def test_a_policy_that_keeps_nothing_keeps_the_last_snapshot(mover: Mover, policy: str) -> None:
    (mover.data / "file").write_text("x")
    ended = [mover.act("backup", FORGET_OPTIONS=policy) for _ in range(2)][-1]
    assert ended.code == 0, ended.output
    assert len(mover.snapshots()) == 1


def test_an_older_snapshot_is_restored_by_moment_or_by_number(mover: Mover) -> None:
    moments: list[str] = []
    for number in range(3):
        (mover.data / "file").write_text(str(number))
        mover.act("backup", FORGET_OPTIONS="--keep-last 9")
        moments.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        time.sleep(1.1 - datetime.now(UTC).microsecond / 1e6)
    wanted = {
        "0": {"RESTORE_AS_OF": moments[0]},
        "1": {"SELECT_PREVIOUS": "1"},
        "2": {"RESTORE_AS_OF": ""},
    }
    for content, choice in wanted.items():
        ended = mover.act("restore", **choice)
        assert ended.code == 0, ended.output
        assert (mover.data / "file").read_text() == content
    assert mover.act("restore", RESTORE_AS_OF=moments[1], SELECT_PREVIOUS="1").code == 0
    assert (mover.data / "file").read_text() == "0"
    none = mover.act("restore", SELECT_PREVIOUS="3")
    assert none.code == 0
    assert "No data will be restored" in none.outcome.log
    early = mover.act("restore", RESTORE_AS_OF="2000-01-01T00:00:00Z")
    assert (early.code, (mover.data / "file").read_text()) == (0, "0")
    assert "up to 2000-01-01T00:00:00Z" in early.outcome.message


def test_files_that_a_snapshot_has_not_are_deleted_only_when_asked(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    mover.act("backup")
    (mover.data / "extra").write_text("y")
    mover.act("restore")
    assert (mover.data / "extra").exists()
    ended = mover.act("restore", RESTORE_OPTIONS="--delete")
    assert not (mover.data / "extra").exists()
    assert ended.outcome.deleted == 1


def test_a_snapshot_without_files_does_not_empty_a_volume_unless_that_is_allowed(mover: Mover) -> None:
    (mover.data / "folder").mkdir()
    mover.act("backup")
    (mover.data / "precious").write_text("x")
    refused = mover.act("restore", RESTORE_OPTIONS="--delete")
    assert (refused.outcome.failure_class, refused.outcome.reason) == ("guard", "EmptySource")
    assert "restoreAsOf" in refused.outcome.message
    assert (mover.data / "precious").exists()
    assert mover.act("restore").code == 0
    assert mover.act("restore", RESTORE_OPTIONS="--delete", DATAMOVER_ALLOW_EMPTY_SOURCE="true").code == 0
    assert not (mover.data / "precious").exists()


def test_a_restore_makes_a_repository_that_is_missing(bare_mover: Mover) -> None:
    ended = bare_mover.act("restore")
    assert ended.code == 0, ended.output
    assert (bare_mover.repository / "config").exists()
    assert "No data will be restored" in ended.said
    assert "created restic repository" in ended.outcome.log


def test_what_stock_restic_backed_up_is_restored_and_goes_on(mover: Mover, tmp_path: Path) -> None:
    """As others call it: in the volume's folder, with the same host name."""
    original = tmp_path / "data"
    original.mkdir()
    fill(original)
    mover.stock("backup", "--host", "volsync", "--exclude=lost+found", ".", folder=original)
    ended = mover.act("restore")
    assert ended.code == 0, ended.output
    assert everything(mover.data) == everything(original)
    again = mover.act("backup")
    assert again.code == 0, again.output
    assert again.outcome.transferred_bytes < 100_000


def test_snapshots_of_another_host_are_neither_restored_nor_forgotten(mover: Mover, tmp_path: Path) -> None:
    other = tmp_path / "laptop"
    other.mkdir()
    (other / "theirs").write_text("x")
    mover.stock("backup", "--host", "laptop", ".", folder=other)
    ended = mover.act("restore")
    assert ended.code == 0
    assert "1 of other hosts" in ended.outcome.message
    assert list(mover.data.iterdir()) == []
    (mover.data / "ours").write_text("y")
    for _ in range(2):
        mover.act("backup", FORGET_OPTIONS="--keep-last 1")
    assert sorted(each["hostname"] for each in mover.snapshots()) == ["laptop", "volsync"]


def test_a_bucket_is_made_and_used_over_s3(bare_mover: Mover, any_s3: S3Server) -> None:
    """Bucket and repository are restic's to make."""
    mover = bare_mover
    store = {
        "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{any_s3.port}/new-bucket/below",
        "AWS_ACCESS_KEY_ID": any_s3.access_key,
        "AWS_SECRET_ACCESS_KEY": any_s3.secret_key,
    }
    fill(mover.data)
    before = everything(mover.data)
    backup = mover.act("backup", **store)
    assert backup.code == 0, backup.output
    empty(mover)
    restore = mover.act("restore", **store)
    assert restore.code == 0, restore.output
    assert everything(mover.data) == before
    assert any_s3.objects("below", bucket="new-bucket")


def test_progress_is_told_while_it_works(mover: Mover) -> None:
    for number in range(40):
        (mover.data / f"file-{number}").write_bytes(os.urandom(1_000_000))
    ended = mover.act("backup")
    assert ended.code == 0, ended.output
    last = ended.progress[-1]
    assert {each.phase for each in ended.progress} >= {transfer.PROBING, transfer.SYNCING}
    assert (last.files, last.bytes, last.total_bytes) == (40, 40_000_000, 40_000_000)


def test_a_mover_that_is_debugged_only_waits(bare_mover: Mover) -> None:
    mover = bare_mover
    (mover.data / "file").write_text("x")
    mover.arguments = ["restic", "backup"]
    with mover.start(DEBUG_MOVER="1") as running:
        deadline = time.monotonic() + 30
        while "DEBUG_MOVER is set" not in running.output:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.terminate()
        ended = running.wait()
    assert ended.code == transfer.EXIT_SIGTERM
    assert not mover.repository.exists()


def test_a_restic_that_is_named_is_taken_and_an_old_one_refused(mover: Mover, tmp_path: Path) -> None:
    old = tmp_path / "restic"
    old.write_text("#!/bin/sh\necho 'restic 0.14.0 compiled with go1.19 on linux/amd64'\n")
    old.chmod(0o755)
    ended = mover.act("backup", DATAMOVER_RESTIC=str(old))
    assert ended.outcome.reason == transfer.REASON_ENGINE_MISSING
    assert "restic 0.14.0" in ended.outcome.message
    missing = mover.act("backup", PATH=str(tmp_path / "nowhere"))
    assert missing.outcome.reason == transfer.REASON_ENGINE_MISSING
    (mover.data / "file").write_text(PASSWORD)
    named = path_with("restic").partition(":")[0]
    assert mover.act("backup", PATH="/usr/bin:/bin", DATAMOVER_RESTIC=f"{named}/restic").code == 0
