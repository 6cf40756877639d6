"""Bringing exactly the wanted objects into the folder where files arrive: by lists, with the engine. Files with large holes one by one.

Guarantees: the engine writes regular files, below a handle of ours, in a folder that nobody else may enter; it makes no link and is given no
name that leads anywhere else. An object that has more than its file had, or no end, takes no more room than the largest file that is brought with it, or 1 MiB, until
the engine has removed it; files of up to 1 MiB, of up to 64 MiB and all others are brought apart (`wanted.SIZES`), at most 64 at once of the smallest ones, 32 of others, or 8 where they have 16 MiB or more on average.
So what is too much takes 64 MiB of room at a time, 2 GiB, or eight times the largest file. A stop, an outage and a full disk end it; what one object alone does not give is
left to the comparison afterwards.
"""

import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import md5
from typing import TypeVar

from datamover.agent.errors import Failure
from datamover.agent.files import holes, names
from datamover.agent.files.handles import Refused, enter_parent
from datamover.agent.rclone import classify, logs, process
from datamover.agent.rclone.options import for_checking, without_filters
from datamover.agent.rclone.server import Server
from datamover.agent.rclone.sync import Sync
from datamover.agent.restore import reasons
from datamover.agent.restore.ahead import WORTH
from datamover.agent.restore.checking import CHUNK, MISSING
from datamover.agent.restore.progress import Reporter
from datamover.agent.restore.wanted import File
from datamover.agent.scratch import FULL, keeping
from datamover.api import transfer

T = TypeVar("T")

BATCH_FILES = 20_000
BATCH_BYTES = 16 << 30
"""What is brought by one run of the engine. Lists and listings of it are in its memory, and what it brought is compared while the kernel
still has it in its own.
"""
_LOOK_SECONDS = 0.5
_SOFT = frozenset(
    {
        transfer.VERIFY,
        transfer.SOURCE_UNREADABLE,
        transfer.SOURCE_CHANGED,
        transfer.NOT_FOUND,
        transfer.DENIED,
        transfer.INTERNAL,
    }
)
"""What may be one object's alone; whether anything came of the others shows."""
_OF_THE_ENGINE = frozenset({transfer.REASON_OUT_OF_MEMORY, transfer.REASON_ENGINE_SILENT})
"""What no object is to blame for."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
"""Seconds between two tries at a server that cannot be reached."""
_CORRUPTED = "corrupted on transfer"
_BEYOND = "file too large"
"""What the engine says, as an error, of a file beyond the limit that it was given."""
_LEAST = 1 << 20
"""Bytes that any file may have: the engine writes small ones of its own."""
_NOT_OURS = (
    "RCLONE_LINKS",
    "RCLONE_LOCAL_LINKS",
    "RCLONE_COPY_LINKS",
    "RCLONE_LOCAL_COPY_LINKS",
    "RCLONE_SKIP_LINKS",
    "RCLONE_METADATA",
    "RCLONE_INPLACE",
)
_SETTINGS = {
    "RCLONE_LOCAL_ENCODING": "Raw",
    "RCLONE_NO_UNICODE_NORMALIZATION": "true",
    # times come with the manifest; asking for them would cost a request for each object
    "RCLONE_USE_SERVER_MODTIME": "true",
    "RCLONE_NO_UPDATE_MODTIME": "true",
    "RCLONE_CHECKSUM": "true",
    "RCLONE_FAST_LIST": "true",
}
_SMALL = {
    "RCLONE_TRANSFERS": "32",
    "RCLONE_CHECKERS": "32",
    "RCLONE_BUFFER_SIZE": "0",
    "RCLONE_INPLACE": "true",
    "GOGC": "200",
}
"""What small files take is the engine's processor: a fifth of it, with Go's default, is its collection of garbage, and a tenth the other name that a file has until it
is whole. Nobody but us looks where they arrive, each comes in one stream, so that a part of one has another size, and the size is compared.
"""
_MANY = _SMALL | {"RCLONE_TRANSFERS": "64"}
"""For what takes the server's distance and no time beyond that."""
_LARGE = {"RCLONE_TRANSFERS": "8", "RCLONE_CHECKERS": "32"}
_HUGE = {"RCLONE_TRANSFERS": "2", "RCLONE_CHECKERS": "32"}
"""One comes while another one is read."""
_LARGE_FILE = 16 << 20
"""Mean size from which few are brought at once, each of them by several streams."""
_HUGE_FILE = 256 << 20
"""Mean size from which that are two: all of them at once would also arrive, and have to be read, at once."""


