"""What rsync says at the end that receives: as a daemon behind the tunnel, or started by sshd. Its client is told the same, and nobody here would be."""

import os
import re
import threading
from collections.abc import Callable

import msgspec

from datamover.agent.rsync import output
from datamover.agent.rsync.causes import Complaints
from datamover.api import outside

_PREFIX = re.compile(r"[0-9/]{10} [0-9:]{8} \[([0-9]{1,10})\] (.*)")
_SUMMARY = re.compile(r"sent ([0-9]{1,20}) bytes  received ([0-9]{1,20}) bytes  total size ([0-9]{1,20})")
_WRITES = re.compile(r"rsync to ([a-z]{1,20})/")
_DULL = re.compile(
    r"connect from |rsync (?:to|on) |rsync allowed access|receiving file list|building file list|module-list request|name lookup failed"
)
_LINES = 200
"""Lines about one connection that are printed."""


class Transfer(msgspec.Struct):
    """What the log has told of the connections so far. `size` is what the last source had, in bytes."""

    connections: int = 0
    received: int = 0
    size: int = 0
    writing: bool = False


class Log:
    """Reads the log from a pipe with a name, in a thread: nothing of it is stored, however much a peer has written there."""

    def __init__(
        self, path: str, *, say: Callable[[str], None], changed: threading.Event | None = None, module: str = ""
    ) -> None:
        """Make the pipe at `path` and read it. `say` takes lines for people; `changed` is set at each line; `module`: the daemon's for the volume."""
        os.mkfifo(path, 0o600)
        # for writing as well: it never ends, and no rsync waits for a reader
        self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.transfer = Transfer()
        self.complaints = Complaints()
        self._say = say
        self._changed = changed or threading.Event()
        self._module = module
        self._printed: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def trouble(self) -> str:
        """What is wrong at this side, as a sentence, or empty."""
        found = self.complaints.out_of_space
        return f"there is no space left on the volume, make it larger: {found}" if found else ""

    def begin(self) -> None:
        """A transfer into the volume has begun: what was wrong may have been mended."""
        self.transfer.writing = True
        self.complaints = Complaints()

    def close(self) -> None:
        """Stop to read, after all that was written."""
        os.write(self._handle, b"\0\n")
        self._reader.join(5)
        if not self._reader.is_alive():
            os.close(self._handle)

    def _read(self) -> None:
        splitter = output.Splitter()
        while True:
            for raw in splitter.feed(os.read(self._handle, 1 << 16)):
                if raw == b"\0":
                    return
                self._take(raw.decode("utf-8", "backslashreplace"))
            self._changed.set()

    def _take(self, line: str) -> None:
        match = _PREFIX.fullmatch(line)
        connection, text = match.groups() if match else ("", line)
        if _DULL.match(text):
            self._note(text)
            return
        if summary := _SUMMARY.fullmatch(text):
            self._end(summary.groups())
        self.complaints.take(text)
        printed = self._printed.get(connection, 0) + 1
        self._printed = {**dict(list(self._printed.items())[-32:]), connection: printed}
        if printed < _LINES:
            self._say(text)
        elif printed == _LINES:
            self._say("rsync: more lines of this connection are not shown")

    def _note(self, text: str) -> None:
        if text.startswith("connect from "):
            self.transfer.connections += 1
        elif (writes := _WRITES.match(text)) and writes[1] == self._module:
            self.begin()

    def _end(self, numbers: tuple[str, ...]) -> None:
        try:
            _, received, size = (outside.integer(number) for number in numbers)
        except outside.Unusable:
            return
        self.transfer.received = min(outside.INT64, self.transfer.received + received)
        self.transfer.size = max(size, self.transfer.size)
