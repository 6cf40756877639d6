"""The files that a restore still has to bring, in a table of its own in the scratch directory: memory does not grow with their number.

Guarantees: a manifest that lists a path that no volume has, or one file twice, is refused before anything is made. What lists a file and
something below it is not found here: one of them does not come back then, which is told.
Assumptions: used from one thread; the file is thrown away with the attempt.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

from datamover.agent import printing
from datamover.agent.files import manifest, names
from datamover.agent.restore import reasons
from datamover.agent.restore.order import Order, is_own
from datamover.agent.scratch import keeping

SPARSE = 1 << 20
"""Bytes from which a file with holes is brought by itself, so that its holes never need room. Smaller ones get theirs when they are there."""
_BLOCK = 4096
SIZES = (1 << 20, 64 << 20, 1 << 62)
"""What is not larger than one of these is brought together: the engine may write no file beyond the largest one that it brings."""
_BATCH = 2000
_EXAMPLES = 5
_SCHEMA = (
    (
        "CREATE TABLE files (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, md5 TEXT, sparse INTEGER NOT NULL,"
        " state INTEGER NOT NULL DEFAULT 0, first BLOB, flaw TEXT NOT NULL DEFAULT '')"
    ),
    "CREATE INDEX waiting ON files (sparse, state)",
    "CREATE TABLE folded (name BLOB NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (name, raw)) WITHOUT ROWID",
    "CREATE TABLE groups (word TEXT PRIMARY KEY, key BLOB NOT NULL, size INTEGER NOT NULL, md5 TEXT) WITHOUT ROWID",
)


class State(IntEnum):
    """Where a file is."""

    WANTED = 0
    PLACED = 1
    """It is where it belongs and was compared with the manifest."""
    FLAWED = 2
    """What came was another one, or nothing came; it is fetched once more."""
    LOST = 3
    """So it was after that, too."""
    LINKED = 4
    """Another name of a file that is wanted as well; it is not fetched."""


class File(NamedTuple):
    """A file that is wanted: its key as the engine spells it, its size in bytes, and its MD5 in hexadecimal digits, empty where none is known."""

    key: bytes
    size: int
    md5: str

    @property
    def raw(self) -> bytes:
        """The path's bytes."""
        return names.raw_of(self.key)


class Room(NamedTuple):
    """What is wanted in all. `bytes` is what the files hold, `blocks` the least room on a disk that they take (holes are none), `paths` how many
    paths there are, folders among them.
    """

    files: int
    bytes: int
    blocks: int
    paths: int


