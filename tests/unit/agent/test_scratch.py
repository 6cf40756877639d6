"""Where temporary files go, and what is said when there is no place or no room."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from datamover.agent import scratch
from datamover.agent.errors import Failure
from datamover.api import transfer


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", refuse)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("config", "temporary", "words"),
    [
        ("/config", "", "neither /config nor /tmp can be written to. Mount an emptyDir at /config."),
        ("", "/nowhere", "neither /nowhere nor /tmp can be written to. Set TMPDIR to a directory"),
        ("", "", "neither TMPDIR (it is not set) nor /tmp can be written to. Set TMPDIR to a directory"),
    ],
    ids=["mover", "command", "unset"],
)
def test_no_place_is_told_by_what_the_caller_can_set(
    monkeypatch: pytest.MonkeyPatch, config: str, temporary: str, words: str
) -> None:
    monkeypatch.setenv("TMPDIR", temporary)
    with pytest.raises(Failure) as caught, scratch.scratch_folder(config):
        pass
    assert caught.value.reason == transfer.REASON_INVALID_CONFIGURATION
    assert words in caught.value.message


def test_the_folder_goes_where_temporary_files_go_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch.scratch_folder("") as folder:
        assert Path(folder).parent == tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [sqlite3.OperationalError("database or disk is full"), OSError(errno.ENOSPC, "No space left on device")],
    ids=["database", "file"],
)
def test_no_room_is_told_with_what_it_takes(error: Exception) -> None:
    with pytest.raises(Failure) as caught, scratch.keeping("The list", wants="300 bytes"):
        raise error
    assert caught.value.reason == transfer.REASON_NO_LOCAL_SPACE
    assert (
        caught.value.message
        == f"The list cannot be kept here: {str(error).removeprefix('[Errno 28] ')}. It wants 300 bytes: give TMPDIR a place with room, or a mover's node more ephemeral storage."
    )


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(OSError, match="refused"), scratch.keeping("The list", wants="300 bytes"):
        raise OSError(errno.EACCES, "refused")
