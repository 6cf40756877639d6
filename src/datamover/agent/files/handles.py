"""Handles on what lies below a directory, by names that nobody vouches for: nothing outside is reached, and no link is followed."""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress

from datamover.agent.files import losses

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):  # noqa: N818 - it is the word for what happens to the entry
    """An entry is left out; `kind` is the loss (see `losses`)."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@contextmanager
def enter_parent(top: int, raw: bytes, *, make: bool = False) -> Generator[tuple[int, bytes]]:
    """Give the folder of a path below `top`, opened without following anything, and the last part of its name. Raises Refused.

    `make`: folders on the way that are missing are made, for us alone.
    """
    *above, name = raw.split(b"/")
    if any(part in {b"", b".", b".."} or b"\0" in part for part in (*above, name)):
        raise Refused(losses.NO_PATH)
    folder = os.dup(top)
    try:
        for part in above:
            try:
                inner = _open_folder(part, folder, make=make)
            except NotADirectoryError:
                raise Refused(losses.THROUGH) from None
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def _open_folder(name: bytes, folder: int, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def put(source: bytes, name: bytes, *, inner: int, folder: int) -> None:
    """Rename `source` of the folder `inner` to `name` of `folder`, in the place of what is there: a file, a link, or a folder with nothing in it.

    Raises Refused for any other folder: what is in it was not asked for.
    """
    try:
        os.rename(source, name, src_dir_fd=inner, dst_dir_fd=folder)
    except IsADirectoryError:
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            raise Refused(losses.IN_THE_WAY) from None
        os.rename(source, name, src_dir_fd=inner, dst_dir_fd=folder)


def make_folder(name: bytes, folder: int, *, mode: int, aside: int | None = None) -> bool:
    """Make a folder; return whether it is new. Where something else is, that goes into the folder that `aside` is a handle on; without one,
    and where it cannot, FileExistsError is raised.
    """
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return False
        if aside is None:
            raise
        os.rename(name, b"replaced-%s" % os.urandom(6).hex().encode(), src_dir_fd=folder, dst_dir_fd=aside)
        os.mkdir(name, mode, dir_fd=folder)
    return True


@contextmanager
def opened(folder: int, name: bytes) -> Generator[tuple[int, os.stat_result]]:
    """Give a handle on what is at a name, links not followed, and its status."""
    leaf = os.open(name, _LEAF, dir_fd=folder)
    try:
        yield leaf, os.fstat(leaf)
    finally:
        os.close(leaf)
