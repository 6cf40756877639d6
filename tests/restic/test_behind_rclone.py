"""A repository that restic reaches through rclone. Real restic, real rclone."""

from pathlib import Path

import pytest

from datamover.api import transfer
from support.restic import Mover

SECRET = "inner-secret-0123456789"


def configure(mover: Mover, text: str) -> None:
    """Put rclone's configuration where moverVolumes would mount it."""
    folder = mover.root / "mnt" / "rclone"
    folder.mkdir(exist_ok=True)
    (folder / "rclone.conf").write_text(text)
    mover.environment["RCLONE_CONFIG"] = "/mnt/rclone/rclone.conf"


@pytest.mark.parametrize("by_file", [True, False], ids=["by a file", "by variables"])
def test_a_repository_behind_rclone_is_made_and_restored_from(mover: Mover, tmp_path: Path, by_file: bool) -> None:
    (mover.data / "file").write_text("precious")
    mover.environment["RESTIC_REPOSITORY"] = f"rclone:store:{mover.repository}"
    if by_file:
        configure(mover, "[store]\ntype = local\n")
    else:
        mover.environment["RCLONE_CONFIG_STORE_TYPE"] = "local"
    backup = mover.act("backup", RCLONE_DRY_RUN="true")
    assert backup.code == 0, backup.output
    assert len(mover.snapshots()) == 1
    (mover.data / "file").unlink()
    assert mover.act("restore").code == 0
    assert (mover.data / "file").read_text() == "precious"


CONFIGURATIONS = {
    "a program": (f"[store]\ntype = sftp\nhost = h\nssh = touch x\npass = {SECRET}\n", "ssh in section [store] is set: it runs a program"),
    "a program elsewhere": ("[store]\ntype = local\n[other]\ntype = webdav\nbearer_token_command = touch x\n", "bearer_token_command in section [other]"),
    "no such remote": ("[other]\ntype = local\n", "rclone knows no such remote"),
    "no configuration": (f"{SECRET}\n", "The file that RCLONE_CONFIG names cannot be read: write sections"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_what_is_wrong_in_rclones_file_is_told_and_nothing_begins(mover: Mover, case: str) -> None:
    text, told = CONFIGURATIONS[case]
    (mover.data / "file").write_text("x")
    mover.environment["RESTIC_REPOSITORY"] = f"rclone:store:{mover.repository}"
    configure(mover, text)
    ended = mover.act("backup", DATAMOVER_OUTAGE_LIMIT="5")
    assert ended.outcome.reason == transfer.REASON_INVALID_CONFIGURATION, ended.output
    assert told in ended.outcome.message
    assert SECRET not in ended.output + ended.errors + ended.message.decode()
    assert mover.snapshots() == []


def test_a_file_of_rclones_that_is_not_there_is_told(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    ended = mover.act("backup", RESTIC_REPOSITORY="rclone:store:x", RCLONE_CONFIG="/mnt/nowhere/rclone.conf")
    assert ended.outcome.reason == transfer.REASON_INVALID_CONFIGURATION
    assert "The file that RCLONE_CONFIG names cannot be read: No such file" in ended.outcome.message
