"""The table below the ledger: one row a path, in a file (SQLite in the scratch directory), because a volume may hold millions of files.

Guarantees: memory stays below about 40 MiB whatever the number of paths; about 100-150 bytes of scratch space a path.
Assumptions: used from one thread; the file is the attempt's own and is thrown away with it (so nothing is synced to disk).

Columns of a path (its key, see `names`):

`source`   size in the source, when the engine is to move it
`mtime`    its time of change there, in nanoseconds
`walked`   it is in the source, moved or not
`known`    who wrote it: see `Known`
`doomed`   an earlier attempt of this very run was to delete it, with the guards' leave
`announced` only runs that have not ended wrote it, if anybody did
`written`  time of change that an earlier run recorded for it, in nanoseconds
`remote`   size at the destination before the run
`visible`  the user's own filters let the engine see it at the destination
`after`    size at the destination after the run
`digest`   MD5 of the object, 16 bytes, as the store gave it; empty where it has none
`uploaded` the engine logged that it moved it
`arrivals` how many files the engine logged so as moved, and `moved` their bytes: one, but where its log spells several alike (U+FFFD)
`gone`     the engine was to read its file and found none
`removed`  the engine removed what had arrived of it, because it was not what had been sent
`stood`    the listing after the run has the MD5 of an earlier run, although the engine logged that it moved the file
`older`    an older copy has it as it is now: 1 by size and time of change, 2 with a checksum, 3 the store has copied it from there
`paired`   an old object that is a new one's earlier name, or that new one
`spared`   it seemed to be gone from the source and yet must not be deleted
`odd`      the engine cannot be told to delete it and nothing else: no file's path becomes its key, or two objects are listed by it
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import IntEnum
from itertools import islice


class Known(IntEnum):
    """Who wrote what is at a path of the destination, as the manifests of earlier runs tell it."""

    DOUBTED = -1
    """A run of this mirror announced it, and says that it was not there when it ended (see `Ledger.doubt`)."""
    UNKNOWN = 0
    """Nobody of this mirror: a stranger, if there is anything."""
    WRITTEN = 1
    """An earlier run of this mirror wrote it. Only this, and what is adopted, may be deleted (law L3)."""
    ADOPTED = 2
    """A stranger's, which the user lets this mirror take over."""
    MAYBE = 3
    """An earlier run may have written it, so it is neither foreign nor ever deleted."""


_SCHEMA = """
CREATE TABLE paths (
  key BLOB PRIMARY KEY,
  source INTEGER, mtime INTEGER, walked INTEGER NOT NULL DEFAULT 0, twice INTEGER NOT NULL DEFAULT 0,
  known INTEGER NOT NULL DEFAULT 0, written INTEGER, remote INTEGER, visible INTEGER NOT NULL DEFAULT 1,
  after INTEGER, digest BLOB, uploaded INTEGER NOT NULL DEFAULT 0, paired INTEGER NOT NULL DEFAULT 0,
  spared INTEGER NOT NULL DEFAULT 0, doomed INTEGER NOT NULL DEFAULT 0,
  announced INTEGER NOT NULL DEFAULT 0, odd INTEGER NOT NULL DEFAULT 0, arrivals INTEGER NOT NULL DEFAULT 0,
  moved INTEGER NOT NULL DEFAULT 0, removed INTEGER NOT NULL DEFAULT 0, stood INTEGER NOT NULL DEFAULT 0, older INTEGER NOT NULL DEFAULT 0,
  gone INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
_BATCH = 2000
MIRRORED = f"remote IS NOT NULL AND known IN ({Known.WRITTEN:d}, {Known.ADOPTED:d}) AND visible = 1 AND odd = 0"
STALE = f"{MIRRORED} AND walked = 0 AND source IS NULL"

UNSEEN = f"known IN ({Known.WRITTEN:d}, {Known.MAYBE:d}) AND remote IS NULL AND source IS NULL"
GONE = f"{STALE} AND known = {Known.WRITTEN:d} AND doomed = 0 AND paired = 0"
FRESH = "source IS NOT NULL AND (remote IS NULL OR announced = 1) AND paired = 0"
ALIKE_GONE = "remote IN (SELECT size FROM fresh_sizes)"
ALIKE_FRESH = "source IN (SELECT size FROM gone_sizes)"
ODD = f"remote IS NOT NULL AND known IN ({Known.WRITTEN:d}, {Known.ADOPTED:d}) AND source IS NULL AND visible = 1 AND walked = 0 AND odd = 1"


Sized = Iterable[tuple[bytes, int]]
Listed = Iterable[tuple[bytes, int, bytes | None]]
"""Key, size and MD5: empty where there is none, None where it was not asked for."""
Summed = Iterable[tuple[bytes, bytes]]
"""Key and checksum."""
Timed = Iterable[tuple[bytes, int, int]]
"""Key, size and time of change in nanoseconds."""


_LAST = (1 << 63) - 1


def fit(mtime: int) -> int:
    """Return a time of change that the table can hold: file systems know years that 64 bits of nanoseconds do not."""
    return max(-_LAST, min(mtime, _LAST))


def set_known(state: Known, *, where: str) -> str:
    """Return the statement that says of the paths `where` that their objects are known so."""
    return f"UPDATE paths SET known = {state:d} WHERE {where}"  # noqa: S608 - constants of this room


class Table:
    """The rows. Sizes in bytes; keys as the engine spells them."""

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
        try:
            while batch := list(islice(iterator, _BATCH)):
                self._database.executemany(statement, batch)
        except BaseException:
            # the rows broke off: without a journal there is no way back, and the table is asked once more at the end
            with suppress(sqlite3.Error):
                self._database.execute("COMMIT")
            raise
        self._database.execute("COMMIT")

    def _count(self, condition: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM paths WHERE {condition}").fetchone()[0])  # noqa: S608 - constants of this module

    def _keys(self, condition: str, *, limit: int = -1) -> Iterator[bytes]:
        # a cursor of its own, so that callers may ask something else meanwhile
        for (key,) in self._database.execute(f"SELECT key FROM paths WHERE {condition} ORDER BY key LIMIT ?", (limit,)):  # noqa: S608 - constants of this module
            yield key
