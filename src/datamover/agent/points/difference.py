"""What differs between two points, or between a point and a directory: new, gone, changed. Streams, in the order of folders and names.

Contents are compared by what is proved of them: sizes, then MD5 where both sides have one. Where one has none the time of change decides, and
`Compared` counts how often it did. What cannot be compared is told as that, and so is what a restore of the point does not bring back: neither is
a difference, and only with neither nor files without checksums are both sides called equal.
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
from datamover.agent.files.losses import Losses
from datamover.agent.files.walk import Tally, walk
from datamover.agent.points.tree import Leaf, Tree

NEW: Final = "new"
GONE: Final = "gone"
CHANGED: Final = "changed"
UNPROVED: Final = "unproved"
"""It could not be compared; `what` says why."""
SKIPPED: Final = "skipped"
"""A restore of the point does not bring it back, or one side never had it in it; `what` says why. No difference."""

TYPE: Final = "type"
CONTENTS: Final = "contents"
PERHAPS: Final = "perhaps contents"
TARGET: Final = "target"
MODE: Final = "mode"
OWNER: Final = "owner"
TIME: Final = "time"
ATTRIBUTES: Final = "attributes"
DEVICE: Final = "device"
UNREADABLE: Final = manifest.UNREADABLE
SUBSTANCE: Final = frozenset({TYPE, CONTENTS, PERHAPS, TARGET, DEVICE})
"""What is no attribute."""

BY_TIME: Final = "by time"
"""Size and time are the same, and there is no checksum of one side."""
_CHUNK = 1 << 20

Sum = Callable[[Leaf], bytes | None]
"""Returns the MD5 (16 bytes) of a file, or None where none is known. Raises OSError or Refused when it cannot be read."""


EQUAL: Final = "equal"
DIFFERENT: Final = "different"


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


class Compared(msgspec.Struct):
    """What a comparison came to; filled while its changes are taken. `by_time` is the number of files that have the same size and time, and
    whose contents were not compared because one side has no checksum of them.
    """

    different: int = 0
    unproved: int = 0
    by_time: int = 0
    skipped: Losses = msgspec.field(default_factory=Losses)

    @property
    def result(self) -> str:
        """`different`; `equal` when everything was compared and nothing differs; `unproved` when nothing differs as far as it was compared."""
        if self.different:
            return DIFFERENT
        return UNPROVED if self.unproved or self.by_time else EQUAL


def recorded(leaf: Leaf) -> bytes | None:
    """Return the MD5 that the manifest has."""
    return leaf.md5


def kept_by_restores(leaf: Leaf) -> str:
    """Return why a restore, unless it is told to, does not bring a path of a point into a directory; empty when it does."""
    return manifest.SPECIAL_FILE if leaf.entry.type in manifest.SPECIAL else ""


def compare(
    before: Tree,
    after: Tree,
    *,
    compared: Compared,
    folder: bytes = b"",
    sum_after: Sum = recorded,
    unkept: Callable[[Leaf], str] = lambda _: "",
    attributes: bool = True,
) -> Iterator[Change]:
    """Yield what differs below a folder, and what cannot be compared; what is skipped is counted in `compared` alone.

    `attributes`: also modes, owners, times and extended attributes. `unkept` says why a path of `before` need not be in `after`. Names that are no
    paths count as what cannot be compared.
    """

    def judge(old: Leaf, new: Leaf) -> Iterator[Change]:
        return _judge(old, new, sum_after, attributes, compared)

    compared.unproved += before.refused + after.refused
    for change in _pair(before, after, folder, unkept, judge):
        if change.kind == SKIPPED:
            compared.skipped.add(change.what[0], change.path)
            continue
        if change.kind == UNPROVED:
            compared.unproved += 1
        else:
            compared.different += 1
        yield change


def _pair(
    before: Tree,
    after: Tree,
    folder: bytes,
    unkept: Callable[[Leaf], str],
    judge: Callable[[Leaf, Leaf], Iterator[Change]],
) -> Iterator[Change]:
    olds, news = before.below(folder), after.below(folder)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and _place(old) < _place(new)):
            assert old is not None
            yield _missing(Change(GONE, old, None), after.why_not(old.path), unkept(old))
            old = next(olds, None)
        elif old is None or _place(new) < _place(old):
            yield _missing(Change(NEW, None, new), before.why_not(new.path))
            new = next(news, None)
        else:
            yield from judge(old, new)
            if old.entry.type == new.entry.type == manifest.DIRECTORY and UNREADABLE in {
                before.why_not(old.path),
                after.why_not(new.path),
            }:
                yield Change(UNPROVED, old, new, (UNREADABLE,))
            old, new = next(olds, None), next(news, None)


def _missing(change: Change, *why: str) -> Change:
    """Return what it means that one side does not have a path, where these words say why it need not."""
    known = next(filter(None, why), "")
    if not known:
        return change
    return Change(UNPROVED if known == UNREADABLE else SKIPPED, change.before, change.after, (known,))


def _judge(old: Leaf, new: Leaf, sum_after: Sum, attributes: bool, compared: Compared) -> Iterator[Change]:
    """Yield what is to be said of two paths of one name."""
    unread = False
    found: list[str] = []
    for each in _differences(old, new, sum_after):
        if each == BY_TIME:
            compared.by_time += 1
        elif each == UNREADABLE:
            unread = True
        elif attributes or each in SUBSTANCE:
            found.append(each)
    # of bytes that have another time, and no checksum, it is not known whether they are others
    if found == [PERHAPS]:
        yield Change(UNPROVED, old, new, (PERHAPS,))
    elif found:
        yield Change(CHANGED, old, new, tuple(found))
    if unread:
        yield Change(UNPROVED, old, new, (UNREADABLE,))
    if attributes and manifest.ATTRIBUTES in {old.entry.skipped, new.entry.skipped}:
        yield Change(SKIPPED, old, new, (manifest.ATTRIBUTES,))


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
    if one.target_bytes != other.target_bytes:
        yield TARGET
    if one.device != other.device:
        yield DEVICE
    if one.type != manifest.LINK and one.mode != other.mode:
        yield MODE
    if (one.uid, one.gid) != (other.uid, other.gid):
        yield OWNER
    if one.mtime != other.mtime:
        yield TIME
    if (one.xattrs or {}) != (other.xattrs or {}) and manifest.ATTRIBUTES not in {one.skipped, other.skipped}:
        yield ATTRIBUTES


def _contents(old: Leaf, new: Leaf, sum_after: Sum) -> str:
    if old.entry.size != new.entry.size:
        return CONTENTS
    if not old.entry.size:
        return ""
    # a file is read only where there is something to hold it against
    try:
        known = sum_after(new) if old.md5 is not None else None
    except (OSError, Refused):
        return UNREADABLE
    if known is not None:
        return CONTENTS if known != old.md5 else ""
    return PERHAPS if old.entry.mtime != new.entry.mtime else BY_TIME


def read_directory(directory: str, tree: Tree) -> None:
    """Fill a tree with what is in a directory, `why_not` with what cannot be read. Raises OSError when it cannot be read itself."""
    for _ in walk(os.fsencode(directory), tally=Tally(), add=tree.add, prefix_size=0, tick=_nothing):
        pass
    tree.flush()


@contextmanager
def file_sums(directory: str) -> Generator[Sum]:
    """Give what reads a file below a directory, no link followed, and returns its MD5."""
    top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def read(leaf: Leaf) -> bytes | None:
        with enter_parent(top, leaf.path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = hashlib.md5(usedforsecurity=False)
            left = leaf.entry.size + 1  # one that grows while it is read has an end all the same
            while left and (chunk := file.read(min(left, _CHUNK))):
                found.update(chunk)
                left -= len(chunk)
        return found.digest()

    try:
        yield read
    finally:
        os.close(top)


def _nothing() -> None:
    """Nothing is to be done meanwhile."""
