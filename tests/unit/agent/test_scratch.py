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


def database_error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_BUSY, "does not lock files as it should"),
        (sqlite3.SQLITE_BUSY_RECOVERY, "does not lock files as it should"),
        (sqlite3.SQLITE_CORRUPT, "Look at the file system"),
    ],
)
def test_a_table_that_is_busy_or_damaged_is_not_told_as_a_full_place(code: int, words: str) -> None:
    with pytest.raises(Failure) as caught, scratch.keeping("The list", wants="300 bytes"):
        raise database_error("so it is", code)
    assert caught.value.reason == transfer.REASON_INVALID_CONFIGURATION
    assert caught.value.message.startswith("The list cannot be used here: so it is. ")
    assert words in caught.value.message
    assert "TMPDIR" in caught.value.message


@pytest.mark.parametrize(
    "error",
    [database_error("database or disk is full", sqlite3.SQLITE_FULL), OSError(errno.ENOSPC, "No space left on device")],
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
