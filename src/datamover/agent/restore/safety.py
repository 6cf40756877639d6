# ruff: noqa: PTH208  # handles, which pathlib lacks
"""The safety copy of a target: a copy of the whole volume from before the restore, mounted beside it for reading. What a restore touches, and whether the
copy has all of that as it is. Nothing is changed here.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from datamover.agent import printing
from datamover.agent.files import manifest
from datamover.agent.files.handles import Refused, enter_parent
from datamover.agent.files.walk import LOST_AND_FOUND
from datamover.agent.restore import reasons
from datamover.agent.restore.marker import FOLDER
from datamover.agent.restore.order import STATE, Order

_SECOND = 1_000_000_000
_NOT_THEIRS = frozenset({STATE, LOST_AND_FOUND})


class Place(NamedTuple):
    """What is at a path: the folder (a handle, for as long as `find` is open), the name in it, and the status."""

    folder: int
    name: bytes
    status: os.stat_result

    @property
    def kind(self) -> int:
        """The kind, as `stat.S_IFMT` has it."""
        return stat.S_IFMT(self.status.st_mode)

    @property
    def inode(self) -> tuple[int, int]:
        """Which file it is, whatever it is called."""
        return self.status.st_dev, self.status.st_ino

    def leads(self) -> bytes:
        """Where a link leads."""
        return os.readlink(self.name, dir_fd=self.folder)


@contextmanager
def find(top: int, raw: bytes) -> Generator[Place | None]:
    """Give what is at a path below `top`, no link followed; None where nothing is, or can be. Raises OSError for what cannot be looked at: that is not
    nothing.
    """
    with ExitStack() as stack:
        try:
            folder, name = stack.enter_context(enter_parent(top, raw))
            found = Place(folder, name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        except (FileNotFoundError, Refused):
            found = None
        yield found


def touched(path: str, order: Order, *, tick: Callable[[], None]) -> Iterator[bytes]:
    """Yield every path that a restore of what `order` wants may touch, by the manifest at `path`: each folder once and before what is in it. The directory
    itself is not among them. Raises ValueError for a manifest that is damaged. Memory grows with the number of folders.
    """
    folders: set[bytes] = set()
    for entry in manifest.entries(path):
        tick()
        if entry.type == manifest.TOP or not order.wants(entry):
            continue
        raw = entry.raw_path
        cut = raw.find(b"/")
        while cut > 0:
            if raw[:cut] not in folders:
                folders.add(raw[:cut])
                yield raw[:cut]
            cut = raw.find(b"/", cut + 1)
        if raw in folders:
            continue
        if entry.type == manifest.DIRECTORY:
            folders.add(raw)
        yield raw


def open_copy(directory: str) -> int:
    """Return a handle on the safety copy. Raises Failure when none is mounted."""
    try:
        return os.open(directory, FOLDER)
    except OSError as error:
        raise reasons.no_copy(error.strerror or str(error)) from None


def prove(order: Order, path: str, *, tick: Callable[[], None]) -> None:
    """Raise Failure when the safety copy is not what it has to be to roll back from, before anything is touched: a copy of this very target, which nobody
    has changed since. Contents are not compared, and times only by seconds: some drivers copy no finer ones.
    """
    copy, top = open_copy(order.safety), os.open(order.directory, FOLDER)
    try:
        there = set(os.listdir(f"/proc/self/fd/{copy}".encode()))
        if STATE in there:
            raise reasons.copy_of_unfinished()
        here = set(os.listdir(f"/proc/self/fd/{top}".encode()))
        different = sorted((there ^ here) - _NOT_THEIRS)
        if different:
            raise reasons.other_copy(printing.readable(different[0]), "it is there in one of them alone")
        for raw in touched(path, order, tick=tick):
            why = _differs(copy, top, raw)
            if why:
                raise reasons.other_copy(printing.readable(raw), why)
    except OSError as error:
        raise reasons.no_copy(error.strerror or str(error)) from None
    finally:
        os.close(copy)
        os.close(top)


def _differs(copy: int, top: int, raw: bytes) -> str:
    """Return how a path of the copy differs from the target's, empty when it does not."""
    with find(copy, raw) as before, find(top, raw) as now:
        if before is None or now is None:
            return "" if before is now else "it is there in one of them alone"
        if before.kind != now.kind:
            return "it is of another kind"
        if before.kind == stat.S_IFLNK:
            return "" if before.leads() == now.leads() else "it leads elsewhere"
        if before.kind != stat.S_IFREG:
            return ""
        if before.status.st_size != now.status.st_size:
            return f"it has {before.status.st_size} bytes in the copy, and {now.status.st_size} now"
        if before.status.st_mtime_ns // _SECOND != now.status.st_mtime_ns // _SECOND:
            return "it has another time"
        if not os.access(before.name, os.R_OK, dir_fd=before.folder, effective_ids=True):
            return "it cannot be read in the copy, so it could not be brought back: let the mover run as root (mover.securityContext.runAsUser: 0)"
    return ""
