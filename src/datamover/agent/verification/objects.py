"""What a manifest says that there is, and what was found: one row an object, in a file, so that memory is flat (about 20 MiB).

Assumptions: one thread; the file is thrown away with its folder.

Columns of an object (its key, see `files.names`):

`size`   bytes that the manifest says; NULL for what it says nothing of, or not as a file of the run
`md5`    MD5 that the manifest has, 16 bytes
`stays`  the manifest says that it stays although the source does not have it (`kept`, `found`)
`after`  bytes that the listing shows
`found`  MD5 that the listing shows, 16 bytes, empty where the store has none, NULL where it was not asked
`lot`    where it is in the draw for a sample
`turn`   see `Turn`
`flaw`   see `Flaw`; 0 for none
"""

import hashlib
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

from datamover.agent.errors import Failure
from datamover.agent.files import manifest, names
from datamover.agent.files.manifest import Entry
from datamover.agent.points.tree import is_path
from datamover.agent.printing import readable
from datamover.agent.scratch import keeping
from datamover.api import transfer


class Flaw(IntEnum):
    """What is wrong with an object."""

    MISSING = 1
    SIZE = 2
    CHECKSUM = 3
    CONTENTS = 4
    UNREADABLE = 5
    UNLISTED = 6
    EXTRA = 7


class Turn(IntEnum):
    """Whether an object is read back."""

    NOT = 0
    WANTED = 1
    READ = 2


class Found(NamedTuple):
    """One object with a flaw; sizes in bytes."""

    key: bytes
    flaw: Flaw
    size: int | None
    after: int | None


_SCHEMA = (
    "CREATE TABLE objects (key BLOB PRIMARY KEY, size INTEGER, md5 BLOB, stays INTEGER NOT NULL DEFAULT 0, after INTEGER, found BLOB, lot BLOB,"
    " turn INTEGER NOT NULL DEFAULT 0, flaw INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
)
_BATCH = 2000
_SUMMED = "size IS NOT NULL AND md5 IS NOT NULL AND length(found) = 16"


