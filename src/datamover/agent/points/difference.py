"""What differs between two points, or between a point and a directory: new, gone, changed. Streams, in the order of folders and names.

Contents are compared by what is proved of them: sizes, then MD5 where both sides have one. Where one has none, the time of change decides, and
the difference says that it does (`perhaps contents`).
Caveats: which names are hard links of one file is not compared, nor is where a sparse file has its holes.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from datamover.agent.files import manifest
from datamover.agent.files.handles import Refused, enter_parent
from datamover.agent.files.walk import Tally, walk
from datamover.agent.points.tree import Leaf, Tree

NEW: Final = "new"
GONE: Final = "gone"
CHANGED: Final = "changed"

TYPE: Final = "type"
CONTENTS: Final = "contents"
PERHAPS: Final = "perhaps contents"
TARGET: Final = "target"
MODE: Final = "mode"
OWNER: Final = "owner"
TIME: Final = "time"
ATTRIBUTES: Final = "attributes"
DEVICE: Final = "device"
SUBSTANCE: Final = frozenset({TYPE, CONTENTS, PERHAPS, TARGET, DEVICE})
"""What is no attribute."""

_CHUNK = 1 << 20

Sum = Callable[[Leaf], bytes | None]
"""Returns the MD5 of a file of 16 bytes, or None where there is none."""


class Change(msgspec.Struct, frozen=True):
    """One path that differs. `what` says in which ways; empty for what is new or gone."""

    kind: str
    before: Leaf | None
    after: Leaf | None
    what: tuple[str, ...] = ()

    @property
    def path(self) -> bytes:
        """The path's bytes."""
        leaf = self.after or self.before
        return leaf.path if leaf is not None else b""


def recorded(leaf: Leaf) -> bytes | None:
    """Return the MD5 that the manifest has."""
    return leaf.md5


def compare(
    before: Tree,
    after: Tree,
    *,
    folder: bytes = b"",
    sum_after: Sum = recorded,
    attributes: bool = True,
) -> Iterator[Change]:
    """Yield what differs below a folder; `attributes`: also modes, owners, times and extended attributes."""
    olds, news = before.below(folder), after.below(folder)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and _place(old) < _place(new)):
            yield Change(GONE, old, None)
            old = next(olds, None)
        elif old is None or _place(new) < _place(old):
            yield Change(NEW, None, new)
            new = next(news, None)
        else:
            what = tuple(each for each in _differences(old, new, sum_after) if attributes or each in SUBSTANCE)
            if what:
                yield Change(CHANGED, old, new, what)
            old, new = next(olds, None), next(news, None)


def _place(leaf: Leaf) -> tuple[bytes, bytes]:
    parent, _, name = leaf.path.rpartition(b"/")
    return parent, name


def _differences(old: Leaf, new: Leaf, sum_after: Sum) -> Iterator[str]:
    one, other = old.entry, new.entry
    if one.type != other.type:
        yield TYPE
        return
    if one.type == manifest.FILE:
        contents = _contents(old, new, sum_after)
        if contents:
            yield contents
    if (one.target, one.raw_target) != (other.target, other.raw_target):
        yield TARGET
    if one.device != other.device:
        yield DEVICE
    if one.type != manifest.LINK and one.mode != other.mode:
        yield MODE
    if (one.uid, one.gid) != (other.uid, other.gid):
        yield OWNER
    if one.mtime != other.mtime:
        yield TIME
    if (one.xattrs or {}) != (other.xattrs or {}):
        yield ATTRIBUTES


def _contents(old: Leaf, new: Leaf, sum_after: Sum) -> str:
    if old.entry.size != new.entry.size:
        return CONTENTS
    if not old.entry.size:
        return ""
    # a file is read only where there is something to hold it against
    known = sum_after(new) if old.md5 is not None else None
    if known is not None:
        return CONTENTS if known != old.md5 else ""
    return PERHAPS if old.entry.mtime != new.entry.mtime else ""


def read_directory(directory: str, tree: Tree) -> Tally:
    """Fill a tree with what is in a directory; return what was counted, what cannot be read among it. Raises OSError when it cannot be read itself."""
    tally = Tally()
    for _ in walk(os.fsencode(directory), tally=tally, add=tree.add, prefix_size=0, tick=_nothing):
        pass
    tree.flush()
    return tally


@contextmanager
def file_sums(directory: str) -> Generator[Sum]:
    """Give what reads a file below a directory, no link followed, and returns its MD5; None for what cannot be read."""
    top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def read(leaf: Leaf) -> bytes | None:
        try:
            with enter_parent(top, leaf.path) as (folder, name):
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                found = hashlib.md5(usedforsecurity=False)
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
        except (OSError, Refused):
            return None
        return found.digest()

    try:
        yield read
    finally:
        os.close(top)


def _nothing() -> None:
    """Nothing is to be done meanwhile."""
