"""Container logs: writing them, bounded; reading them: tail, since, limit, previous, timestamps, follow.

Lines are in the CRI format: `<time> <stdout|stderr> <F|P> <text>`; P marks a piece of a long line.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from kubekit.runtime.clock import Clock
from kubekit.words import timestamps
from localkube.store.pod_logs import LogOptions

FOLLOW_INTERVAL = 0.2
"""Seconds between two looks at a file that somebody follows. Only followers cost anything."""
_LONGEST_LINE = 16_384


class LogWriter:
    """Writes a container's output, bounded by one rotation to `<path>.1`. A disk that is full loses lines and nothing else."""

    def __init__(self, path: Path, *, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._size = 0
        self._pending = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, data: bytes) -> None:
        """Add output. What does not end in a newline waits for the rest, up to 16 KiB."""
        time = _now()
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        for line in lines:
            self._put(b"%s %s F %s\n" % (time, stream.encode(), line))
        while len(rest) >= _LONGEST_LINE:
            self._put(b"%s %s P %s\n" % (time, stream.encode(), rest[:_LONGEST_LINE]))
            rest = rest[_LONGEST_LINE:]
        self._pending[stream] = rest
        self._flush()

    def close(self) -> None:
        """Write what waits for a newline, as a piece that nothing follows, and close."""
        for stream, rest in self._pending.items():
            if rest:
                self._put(b"%s %s P %s\n" % (_now(), stream.encode(), rest))
        self._pending = dict.fromkeys(self._pending, b"")
        self._flush()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _flush(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.flush()

    def _put(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None and self._size + len(line) > self._limit:
                self._file.close()
                self._file = None
                self._path.replace(f"{self._path}.1")
            if self._file is None:
                self._file = self._path.open("ab")
                self._size = self._file.tell()
            self._file.write(line)
            self._size += len(line)


def _now() -> bytes:
    return timestamps.micros(datetime.now(UTC)).encode()


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a log file."""

    time: str
    text: bytes
    whole: bool

    def render(self, *, with_time: bool, continues: bool) -> bytes:
        """Return the bytes to show. `continues` when the entry before was a piece of the same line."""
        prefix = f"{self.time} ".encode() if with_time and not continues else b""
        return prefix + self.text + (b"\n" if self.whole else b"")


def parse_line(raw: bytes) -> Line | None:
    """Return an entry, or None for what is none."""
    parts = raw.split(b" ", 3)
    if len(parts) != 4:
        return None
    return Line(parts[0].decode("ascii", "replace"), parts[3], whole=parts[2] != b"P")


async def read_log(log: Path, options: LogOptions, *, clock: Clock, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the log in pieces; with `follow` until `ended()` and nothing is left to read."""
    left = options.limit
    over = False
    async for piece in _pieces(log, options, clock, ended):
        if left is not None:
            over = len(piece) >= left
            piece = piece[:left]  # noqa: PLW2901 - what is allowed of it
            left -= len(piece)
        if piece:
            yield piece
        if over:
            return


async def _pieces(log: Path, options: LogOptions, clock: Clock, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    final = ended()
    lines, offset = await asyncio.to_thread(_read_all, log)
    since = options.since
    if options.since_seconds is not None:
        since = clock.now() - timedelta(seconds=options.since_seconds)
    if since is not None:
        lines = [line for line in lines if timestamps.parse(line.time) >= since]
    if options.tail is not None:
        lines = _last(lines, options.tail)
    renderer = _Renderer(with_time=options.timestamps)
    yield b"".join(renderer.render(lines))
    if not options.follow:
        return
    inode = await asyncio.to_thread(_inode, log)
    while True:
        fresh, offset, inode = await asyncio.to_thread(_read_more, log, offset, inode)
        if fresh:
            yield b"".join(renderer.render(fresh))
            continue
        if final:
            return
        final = ended()
        if not final:
            await clock.sleep(FOLLOW_INTERVAL)


class _Renderer:
    def __init__(self, *, with_time: bool) -> None:
        self._with_time = with_time
        self._continues = False

    def render(self, lines: list[Line]) -> Iterator[bytes]:
        for line in lines:
            yield line.render(with_time=self._with_time, continues=self._continues)
            self._continues = not line.whole


def _last(lines: list[Line], count: int) -> list[Line]:
    """Return the last `count` whole lines, pieces of one line counted once."""
    if count <= 0:
        return []
    seen = 0
    for index in range(len(lines) - 1, -1, -1):
        begins = index == 0 or lines[index - 1].whole
        seen += begins
        if seen == count:
            return lines[index:]
    return lines


def _read_all(log: Path) -> tuple[list[Line], int]:
    older = _read(Path(f"{log}.1"))
    newer = _read(log)
    return _parse(older + newer), len(newer)


def _read_more(log: Path, offset: int, inode: int) -> tuple[list[Line], int, int]:
    """Read on from an offset. After a rotation the rest of the old file comes first."""
    now = _inode(log)
    if now == inode:
        data = _read(log, offset)
        return _parse(data), offset + _whole_length(data), inode
    rest = _read(Path(f"{log}.1"), offset) if inode else b""
    data = _read(log)
    return _parse(rest + data), _whole_length(data), now


def _parse(data: bytes) -> list[Line]:
    return [line for raw in data[: _whole_length(data)].split(b"\n")[:-1] if (line := parse_line(raw)) is not None]


def _whole_length(data: bytes) -> int:
    return data.rfind(b"\n") + 1


def _read(path: Path, offset: int = 0) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
