"""Which paths are where: in the source, in earlier manifests, at the destination. The basis of what may be deleted.

A table on disk (SQLite in the scratch directory), because a volume may hold millions of files.

Guarantees: memory stays below about 40 MiB whatever the number of paths; about 100-150 bytes of scratch space a path.
Assumptions: used from one thread; the file is the attempt's own and is thrown away with it (so nothing is synced to disk).

Columns of a path (its key, see `names`):

`source`   size in the source, when the engine is to move it
`walked`   it is in the source, moved or not
`known`    an earlier run of this mirror wrote it (law L3)
`remote`   size at the destination before the run
`visible`  the user's own filters let the engine see it at the destination
`after`    size at the destination after the run
`uploaded` the engine logged that it moved it
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

_SCHEMA = """
CREATE TABLE paths (
  key BLOB PRIMARY KEY,
  source INTEGER, walked INTEGER NOT NULL DEFAULT 0, twice INTEGER NOT NULL DEFAULT 0,
  known INTEGER NOT NULL DEFAULT 0, remote INTEGER, visible INTEGER NOT NULL DEFAULT 1,
  after INTEGER, uploaded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
_BATCH = 2000
_STALE = "remote IS NOT NULL AND known = 1 AND visible = 1 AND walked = 0 AND source IS NULL"

Sized = Iterable[tuple[bytes, int]]


class Ledger:
    """The table. Sizes in bytes; keys as the engine spells them."""

    def __init__(self, path: str) -> None:
        # no journal and no sync: a crash of the machine loses the scratch directory anyway
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16384", "locking_mode=EXCLUSIVE"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _put(self, statement: str, rows: Iterable[tuple[bytes | int | None, ...]]) -> None:
        iterator = iter(rows)
        self._database.execute("BEGIN")
        while batch := list(islice(iterator, _BATCH)):
            self._database.executemany(statement, batch)
        self._database.execute("COMMIT")

    # --- filling -------------------------------------------------------------------------------------------------

    def add_source(self, paths: Sized) -> None:
        """Paths that the walk found and the engine is to move."""
        self._put(
            "INSERT INTO paths (key, source, walked) VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET"
            " twice = source IS NOT NULL, source = excluded.source, walked = 1",
            paths,
        )

    def select(self, paths: Sized) -> None:
        """Let only these be moved: what the engine itself lists under the user's filters. Sizes are the engine's."""
        self._database.execute("UPDATE paths SET source = NULL")
        self._put(
            "INSERT INTO paths (key, source) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET source = excluded.source",
            paths,
        )

    def add_known(self, keys: Iterable[bytes]) -> None:
        """Paths that an earlier run of this mirror wrote."""
        self._put(
            "INSERT INTO paths (key, known) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET known = 1",
            ((key,) for key in keys),
        )

    def forget_known(self, keys: Iterable[bytes]) -> None:
        """Paths that were announced by that run but not written."""
        self._put("UPDATE paths SET known = 0 WHERE key = ?", ((key,) for key in keys))

    def add_remote(self, paths: Sized) -> None:
        """Objects at the destination before the run."""
        self._put(
            "INSERT INTO paths (key, remote) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET remote = excluded.remote",
            paths,
        )

    def adopt(self) -> None:
        """Take every object at the destination as known."""
        self._database.execute("UPDATE paths SET known = 1 WHERE remote IS NOT NULL")

    def protect(self, folders: Iterable[bytes]) -> None:
        """Let nothing below these folders be deleted, known or not (see `kept`)."""
        for folder in folders:
            self._database.execute(
                "UPDATE paths SET visible = 0 WHERE key >= ? AND key < ?", (folder + b"/", folder + b"0")
            )

    def see_only(self, paths: Sized) -> None:
        """Let only these objects be deleted: what the engine lists at the destination under the user's filters."""
        self._database.execute("UPDATE paths SET visible = 0")
        self._put(
            "INSERT INTO paths (key, visible) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET visible = 1",
            ((key,) for key, _ in paths),
        )

    def add_after(self, paths: Sized) -> None:
        """Objects at the destination after the run."""
        self._put(
            "INSERT INTO paths (key, after) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET after = excluded.after", paths
        )

    def add_uploaded(self, keys: Iterable[bytes]) -> None:
        """Objects that the engine logged as moved."""
        self._put(
            "INSERT INTO paths (key, uploaded) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET uploaded = 1",
            ((key,) for key in keys),
        )

    # --- asking --------------------------------------------------------------------------------------------------

    def _count(self, condition: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM paths WHERE {condition}").fetchone()[0])  # noqa: S608 - constants of this module

    def _keys(self, condition: str, *, limit: int = -1) -> Iterator[bytes]:
        # a cursor of its own, so that callers may ask something else meanwhile
        for (key,) in self._database.execute(f"SELECT key FROM paths WHERE {condition} ORDER BY key LIMIT ?", (limit,)):  # noqa: S608 - constants of this module
            yield key

    def sources(self) -> tuple[int, int]:
        """Return number and bytes of what is to be moved."""
        row = self._database.execute("SELECT count(source), coalesce(sum(source), 0) FROM paths").fetchone()
        return int(row[0]), int(row[1])

    def collisions(self, *, limit: int) -> list[bytes]:
        """Return keys that two paths of the source share and that are to be moved."""
        return list(self._keys("twice = 1 AND source IS NOT NULL", limit=limit))

    def selected(self) -> Iterator[bytes]:
        """Yield what is to be moved."""
        return self._keys("source IS NOT NULL")

    def excluded(self) -> Iterator[bytes]:
        """Yield what is in the source but not to be moved."""
        return self._keys("walked = 1 AND source IS NULL")

    def selected_unwalked(self) -> Iterator[tuple[bytes, int]]:
        """Yield what the engine is to move although the walk did not see it (links that the user lets it follow)."""
        yield from self._database.execute(
            "SELECT key, source FROM paths WHERE source IS NOT NULL AND walked = 0 ORDER BY key"
        )

    def remote_count(self) -> int:
        """Return the number of objects at the destination before the run."""
        return self._count("remote IS NOT NULL")

    def mirrored_count(self) -> int:
        """Return the number of objects at the destination that this mirror wrote and could delete."""
        return self._count("remote IS NOT NULL AND known = 1 AND visible = 1")

    def foreign(self, *, limit: int, beyond_intent: bool = False) -> list[bytes]:
        """Return objects at the destination that no run of this mirror wrote.

        `beyond_intent`: an unfinished run of a live source may have moved more than it had announced; an object at a path
        of the present source with the same size is then taken for such a one. It is never deleted for that.
        """
        lenient = " AND (source IS NULL OR source <> remote)" if beyond_intent else ""
        return list(self._keys(f"remote IS NOT NULL AND known = 0{lenient}", limit=limit))

    def foreign_count(self, *, beyond_intent: bool = False) -> int:
        """Return the number of such objects."""
        lenient = " AND (source IS NULL OR source <> remote)" if beyond_intent else ""
        return self._count(f"remote IS NOT NULL AND known = 0{lenient}")

    def stale_count(self) -> int:
        """Return the number of objects to delete."""
        return self._count(_STALE)

    def stale(self) -> Iterator[bytes]:
        """Yield the objects to delete: at the destination, written by this mirror, gone from the source (law L3)."""
        return self._keys(_STALE)

    def kept(self) -> Iterator[bytes]:
        """Yield what this mirror wrote, is not in the source any more, and yet must stay (filters, protected folders)."""
        return self._keys("remote IS NOT NULL AND known = 1 AND source IS NULL AND (visible = 0 OR walked = 1)")

    def blockers(self) -> list[bytes]:
        """Return the objects to delete that stand in the way of a path of the source on servers with real folders.

        A file where the source now has a folder, or something in a folder where the source now has a file.
        """
        found: list[bytes] = []
        for key in self.stale():
            below = self._database.execute(
                "SELECT 1 FROM paths WHERE key >= ? AND key < ? AND source IS NOT NULL LIMIT 1",
                (key + b"/", key + b"0"),
            ).fetchone()
            if below or self._file_above(key):
                found.append(key)
        return found

    def _file_above(self, key: bytes) -> bool:
        parents: list[bytes] = []
        while b"/" in key:
            key = key.rpartition(b"/")[0]
            parents.append(key)
        marks = ",".join("?" * len(parents))
        return bool(
            parents
            and self._database.execute(
                f"SELECT 1 FROM paths WHERE key IN ({marks}) AND source IS NOT NULL LIMIT 1",  # noqa: S608 - only marks
                parents,
            ).fetchone()
        )

    def rehash_candidates(self, *, at_least: int) -> bool:
        """Tell whether an object of the source's size, of at least this size, is there already."""
        return bool(self._count(f"remote IS NOT NULL AND remote = source AND remote >= {int(at_least)}"))

    def amiss(self) -> Iterator[tuple[bytes, int, int | None]]:
        """Yield key, size in the source and size at the destination (None: missing) where the two differ after the run."""
        yield from self._database.execute(
            "SELECT key, source, after FROM paths WHERE source IS NOT NULL AND (after IS NULL OR after <> source) ORDER BY key"
        )

    def beyond_intent(self) -> Iterator[bytes]:
        """Yield what the engine moved although the walk had not seen it (a live source)."""
        return self._keys("uploaded = 1 AND source IS NULL")

    def spelled(self, lossy: str) -> bytes | None:
        """Return the one key of the source that the engine's JSON log spells so (U+FFFD for bytes that are not UTF-8)."""
        found = [
            key
            for (key,) in self._database.execute("SELECT key FROM paths WHERE source IS NOT NULL")
            if key.decode("utf-8", "replace") == lossy
        ]
        return found[0] if len(found) == 1 else None
