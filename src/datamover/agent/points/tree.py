"""The paths of a point, or of a directory: one at a time, below a folder, or one by its path. In a file, so that memory is flat.

Guarantees: what a manifest calls a path and is none (absolute, with `..`, empty between slashes, a NUL in it) is not among them; it is counted. Of
two lines about one path the last one counts. What the run did not move (excluded, vanished), or of which no more is known than that it was there
(`lost+found`, what could not be read), is not among them either: `why_not` tells of it. Memory stays below about 20 MiB.
Assumptions: one thread; the file is thrown away with its folder.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files import manifest, names
from datamover.agent.files.manifest import Entry
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.scratch import keeping
from datamover.api import transfer

_BATCH = 1000
_SCHEMA = (
    (
        "CREATE TABLE paths (parent BLOB NOT NULL, name BLOB NOT NULL, line BLOB NOT NULL, md5 BLOB,"
        " PRIMARY KEY (parent, name)) WITHOUT ROWID"
    ),
    "CREATE TABLE absent (path BLOB PRIMARY KEY, why TEXT NOT NULL) WITHOUT ROWID",
)
_EXAMPLES = 5
_REASONS = frozenset({manifest.LOST_AND_FOUND, manifest.UNREADABLE, manifest.SPECIAL_FILE})
"""Other words for why something was skipped are nobody's of ours, and may be as many as there are lines."""
_decode = msgspec.json.Decoder(Entry).decode
_encode = msgspec.json.encode


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """One path: its line in the manifest, and the MD5 (16 bytes) of its object where that is proved, else None."""

    entry: Entry
    md5: bytes | None = None

    @property
    def path(self) -> bytes:
        """The path's bytes."""
        return self.entry.raw_path


