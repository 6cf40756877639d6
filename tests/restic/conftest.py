"""Fixtures of the tests with the real restic, against a directory and a real server."""

import shutil
from pathlib import Path

import pytest

from support.engines import path_with
from support.restic import PASSWORD, Mover, make_key_cheap
from support.s3 import any_s3, s3

__all__ = ["any_s3", "s3"]


@pytest.fixture(scope="session")
def new_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository without snapshots whose password costs nothing."""
    mover = Mover(tmp_path_factory.mktemp("template"))
    mover.stock("init")
    make_key_cheap(mover.repository)
    return mover.repository


@pytest.fixture
def mover(bare_mover: Mover, new_repository: Path) -> Mover:
    """A mover and its repository."""
    shutil.copytree(new_repository, bare_mover.repository)
    return bare_mover


@pytest.fixture
def bare_mover(tmp_path: Path) -> Mover:
    """A mover that has no repository yet; it is to be below /mnt, as moverVolumes give it. It has the variables of a Job."""
    mover = Mover(
        tmp_path / "container",
        {
            "PATH": path_with("restic"),
            "RESTIC_REPOSITORY": "/mnt/repository",
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": "/cache",
            "DATA_DIR": "/data",
            "FORGET_OPTIONS": " --keep-last 2",
            "RESTORE_AS_OF": "",
            "SELECT_PREVIOUS": "0",
            "RESTORE_OPTIONS": "",
            "PRIVILEGED_MOVER": "0",
        },
    )
    for name in ("cache", "tmp", "mnt"):
        (mover.root / name).mkdir()
    return mover
