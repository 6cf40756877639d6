"""The engines of the movers for ReplicationSources: from PATH, else from Debian's packages, which `make engines` fetches."""

import functools
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import pytest

from engines import find_engines

CURE = "run `make engines`"


@functools.cache
def _found() -> Mapping[str, Path]:
    return find_engines(os.environ)


def find_engine(name: str) -> Path:
    """Return `restic`, `rsync`, `stunnel`, `sshd`, `ssh`, `ssh-keygen` or `qemu-img`. Skips the test without it, or fails it where it is required."""
    found = _found().get(name)
    if found is None:
        _miss(f"no {name}: {CURE}")
    assert found is not None
    if name == "sshd" and os.geteuid() == 0:
        _demand_user()
    return found


def path_with(*names: str) -> str:
    """Return a PATH on which engines are found, before the machine's own; see `find_engine`."""
    folders = [str(find_engine(name).parent) for name in names]
    return os.pathsep.join((*dict.fromkeys(folders), os.environ.get("PATH", os.defpath)))


def demand_engines_for_all(*names: str) -> None:
    """Skip the test where another user cannot reach an engine: root's cache is root's."""
    for name in names:
        place = find_engine(name).resolve()
        if not all(folder.stat().st_mode & 0o001 for folder in place.parents):
            pytest.skip(f"{name} is at {place}, where only its owner gets: install it for all users")


def _demand_user() -> None:
    try:
        pwd.getpwnam("sshd")
    except KeyError:
        _miss("sshd run by root wants a user: useradd --system --no-create-home --home-dir /run/sshd sshd")
    # An empty directory that only root may write to, on a file system that begins empty with each start of the machine.
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _miss(cure: str) -> None:
    if os.environ.get("DATAMOVER_REQUIRE_ENGINES") == "1":
        pytest.fail(cure, pytrace=False)
    pytest.skip(cure)
