"""Packages of this machine's own Debian: fetched by apt, which checks them, and unpacked without root, so that no daemon is started.

Standard library only: it runs before anything is installed.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SECONDS = 120.0


class FetchError(Exception):
    """Packages cannot be had. The message says what went wrong."""


def unpack_packages(names: Sequence[str], *, place: Path) -> Path:
    """Fetch packages into a scratch directory and return the tree of their files. Raises FetchError."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError("this is no Debian machine")
    place.chmod(0o755)  # apt fetches as a user of its own
    try:
        _run("apt-get", "download", "-qq", *names, place=place)
    except FetchError:
        _run("apt-get", "update", "-qq", place=place)  # a new machine has no lists yet
        _run("apt-get", "download", "-qq", *names, place=place)
    tree = place / "tree"
    for package in sorted(place.glob("*.deb")):
        _run("dpkg-deb", "--extract", str(package), str(tree), place=place)
    return tree


def _run(*command: str, place: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - arguments are ours
            command, cwd=place, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"`{' '.join(command)}` did not end in {SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise FetchError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