class Tree:
    """See the module. `refused` are names that are no paths, `refused_names` the first few of them for people; `top` is the line about the folder
    itself, None where there is none.
    """

    def __init__(self, path: str) -> None:
        self.top: Entry | None = None
        self.refused = 0
        self.refused_names: list[str] = []
        self._batch: list[tuple[bytes, bytes, bytes, None]] = []
        self._absent = False
        self._database = sqlite3.connect(path, isolation_level=None)
        with _room():
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8192", "locking_mode=EXCLUSIVE"):
                self._database.execute(f"PRAGMA {pragma}")
            for table in _SCHEMA:
                self._database.execute(table)
            self._database.execute("BEGIN")

    def close(self) -> None:
        """Let go of the file."""
        with suppress(sqlite3.Error):
            self._database.close()

    def add(self, entry: Entry) -> None:
        """Take in a line that says what is at a path, or why nothing is known of it. Lines about anything else are passed over."""
        if entry.type == manifest.TOP:
            self.top = entry
            return
        if not entry.describes_path and entry.type != manifest.SKIPPED:
            return
        raw = entry.raw_path
        if not is_path(raw):
            self.refused += 1
            if len(self.refused_names) < _EXAMPLES:
                self.refused_names.append(printing.readable(raw))
            return
        if entry.type == manifest.SKIPPED:
            self._note_absent(raw, entry.skipped if entry.skipped in _REASONS else manifest.SKIPPED)
            return
        parent, _, name = raw.rpartition(b"/")
        self._batch.append((parent, name, _encode(entry), None))
        if len(self._batch) >= _BATCH:
            self.flush()

    def _note_absent(self, raw: bytes, why: str | None) -> None:
        self._absent = True
        with _room():
            self._database.execute("INSERT OR REPLACE INTO absent VALUES (?, ?)", (raw, why))

    def flush(self) -> None:
        """Have all that was taken in found from now on."""
        batch, self._batch = self._batch, []
        with _room():
            self._database.executemany("INSERT OR REPLACE INTO paths VALUES (?, ?, ?, ?)", batch)

    def drop(self, entries: Iterable[Entry]) -> None:
        """Forget the files and links of the keys that these lines are about: the run did not move them."""
        self.flush()
        for entry in entries:
            place = self._place(entry.key)
            if place is not None:
                with _room():
                    self._database.execute("DELETE FROM paths WHERE parent = ? AND name = ?", place)
                self._note_absent(b"/".join(filter(None, place)), entry.type)

    def prove(self, sums: Iterable[tuple[bytes, bytes]]) -> None:
        """Note MD5 of objects by their keys."""
        self.flush()
        for key, md5 in sums:
            place = self._place(key)
            if place is not None:
                with _room():
                    self._database.execute("UPDATE paths SET md5 = ? WHERE parent = ? AND name = ?", (md5, *place))

    def find(self, raw: bytes) -> Leaf | None:
        """Return one path; the empty one is the folder itself. None when there is none."""
        self.flush()
        if not raw:
            return Leaf(self.top or Entry(type=manifest.TOP))
        parent, _, name = raw.rpartition(b"/")
        row = self._database.execute(
            "SELECT line, md5 FROM paths WHERE parent = ? AND name = ?", (parent, name)
        ).fetchone()
        return Leaf(_decode(row[0]), row[1]) if row is not None else None

    def below(self, folder: bytes = b"", *, deep: bool = True) -> Iterator[Leaf]:
        """Yield what is in a folder, and with `deep` in those below it, by folder and name. The folder itself is not among them."""
        self.flush()
        if not deep:
            rows = self._database.execute("SELECT line, md5 FROM paths WHERE parent = ? ORDER BY name", (folder,))
        elif not folder:
            rows = self._database.execute("SELECT line, md5 FROM paths ORDER BY parent, name")
        else:
            rows = self._database.execute(
                "SELECT line, md5 FROM paths WHERE parent = ? OR (parent >= ? AND parent < ?) ORDER BY parent, name",
                (folder, folder + b"/", folder + b"0"),
            )
        for line, md5 in rows:
            yield Leaf(_decode(line), md5)

    def has_children(self, folder: bytes) -> bool:
        """Tell whether anything is in a folder, also in one that has no line of its own."""
        self.flush()
        found = self._database.execute(
            "SELECT 1 FROM paths WHERE parent = ? OR (parent >= ? AND parent < ?) LIMIT 1",
            (folder, folder + b"/", folder + b"0"),
        ).fetchone()
        return found is not None

    def why_not(self, raw: bytes) -> str:
        """Return why nothing is known of a path, be it itself or a folder above it: `lost+found`, `unreadable`, `excluded`, `vanished`. Empty for others."""
        if not self._absent:
            return ""
        parts = raw.split(b"/")
        above = [b"/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        for path in above:
            found = self._database.execute("SELECT why FROM absent WHERE path = ?", (path,)).fetchone()
            if found is not None:
                return str(found[0])
        return ""

    def _place(self, key: bytes) -> tuple[bytes, bytes] | None:
        """Return parent and name of the file or link that has become an object of this key."""
        raw = names.raw_of(key)
        for path, kind in ((raw.removesuffix(names.LINK_SUFFIX), manifest.LINK), (raw, manifest.FILE)):
            leaf = self.find(path) if path else None
            if leaf is not None and leaf.entry.type == kind and leaf.entry.key == key:
                parent, _, name = path.rpartition(b"/")
                return parent, name
        return None


def is_path(raw: bytes) -> bool:
    """Tell whether a name is a path below a folder."""
    return bool(raw) and b"\0" not in raw and all(part not in {b"", b".", b".."} for part in raw.split(b"/"))


def _room() -> AbstractContextManager[None]:
    return keeping("The list of paths", wants="about 300 bytes a path")


def no_such_path(path: bytes, point: Point, tree: Tree) -> Failure:
    """Return what it means that a point has no such path."""
    why = tree.why_not(path)
    left_out = f" Its run left it out ({why})." if why else ""
    return Failure(
        transfer.NOT_FOUND,
        transfer.REASON_PATH_NOT_FOUND,
        f"The point {point.name} has no path '{printing.readable(path)}'.{left_out} `datamover ls {point.run_id}` shows what is there.",
        problems=(printing.readable(path),),
    )


def read_tree(bucket: Bucket, point: Point) -> Tree:
    """Return the paths of a point; names that are none are noted. Raises Failure when its manifest is not whole, or of another run."""
    path = bucket.fetch_manifest(point)
    tree = Tree(f"{bucket.scratch}/tree-{os.urandom(4).hex()}")
    absent: list[Entry] = []
    sums: list[tuple[bytes, bytes]] = []

    def settle() -> None:
        tree.drop(absent)
        tree.prove(sums)
        absent.clear()
        sums.clear()

    try:
        for entry in manifest.every_line(path):
            if entry.type in {manifest.EXCLUDED, manifest.VANISHED}:
                absent.append(entry)
            elif entry.type == manifest.DIGEST and entry.md5 is not None:
                sums.append((entry.key, bytes.fromhex(entry.md5)))
            else:
                tree.add(entry)
            if len(absent) + len(sums) >= _BATCH:
                settle()
        settle()
    except ValueError as why:
        tree.close()
        raise Failure(
            transfer.GUARD,
            transfer.REASON_RECORD_UNUSABLE,
            f"The manifest of the run {point.run_id} cannot be used: {why}. Ask for another point.",
        ) from None
    if tree.refused:
        bucket.note(
            f"{tree.refused} names in the manifest of {point.name} are no paths and are left out: {', '.join(tree.refused_names)}"
        )
    return tree
