"""Whether a directory already is what a restore would make of it: the one of before ended, and died before anybody heard of it.

A mark cannot tell that, because the last thing that a restore does is to take it away. So it goes by names, kinds, sizes, times of files to the
nanosecond, and where links lead. Nothing is read of files and nothing is changed. Contents are compared afterwards, by the restore that then goes on.
"""

import os
import stat

from datamover.agent.files import manifest
from datamover.agent.files.handles import Refused, enter_parent
from datamover.agent.files.walk import LOST_AND_FOUND
from datamover.agent.restore.order import STATE, Order


def is_alike(directory: str, order: Order, path: str) -> bool:
    """Tell whether the directory has all that the manifest at `path` lists of what is wanted, and nothing else. False also for what cannot be looked at.

    Raises ValueError for a manifest that is damaged.
    """
    try:
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _compare(top, order, path)
    except OSError:
        return False
    finally:
        os.close(top)


def _compare(top: int, order: Order, path: str) -> bool:
    found = 0
    absent: set[bytes] = set()
    for _ in manifest.entries(path, absent=absent):
        pass  # what was not moved is listed last
    for entry in manifest.entries(path):
        if entry.type == manifest.TOP or not order.wants(entry) or entry.key in absent:
            continue
        there = _find(top, entry)
        if there is None and entry.type not in manifest.SPECIAL:  # those may have been left out
            return False
        if there is not None and not _is_same(entry, *there):
            return False
        found += there is not None
    return bool(found) and _count(top) == found


def _find(top: int, entry: manifest.Entry) -> tuple[os.stat_result, bytes] | None:
    """Return the status of what is at a path, and where it leads if it is a link; None where nothing is."""
    try:
        with enter_parent(top, entry.raw_path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            return status, os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else b""
    except (OSError, Refused):
        return None


def _is_same(entry: manifest.Entry, status: os.stat_result, leads: bytes) -> bool:
    if entry.type == manifest.FILE:
        return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime)
    if entry.type == manifest.DIRECTORY:
        return stat.S_ISDIR(status.st_mode)
    if entry.type == manifest.LINK:
        return stat.S_ISLNK(status.st_mode) and leads == entry.target_bytes
    return not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode))


def _count(top: int) -> int:
    """Return how many paths there are below a directory. What a file system keeps for itself, and the rest of a mark, are none."""
    count = 0
    for place, folders, files, _ in os.fwalk(b".", dir_fd=top):
        if place == b".":
            folders[:] = [name for name in folders if name not in {STATE, LOST_AND_FOUND}]
        count += len(folders) + len(files)
    return count
