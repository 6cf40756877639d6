# ruff: noqa: PTH123  # a start-up budget that pathlib would take a tenth of
"""A listing that the engine writes into a file, line by line, and that is watched meanwhile.

Guarantees: a listing ends. One that goes round in circles, as when a server gives the same page again and again, one with more objects
than there can be, and one that shows nothing new for too long are ended; memory stays flat, whatever the server sends (law L11).
"""

import re
import threading
import time
from collections.abc import Iterator, Sequence

from datamover.agent.errors import Failure
from datamover.agent.rclone import process
from datamover.agent.rclone.outage import Outage
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

_LOOK_SECONDS = 1.0
"""How often the file is looked at."""
_MD5 = re.compile(rb"[0-9a-f]{32}")
_ROUNDS = 3
"""So often the same object has come again when it is said that the listing goes round in circles."""


class Circle:
    """Finds that a stream repeats itself for ever, in a few bytes of memory (Brent's algorithm).

    One word is kept and compared with all that follow; it is exchanged for the present one at each power of two. So it comes to lie within
    the circle, and the circle to be shorter than the distance to the next exchange.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: bytes | None = None
        self._next = 1
        self._seen = 0

    def take(self, word: bytes) -> bool:
        """Take the next word; return whether the same one has come again `_ROUNDS` times, with nothing that ended it between."""
        self.count += 1
        if word == self._kept:
            self._seen += 1
            return self._seen >= _ROUNDS
        if self.count >= self._next:
            self._kept, self._seen = word, 0
            self._next *= 2 * (_ROUNDS + 1)
        return False


Row = tuple[bytes, int, bytes | None]
"""Key, size, and the MD5 that the store has of an object: 16 bytes, empty where it has none, None where it was not asked."""


class Rows:
    """A listing that is in memory."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of every object."""
        for key, size, _ in self._rows:
            yield key, size

    def rows(self) -> Iterator[Row]:
        """Yield also the MD5."""
        yield from self._rows


def md5_of(word: str) -> bytes:
    """Return the MD5 that a listing gives of an object: empty for a word that is none."""
    return bytes.fromhex(word) if _MD5.fullmatch(word.encode("utf-8", "replace")) else b""


class Listing:
    """A listing that is being written into the file `path`. `endless` is why it had to be ended, else empty.

    Each line has size and key, and with `sums` the MD5 between them, semicolons between.
    """

    def __init__(self, child: process.Child, path: str, *, place: str, sums: bool = False) -> None:
        self.child = child
        self.endless = ""
        self._path = path
        self._place = place
        self._sums = sums
        self.dead: Failure | None = None
        self.ceased = False
        self._grown = time.monotonic()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def wait(self, *, patience: float, outage: Outage | None = None) -> int:
        """Return the engine's exit code when the listing has ended: of itself; because it had no end; because it did not grow for `patience`
        seconds (`ceased`); or because `outage` says that the server is gone (`dead`).
        """
        seen = self._grown = time.monotonic()  # before, nobody may have wanted it
        try:
            while not self.child.ended_within(_LOOK_SECONDS):
                if outage is not None and self._grown != seen:
                    seen = self._grown
                    outage.advance()
                self.dead = outage.look() if outage is not None else None
                self.ceased = time.monotonic() - self._grown >= patience
                if self.dead is not None or self.ceased:
                    self.child.expire()
                    break
            return self.child.wait()
        finally:
            if outage is not None:
                outage.close()
            self._done.set()
            self._watcher.join()

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of every object. Raises Failure when that is not what the file says."""
        for key, size, _ in self.rows():
            yield key, size

    def rows(self) -> Iterator[Row]:
        """Yield also the MD5. Raises as `lines`."""
        try:
            with open(self._path, "rb") as file:
                for line in outside.lines(iter(lambda: file.read(outside.PIECE), b"")):
                    size, _, key = line.partition(b";")
                    md5 = None
                    if self._sums:
                        word, mark, key = key.partition(b";")
                        if not mark:
                            raise Unusable("it has a line without a key")  # noqa: TRY301 - it is told like a size that is none
                        md5 = md5_of(word.decode("ascii", "replace"))
                    yield key, outside.integer(size, low=-1), md5
        except Unusable as why:
            raise Failure(
                transfer.INTERNAL,
                transfer.REASON_SERVER_ERROR,
                f"The listing of {self._place} cannot be read: {why}. Nothing was deleted. Look at the server, and at what stands before it.",
            ) from None

    def _watch(self) -> None:
        circle = Circle()
        rest = b""
        seen = 0
        with open(self._path, "rb") as file:
            while not self._done.wait(_LOOK_SECONDS) and not self.child.ended:
                while piece := file.read(outside.PIECE):
                    self._grown = time.monotonic()
                    *whole, rest = (rest + piece).split(b"\n")
                    seen += len(whole)
                    self.endless = self._judge(circle, whole, len(rest))
                    if self.endless:
                        self.child.expire()
                        return

    def _judge(self, circle: Circle, lines: list[bytes], rest: int) -> str:
        """Return why the listing must be ended, or an empty text."""
        for line in lines:
            if circle.take(line):
                key = line.split(b";", 2 if self._sums else 1)[-1]
                name = outside.clean(key.decode("utf-8", "backslashreplace"), limit=outside.NAME_LIMIT)
                return f"the server gives the same objects again and again, such as '{name}'"
        if circle.count > outside.LISTING_LIMIT:
            return f"it has more than {outside.LISTING_LIMIT} objects"
        if rest > outside.LINE_LIMIT:
            return f"it has a name of more than {outside.LINE_LIMIT} bytes"
        return ""