class Store:
    """The server as a copy from it sees it: what is full is the directory."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def explain(self, errors: classify.Errors, code: int, *, total: int | None = None) -> Failure:
        """Return what errors of the engine mean."""
        failure = self._server.explain(errors, code, total=total)
        if failure.failure_class == transfer.NO_SPACE:
            return reasons.full(failure.message.rpartition("(")[2].rstrip(")"))
        return failure

    def start_question(self) -> process.Child:
        """Begin to ask whether the server answers at all."""
        return self._server.start_question()

    def tell_silence(self) -> Failure:
        """Return what it means that it does not."""
        return self._server.tell_silence()


class Clock:
    """When something has advanced last: a file came, or since the last file more bytes than in any try before. Bytes alone are none: a file that breaks off
    at the same place each time brings them for ever.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._before, self._now, self._most = 0, 0, 0
        self.advanced = monotonic()

    def start(self) -> None:
        """Something else is to come."""
        self._most = 0
        self.advanced = self._monotonic()
        self.begin()

    def begin(self) -> None:
        """Another try begins, whose bytes are counted from none."""
        self._before = self._now = 0

    def count(self, size: int) -> None:
        """So many bytes have come in this try."""
        self._now = size
        if size - self._before > self._most:
            self._most, self.advanced = size - self._before, self._monotonic()

    def file(self) -> None:
        """A file has come."""
        self._before, self._most = self._now, 0
        self.advanced = self._monotonic()

    def silent(self) -> float:
        """Return the seconds since the last advance."""
        return self._monotonic() - self.advanced