class Wanted:
    """See the module."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        with _room():
            # no journal and no sync: a crash of the machine loses the scratch directory anyway
            for pragma in (
                "journal_mode=OFF",
                "synchronous=OFF",
                "cache_size=-16384",
                "locking_mode=EXCLUSIVE",
            ):
                self._database.execute(f"PRAGMA {pragma}")
            for table in _SCHEMA:
                self._database.execute(table)
        self.room = Room(0, 0, 0, 0)
        self.own = 0
        """Paths of the point that are those of a restore's own mark."""

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._database.close()

    # --- filling --------------------------------------------------------------------------------------------------

    def load(self, path: str, order: Order, *, tick: Callable[[], None]) -> None:
        """Take what is wanted out of a manifest. Raises Failure for a manifest that no mover wrote or that has nothing of what
        is wanted, ValueError for one that is damaged.
        """
        absent: set[bytes] = set()
        counts = [0, 0, 0, 0]
        found = False

        def rows() -> Iterator[tuple[bytes, int, int]]:
            nonlocal found
            for entry in manifest.entries(path, absent=absent):
                tick()
                raw = entry.raw_path
                if entry.type != manifest.TOP:
                    _prove(entry, raw)
                self.own += is_own(raw)
                if not order.wants(entry):
                    continue
                found = found or entry.type == manifest.TOP or raw == order.path or not order.path
                counts[3] += 1
                if entry.type == manifest.FILE:
                    yield entry.key, entry.size, entry.sparse and entry.size >= SPARSE

        self._put("INSERT INTO files (key, size, sparse) VALUES (?, ?, ?)", rows())
        self._put("DELETE FROM files WHERE key = ?", ((key,) for key in absent))
        if not found:
            raise reasons.no_such_path(printing.readable(order.path))
        for size, sparse in self._database.execute("SELECT size, sparse FROM files"):
            counts[0] += 1
            counts[1] += size
            counts[2] += 0 if sparse else -(-size // _BLOCK) * _BLOCK
        self.room = Room(*counts)

    def fold(self, path: str, order: Order, known_as: Callable[[bytes], bytes]) -> None:
        """Note of all that is wanted by which name the target's file system knows it."""
        self._put(
            "INSERT OR IGNORE INTO folded (name, raw) VALUES (?, ?)",
            (
                (known_as(entry.raw_path), entry.raw_path)
                for entry in manifest.entries(path)
                if entry.type != manifest.TOP and order.wants(entry)
            ),
        )

    def collisions(self) -> tuple[list[str], int]:
        """Return the first paths that the target's file system takes for others, and how many there are."""
        clashing = "SELECT name FROM folded GROUP BY name HAVING count(*) > 1"
        with _room():
            self._database.execute(f"CREATE TEMP TABLE clashing AS {clashing}")
        count = self._database.execute(
            "SELECT count(*) FROM folded WHERE name IN (SELECT name FROM clashing)"
        ).fetchone()[0]
        found = self._database.execute(
            "SELECT raw FROM folded WHERE name IN (SELECT name FROM clashing) ORDER BY name LIMIT ?", (_EXAMPLES,)
        )
        return [printing.readable(raw) for (raw,) in found], int(count)

    def digest(self, sums: Iterable[tuple[bytes, str]]) -> None:
        """Note the MD5 of files by their keys. Those of other files say nothing."""
        self._put("UPDATE files SET md5 = ? WHERE key = ?", ((md5, key) for key, md5 in sums))

    def link(self, path: str, order: Order) -> None:
        """Let of the names of one file only the first be fetched, where the manifest proves that all of them hold the same. `digest` comes before."""
        members: list[tuple[bytes, str]] = []

        def flush() -> None:
            for key, word in members:
                self._link(key, word)
            members.clear()

        with _room():
            self._database.execute("BEGIN")
            for entry in manifest.entries(path):
                if entry.type == manifest.FILE and entry.hardlink is not None and order.wants(entry):
                    members.append((entry.key, entry.hardlink))
                    if len(members) >= _BATCH:
                        flush()
            flush()
            self._database.execute("COMMIT")
        linked = self._database.execute(
            f"SELECT count(*), coalesce(sum((size + {_BLOCK - 1}) / {_BLOCK} * {_BLOCK}), 0) FROM files WHERE state = {State.LINKED:d} AND NOT sparse"  # noqa: S608 - a constant of this module
        ).fetchone()
        self.room = self.room._replace(blocks=max(0, self.room.blocks - int(linked[1])))

    def _link(self, key: bytes, word: str) -> None:
        found = self._database.execute("SELECT size, md5 FROM files WHERE key = ?", (key,)).fetchone()
        if found is None or not found[1]:
            return
        first = self._database.execute("SELECT key, size, md5 FROM groups WHERE word = ?", (word,)).fetchone()
        if first is None:
            self._database.execute("INSERT INTO groups (word, key, size, md5) VALUES (?, ?, ?, ?)", (word, key, *found))
        elif tuple(first[1:]) == tuple(found):
            self._database.execute(
                "UPDATE files SET state = ?, first = ? WHERE key = ?", (int(State.LINKED), first[0], key)
            )

    # --- asking and telling -------------------------------------------------------------------------------------------

    def every(self) -> Iterator[File]:
        """Yield all that is wanted, in the manifest's order."""
        for key, size, md5 in self._database.execute("SELECT key, size, md5 FROM files ORDER BY id"):
            yield File(key, size, md5 or "")

    def next_batch(self, state: State, *, files: int, size: int) -> list[File]:
        """Return the next files in this state that are fetched together: at most so many, and of so many bytes, but at least one. Small ones come
        first.
        """
        found: list[File] = []
        left = size
        for largest in SIZES:
            for key, length, md5 in self._database.execute(
                "SELECT key, size, md5 FROM files WHERE state = ? AND sparse = 0 AND size <= ? ORDER BY id LIMIT ?",
                (int(state), largest, files),
            ):
                if found and length > left:
                    break
                left -= length
                found.append(File(key, length, md5 or ""))
            if found:
                break
        return found

    def next_sparse(self, state: State) -> File | None:
        """Return the next file with holes in this state."""
        found = self._database.execute(
            "SELECT key, size, md5 FROM files WHERE state = ? AND sparse = 1 ORDER BY id LIMIT 1", (int(state),)
        ).fetchone()
        return None if found is None else File(found[0], found[1], found[2] or "")

    def wants(self, key: bytes, *, proved: bool = False) -> bool:
        """Tell whether a file of this key is still to be fetched; `proved`: and has a checksum by which what came can be proved."""
        found = self._database.execute(
            "SELECT md5 FROM files WHERE key = ? AND state IN (?, ?)", (key, int(State.WANTED), int(State.FLAWED))
        ).fetchone()
        return found is not None and bool(found[0] or not proved)

    def is_lost(self, key: bytes) -> bool:
        """Tell whether the file of this key did not come back."""
        found = self._database.execute(f"SELECT 1 FROM files WHERE key = ? AND state = {State.LOST:d}", (key,))  # noqa: S608 - a constant of this module
        return found.fetchone() is not None

    def linked(self) -> Iterator[tuple[bytes, bytes | None, int]]:
        """Yield key, first key and size of what is another name of a file. The first key is None where that file is not in its place: what lies
        there is not what the point has (law L4).
        """
        yield from self._database.execute(
            "SELECT f.key, (SELECT g.key FROM files AS g WHERE g.key = f.first AND g.state = ?), f.size FROM files AS f WHERE f.state = ? ORDER BY f.id",
            (int(State.PLACED), int(State.LINKED)),
        )

    def settle(self, files: Iterable[tuple[bytes, State, str]]) -> None:
        """Note where files are now, and what is wrong with them."""
        self._put(
            "UPDATE files SET state = ?, flaw = ? WHERE key = ?",
            ((int(state), flaw, key) for key, state, flaw in files),
        )

    def count(self, state: State) -> int:
        """Return the number of files in this state. Reads them all, so it is for few calls."""
        return int(self._database.execute("SELECT count(*) FROM files WHERE state = ?", (int(state),)).fetchone()[0])

    def unproved(self) -> int:
        """Return of how many files nothing but the size is known."""
        return int(self._database.execute("SELECT count(*) FROM files WHERE md5 IS NULL AND size > 0").fetchone()[0])

    def lost(self) -> Iterator[tuple[bytes, str]]:
        """Yield key and flaw of what did not come back."""
        yield from self._database.execute(f"SELECT key, flaw FROM files WHERE state = {State.LOST:d} ORDER BY id")  # noqa: S608 - a constant of this module

    def _put(self, statement: str, rows: Iterable[tuple[bytes | str | int, ...]]) -> None:
        iterator = iter(rows)
        with _room():
            self._database.execute("BEGIN")
            while batch := list(islice(iterator, _BATCH)):
                try:
                    self._database.executemany(statement, batch)
                except sqlite3.IntegrityError:
                    raise reasons.hostile("it lists a path twice") from None
            self._database.execute("COMMIT")


def _room() -> AbstractContextManager[None]:
    return keeping("The list of files", wants="about 300 bytes a path")


def _prove(entry: manifest.Entry, raw: bytes) -> None:
    """Raise Failure for a path that no walk of a volume finds."""
    if not raw or raw.startswith(b"/") or b"\0" in raw or any(part in {b"", b".", b".."} for part in raw.split(b"/")):
        raise reasons.hostile(f"it lists '{printing.readable(raw)}', which is no path within a volume")
    if entry.type in {manifest.FILE, manifest.LINK} and not names.is_canonical(entry.key):
        raise reasons.hostile(f"it lists '{printing.readable(raw)}', which no file's path becomes at a store")
