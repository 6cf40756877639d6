"""Walking, removing and measuring directory trees without following a symbolic link. Blocking: call these in a thread.

Directories are opened component by component, so neither depth (beyond PATH_MAX) nor a swapped symbolic link matters, and only a handful of
descriptors is open at a time.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""Errors that say that an entry went, or became something else, since it was listed."""
_READ_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC

Parts = tuple[str, ...]
"""A path below a root, as its components."""


def remove_tree(path: Path) -> None:
    """Remove a tree, directories without write permission included. A missing one is fine. Follows no symbolic link.

    Raises OSError.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
        with opened(str(path.parent.resolve(strict=True))) as parent:
            _remove_below(parent, path.name)
    except FileNotFoundError:
        return


def measure_tree(path: Path, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Return the bytes that the files below `path` show, hard links counted once. What cannot be read counts nothing.

    With `stop` it ends early, with what has been counted by then.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [path]
    while waiting and not stop():
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def quote(name: str) -> str:
    """Return a file name that is safe to print: one line, valid text."""
    escaped = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped)


@contextmanager
def opened(path: str) -> Generator[int]:
    """Open a directory by its path."""
    descriptor = os.open(path, _READ_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def below(root: int, parts: Parts, *, missing_ok: bool = False) -> Generator[int]:
    """Open the directory `parts` below `root`, following no symbolic link; -1 when it is gone and that is fine."""
    descriptor = os.dup(root)
    try:
        try:
            for part in parts:
                deeper = os.open(part, _READ_DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
        except OSError as error:
            if not missing_ok or (error.errno not in GONE and error.errno != errno.EACCES):
                raise
            os.close(descriptor)
            descriptor = -1
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _remove_below(parent: int, name: str) -> None:
    """Remove the directory `name` of `parent`: files on the way down, directories on the way up."""
    waiting: list[Parts] = [(name,)]
    order: list[Parts] = []
    while waiting:
        parts = waiting.pop()
        order.append(parts)
        with below(parent, parts[:-1]) as above:
            os.chmod(parts[-1], 0o700, dir_fd=above)  # listed as a directory, in a place that only the node writes to
        with below(parent, parts) as directory:
            with os.scandir(directory) as listing:
                entries = list(listing)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((*parts, entry.name))
                else:
                    os.unlink(entry.name, dir_fd=directory)
    for parts in reversed(order):
        with below(parent, parts[:-1]) as above:
            os.rmdir(parts[-1], dir_fd=above)
