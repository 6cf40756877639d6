"""Names as the engine's log spells them: the part of the ledger that finds the files they are of, where several are spelled alike."""

from collections.abc import Iterator

from datamover.agent.files import names
from datamover.agent.rclone.table import Table

LOSSY = "\ufffd".encode()
"""What the engine's JSON log writes for a byte that is not UTF-8."""


class Spellings(Table):
    """See the module."""

    _spellings = False

    def beyond_intent(self) -> Iterator[bytes]:
        """Yield what the engine moved although the walk had not seen it."""
        for key in self._keys("uploaded = 1 AND source IS NULL"):
            if not (LOSSY in key and self._spelled(key, limit=1)):
                yield key

    def was_uploaded(self, key: bytes) -> bool:
        """Tell whether the engine logged that it moved this key. Of one that its log spells like others (U+FFFD) nobody knows: no."""
        if LOSSY in names.logged(key):
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
            if LOSSY in spelling:
                yield spelling, key
