"""What an older copy has as it is now: the part of the ledger for files that the store can copy itself."""

from collections.abc import Iterator

from datamover.agent.rclone.table import Summed, Table, Timed, fit

_SAME = 1
_PROVABLE = 2
_TAKEN = 3


class Older(Table):
    """See the module."""

    def worth(self, sizes: range) -> int:
        """Return the bytes of the files of these sizes that are to be moved."""
        found = self._database.execute(
            "SELECT coalesce(sum(source), 0) FROM paths WHERE source >= ? AND source < ? AND remote IS NULL",
            (sizes.start, sizes.stop),
        )
        return int(found.fetchone()[0])

    def has_there(self, sizes: range) -> bool:
        """Tell whether an object is there already that has the size of its file, one of these."""
        found = self._database.execute(
            "SELECT 1 FROM paths WHERE remote = source AND source >= ? AND source < ? LIMIT 1",
            (sizes.start, sizes.stop),
        )
        return found.fetchone() is not None

    def is_there(self, key: bytes, sizes: range) -> bool:
        """Tell whether that is so of this one, and the engine has not sent it."""
        found = self._database.execute(
            "SELECT 1 FROM paths WHERE key = ? AND remote = source AND source >= ? AND source < ? AND uploaded = 0",
            (key, sizes.start, sizes.stop),
        )
        return found.fetchone() is not None

    def add_older(self, paths: Timed) -> None:
        """Files of an older copy. Those count that are to be moved, are not there yet, and have the same size and time of change."""
        self._put(
            f"UPDATE paths SET older = {_SAME} WHERE key = ? AND source = ? AND mtime = ? AND remote IS NULL",  # noqa: S608 - a constant of this module
            ((key, size, fit(mtime)) for key, size, mtime in paths),
        )

    def prove_older(self, sums: Summed) -> None:
        """Of these the ones of which the older copy has a checksum."""
        self._put(
            f"UPDATE paths SET older = {_PROVABLE} WHERE key = ? AND older = {_SAME}",  # noqa: S608 - constants of this module
            ((key,) for key, _ in sums),
        )

    def older(self) -> Iterator[bytes]:
        """Yield what may be taken over."""
        return self._keys(f"older = {_PROVABLE}")

    def older_size(self) -> tuple[int, int]:
        """Return number and bytes of what may be taken over."""
        row = self._database.execute(
            f"SELECT count(*), coalesce(sum(source), 0) FROM paths WHERE older = {_PROVABLE}"  # noqa: S608 - a constant of this module
        ).fetchone()
        return int(row[0]), int(row[1])

    def add_taken_over(self, key: bytes) -> None:
        """The engine logged that the store has copied it. From now on it is there, as far as anybody has to compare it."""
        self._database.execute(
            f"UPDATE paths SET older = {_TAKEN}, remote = source WHERE key = ? AND older = {_PROVABLE}",  # noqa: S608 - constants of this module
            (key,),
        )

    def taken_over(self) -> tuple[int, int]:
        """Return number and bytes of what was copied so and has stayed: what was sent all the same does not count."""
        row = self._database.execute(
            f"SELECT count(*), coalesce(sum(source), 0) FROM paths WHERE older = {_TAKEN} AND uploaded = 0"  # noqa: S608 - a constant of this module
        ).fetchone()
        return int(row[0]), int(row[1])
