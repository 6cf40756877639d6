"""What seems to be lost from the source, and may only have been renamed: the part of the ledger that compares old objects with new files."""

from collections.abc import Iterator

from datamover.agent.rclone.table import ALIKE_FRESH, ALIKE_GONE, FRESH, GONE, Summed, Table


class Renames(Table):
    """See the module."""

    def lost(self) -> tuple[int, int]:
        """Return number and bytes of the objects to delete that earlier runs wrote, but for those that were proved to be renamed.

        What an earlier attempt of this run was allowed to delete is not asked about again.
        """
        row = self._database.execute(f"SELECT count(*), coalesce(sum(remote), 0) FROM paths WHERE {GONE}").fetchone()  # noqa: S608 - a constant of this module
        return int(row[0]), int(row[1])

    def lost_count(self) -> int:
        """Return the number of these."""
        return self.lost()[0]

    def gone(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of each of these."""
        yield from self._database.execute(f"SELECT key, remote FROM paths WHERE {GONE} ORDER BY key")  # noqa: S608 - a constant of this module

    def fresh(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of the files that were not there before and are no renamed ones. New is also what only runs that have not ended
        may have moved.
        """
        yield from self._database.execute(f"SELECT key, source FROM paths WHERE {FRESH} ORDER BY key")  # noqa: S608 - a constant of this module

    def alike(self) -> tuple[Iterator[bytes], Iterator[bytes]]:
        """Return the keys of the lost objects, and of the new files, of sizes that both have: what may have been renamed."""
        for name, size, rows in (("gone_sizes", "remote", GONE), ("fresh_sizes", "source", FRESH)):
            # tables, because what the database sorts or collects by itself could need another place for temporary files
            self._database.execute(f"DROP TABLE IF EXISTS {name}")
            self._database.execute(f"CREATE TABLE {name} (size INTEGER PRIMARY KEY)")
            self._database.execute(f"INSERT OR IGNORE INTO {name} SELECT {size} FROM paths WHERE {rows}")  # noqa: S608 - constants of this module
        return self._keys(f"{GONE} AND {ALIKE_GONE}"), self._keys(f"{FRESH} AND {ALIKE_FRESH}")

    def pair_renamed(self, gone: Summed, fresh: Summed) -> None:
        """Take each lost object and new file of the same size and checksum as one that was renamed; each stands for one."""
        for name, size, rows, given in (("gone", "remote", GONE, gone), ("fresh", "source", FRESH, fresh)):
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
