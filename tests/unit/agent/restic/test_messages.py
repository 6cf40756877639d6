"""Lines of restic, and lines of anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.restic import messages
from datamover.api.outside import Unusable


def test_the_lines_of_a_backup_are_understood() -> None:
    status = b'{"message_type":"status","percent_done":0.5,"total_files":2,"files_done":1,"total_bytes":31457286,"bytes_done":4524831,"current_files":["/b"]}\n'
    found = messages.read_line(status)
    assert found.is_progress
    assert (found.files_done, found.total_files, found.bytes_done, found.total_bytes) == (1, 2, 4524831, 31457286)
    summary = b'{"message_type":"summary","files_new":2,"data_added_packed":31460573,"total_files_processed":2,"total_duration":0.79,"snapshot_id":"af8ca10e"}\n'
    assert messages.read_line(summary).data_added_packed == 31460573
    error = b'{"message_type":"error","error":{"message":"open /data/a: permission denied"},"during":"archival","item":"/data/a"}\n'
    assert messages.read_line(error).text == "open /data/a: permission denied"
    last = b'{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}\n'
    assert (messages.read_line(last).code, messages.read_line(last).text) == (
        12,
        "Fatal: wrong password or no key found",
    )


@pytest.mark.parametrize(
    "raw",
    [b"loading indexes...\n", b'{"message_type":', b'{"message_type":"status","files_done":-1}', b"\xff\xfe", b""],
)
def test_anything_else_is_text(raw: bytes) -> None:
    found = messages.read_line(raw)
    assert (found.message_type, found.is_progress) == ("", False)


@given(st.binary())
def test_no_line_breaks_the_reader(raw: bytes) -> None:
    messages.read_line(b'{"message_type"' + raw)


def test_a_repository_without_snapshots_has_an_empty_list() -> None:
    assert messages.read_snapshots(b"null\n") == messages.read_snapshots(b"[]") == messages.read_snapshots(b"") == ()
    assert messages.read_forgotten(b"[]\n") == ()
    with pytest.raises(Unusable):
        messages.read_snapshots(b"<html>")
