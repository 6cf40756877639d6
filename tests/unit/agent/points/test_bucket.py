"""A bucket that is opened: what fails on this machine meanwhile."""

import sqlite3
from pathlib import Path

import pytest

from datamover.agent.errors import Failure
from datamover.api import transfer
from support.points import opened

SECRET = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret-canary",
    "BUCKET_NAME": "ours",
    "BUCKET_HOST": "127.0.0.1",
}


def test_a_table_that_cannot_be_read_any_more_is_told_wherever_it_is_asked(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    with (
        pytest.raises(Failure, match=r"disk I/O error.* give TMPDIR a place") as caught,
        opened(SECRET, tmp_path / "s"),
    ):
        raise error
    assert caught.value.reason == transfer.REASON_NO_LOCAL_SPACE
