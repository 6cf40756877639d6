"""What a comparison is told by the environment of its container."""

from typing import Any

import pytest

from datamover.agent.errors import Misconfigured
from datamover.agent.verification.settings import read_settings
from datamover.api import restore, transfer

SECRET = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "BUCKET_HOST": "minio", "BUCKET_NAME": "backups"}


def read(**changes: str) -> Any:
    return read_settings(SECRET | changes, run_id="made-up")


def test_defaults() -> None:
    found = read()
    assert (found.run_id, found.point, found.source, found.method) == ("made-up", "latest", "", "checksum")
    assert (found.deadline, found.grace, found.store.root, found.store.config) == (0, 20, "backups", "/config")


@pytest.mark.parametrize(
    ("said", "method", "percent"),
    [("size", "size", 0), ("checksums", "checksum", 0), ("download", "download", 0), ("sample:5%", "sample", 5)],
)
def test_methods(said: str, method: str, percent: float) -> None:
    found = read(**{transfer.VERIFY_METHOD: said})
    assert (found.method, found.wanted.percent) == (method, percent)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({transfer.VERIFY_METHOD: "none"}, "compares nothing"),
        ({transfer.VERIFY_METHOD: "Download"}, "DATAMOVER_VERIFY is 'Download'"),
        ({transfer.VERIFY_METHOD: "sample:0%"}, "DATAMOVER_VERIFY is 'sample:0%'"),
        ({transfer.RUN_ID: "../x"}, "DATAMOVER_RUN_ID is '../x'"),
        ({transfer.DEADLINE: "-1"}, "DATAMOVER_DEADLINE"),
        ({"BUCKET_NAME": ""}, "BUCKET_NAME is empty"),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        read(**changes)


def test_a_method_for_backups_is_none_for_a_comparison() -> None:
    """The variable of the backup's own method may be in the same Secret."""
    assert read(**{transfer.VERIFY_BACKUP: "download", restore.POINT: "run-1"}).method == "checksum"
