from collections.abc import Iterator
from pathlib import Path

import pytest

from support.image_server import ImageServer, serving
from support.importing import Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "container")


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with serving() as found:
        yield found