class Objects:
    """See the module. `path` is where the file may be."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        with _room():
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8192", "locking_mode=EXCLUSIVE"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.execute(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        with suppress(sqlite3.Error):
            self._database.close()

    # --- filling -------------------------------------------------------------------------------------------------

    def load(self, path: str, *, tick: Callable[[], None]) -> bool:
        """Take a manifest in; of two lines about one key the last one counts. Return whether a name in it is one that some servers list in another
        way. Raises ValueError when the manifest is not whole, Failure when it lists what no walk of a volume finds. `tick` may raise.
        """
        odd = False
        batch: list[tuple[bytes, int | None, bytes | None, int]] = []
        sums: list[tuple[bytes, bytes]] = []
        for entry in manifest.every_line(path):
            kind = entry.type
            if kind in {manifest.FILE, manifest.LINK}:
                odd = odd or not names.listable(entry.raw_path)
                batch.append(_expected(entry))
            elif kind in {manifest.KEPT, manifest.FOUND}:
                batch.append((entry.key, None, None, 1))
            elif kind in {manifest.EXCLUDED, manifest.VANISHED}:
                batch.append((entry.key, None, None, 0))
            elif kind == manifest.DIGEST and entry.md5 is not None:
                sums.append((bytes.fromhex(entry.md5), entry.key))
            if len(batch) + len(sums) >= _BATCH:
                tick()
                self._take(batch, sums)
        self._take(batch, sums)
        return odd

    def _take(self, batch: list[tuple[bytes, int | None, bytes | None, int]], sums: list[tuple[bytes, bytes]]) -> None:
        self._put(
            "INSERT INTO objects (key, size, md5, stays) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET size = excluded.size, md5 = excluded.md5,"
            " stays = excluded.stays",
            batch,
        )
        self._put("UPDATE objects SET md5 = ? WHERE key = ? AND size IS NOT NULL", sums)
        batch.clear()
        sums.clear()

    def take_listing(self, rows: Iterable[tuple[bytes, int, bytes | None]]) -> None:
        """Take a listing in; it replaces an earlier one."""
        with _room():
            self._database.execute("DELETE FROM objects WHERE size IS NULL AND stays = 0")
            self._database.execute("UPDATE objects SET after = NULL, found = NULL, flaw = 0")
        self._put(
            "INSERT INTO objects (key, after, found) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET after = excluded.after, found = excluded.found",
            rows,
        )

    def judge_listing(self) -> None:
        """Note what is missing, extra, or has another size or checksum than the manifest says."""
        with _room():
            for flaw, where in (
                (Flaw.EXTRA, "size IS NULL AND stays = 0 AND after IS NOT NULL"),
                (Flaw.CHECKSUM, f"{_SUMMED} AND found <> md5"),
                (Flaw.SIZE, "size IS NOT NULL AND after <> size"),
                (Flaw.MISSING, "size IS NOT NULL AND after IS NULL"),
            ):
                self._database.execute(f"UPDATE objects SET flaw = {flaw:d} WHERE {where}")  # noqa: S608 - constants of this module

    def note(self, flaws: Iterable[tuple[bytes, Flaw | None]]) -> None:
        """Note what is wrong with objects; None: nothing."""
        self._put("UPDATE objects SET flaw = ? WHERE key = ?", ((int(flaw or 0), key) for key, flaw in flaws))

    def forgive_extra(self, folder: bytes) -> None:
        """Let nothing below a folder be extra."""
        with _room():
            self._database.execute(
                f"UPDATE objects SET flaw = 0 WHERE flaw = {Flaw.EXTRA:d} AND key >= ? AND key < ?",  # noqa: S608 - a constant of this module
                (folder + b"/", folder + b"0"),
            )

    def choose(self, *, percent: float, seed: str) -> None:
        """Choose what is read back: of what has a checksum in the manifest, and no flaw yet, so many of a hundred, at least one; by the `seed`, each
        as likely as any other.
        """
        wanted = "md5 IS NOT NULL AND size IS NOT NULL AND after IS NOT NULL AND flaw = 0"
        count = self._count(wanted)
        if percent >= 100:
            with _room():
                self._database.execute(f"UPDATE objects SET turn = {Turn.WANTED:d} WHERE {wanted}")  # noqa: S608 - constants of this module
            return
        key = seed.encode()[:64]

        def draw(name: bytes) -> bytes:
            return hashlib.blake2b(name, key=key, digest_size=16).digest()

        self._database.create_function("draw", 1, draw, deterministic=True)
        with _room():
            # an index, because what the database sorts by itself could need another place for temporary files
            self._database.execute(f"UPDATE objects SET lot = draw(key) WHERE {wanted}")  # noqa: S608 - constants of this module
            self._database.execute("CREATE INDEX lots ON objects (lot) WHERE lot IS NOT NULL")
            last = self._database.execute(
                "SELECT lot FROM objects WHERE lot IS NOT NULL ORDER BY lot LIMIT 1 OFFSET ?",
                (max(1, math.ceil(count * percent / 100)) - 1,),
            ).fetchone()
            if last is not None:
                self._database.execute(
                    f"UPDATE objects SET turn = {Turn.WANTED:d} WHERE lot IS NOT NULL AND lot <= ?",  # noqa: S608 - a constant of this module
                    last,
                )

    def settle(self, keys: Iterable[tuple[bytes, Flaw | None]]) -> None:
        """Note what was read back, or could not be, and what is wrong with it."""
        self._put(
            f"UPDATE objects SET turn = {Turn.READ:d}, flaw = ? WHERE key = ?",  # noqa: S608 - a constant of this module
            ((int(flaw or 0), key) for key, flaw in keys),
        )

    # --- asking --------------------------------------------------------------------------------------------------

    def next_batch(self, *, objects: int, size: int, behind: bytes = b"") -> list[tuple[bytes, int, bytes]]:
        """Return key, size and MD5 of what is read back next, `behind` a key: at most so many, and of so many bytes, but at least one."""
        found: list[tuple[bytes, int, bytes]] = []
        left = size
        for row in self._database.execute(
            f"SELECT key, size, md5 FROM objects WHERE turn = {Turn.WANTED:d} AND key > ? ORDER BY key LIMIT ?",  # noqa: S608 - a constant of this module
            (behind, objects),
        ):
            if found and row[1] > left:
                break
            left -= row[1]
            found.append(row)
        return found

    def flawed(self) -> Iterator[Found]:
        """Yield what is not as it should be, by key."""
        for key, flaw, size, after in self._database.execute(
            "SELECT key, flaw, size, after FROM objects WHERE flaw > 0 ORDER BY key"
        ):
            yield Found(key, Flaw(flaw), size, after)

    def keys_with(self, flaw: Flaw, *, limit: int = -1, behind: bytes = b"") -> Iterator[bytes]:
        """Yield the keys of what has a flaw, `behind` a key."""
        for (key,) in self._database.execute(
            "SELECT key FROM objects WHERE flaw = ? AND key > ? ORDER BY key LIMIT ?", (int(flaw), behind, limit)
        ):
            yield key

    def has_below(self, folder: bytes) -> bool:
        """Tell whether the manifest has anything below a folder."""
        found = self._database.execute(
            "SELECT 1 FROM objects WHERE key >= ? AND key < ? AND (size IS NOT NULL OR stays) LIMIT 1",
            (folder + b"/", folder + b"0"),
        )
        return found.fetchone() is not None

    def counts(self) -> dict[Flaw, int]:
        """Return how many objects have which flaw."""
        rows = self._database.execute("SELECT flaw, count(*) FROM objects WHERE flaw > 0 GROUP BY flaw ORDER BY flaw")
        return {Flaw(flaw): count for flaw, count in rows}

    def expected(self) -> tuple[int, int]:
        """Return number and bytes of the objects that the manifest has."""
        row = self._database.execute("SELECT count(size), coalesce(sum(size), 0) FROM objects").fetchone()
        return int(row[0]), int(row[1])

    def wanted(self) -> tuple[int, int]:
        """Return number and bytes of what is to be read back."""
        row = self._database.execute(
            f"SELECT count(*), coalesce(sum(size), 0) FROM objects WHERE turn = {Turn.WANTED:d}"  # noqa: S608 - a constant of this module
        ).fetchone()
        return int(row[0]), int(row[1])

    def summed(self) -> int:
        """Return how many objects were compared by the checksum that the store has recorded."""
        return self._count(_SUMMED)

    def read(self) -> int:
        """Return how many were read back."""
        return self._count(f"turn = {Turn.READ:d} AND flaw <> {Flaw.UNREADABLE:d}")

    def unread(self) -> int:
        """Return how many objects are there, have nothing wrong with them as far as that is known, and were not read back."""
        return self._count(f"size IS NOT NULL AND after IS NOT NULL AND flaw = 0 AND turn <> {Turn.READ:d}")

    def present(self) -> int:
        """Return how many of what the manifest has are there, in whatever form."""
        return self._count("size IS NOT NULL AND after IS NOT NULL")

    def unknown(self) -> int:
        """Return of how many objects the manifest has no checksum."""
        return self._count("size IS NOT NULL AND md5 IS NULL")

    def staying(self) -> int:
        """Return how many objects there are that are no files of the run and stay by its own word."""
        return self._count("stays = 1 AND after IS NOT NULL")

    def _count(self, where: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM objects WHERE {where}").fetchone()[0])  # noqa: S608 - constants of this module

    def _put(self, statement: str, rows: Iterable[tuple[bytes | int | None, ...]]) -> None:
        iterator = iter(rows)
        with _room():
            self._database.execute("BEGIN")
            try:
                while batch := list(islice(iterator, _BATCH)):
                    self._database.executemany(statement, batch)
            finally:
                self._database.execute("COMMIT")


def _expected(entry: Entry) -> tuple[bytes, int, bytes | None, int]:
    """Return the row of a file or a link. Raises Failure for a path that no volume has."""
    raw, key = entry.raw_path, entry.key
    if not is_path(raw) or not names.is_canonical(key):
        raise Failure(
            transfer.GUARD,
            transfer.REASON_RECORD_UNUSABLE,
            f"The manifest of this point cannot be used: it lists '{readable(raw)}', which no file's path becomes at a store. Whoever wrote it, it was no"
            " mover. Look at another point.",
        )
    if entry.type == manifest.FILE:
        return key, entry.size, None, 0
    target = entry.raw_target if entry.raw_target is not None else (entry.target or "").encode()
    return key, len(target), hashlib.md5(target, usedforsecurity=False).digest(), 0


def _room() -> AbstractContextManager[None]:
    return keeping("The list of objects", wants="about 200 bytes an object")
