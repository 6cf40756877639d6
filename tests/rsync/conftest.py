"""Fixtures of the tests with real rsync through real tunnels."""

from pathlib import Path

import pytest

from support.agent import Container
from support.tls import free_port, new_key, side


@pytest.fixture
def key() -> str:
    """A key of both sides."""
    return new_key()


@pytest.fixture
def source(tmp_path: Path, key: str) -> Container:
    """A source with a file."""
    made = side(tmp_path / "source", key)
    (made.data / "hello").write_text("hello\n")
    return made


@pytest.fixture
def destination(tmp_path: Path, key: str) -> Container:
    """A destination that is empty."""
    return side(tmp_path / "destination", key)


@pytest.fixture
def port() -> int:
    """Where the destination listens."""
    return free_port()
