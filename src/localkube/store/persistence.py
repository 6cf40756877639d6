"""Saving and restoring what a server holds: JSON lines, compressed. Files and their atomicity are the caller's business.

The first line is a header; each other line is `[resource, object]`. Definitions come before what they define.
Caveat: the history is not saved. Watches and pages from before a restore answer 410, as after a compaction.
"""

import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from localkube.store import crds
from localkube.store.kinds import Kind
from localkube.store.objects import build_record
from localkube.store.storage import Change, Storage
from localkube.store.trees import Tree, decode, encode, is_list, is_tree, mapping, text

_FORMAT = "datamover-objects/1"
"""What a file of kept objects begins with. It stays as it is: users have such files."""
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Captured:
    """What a storage held at one moment. Nothing in it changes any more, so a thread may encode it."""

    revision: int
    records: tuple[tuple[str, tuple[bytes, ...]], ...]

    def encode(self) -> bytes:
        """Return the saved state."""
        press = zlib.compressobj(_LEVEL)
        pieces = [press.compress(encode({"format": _FORMAT, "revision": self.revision}) + b"\n")]
        for name, found in self.records:
            label = encode(name)
            pieces += [press.compress(b"[%s,%s]\n" % (label, data)) for data in found]
        pieces.append(press.flush())
        return b"".join(pieces)


def capture(storage: Storage, *, without: Collection[str] = ()) -> Captured:
    """Return everything in the storage but the resources (`plural.group`) in `without`."""
    names = sorted(storage.collections(), key=lambda name: (name != crds.RESOURCE, name))
    return Captured(
        storage.revision,
        tuple(
            (name, tuple(record.data for record in storage.collection(name).scan("")))
            for name in names
            if name not in without
        ),
    )


def load(data: bytes) -> tuple[int, list[tuple[str, Tree]]]:
    """Return the revision and the objects of a saved state. Raises ValueError for anything else."""
    try:
        lines = zlib.decompress(data).split(b"\n")
    except zlib.error as error:
        raise ValueError(f"this is no saved state: {error}") from error
    head = mapping(decode(lines[0]))
    revision = head.get("revision")
    if head.get("format") != _FORMAT or not isinstance(revision, int):
        raise ValueError(f"this is no saved state of the format {_FORMAT}")
    return revision, list(_objects(lines[1:]))


def _objects(lines: list[bytes]) -> Iterator[tuple[str, Tree]]:
    for line in lines:
        if not line:
            continue
        pair = decode(line)
        if not is_list(pair) or len(pair) != 2 or not is_tree(pair[1]):
            raise ValueError("a line of the saved state is damaged")
        yield text(pair[0]), pair[1]


def fill(
    storage: Storage,
    revision: int,
    objects: list[tuple[str, Tree]],
    *,
    find: Callable[[str], Kind | None],
    on_object: Callable[[Kind, Tree], None],
) -> int:
    """Put saved objects into an empty storage under their own revisions; return how many had no kind any more and were left out.

    `find` returns the kind of a collection; `on_object` hears of each object before the next is looked at.
    """
    lost = 0
    for collection, tree in objects:
        kind = find(collection)
        if kind is None:
            lost += 1
            continue
        own = int(text(mapping(tree.get("metadata")).get("resourceVersion")) or 0)
        record = build_record(kind, tree, own)
        storage.collection(collection).apply(Change(revision=own, before=None, after=record, deleted=False))
        on_object(kind, tree)
    storage.revision = max(storage.revision, revision)
    storage.compact(storage.revision)
    return lost
