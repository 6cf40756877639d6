# ruff: noqa: PTH120  # bytes and handles, which pathlib lacks, and a start-up budget that it would take a tenth of
"""A directory that may become the target of a restore: what is in it, its room, and whether this restore may go into it. Nothing is changed."""

import errno
import os
import stat
from typing import NamedTuple

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files.walk import LOST_AND_FOUND
from datamover.agent.restore import reasons
from datamover.agent.restore.marker import FOLDER, Marker, read_marker
from datamover.agent.restore.order import STATE, Order
from datamover.api import transfer
from datamover.api.restore import MARKED, UNTOUCHED

_EXAMPLES = 5


class Seen(NamedTuple):
    """What a look at a target showed: whether it is there, the first names of what is in it, whether it has a mark or the rest of one, the mark of a restore
    that has not ended, why a mark cannot be read, and what is free of its file system (bytes, and files where that is known).
    """

    there: bool
    names: list[str]
    marked: bool
    marker: Marker | None
    flaw: str
    free: int
    free_files: int | None

    @property
    def begun(self) -> bool:
        """Whether a restore has begun there and not ended."""
        return self.marker is not None or bool(self.flaw)


def what_is_left(target: str, *, begun: bool) -> str:
    """Return what a target is after an attempt that has left it so; `begun`: an earlier one had marked it. Pure."""
    return MARKED if target == UNTOUCHED and begun else target


def judge(seen: Seen, order: Order, mark: Marker) -> Failure | None:
    """Return why this restore must not go into a target that looks so, None when it may. Pure."""
    if seen.flaw:
        return reasons.damaged_mark(order.directory, seen.flaw)
    if seen.marker is not None:
        other = seen.marker
        if not other.is_same(mark):
            return reasons.unfinished(
                order.directory, run=other.run, place=other.place, begun=other.begun or "once", path=other.path
            )
        return None
    if seen.names and not order.overwrite:
        return reasons.not_empty(order.directory, seen.names)
    return None


def judge_room(seen: Seen, order: Order, *, blocks: int, paths: int) -> Failure | None:
    """Return that the target has no room for so much, None where it has. Pure."""
    if blocks > seen.free:
        return reasons.too_small(order.directory, needed=blocks, free=seen.free)
    if seen.free_files is not None and paths > seen.free_files:
        return reasons.too_small(order.directory, needed=paths, free=seen.free_files, files=True)
    return None


def look(directory: str) -> Seen:
    """Look at a target, and change nothing. Raises Failure when it is none that can be restored into."""
    place = os.path.normpath(directory) if directory else "."
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        parent = os.path.dirname(place) or "."
        try:
            top = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise reasons.no_directory(directory, f"{parent}, in which it would be made: {error.strerror}") from None
        try:
            _prove_writable(directory, top)
            return Seen(False, [], False, None, "", *_free(top))
        finally:
            os.close(top)
    except (OSError, ValueError) as error:
        raise reasons.no_directory(directory, getattr(error, "strerror", None) or str(error)) from None
    if stat.S_ISLNK(status.st_mode):
        raise reasons.no_directory(
            directory,
            f"it is a symbolic link; name the directory itself ({printing.printable(os.path.realpath(place))})",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise reasons.no_directory(directory, "it is no directory")
    top = open_top(directory)
    try:
        return look_into(directory, top)
    finally:
        os.close(top)


def open_top(directory: str) -> int:
    """Return a handle on the directory itself. Raises Failure when it is none."""
    try:
        return os.open(os.path.normpath(directory), FOLDER)
    except OSError as error:
        why = (
            "it is a symbolic link"
            if error.errno in {errno.ELOOP, errno.ENOTDIR}
            else error.strerror or "it cannot be opened"
        )
        raise reasons.no_directory(directory, why) from None


def look_into(directory: str, top: int) -> Seen:
    """Look at a directory by a handle on it. Raises Failure when nothing may be written there."""
    _prove_writable(directory, top)
    found: list[str] = []
    marked = False
    with os.scandir(top) as scan:
        for item in scan:
            raw = os.fsencode(item.name)
            if raw == STATE:
                marked = True
            elif raw == LOST_AND_FOUND and item.is_dir(follow_symlinks=False):
                continue
            elif len(found) < _EXAMPLES:
                found.append(printing.readable(raw))
    marker, flaw = read_marker(top) if marked else (None, "")
    return Seen(True, found, marked, marker, flaw, *_free(top))


def _prove_writable(directory: str, top: int) -> None:
    flags = os.fstatvfs(top).f_flag
    if flags & os.ST_RDONLY:
        raise reasons.no_directory(directory, "its file system is read-only", reason=transfer.REASON_TARGET_READ_ONLY)
    if not os.access(f"/proc/self/fd/{top}", os.W_OK | os.X_OK, effective_ids=True):
        raise reasons.no_directory(directory, "you may not write there", reason=transfer.REASON_TARGET_READ_ONLY)


def _free(top: int) -> tuple[int, int | None]:
    found = os.fstatvfs(top)
    root = os.geteuid() == 0
    blocks = found.f_bfree if root else found.f_bavail
    files = (found.f_ffree if root else found.f_favail) if found.f_files else None
    return blocks * found.f_frsize, files
