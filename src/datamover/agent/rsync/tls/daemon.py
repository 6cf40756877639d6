"""The rsync daemon of a destination: its configuration, and what its log tells."""

import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.rsync import output
from datamover.agent.rsync.causes import Complaints
from datamover.api import outside, transfer

DATA = "data"
CONTROL = "control"
COMPLETE = "complete"
"""The name of the file in `control` by which a source ends the server."""
_PREFIX = re.compile(r"[0-9/]{10} [0-9:]{8} \[([0-9]{1,10})\] (.*)")
_SUMMARY = re.compile(r"sent ([0-9]{1,20}) bytes  received ([0-9]{1,20}) bytes  total size ([0-9]{1,20})")
_WRITES = re.compile(r"rsync to ([a-z]{1,20})/")
_DULL = re.compile(
    r"connect from |rsync (?:to|on) |rsync allowed access|receiving file list|building file list|module-list request|name lookup failed"
)
_CONNECTIONS = 4
"""Connections at the same time. A source has one."""
_LINES = 200
"""Lines about one connection that are printed."""
_SETGID = 6
_CHOWN = 0


class Identity(msgspec.Struct, frozen=True):
    """Who the mover is: its user, and which capabilities it has."""

    user: int
    capabilities: int

    @property
    def is_root(self) -> bool:
        """Whether rsync will take itself for root, who changes its groups and gives files to their owners."""
        return self.user == 0

    def has(self, number: int) -> bool:
        """Whether it has a capability."""
        return bool(self.capabilities >> number & 1)


def own_identity() -> Identity:
    """Return who this process is."""
    capabilities = 0
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - start-up budget
        for line in file:
            if line.startswith("CapEff:"):
                capabilities = int(line.split()[1], 16)
    return Identity(os.geteuid(), capabilities)


def configure(*, data: str, control: str, log: str, lock: str, identity: Identity) -> str:
    """Return the daemon's configuration. Raises Failure for an identity by which no daemon can run."""
    if identity.is_root and not (identity.has(_SETGID) and identity.has(_CHOWN)):
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            "The mover is root without the rights that root needs here: rsync's daemon sets its groups and gives files to their owners, and may not."
            " Set moverSecurityContext.runAsUser (and fsGroup) to the user of the files, or allow privileged movers in this namespace (annotation"
            " volsync.backube/privileged-movers).",
        )
    # a daemon of root would become nobody; one of anybody else stays who it is
    user = "uid = 0\ngid = *\n" if identity.is_root else ""
    return (
        f"use chroot = no\nreverse lookup = no\nlog file = {log}\nlist = yes\n{user}read only = no\nnumeric ids = yes\n"
        # not 1: the daemon of a pass may still end when the next pass begins
        f"max connections = {_CONNECTIONS}\nlock file = {lock}\n"
        # another project's sources send no keep-alives: whoever is gone is noticed by the tunnel
        "timeout = 0\n"
        f"[{DATA}]\ncomment = datamover\npath = {data}\nmunge symlinks = yes\n"
        f"[{CONTROL}]\ncomment = datamover\npath = {control}\nmunge symlinks = yes\n"
    )


def wait_gone(lock: str, *, seconds: float) -> bool:
    """Wait until no daemon is left, at most so long; return whether that is so. They are no children of ours, and each holds a part of `lock`."""
    end = time.monotonic() + seconds
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EACCES, errno.EAGAIN} or time.monotonic() > end:
                    return False
                time.sleep(0.05)
            else:
                return True
    finally:
        os.close(handle)


class Transfer(msgspec.Struct):
    """What the log has told of the connections so far. `size` is what the last source had, in bytes."""

    connections: int = 0
    received: int = 0
    size: int = 0
    writing: bool = False


class Log:
    """Reads the daemon's log from a pipe with a name, in a thread: nothing of it is stored, however much a peer has written there."""

    def __init__(self, path: str, *, say: Callable[[str], None], changed: threading.Event) -> None:
        """Make the pipe at `path` and read it. `say` takes lines for people; `changed` is set at each line."""
        os.mkfifo(path, 0o600)
        # for writing as well: it never ends, and no daemon waits for a reader
        self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.transfer = Transfer()
        self.complaints = Complaints()
        self._say = say
        self._changed = changed
        self._printed: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def trouble(self) -> str:
        """What is wrong at this side, as a sentence, or empty."""
        found = self.complaints.out_of_space
        return f"there is no space left on the volume, make it larger: {found}" if found else ""

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
            self._begin(text)
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

    def _begin(self, text: str) -> None:
        if text.startswith("connect from "):
            self.transfer.connections += 1
        elif (writes := _WRITES.match(text)) and writes[1] == DATA:
            self.transfer.writing = True
            # what was wrong may have been mended
            self.complaints = Complaints()

    def _end(self, numbers: tuple[str, ...]) -> None:
        try:
            _, received, size = (outside.integer(number) for number in numbers)
        except outside.Unusable:
            return
        self.transfer.received = min(outside.INT64, self.transfer.received + received)
        self.transfer.size = max(size, self.transfer.size)
