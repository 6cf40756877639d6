from collections.abc import Iterator
from pathlib import Path

import pytest

from support.image_server import ImageServer, serving
from support.importing import Volume
from support.s3 import any_s3, s3

__all__ = ["any_s3", "s3"]


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "container")


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with serving() as found:
        yield found
