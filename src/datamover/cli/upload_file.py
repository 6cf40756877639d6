"""What `datamover upload` sends: a file, a device or standard input, read piece by piece in a thread."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, Final

PIECE: Final = 1 << 20


class File:
    """What is sent, read once for each try. `path` None is standard input, which can be read once only."""

    def __init__(self, path: str | None, *, stdin: BinaryIO | None = None) -> None:
        self.path = path
        self._stdin = stdin
        self.size: int | None = None
        if path is not None:
            with open(path, "rb") as file:  # noqa: PTH123 - also a device
                self.size = file.seek(0, io.SEEK_END)

    @property
    def repeatable(self) -> bool:
        """Whether it can be read again."""
        return self.path is not None

    def read(self, sent: Callable[[int], None]) -> "Reading":
        """Begin to read it."""
        return Reading(self, self._stdin, sent)


class Reading:
    """One pass over a file, and the checksum of what it gave."""

    def __init__(self, file: File, stdin: BinaryIO | None, sent: Callable[[int], None]) -> None:
        self._file = file
        self._stdin = stdin
        self._sent = sent
        self._ended = False
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.problem = ""

    @property
    def whole(self) -> bool:
        """Whether all was read. Who is told the size has all of it before anybody asks for a piece that is not there, and may hang up."""
        return self._ended or (self._file.size is not None and self.bytes >= self._file.size)

    @property
    def checksum(self) -> str:
        """What was read so far."""
        return f"sha256:{self._digest.hexdigest()}"

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes. What goes wrong is in `problem` afterwards, for the transport makes its own error of it."""
        path, size = self._file.path, self._file.size
        try:
            source = self._stdin if path is None else await asyncio.to_thread(open, path, "rb")
        except OSError as error:
            self.problem = f"{path} cannot be read: {error.strerror}"
            raise
        assert source is not None
        try:
            while piece := await asyncio.to_thread(self._read, source, PIECE if size is None else min(PIECE, size - self.bytes)):  # fmt: skip
                yield piece
                self._sent(self.bytes)
        except OSError as error:
            self.problem = f"{path or 'standard input'} cannot be read: {error.strerror}"
            raise
        finally:
            if path is not None:
                source.close()
        if size is not None and self.bytes < size:
            self.problem = f"{path} became shorter while it was read"
            raise OSError(self.problem)
        self._ended = True

    def _read(self, source: BinaryIO, most: int) -> bytes:
        piece = source.read(most) if most else b""
        self._digest.update(piece)
        self.bytes += len(piece)
        return piece