class Fetching:
    """See the module. `environment` is the engine's for data, `folder` where below the root the files of the point are, `scratch` a directory of
    our own, `into` a handle on the folder where files arrive, and `path` a path of that.
    """

    def __init__(
        self,
        *,
        engine: process.Engine,
        server: Server,
        environment: Mapping[str, str],
        folder: str,
        into: int,
        path: str,
        scratch: str,
        report: Reporter,
        show: Callable[[logs.Line], None],
        outage_limit: float,
        grace: float,
        arrived: Callable[[File], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`arrived` hears of each file of which the engine says that it has copied it."""
        self._arrived = arrived
        self._due: dict[str, File] = {}
        self._engine = engine
        self._server = server
        self._store = Store(server)
        self._environment = _plain(environment)
        self._folder = folder
        self._into = into
        self._path = path
        self._scratch = scratch
        self._report = report
        self._show = show
        self._beyond: set[bytes] = set()
        self._outage_limit = outage_limit
        self._clock = Clock(monotonic)
        self._heard: int = 0
        self._sync: Sync = Sync(
            engine,
            destination=self._store,
            report=report,
            show=self._hear,
            outage_limit=outage_limit,
            grace=grace,
            monotonic=monotonic,
            counts_bytes=True,
        )
        self._sync.counted = lambda stats: self._clock.count(stats.bytes)
        self._distrusts = False
        """Whether the store's ETags turned out to be no checksums: then the engine does not judge by them what came, and the manifest alone does."""
        self.said = ""
        """What the engine said last of objects that did not come."""

    def fetch(self, files: Sequence[File]) -> None:
        """Bring these files. Raises Failure when none of the others could be brought either; what did not come is missing afterwards."""
        self._patiently(lambda: self._bring(files))

    def _patiently(self, act: Callable[[], T]) -> T:
        """Return what `act` returns. While the server cannot be reached it is tried again, until the outage limit has passed since the last advance."""
        self._clock.start()
        wait = _FIRST_WAIT
        while True:
            before = self._clock.advanced
            self._clock.begin()
            try:
                found = act()
            except Failure as failure:
                if failure.failure_class != transfer.NETWORK or not failure.retryable:
                    raise
                wait = _FIRST_WAIT if self._clock.advanced > before else wait
                if self._clock.silent() + wait > self._outage_limit:
                    raise
                self._report.wait(failure.message)
            else:
                self._report.wait("")
                return found
            self._engine.stop.pause(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _bring(self, files: Sequence[File]) -> None:
        listed = f"{self._scratch}/wanted"
        with keeping("The list of what is fetched", wants="the length of each path"), open(listed, "wb") as out:  # noqa: PTH123 - a start-up budget
            out.writelines(file.key + b"\n" for file in files)
        size = sum(file.size for file in files)
        largest = max(_LEAST, *(file.size for file in files))
        small = _MANY if largest <= _LEAST else _SMALL
        large = _HUGE if size >= _HUGE_FILE * len(files) else _LARGE
        chosen = large if size >= _LARGE_FILE * len(files) else small
        # no RCLONE_MAX_TRANSFER: with that rclone 1.75 may stand still for ever. Its statistics lock the list of transfers and then want the lock of a
        # file, whose reader holds that and asks for the bytes so far, which waits for the end of another transfer, which wants the list.
        environment = chosen | self._environment | _SETTINGS
        if self._distrusts or all(file.md5 for file in files):
            # each of them is compared with the manifest afterwards, whatever the store calls its checksum
            environment |= {"RCLONE_IGNORE_CHECKSUM": "true"}
        before = self._sync.moved.files
        self._beyond.clear()
        self._due = {names.logged(file.key).decode(): file for file in files if file.size >= WORTH}
        try:
            self._sync.copy(
                self._server.remote(self._folder),
                self._path,
                environment=environment,
                extra=["--files-from-raw", listed],
                total=lambda: len(files),
                largest=largest,
                uploaded=self._note,
            )
        except Failure as failure:
            if failure.failure_class not in _SOFT or failure.reason in _OF_THE_ENGINE:
                raise
            nothing = self._sync.moved.files == before
            if nothing and failure.failure_class in {transfer.NOT_FOUND, transfer.DENIED} and not failure.problems:
                raise
            self.said = failure.message
            if nothing and _CORRUPTED in failure.message:
                self._distrusts = True

    def _note(self, name: str, _: int) -> None:
        file = self._due.pop(name, None)
        if file is not None:
            self._arrived(file)

    def why_missing(self, file: File) -> str:
        """Return why one of the files that were to be brought last has not come, empty where that is not known."""
        return _more_than(file) if names.logged(file.key) in self._beyond else ""

    def _hear(self, line: logs.Line) -> None:
        if self._sync.moved.files != self._heard:
            self._heard = self._sync.moved.files
            self._clock.file()
        if line.level == "error" and _BEYOND in line.msg and line.object:
            self._beyond.add(line.object.encode("utf-8", "replace"))
        self._show(line)

    def fetch_sparse(self, file: File) -> str:
        """Bring one file without giving its holes any room; return what is wrong with it, empty for nothing."""
        return self._patiently(lambda: self._stream(file))

    def _stream(self, file: File) -> str:
        read, write = os.pipe2(os.O_CLOEXEC)
        source = self._server.remote(self._folder).encode() + file.key
        child = None
        try:
            try:
                child = self._engine.start(
                    # one byte more than there should be shows that there is more
                    [b"cat", b"--count", str(file.size + 1).encode(), source],
                    environment=self._environment | _SETTINGS | {"RCLONE_STATS": "0"},
                    on_line=self._show,
                    output=f"/proc/self/fd/{write}",
                )
            finally:
                os.close(write)
            flaw = self._receive(read, file)
            code = child.finish() if not flaw else 0
            self._engine.stop.check()
            if code:
                failure = self._store.explain(child.errors, code)
                if failure.failure_class not in _SOFT:
                    raise failure
                self.said = failure.message
                return (
                    MISSING if failure.failure_class == transfer.NOT_FOUND else flaw or "it cannot be read at the store"
                )
            return flaw
        finally:
            os.close(read)
            if child is not None:
                child.close()

    def _receive(self, read: int, file: File) -> str:
        """Write what comes, but no zeros; return what is wrong with it. Raises Failure when there is no room."""
        digest = md5(usedforsecurity=False)
        try:
            with enter_parent(self._into, file.raw, make=True) as (folder, name):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb", buffering=0) as out:
                    got = 0
                    for piece in self._pieces(read):
                        for begin, end in holes.data_in(piece):
                            _write(out.fileno(), piece[begin:end], got + begin)
                        digest.update(piece)
                        got += len(piece)
                        self._report.arrived(got, speed=0.0)
                        self._clock.count(got)
                        if got > file.size:
                            return _more_than(file)
                    out.truncate(got)
        except Refused as refused:
            return refused.kind
        except OSError as error:
            if error.errno in FULL:
                raise reasons.full(error.strerror or "") from None
            return f"it cannot be written: {error.strerror}"
        return "it has another checksum" if file.md5 and got == file.size and digest.hexdigest() != file.md5 else ""

    def _pieces(self, read: int) -> Iterator[bytes]:
        """Yield what comes in pieces of whole blocks, but the last."""
        rest = bytearray()
        while True:
            while not select.select([read], [], [], _LOOK_SECONDS)[0]:
                self._engine.stop.check()
            self._engine.stop.check()
            part = os.read(read, CHUNK)
            if not part:
                break
            rest += part
            if len(rest) >= CHUNK:
                yield bytes(rest[:CHUNK])
                del rest[:CHUNK]
        if rest:
            yield bytes(rest)


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the engine's environment without the user's own choice of files, comparison and links: what comes is what the manifest says."""
    return {name: value for name, value in for_checking(without_filters(environment)).items() if name not in _NOT_OURS}


def _more_than(file: File) -> str:
    return f"it has more than {file.size} bytes"


def _write(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
