# ruff: noqa: PTH116  # folders by their descriptors and bytes as names, which pathlib lacks
"""Giving symbolic links their own targets back.

While strangers write to the volume, the daemon stores every link with a prefix before its target, so that nothing can be reached through it. Once the
source has said that it is done, and nobody writes any more, the prefix goes.

Guarantees: nothing is followed; times and owners of links, and the times of their folders, stay as they were; whoever is interrupted goes on where he
stopped. A link whose own target begins with the prefix was stored with it twice, and keeps one.
Assumptions: the volume is quiet.
"""

import errno
import itertools
import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from datamover.agent import printing
from datamover.agent.rsync.passes import LOST_AND_FOUND

PREFIX = b"/rsyncd-munged/"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHECK_EVERY = 256
_NEW = b".~datamover-link"
_EXAMPLES = 5


class Restored(msgspec.Struct):
    """How many links were given their targets back, and the first ones that could not be."""

    links: int = 0
    missed: int = 0
    failed: list[str] = []


def restore(root: str, *, tick: Callable[[], None]) -> Restored:
    """Take the prefix from every link below `root`. `tick` is called every now and then; it may raise. Raises OSError when a folder cannot be read."""
    told = Restored()
    device = os.stat(root).st_dev
    top = os.open(root, _FOLDER)
    # One descriptor a level, so that neither the length of a path nor a link in the place of a folder matters.
    # lost+found is never sent, and often only root may enter it.
    levels = [(top, [name for name in _visit(top, told, tick) if name != LOST_AND_FOUND])]
    try:
        while levels:
            handle, waiting = levels[-1]
            if not waiting:
                os.close(handle)
                levels.pop()
                continue
            try:
                inner = os.open(waiting.pop(), _FOLDER, dir_fd=handle)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                    continue
                raise
            if os.fstat(inner).st_dev != device:
                os.close(inner)
                continue
            levels.append((inner, []))
            levels[-1] = (inner, _visit(inner, told, tick))
    finally:
        for handle, _ in levels:
            os.close(handle)
    return told


def _visit(folder: int, told: Restored, tick: Callable[[], None]) -> list[bytes]:
    """Do the links of an open folder; return the names of the folders in it."""
    folders: list[bytes] = []
    links: list[bytes] = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number % _CHECK_EVERY == 0:
                tick()
            if entry.is_symlink():
                links.append(os.fsencode(entry.name))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(os.fsencode(entry.name))
    munged = [name for name in links if os.readlink(name, dir_fd=folder).startswith(PREFIX)]
    if munged:
        before = os.fstat(folder)
        for name in munged:
            try:
                _restore_link(folder, name)
                told.links += 1
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
                    raise
                if len(told.failed) < _EXAMPLES:
                    told.failed.append(printing.readable(name))
                told.missed += 1
        with suppress(PermissionError):  # the root of a volume may be somebody else's
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    return folders


def _restore_link(folder: int, name: bytes) -> None:
    """Replace a link by one without the prefix, in one step."""
    target = os.readlink(name, dir_fd=folder)[len(PREFIX) :]
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    new = _make_link(folder, target)
    try:
        with suppress(PermissionError):  # without privileges all links are the mover's own
            os.chown(new, found.st_uid, found.st_gid, dir_fd=folder, follow_symlinks=False)
        os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=folder, follow_symlinks=False)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _make_link(folder: int, target: bytes) -> bytes:
    """Make a link under a name that nobody has; return it. What has our name may be the user's, and what an attempt left that was killed goes with the
    next transfer, for the source does not have it.
    """
    for number in itertools.count():
        new = b"%s-%d" % (_NEW, number) if number else _NEW
        try:
            os.symlink(target, new, dir_fd=folder)
        except FileExistsError:
            continue
        return new
    raise AssertionError
