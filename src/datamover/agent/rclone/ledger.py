"""Which paths are where: in the source, in earlier manifests, at the destination. The basis of what may be deleted.

A table on disk (SQLite in the scratch directory), because a volume may hold millions of files.

Guarantees: memory stays below about 40 MiB whatever the number of paths; about 100-150 bytes of scratch space a path.
Assumptions: used from one thread; the file is the attempt's own and is thrown away with it (so nothing is synced to disk).

Columns of a path (its key, see `names`):

`source`   size in the source, when the engine is to move it
`mtime`    its time of change there, in nanoseconds
`walked`   it is in the source, moved or not
`known`    1: an earlier run of this mirror wrote it (law L3); 2: it is being adopted; 3: an earlier run may have written it, so it is
           neither foreign nor ever deleted; -1: a run says that it was not there when it ended (see `doubt`)
`doomed`   an earlier attempt of this very run was to delete it, with the guards' leave
`announced` only runs that have not ended wrote it, if anybody did
`written`  time of change that an earlier run recorded for it, in nanoseconds
`remote`   size at the destination before the run
`visible`  the user's own filters let the engine see it at the destination
`after`    size at the destination after the run
`uploaded` the engine logged that it moved it
`arrivals` how many files the engine logged so as moved, and `moved` their bytes: one, but where its log spells several alike (U+FFFD)
`removed`  the engine removed what had arrived of it, because it was not what had been sent
`paired`   an old object that is a new one's earlier name, or that new one
`spared`   it seemed to be gone from the source and yet must not be deleted
`odd`      the engine cannot be told to delete it and nothing else: no file's path becomes its key, or two objects are listed by it
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from datamover.agent import printing
from datamover.agent.files import names

_SCHEMA = """
CREATE TABLE paths (
  key BLOB PRIMARY KEY,
  source INTEGER, mtime INTEGER, walked INTEGER NOT NULL DEFAULT 0, twice INTEGER NOT NULL DEFAULT 0,
  known INTEGER NOT NULL DEFAULT 0, written INTEGER, remote INTEGER, visible INTEGER NOT NULL DEFAULT 1,
  after INTEGER, uploaded INTEGER NOT NULL DEFAULT 0, paired INTEGER NOT NULL DEFAULT 0,
  spared INTEGER NOT NULL DEFAULT 0, doomed INTEGER NOT NULL DEFAULT 0,
  announced INTEGER NOT NULL DEFAULT 0, odd INTEGER NOT NULL DEFAULT 0, arrivals INTEGER NOT NULL DEFAULT 0,
  moved INTEGER NOT NULL DEFAULT 0, removed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
_BATCH = 2000
_MIRRORED = "remote IS NOT NULL AND known IN (1, 2) AND visible = 1 AND odd = 0"
_STALE = f"{_MIRRORED} AND walked = 0 AND source IS NULL"

_UNSEEN = "known IN (1, 3) AND remote IS NULL AND source IS NULL"
_GONE = f"{_STALE} AND known = 1 AND doomed = 0 AND paired = 0"
_FRESH = "source IS NOT NULL AND (remote IS NULL OR announced = 1) AND paired = 0"
_ALIKE_GONE = "remote IN (SELECT size FROM fresh_sizes)"
_ALIKE_FRESH = "source IN (SELECT size FROM gone_sizes)"
_ODD = "remote IS NOT NULL AND known IN (1, 2) AND source IS NULL AND visible = 1 AND walked = 0 AND odd = 1"

_LOSSY = "\ufffd".encode()

Sized = Iterable[tuple[bytes, int]]
Summed = Iterable[tuple[bytes, bytes]]
"""Key and checksum."""
Timed = Iterable[tuple[bytes, int, int]]
"""Key, size and time of change in nanoseconds."""


_LAST = (1 << 63) - 1


def fit(mtime: int) -> int:
    """Return a time of change that the table can hold: file systems know years that 64 bits of nanoseconds do not."""
    return max(-_LAST, min(mtime, _LAST))


class Ledger:
    """The table. Sizes in bytes; keys as the engine spells them."""

    def __init__(self, path: str) -> None:
        # no journal and no sync: a crash of the machine loses the scratch directory anyway
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16384", "locking_mode=EXCLUSIVE"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(_SCHEMA)
        self._spellings = False

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

    # --- filling -------------------------------------------------------------------------------------------------

    def add_source(self, paths: Timed) -> None:
        """Paths that the walk found and the engine is to move."""
        self._put(
            "INSERT INTO paths (key, source, mtime, walked) VALUES (?, ?, ?, 1) ON CONFLICT (key) DO UPDATE SET"
            " twice = source IS NOT NULL, source = excluded.source, mtime = excluded.mtime, walked = 1",
            ((key, size, fit(mtime)) for key, size, mtime in paths),
        )

    def select(self, paths: Sized) -> None:
        """Let only these be moved: what the engine itself lists under the user's filters. Sizes are the engine's."""
        self._database.execute("UPDATE paths SET source = NULL")
        self._put(
            "INSERT INTO paths (key, source) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET source = excluded.source",
            paths,
        )

    def add_known(self, paths: Iterable[tuple[bytes, int | None, bool]], *, finished: bool, again: bool) -> None:
        """Paths that an earlier run of this mirror wrote; their times of change then, where it recorded some; whether that run was
        to delete them. `finished`: that run has ended. `again`: it is this run, in an earlier attempt.
        """
        self._put(
            "INSERT INTO paths (key, known, written, doomed, announced) VALUES (?, 1, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " announced = CASE WHEN known = 1 THEN min(announced, excluded.announced) ELSE excluded.announced END, known = 1,"
            " written = coalesce(excluded.written, written), doomed = excluded.doomed",
            (
                (key, None if mtime is None else fit(mtime), stale and again, not finished and not stale)
                for key, mtime, stale in paths
            ),
        )

    def forget_known(self, keys: Iterable[bytes]) -> None:
        """Paths that were announced by that run but not written."""
        self._put("UPDATE paths SET known = 0 WHERE key = ?", ((key,) for key in keys))

    def doubt(self, keys: Iterable[bytes]) -> None:
        """Paths that were announced by that run, and whose files vanished before they were read."""
        self._put("UPDATE paths SET known = -1 WHERE key = ?", ((key,) for key in keys))

    def confirm(self, keys: Iterable[bytes]) -> None:
        """Of the doubted paths, take these as written after all: an older run wrote them."""
        self._put("UPDATE paths SET known = 1 WHERE key = ? AND known = -1", ((key,) for key in keys))

    def end_doubt(self) -> None:
        """Take the other doubted paths as unknown."""
        self._database.execute("UPDATE paths SET known = 0 WHERE known = -1")

    def add_found(self, keys: Iterable[bytes]) -> None:
        """Paths that an earlier run may have written: neither foreign nor ever deleted."""
        self._put(
            "INSERT INTO paths (key, known) VALUES (?, 3) ON CONFLICT (key) DO UPDATE SET known = 3 WHERE known <= 0",
            ((key,) for key in keys),
        )

    def tolerate(self) -> None:
        """Take every unknown object at the destination as such a one: an unfinished run of a live source may have moved more than it had
        announced. What was there before that run its manifest lists, because it refuses a destination with foreign objects.
        """
        self._database.execute("UPDATE paths SET known = 3 WHERE remote IS NOT NULL AND known = 0")

    def add_remote(self, paths: Sized) -> None:
        """Objects at the destination before the run: one listing, given once."""
        self._put(
            "INSERT INTO paths (key, remote, odd) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " odd = max(excluded.odd, remote IS NOT NULL), remote = excluded.remote",
            ((key, size, not names.is_canonical(key)) for key, size in paths),
        )

    def adopt(self, *, as_written: bool) -> None:
        """Take every object at the destination as known; `as_written`: as if an earlier run of this mirror had written it."""
        self._database.execute(
            "UPDATE paths SET known = ? WHERE remote IS NOT NULL AND known IN (0, 3)", (1 if as_written else 2,)
        )

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
        """Objects at the destination after the run; a later listing replaces an earlier one. Of two objects that are listed by one key,
        the one counts that is as large as the file.
        """
        self._database.execute("UPDATE paths SET after = NULL WHERE after IS NOT NULL")
        self._put(
            "INSERT INTO paths (key, after) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET"
            " after = CASE WHEN after = source THEN after ELSE excluded.after END",
            paths,
        )

    def accept_after(self, vanished: Iterable[bytes]) -> None:
        """Take what the listing after the run showed as what the source had; `vanished` is no longer part of it."""
        self._database.execute("UPDATE paths SET source = after WHERE source IS NOT NULL AND after <> source")
        # as if the walk had met them: what vanished meanwhile is for the next run to delete, after its guards were asked
        self._put("UPDATE paths SET source = NULL, walked = 1 WHERE key = ?", ((key,) for key in vanished))

    def add_uploaded(self, keys: Iterable[bytes]) -> None:
        """Objects that the engine logged as moved."""
        self._put(
            "INSERT INTO paths (key, uploaded) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET uploaded = 1",
            ((key,) for key in keys),
        )

    def add_moved(self, files: Sized) -> None:
        """Objects that the engine logged as moved, with their sizes; one that it moved again is still one."""
        self._put(
            "INSERT INTO paths (key, uploaded, arrivals, moved) VALUES (?, 1, 1, ?) ON CONFLICT (key) DO UPDATE SET uploaded = 1,"
            " arrivals = excluded.arrivals + CASE WHEN instr(key, x'efbfbd') THEN arrivals ELSE 0 END,"
            " moved = excluded.moved + CASE WHEN instr(key, x'efbfbd') THEN moved ELSE 0 END",
            files,
        )

    def add_removed(self, key: bytes) -> None:
        """An object that the engine removed because another checksum had arrived."""
        self._database.execute("UPDATE paths SET removed = 1 WHERE key = ?", (key,))

    def spare(self, keys: Iterable[bytes]) -> None:
        """Stale objects that stay after all."""
        self._put("UPDATE paths SET spared = 1 WHERE key = ?", ((key,) for key in keys))

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

    def moved(self) -> tuple[int, int]:
        """Return number and bytes of what the engine moved."""
        row = self._database.execute("SELECT coalesce(sum(arrivals), 0), coalesce(sum(moved), 0) FROM paths").fetchone()
        return int(row[0]), int(row[1])

    def removed_count(self) -> int:
        """Return the number of objects that were there, and that the engine first replaced and then removed."""
        return self._count("removed = 1 AND uploaded = 0 AND remote IS NOT NULL")

    def walked_as(self, key: bytes) -> tuple[int, int] | None:
        """Return size and time of change (ns) of the file that the walk met and that is to be moved, None when it met none."""
        found = self._database.execute(
            "SELECT source, mtime FROM paths WHERE key = ? AND source IS NOT NULL AND mtime IS NOT NULL", (key,)
        )
        return found.fetchone()

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
        return self._count(_MIRRORED)

    def written_count(self) -> int:
        """Return how many of these earlier runs wrote: all but those that are being adopted."""
        return self._count(f"{_MIRRORED} AND known = 1")

    def doubted_count(self) -> int:
        """Return the number of doubted paths that the destination has."""
        return self._count("remote IS NOT NULL AND known = -1")

    def foreign(self, *, limit: int) -> list[bytes]:
        """Return objects at the destination that no run of this mirror wrote."""
        return list(self._keys("remote IS NOT NULL AND known = 0", limit=limit))

    def nested(self, *, limit: int) -> list[str]:
        """Return, for people, folders at the destination with records in them that no run of this mirror wrote."""
        mark = b"/.datamover/"
        found: dict[str, None] = {}
        for key in self._keys("remote IS NOT NULL AND known <> 1 AND instr(key, x'2f2e646174616d6f7665722f')"):
            found[printing.readable(key[: key.find(mark)])] = None
            if len(found) >= limit:
                break
        return list(found)

    def foreign_count(self) -> int:
        """Return the number of such objects."""
        return self._count("remote IS NOT NULL AND known = 0")

    def found_count(self) -> int:
        """Return how many objects of `found` there are."""
        return self._count("remote IS NOT NULL AND known = 3 AND source IS NULL AND walked = 0")

    def found(self) -> Iterator[bytes]:
        """Yield what an earlier run may have written and the source does not have."""
        return self._keys("remote IS NOT NULL AND known = 3 AND source IS NULL")

    def unseen(self, *, limit: int) -> Iterator[bytes]:
        """Yield what this mirror wrote, or may have written, and neither the source nor the listing before the run has: about `limit` of
        them at most, evenly spread, and the last one in any case, for a listing that was cut short lacks a stretch.
        """
        count = self._count(_UNSEEN)
        step = max(1, -(-count // limit))
        for index, key in enumerate(self._keys(_UNSEEN)):
            if index % step == 0 or index == count - 1:
                yield key

    def unseen_written(self) -> Iterator[bytes]:
        """Yield what of that this mirror wrote for certain."""
        return self._keys(f"{_UNSEEN} AND known = 1")

    def reappeared(self) -> Iterator[tuple[bytes, bool]]:
        """Yield what the listing after the run shows of these objects, and whether this mirror wrote it for certain."""
        yield from self._database.execute(
            f"SELECT key, known = 1 FROM paths WHERE {_UNSEEN} AND after IS NOT NULL ORDER BY key"  # noqa: S608 - a constant of this module
        )

    def stale_count(self) -> int:
        """Return the number of objects to delete."""
        return self._count(_STALE)

    def stale(self) -> Iterator[bytes]:
        """Yield the objects to delete: at the destination, written by this mirror, gone from the source (law L3)."""
        return self._keys(_STALE)

    def written_bytes(self) -> int:
        """Return the size of the objects that earlier runs wrote."""
        found = self._database.execute(f"SELECT coalesce(sum(remote), 0) FROM paths WHERE {_MIRRORED} AND known = 1")  # noqa: S608 - constants of this module
        return int(found.fetchone()[0])

    def shrunk_count(self) -> int:
        """Return the number of objects that earlier runs wrote and whose file has less than a tenth of its size now."""
        return self._count(f"{_MIRRORED} AND known = 1 AND remote > 0 AND source * 10 < remote")

    def lost(self) -> tuple[int, int]:
        """Return number and bytes of the objects to delete that earlier runs wrote, but for those that were proved to be renamed.

        What an earlier attempt of this run was allowed to delete is not asked about again.
        """
        row = self._database.execute(f"SELECT count(*), coalesce(sum(remote), 0) FROM paths WHERE {_GONE}").fetchone()  # noqa: S608 - a constant of this module
        return int(row[0]), int(row[1])

    def lost_count(self) -> int:
        """Return the number of these."""
        return self.lost()[0]

    def gone(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of each of these."""
        yield from self._database.execute(f"SELECT key, remote FROM paths WHERE {_GONE} ORDER BY key")  # noqa: S608 - a constant of this module

    def fresh(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of the files that were not there before and are no renamed ones. New is also what only runs that have not ended
        may have moved.
        """
        yield from self._database.execute(f"SELECT key, source FROM paths WHERE {_FRESH} ORDER BY key")  # noqa: S608 - a constant of this module

    def alike(self) -> tuple[Iterator[bytes], Iterator[bytes]]:
        """Return the keys of the lost objects, and of the new files, of sizes that both have: what may have been renamed."""
        for name, size, rows in (("gone_sizes", "remote", _GONE), ("fresh_sizes", "source", _FRESH)):
            # tables, because what the database sorts or collects by itself could need another place for temporary files
            self._database.execute(f"DROP TABLE IF EXISTS {name}")
            self._database.execute(f"CREATE TABLE {name} (size INTEGER PRIMARY KEY)")
            self._database.execute(f"INSERT OR IGNORE INTO {name} SELECT {size} FROM paths WHERE {rows}")  # noqa: S608 - constants of this module
        return self._keys(f"{_GONE} AND {_ALIKE_GONE}"), self._keys(f"{_FRESH} AND {_ALIKE_FRESH}")

    def pair_renamed(self, gone: Summed, fresh: Summed) -> None:
        """Take each lost object and new file of the same size and checksum as one that was renamed; each stands for one."""
        for name, size, rows, given in (("gone", "remote", _GONE, gone), ("fresh", "source", _FRESH, fresh)):
            self._database.execute(f"DROP TABLE IF EXISTS {name}")
            self._database.execute(
                f"CREATE TABLE {name} (size INTEGER, mark BLOB, key BLOB, PRIMARY KEY (size, mark, key)) WITHOUT ROWID"
            )
            self._put(
                f"INSERT OR IGNORE INTO {name} SELECT {size}, ?, key FROM paths WHERE key = ? AND {rows}",  # noqa: S608 - constants of this module
                ((checksum, key) for key, checksum in given),
            )
        self._put("UPDATE paths SET paired = 1 WHERE key = ?", self._pairs())

    def _pairs(self) -> Iterator[tuple[bytes]]:
        """Yield the keys of equal rows of the two tables, each with one."""
        olds, news = (
            self._database.execute(f"SELECT size, mark, key FROM {name} ORDER BY size, mark, key")  # noqa: S608 - two words
            for name in ("gone", "fresh")
        )
        old, new = olds.fetchone(), news.fetchone()
        while old and new:
            if old[:2] == new[:2]:
                yield (old[2],)
                yield (new[2],)
                old, new = olds.fetchone(), news.fetchone()
            elif old[:2] < new[:2]:
                old = olds.fetchone()
            else:
                new = news.fetchone()

    def spared(self) -> Iterator[bytes]:
        """Yield the stale objects that stay after all."""
        return self._keys(f"{_STALE} AND spared = 1")

    def undeleted(self, *, limit: int) -> list[bytes]:
        """Return deleted objects that the listing after the run still has."""
        return list(self._keys(f"{_STALE} AND spared = 0 AND after IS NOT NULL", limit=limit))

    def beyond_reach(self) -> Iterator[bytes]:
        """Yield those of them that may be stored under another key than that which the engine looks for."""
        return (key for key in self._keys(f"{_STALE} AND spared = 0 AND after IS NOT NULL") if names.is_quoted(key))

    def split(self) -> Iterator[bytes]:
        """Yield the keys at the destination that have an empty part."""
        return self._keys("remote IS NOT NULL AND odd = 1 AND (instr(key, x'2f2f') OR substr(key, 1, 1) = x'2f')")

    def kept(self) -> Iterator[bytes]:
        """Yield what this mirror wrote, is not in the source any more, and yet must stay (filters, protected folders, odd keys)."""
        return self._keys(
            "remote IS NOT NULL AND known IN (1, 2) AND source IS NULL AND (visible = 0 OR walked = 1 OR odd = 1)"
        )

    def odd_count(self) -> int:
        """Return the number of objects that would have to go, but for their keys."""
        return self._count(_ODD)

    def odd(self, *, limit: int) -> list[bytes]:
        """Return such objects."""
        return list(self._keys(_ODD, limit=limit))

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

    def extra(self, *, frozen: bool) -> Iterator[bytes]:
        """Yield what the listing after the run shows and this run has no part in.

        `frozen`: the source is a copy that nobody writes to. In a live one an earlier attempt may have moved what has gone since.
        """
        before = "" if frozen else " AND remote IS NULL"
        for key in self._keys(f"after IS NOT NULL AND source IS NULL AND walked = 0 AND uploaded = 0{before}"):
            if frozen or _LOSSY not in names.logged(key):
                yield key

    # --- names as the engine's log spells them ---------------------------------------------------------------------

    def beyond_intent(self) -> Iterator[bytes]:
        """Yield what the engine moved although the walk had not seen it."""
        for key in self._keys("uploaded = 1 AND source IS NULL"):
            if not (_LOSSY in key and self._spelled(key, limit=1)):
                yield key

    def was_uploaded(self, key: bytes) -> bool:
        """Tell whether the engine logged that it moved this key. Of one that its log spells like others (U+FFFD) nobody knows: no."""
        if _LOSSY in names.logged(key):
            return False
        found = self._database.execute("SELECT 1 FROM paths WHERE key = ? AND uploaded = 1", (key,))
        return found.fetchone() is not None

    def was_walked(self, key: bytes) -> bool:
        """Tell whether the walk met what becomes this key."""
        return self._database.execute("SELECT 1 FROM paths WHERE key = ? AND walked = 1", (key,)).fetchone() is not None

    def spelled(self, lossy: str) -> bytes | None:
        """Return the one key of the source that the engine's JSON log spells so (U+FFFD for bytes that are not UTF-8)."""
        found = self._spelled(lossy.encode(), limit=2)
        return found[0] if len(found) == 1 else None

    def spelled_all(self, lossy: str) -> list[bytes]:
        """Return all keys of the source that the engine's JSON log spells so."""
        return self._spelled(lossy.encode(), limit=-1)

    def _spelled(self, lossy: bytes, *, limit: int) -> list[bytes]:
        if not self._spellings:
            # one pass, when the first such name comes: nearly no volume has any
            self._database.execute(
                "CREATE TABLE spellings (lossy BLOB, key BLOB, PRIMARY KEY (lossy, key)) WITHOUT ROWID"
            )
            self._put("INSERT INTO spellings (lossy, key) VALUES (?, ?)", self._lossy_sources())
            self._spellings = True
        rows = self._database.execute("SELECT key FROM spellings WHERE lossy = ? LIMIT ?", (lossy, limit))
        return [key for (key,) in rows]

    def _lossy_sources(self) -> Iterator[tuple[bytes, bytes]]:
        for key in self._keys("source IS NOT NULL"):
            spelling = names.logged(key)
            if _LOSSY in spelling:
                yield spelling, key
