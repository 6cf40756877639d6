"""Repositories that are damaged, half made, read-only, or whose restic does not tell what it did. Real restic where it can be."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamover.api import transfer
from support.restic import Mover


def files(mover: Mover, kind: str) -> list[Path]:
    return [path for path in (mover.repository / kind).rglob("*") if path.is_file()]


def lose(kind: str) -> Callable[[Mover], None]:
    def act(mover: Mover) -> None:
        for path in files(mover, kind):
            path.unlink()

    return act


def spoil(kind: str, content: bytes) -> Callable[[Mover], None]:
    def act(mover: Mover) -> None:
        for path in files(mover, kind):
            path.chmod(0o600)
            path.write_bytes(content)

    return act


def spoil_config(content: bytes | None) -> Callable[[Mover], None]:
    def act(mover: Mover) -> None:
        config = mover.repository / "config"
        config.chmod(0o600)
        config.unlink()
        if content is not None:
            config.write_bytes(content)

    return act


DAMAGES = {
    "data is missing, backup": (lose("data"), "backup", "do not rely on the snapshot"),
    "data is missing, restore": (lose("data"), "restore", "restic check"),
    "data is cut, backup": (spoil("data", b""), "backup", "do not rely on the snapshot"),
    "data is cut, restore": (spoil("data", b""), "restore", "restic check"),
    "the index is missing": (lose("index"), "backup", "repair index"),
    "the index is nonsense": (spoil("index", b"x" * 100), "backup", "restic check"),
    "the config is empty": (spoil_config(b""), "backup", "restic check"),
    "the config is nonsense": (spoil_config(b"x" * 200), "backup", "restic check"),
    "the config is missing": (spoil_config(None), "backup", "delete the folder `keys`"),
    "a snapshot is nonsense, backup": (spoil("snapshots", b"x" * 100), "backup", "restic check"),
    "a snapshot is nonsense, restore": (spoil("snapshots", b"x" * 100), "restore", "which one is the newest"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_told_as_the_repositorys_and_nothing_is_lost_by_it(mover: Mover, case: str) -> None:
    damage, action, told = DAMAGES[case]
    (mover.data / "folder").mkdir()
    (mover.data / "folder" / "file").write_bytes(os.urandom(50_000))
    assert mover.act("backup").code == 0
    shutil.rmtree(mover.root / "cache")
    (mover.root / "cache").mkdir()
    damage(mover)
    before = {path.name for path in files(mover, "snapshots")}
    (mover.data / "since").write_text("x")
    ended = mover.act(action, FORGET_OPTIONS="--keep-last 1", RESTORE_OPTIONS="--delete" if action == "restore" else "")
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_REPOSITORY_DAMAGED), ended.output
    assert told in outcome.message
    assert {path.name for path in files(mover, "snapshots")} >= before
    assert (mover.data / "since").exists()


@pytest.fixture
def read_only(mover: Mover) -> Iterator[Mover]:
    """A mover whose repository has one snapshot, and cannot be written to."""
    if os.geteuid():
        pytest.skip("needs the right to mount a file system")
    (mover.data / "file").write_text("precious")
    assert mover.act("backup").code == 0
    place = str(mover.repository)
    if subprocess.run(["mount", "--bind", place, place], check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
    yield mover
    subprocess.run(["umount", place], check=True)


def test_a_repository_that_is_read_only_is_told_soon_and_restored_from(read_only: Mover) -> None:
    outcome = read_only.act("backup").outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.DENIED, transfer.REASON_ACCESS_DENIED)
    assert "read-only file system" in outcome.message
    (read_only.data / "file").unlink()
    restored = read_only.act("restore")
    assert restored.code == 0, restored.output
    assert "without a lock" in restored.said
    assert (read_only.data / "file").read_text() == "precious"


@pytest.mark.parametrize(("action", "code"), [("backup", 0), ("restore", 0), ("backup", 130)])
def test_a_restic_that_does_not_say_what_it_did_has_done_nothing(
    mover: Mover, tmp_path: Path, action: str, code: int
) -> None:
    """Law L4: an exit code alone is no success."""
    (mover.data / "file").write_text("x")
    assert mover.act("backup").code == 0
    mute = tmp_path / "mute"
    real = shutil.which("restic", path=mover.environment["PATH"])
    mute.write_text(f'#!/bin/sh\n[ "$1" = {action} ] && exit {code}\nexec {real} "$@"\n')
    mute.chmod(0o755)
    ended = mover.act(action, DATAMOVER_RESTIC=str(mute), FORGET_OPTIONS="--keep-last 1")
    assert ended.outcome.reason == transfer.REASON_ENGINE_FAILED, ended.output
    assert f"exit code {code}" in ended.outcome.message
    assert ended.outcome.retryable


@pytest.mark.parametrize("options", ["", "--delete"])
def test_a_restore_replaces_links_and_follows_none(mover: Mover, tmp_path: Path, options: str) -> None:
    (mover.data / "folder").mkdir()
    (mover.data / "folder" / "file").write_text("restored")
    (mover.data / "top").write_text("restored")
    assert mover.act("backup").code == 0
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    shutil.rmtree(mover.data / "folder")
    (mover.data / "top").unlink()
    (mover.data / "folder").symlink_to(outside)
    (mover.data / "top").symlink_to(outside / "file")
    (mover.data / "extra").symlink_to(outside)
    ended = mover.act("restore", RESTORE_OPTIONS=options)
    assert ended.code == 0, ended.output
    assert (outside / "file").read_text() == "theirs"
    assert (mover.data / "folder" / "file").read_text() == (mover.data / "top").read_text() == "restored"
    assert not (mover.data / "folder").is_symlink()
    assert (mover.data / "extra").is_symlink() == (not options)


def test_a_restore_with_deletion_and_without_a_snapshot_deletes_nothing(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    for changes in ({}, {"SELECT_PREVIOUS": "3"}, {"RESTORE_AS_OF": "2000-01-01T00:00:00.5+05:30"}):
        ended = mover.act("restore", RESTORE_OPTIONS="--delete", **changes)
        assert (ended.code, ended.outcome.deleted) == (0, 0), ended.output
        assert "No data will be restored" in ended.outcome.log
        assert (mover.data / "file").exists()
