"""The folder of a Filesystem volume in which an import is made before it gets its name. Blocking.

Guarantees: whatever is in the volume under its own name is whole; what an attempt that was killed has left in the folder goes when the next one
begins; the names of a folder are given one by one, and all of them again by the next attempt if this one is killed in between.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from datamover.agent.blocks.device import Device
from datamover.agent.files.flushing import flush_file_system
from datamover.agent.importer import refusals

FOLDER: Final = ".datamover-import"


class Stage:
    """The folder, empty. What is in it is gone at the end of the block, unless `publish` has given it its place. Errors of the volume are Failures."""

    def __init__(self, volume: str) -> None:
        self._volume = volume
        self.path = f"{volume}/{FOLDER}"

    def __enter__(self) -> Self:
        """Make it."""
        try:
            _remove(self.path)
            os.mkdir(self.path, 0o770)  # noqa: PTH102 - start-up budget
        except OSError as error:
            raise refusals.of_volume(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it. An OSError of the block is an error of the volume."""
        with suppress(OSError):
            _remove(self.path)
        if isinstance(error, OSError):
            raise refusals.of_volume(error) from None

    def replace(self, name: str) -> None:
        """Remove what the volume has under this name: its room is needed for what comes in its place."""
        _remove(f"{self._volume}/{name}")

    @contextmanager
    def open_file(self, name: str) -> Generator[Device]:
        """Give a new file in the folder."""
        path = f"{self.path}/{name}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
        try:
            yield Device(descriptor, path)
        finally:
            os.close(descriptor)

    def publish(self, *, flushed: bool = False) -> None:
        """Give everything in the folder its place at the top of the volume, in the place of what is there, and bring that to the storage.

        `flushed`: the contents are there already, so that the names are all that is left. A file system may be shared with others, who write a lot.
        """
        if not flushed:
            flush_file_system(self._volume)
        for name in sorted(os.listdir(self.path)):  # noqa: PTH208
            there = f"{self._volume}/{name}"
            if os.path.isdir(there) or os.path.isdir(f"{self.path}/{name}"):  # noqa: PTH112 - a folder takes no other's place
                _remove(there)
            os.rename(f"{self.path}/{name}", there)  # noqa: PTH104
        os.rmdir(self.path)  # noqa: PTH106
        _flush_names(self._volume)


def free_space(volume: str) -> int:
    """Return the bytes that are left for whoever is not root."""
    found = os.statvfs(volume)
    return found.f_bavail * found.f_frsize


def _flush_names(folder: str) -> None:
    """Bring the names in a folder to the storage."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: str) -> None:
    """Remove whatever is there. A link is removed, not followed. Depth and rights of folders are those that somebody else has chosen."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
            raise
        _remove_folder(path)


def _remove_folder(path: str) -> None:
    """Remove a folder of ours. Whatever folder is in one below it comes up to its top first, so that no path gets long and nothing calls itself."""
    number = 0
    waiting = [path]
    while waiting:
        folder = waiting[-1]
        os.chmod(folder, 0o700)  # noqa: PTH101
        below: list[str] = []
        for entry in os.scandir(folder):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108
            elif folder == path:
                below.append(entry.path)
            else:
                # a folder that moves must be writable, for what is above it is written in it
                os.chmod(entry.path, 0o700)  # noqa: PTH101
                below.append(_bring_up(entry.path, path, number))
                number += 1
        if below:
            waiting += below
        else:
            os.rmdir(folder)  # noqa: PTH106
            waiting.pop()


def _bring_up(folder: str, top: str, number: int) -> str:
    """Move a folder to the top, under a name that nothing has there; return its path."""
    while True:
        there = f"{top}/.{number}-{os.urandom(8).hex()}"
        try:
            os.mkdir(there, 0o700)  # noqa: PTH102 - the name is ours then, and an empty folder may be replaced
        except FileExistsError:
            continue
        os.rename(folder, there)  # noqa: PTH104
        return there
