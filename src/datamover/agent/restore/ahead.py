"""Reading files for their checksums as soon as each of them has arrived, while others still come: the network, the processor and the disk are busy at one time.

What was read counts only as long as the file is what it was: the same one, of the same size, unwritten since. Whoever compares it looks at
that, and reads it again where it is not so.

Guarantees: a file that is not read here is one that is read later; what the disk refused is told by `settle`.
Assumptions: the engine has let go of a file when it says that it has copied it.
"""

import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import md5

from datamover.agent.files.handles import Refused, enter_parent
from datamover.agent.restore.wanted import File

WORTH = 4 << 20
"""Bytes from which a file is read ahead: for a smaller one finding it takes as long as reading it."""
_READERS = 2
_PIECE = 1 << 18
_DURABLE = 64 << 20
"""Bytes from which a file is brought to the disk here as well: at the end there is less to wait for."""
_RESTED = 20_000_000
"""Nanoseconds since the last change of a file before it is read: clocks of file systems are that coarse, and a change within one step would not be seen."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

State = tuple[int, int, int, int, int]
"""Device, number, size, and times of the last change of contents and of anything, in nanoseconds: another one is another file, or was written."""


def state_of(status: os.stat_result) -> State:
    """Return by what a file is known to be what it was."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Ahead:
    """See the module. `arrived` is a handle on the folder where files arrive; `check_stop` raises when the attempt is to end."""

    def __init__(self, arrived: int, *, check_stop: Callable[[], None]) -> None:
        self._arrived = arrived
        self._check_stop = check_stop
        self._waiting: queue.SimpleQueue[File | None] = queue.SimpleQueue()
        self._known: dict[State, bytes] = {}
        self._left = 0
        self._changed = threading.Condition()
        self._trouble: OSError | None = None
        self._ended = False
        self._readers: list[threading.Thread] = []

    def note(self, file: File) -> None:
        """A file has arrived."""
        if not file.md5 or file.size < WORTH:
            return
        with self._changed:
            self._left += 1
        if not self._readers:
            self._readers = [threading.Thread(target=self._read_all, daemon=True) for _ in range(_READERS)]
            for reader in self._readers:
                reader.start()
        self._waiting.put(file)

    def settle(self) -> None:
        """Wait until all that has arrived was read. Raises OSError for what the disk did not take, and what `check_stop` raises."""
        with self._changed:
            while self._left:
                self._check_stop()
                self._changed.wait(0.2)
        if self._trouble is not None:
            raise self._trouble

    def digest(self, status: os.stat_result) -> bytes | None:
        """Return the MD5 of a file that was read here and is what it was then, once; None of any other."""
        return self._known.pop(state_of(status), None)

    def forget(self) -> None:
        """Forget what nobody has asked for: what comes next is another batch."""
        self._known.clear()

    def close(self) -> None:
        """End. What is being read is not waited for to its end."""
        self._ended = True
        for _ in self._readers:
            self._waiting.put(None)
        for reader in self._readers:
            reader.join()

    def _read_all(self) -> None:
        while (file := self._waiting.get()) is not None:
            try:
                with suppress(OSError, Refused):  # whoever brings it to its place meets that again, and says so
                    self._read(file)
            finally:
                with self._changed:
                    self._left -= 1
                    self._changed.notify_all()

    def _read(self, file: File) -> None:
        with enter_parent(self._arrived, file.raw) as (folder, name):
            handle = os.open(name, _READ, dir_fd=folder)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                return
            rest = status.st_ctime_ns + _RESTED - time.time_ns()
            if 0 < rest <= _RESTED:
                time.sleep(rest / 1e9)
            digest = self._digest(handle)
            if digest is None:
                return
            if status.st_size >= _DURABLE:
                self._save(handle)
            if state_of(os.fstat(handle)) == state_of(status):
                self._known[state_of(status)] = digest
        finally:
            os.close(handle)

    def _save(self, handle: int) -> None:
        try:
            os.fdatasync(handle)
        except OSError as error:
            # the disk tells it once
            self._trouble = self._trouble or error
            raise

    def _digest(self, handle: int) -> bytes | None:
        """Return the MD5 of all of a file, None when it is not wanted any more."""
        found = md5(usedforsecurity=False)
        room = bytearray(_PIECE)
        view = memoryview(room)
        offset = 0
        while size := os.preadv(handle, [view], offset):
            if self._ended:
                return None
            found.update(view[:size])
            offset += size
        return found.digest()
