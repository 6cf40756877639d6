"""The one file, and a root with nothing else in it."""

import subprocess
from pathlib import Path

import pytest

from support.lone_plugin import LACKS_NAMESPACES, can_be_alone
from support.one_file import one_file as find_one_file


@pytest.fixture(scope="session")
def one_file() -> Path:
    """Return the file: the one that DATAMOVER_TEST_VELERO_PLUGIN names, out of an image for instance, or that of this checkout."""
    return find_one_file()


@pytest.fixture
def empty_root(one_file: Path, tmp_path: Path) -> Path:
    """Return a root with the file in /plugins, put there as an init container does it, and nothing else."""
    for name in ("plugins", "proc", "dev"):
        (tmp_path / name).mkdir()
    subprocess.run([one_file, "install", tmp_path / "plugins"], check=True, timeout=60)
    if not can_be_alone(tmp_path):
        pytest.skip(LACKS_NAMESPACES)
    return tmp_path
