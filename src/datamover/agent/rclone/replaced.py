"""What was moved over an older object: the part of the ledger that knows whose checksum is still the older one's."""

from collections.abc import Iterator

from datamover.agent.files import names
from datamover.agent.rclone.spellings import LOSSY
from datamover.agent.rclone.table import Summed, Table


class Replaced(Table):
    """See the module."""

    def may_have_replaced(self) -> bool:
        """Tell whether the engine moved a file over an object that was there, or one that its log spells like others."""
        return bool(self._count(f"uploaded = 1 AND (remote IS NOT NULL OR instr(key, x'{LOSSY.hex()}'))"))

    def mark_stood(self, before: Summed) -> None:
        """Note which objects have the checksum that an earlier run recorded `before`, although the engine logged that it moved their files over what
        was there.
        """
        self._put(
            "UPDATE paths SET stood = 1 WHERE key = ? AND digest = ? AND source IS NOT NULL AND remote IS NOT NULL"
            " AND EXISTS (SELECT 1 FROM paths AS told WHERE told.key = ? AND told.uploaded = 1)",
            ((key, md5, names.logged(key)) for key, md5 in before),
        )

    def stood_size(self) -> tuple[int, int]:
        """Return number and bytes of the files that `mark_stood` found."""
        row = self._database.execute("SELECT count(*), coalesce(sum(source), 0) FROM paths WHERE stood = 1").fetchone()
        return int(row[0]), int(row[1])

    def stood(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and MD5 of what `mark_stood` found."""
        yield from self._database.execute("SELECT key, digest FROM paths WHERE stood = 1 ORDER BY key")
