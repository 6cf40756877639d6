"""Which paths are where: in the source, in earlier manifests, at the destination. The basis of what may be deleted.

It is the `Table` with what is filled in and asked in the course of an attempt; the columns and the states are described there.
"""

from collections.abc import Iterable, Iterator

from datamover.agent import printing
from datamover.agent.files import names
from datamover.agent.rclone.older import Older
from datamover.agent.rclone.renames import Renames
from datamover.agent.rclone.replaced import Replaced
from datamover.agent.rclone.spellings import LOSSY, Spellings
from datamover.agent.rclone.table import (
    MIRRORED,
    ODD,
    STALE,
    UNSEEN,
    Known,
    Listed,
    Sized,
    Summed,
    Timed,
    fit,
    set_known,
)


class Ledger(Older, Renames, Replaced, Spellings):
    """The whole table. Sizes in bytes; keys as the engine spells them."""

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
            f"INSERT INTO paths (key, known, written, doomed, announced) VALUES (?, {Known.WRITTEN:d}, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"  # noqa: S608 - constants of this room
            f" announced = CASE WHEN known = {Known.WRITTEN:d} THEN min(announced, excluded.announced) ELSE excluded.announced END, known = {Known.WRITTEN:d},"
            " written = coalesce(excluded.written, written), doomed = excluded.doomed",
            (
                (key, None if mtime is None else fit(mtime), stale and again, not finished and not stale)
                for key, mtime, stale in paths
            ),
        )

    def forget_known(self, keys: Iterable[bytes]) -> None:
        """Paths that were announced by that run but not written."""
        self._put(set_known(Known.UNKNOWN, where="key = ?"), ((key,) for key in keys))

    def doubt(self, keys: Iterable[bytes]) -> None:
        """Paths that were announced by that run, and whose files vanished before they were read."""
        self._put(set_known(Known.DOUBTED, where="key = ?"), ((key,) for key in keys))

    def confirm(self, keys: Iterable[bytes]) -> None:
        """Of the doubted paths, take these as written after all: an older run wrote them."""
        self._put(
            set_known(Known.WRITTEN, where=f"key = ? AND known = {Known.DOUBTED:d}"),
            ((key,) for key in keys),
        )

    def end_doubt(self) -> None:
        """Take the other doubted paths as unknown."""
        self._database.execute(set_known(Known.UNKNOWN, where=f"known = {Known.DOUBTED:d}"))

    def add_found(self, keys: Iterable[bytes]) -> None:
        """Paths that an earlier run may have written: neither foreign nor ever deleted."""
        self._put(
            f"INSERT INTO paths (key, known) VALUES (?, {Known.MAYBE:d})"  # noqa: S608 - constants of this room
            f" ON CONFLICT (key) DO UPDATE SET known = {Known.MAYBE:d} WHERE known IN ({Known.UNKNOWN:d}, {Known.DOUBTED:d})",
            ((key,) for key in keys),
        )

    def tolerate(self) -> None:
        """Take every unknown object at the destination as such a one: an unfinished run of a live source may have moved more than it had
        announced. What was there before that run its manifest lists, because it refuses a destination with foreign objects.
        """
        self._database.execute(set_known(Known.MAYBE, where=f"remote IS NOT NULL AND known = {Known.UNKNOWN:d}"))

    def add_remote(self, paths: Sized) -> None:
        """Objects at the destination before the run: one listing, given once."""
        self._put(
            "INSERT INTO paths (key, remote, odd) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " odd = max(excluded.odd, remote IS NOT NULL), remote = excluded.remote",
            ((key, size, not names.is_canonical(key)) for key, size in paths),
        )

    def adopt(self, *, as_written: bool) -> None:
        """Take every object at the destination as known; `as_written`: as if an earlier run of this mirror had written it."""
        state = Known.WRITTEN if as_written else Known.ADOPTED
        self._database.execute(
            set_known(state, where=f"remote IS NOT NULL AND known IN ({Known.UNKNOWN:d}, {Known.MAYBE:d})")
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
        self.add_listed((key, size, None) for key, size in paths)

    def add_listed(self, paths: Listed) -> None:
        """The same with checksums. A listing that has none leaves those that are known; of two objects that are listed by one key nobody
        knows whose it would be.
        """
        self._database.execute("UPDATE paths SET after = NULL WHERE after IS NOT NULL")
        self._put(
            "INSERT INTO paths (key, after, digest) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " after = CASE WHEN after = source THEN after ELSE excluded.after END,"
            " digest = CASE WHEN excluded.digest IS NULL THEN digest WHEN after IS NULL THEN excluded.digest ELSE x'' END",
            paths,
        )

    def add_digests(self, digests: Summed) -> None:
        """Checksums that are known of objects whose files are to be moved."""
        self._put(
            "UPDATE paths SET digest = ? WHERE key = ? AND source IS NOT NULL", ((md5, key) for key, md5 in digests)
        )

    def accept_after(self, vanished: Iterable[bytes]) -> None:
        """Take what the listing after the run showed as what the source had; `vanished` is no longer part of it."""
        self._database.execute(
            "UPDATE paths SET source = after, digest = NULL WHERE source IS NOT NULL AND after <> source"
        )
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

    def add_gone(self, keys: Iterable[bytes]) -> None:
        """Files that the engine was to read and did not find."""
        self._put(
            "INSERT INTO paths (key, gone) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET gone = 1",
            ((key,) for key in keys),
        )

    def spare(self, keys: Iterable[bytes]) -> None:
        """Stale objects that stay after all."""
        self._put("UPDATE paths SET spared = 1 WHERE key = ?", ((key,) for key in keys))

    # --- asking --------------------------------------------------------------------------------------------------

    def sources(self) -> tuple[int, int]:
        """Return number and bytes of what is to be moved."""
        row = self._database.execute("SELECT count(source), coalesce(sum(source), 0) FROM paths").fetchone()
        return int(row[0]), int(row[1])

    def moved(self) -> tuple[int, int]:
        """Return number and bytes of what the engine moved."""
        row = self._database.execute("SELECT coalesce(sum(arrivals), 0), coalesce(sum(moved), 0) FROM paths").fetchone()
        return int(row[0]), int(row[1])

    def digests(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and MD5 of what is to be at the destination, where the store has one."""
        yield from self._database.execute(
            "SELECT key, digest FROM paths WHERE source IS NOT NULL AND length(digest) = 16 ORDER BY key"
        )

    def retimed_count(self) -> int:
        """Return how many files have another time of change than the one that an earlier run recorded, or of which none did."""
        return self._count("source IS NOT NULL AND (mtime IS NULL OR written IS NULL OR mtime <> written)")

    def removed_count(self) -> int:
        """Return the number of objects that were there, and that the engine first replaced and then removed."""
        return self._count("removed = 1 AND uploaded = 0 AND remote IS NOT NULL")

    def not_found(self) -> Iterator[bytes]:
        """Yield what the engine was to read, did not find, and did not move later."""
        return self._keys("gone = 1 AND uploaded = 0")

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
        return self._count(MIRRORED)

    def written_count(self) -> int:
        """Return how many of these earlier runs wrote: all but those that are being adopted."""
        return self._count(f"{MIRRORED} AND known = {Known.WRITTEN:d}")

    def doubted_count(self) -> int:
        """Return the number of doubted paths that the destination has."""
        return self._count(f"remote IS NOT NULL AND known = {Known.DOUBTED:d}")

    def foreign(self, *, limit: int) -> list[bytes]:
        """Return objects at the destination that no run of this mirror wrote."""
        return list(self._keys(f"remote IS NOT NULL AND known = {Known.UNKNOWN:d}", limit=limit))

    def nested(self, *, limit: int) -> list[str]:
        """Return, for people, folders at the destination with records in them that no run of this mirror wrote."""
        mark = b"/.datamover/"
        found: dict[str, None] = {}
        for key in self._keys(
            f"remote IS NOT NULL AND known <> {Known.WRITTEN:d} AND instr(key, x'2f2e646174616d6f7665722f')"
        ):
            found[printing.readable(key[: key.find(mark)])] = None
            if len(found) >= limit:
                break
        return list(found)

    def foreign_count(self) -> int:
        """Return the number of such objects."""
        return self._count(f"remote IS NOT NULL AND known = {Known.UNKNOWN:d}")

    def found_count(self) -> int:
        """Return how many objects of `found` there are."""
        return self._count(f"remote IS NOT NULL AND known = {Known.MAYBE:d} AND source IS NULL AND walked = 0")

    def found(self) -> Iterator[bytes]:
        """Yield what an earlier run may have written and the source does not have."""
        return self._keys(f"remote IS NOT NULL AND known = {Known.MAYBE:d} AND source IS NULL")

    def unseen(self, *, limit: int) -> Iterator[bytes]:
        """Yield what this mirror wrote, or may have written, and neither the source nor the listing before the run has: about `limit` of
        them at most, evenly spread, and the last one in any case, for a listing that was cut short lacks a stretch.
        """
        count = self._count(UNSEEN)
        step = max(1, -(-count // limit))
        for index, key in enumerate(self._keys(UNSEEN)):
            if index % step == 0 or index == count - 1:
                yield key

    def unseen_written(self) -> Iterator[bytes]:
        """Yield what of that this mirror wrote for certain."""
        return self._keys(f"{UNSEEN} AND known = {Known.WRITTEN:d}")

    def reappeared(self) -> Iterator[tuple[bytes, bool]]:
        """Yield what the listing after the run shows of these objects, and whether this mirror wrote it for certain."""
        yield from self._database.execute(
            f"SELECT key, known = {Known.WRITTEN:d} FROM paths WHERE {UNSEEN} AND after IS NOT NULL ORDER BY key"  # noqa: S608 - a constant of this module
        )

    def stale_count(self) -> int:
        """Return the number of objects to delete."""
        return self._count(STALE)

    def stale(self) -> Iterator[bytes]:
        """Yield the objects to delete: at the destination, written by this mirror, gone from the source (law L3)."""
        return self._keys(STALE)

    def written_bytes(self) -> int:
        """Return the size of the objects that earlier runs wrote."""
        written = f"{MIRRORED} AND known = {Known.WRITTEN:d}"
        found = self._database.execute(f"SELECT coalesce(sum(remote), 0) FROM paths WHERE {written}")  # noqa: S608 - constants of this room
        return int(found.fetchone()[0])

    def shrunk_count(self) -> int:
        """Return the number of objects that earlier runs wrote and whose file has less than a tenth of its size now."""
        return self._count(f"{MIRRORED} AND known = {Known.WRITTEN:d} AND remote > 0 AND source * 10 < remote")

    def spared(self) -> Iterator[bytes]:
        """Yield the stale objects that stay after all."""
        return self._keys(f"{STALE} AND spared = 1")

    def undeleted(self, *, limit: int) -> list[bytes]:
        """Return deleted objects that the listing after the run still has."""
        return list(self._keys(f"{STALE} AND spared = 0 AND after IS NOT NULL", limit=limit))

    def beyond_reach(self) -> Iterator[bytes]:
        """Yield those of them that may be stored under another key than that which the engine looks for."""
        return (key for key in self._keys(f"{STALE} AND spared = 0 AND after IS NOT NULL") if names.is_quoted(key))

    def split(self) -> Iterator[bytes]:
        """Yield the keys at the destination that have an empty part."""
        return self._keys("remote IS NOT NULL AND odd = 1 AND (instr(key, x'2f2f') OR substr(key, 1, 1) = x'2f')")

    def kept(self) -> Iterator[bytes]:
        """Yield what this mirror wrote, is not in the source any more, and yet must stay (filters, protected folders, odd keys)."""
        return self._keys(
            f"remote IS NOT NULL AND known IN ({Known.WRITTEN:d}, {Known.ADOPTED:d}) AND source IS NULL AND (visible = 0 OR walked = 1 OR odd = 1)"
        )

    def odd_count(self) -> int:
        """Return the number of objects that would have to go, but for their keys."""
        return self._count(ODD)

    def odd(self, *, limit: int) -> list[bytes]:
        """Return such objects."""
        return list(self._keys(ODD, limit=limit))

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
        """Yield key, size in the source and size at the destination (None: missing) where the two differ after the run, or the file was gone when it
        was to be read.
        """
        yield from self._database.execute(
            "SELECT key, source, after FROM paths WHERE source IS NOT NULL AND (after IS NULL OR after <> source OR (gone = 1 AND uploaded = 0)) ORDER BY key"
        )

    def extra(self, *, frozen: bool) -> Iterator[bytes]:
        """Yield what the listing after the run shows and this run has no part in.

        `frozen`: the source is a copy that nobody writes to. In a live one an earlier attempt may have moved what has gone since.
        """
        before = "" if frozen else " AND remote IS NULL"
        for key in self._keys(f"after IS NOT NULL AND source IS NULL AND walked = 0 AND uploaded = 0{before}"):
            if frozen or LOSSY not in names.logged(key):
                yield key
