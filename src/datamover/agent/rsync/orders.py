# ruff: noqa: PTH102, PTH123, PTH208  # a start-up budget that pathlib would take a tenth of
"""What a process that serves one connection, behind sshd or stunnel, knows of the attempt, and how it tells the attempt what happened.

sshd gives a forced command a new environment, so all of it is in files of the attempt's own folder: `forced.json`, which says what is moved;
`orders`, a named pipe, which takes one line of JSON for each thing that happened; `log`, another, for what rsync says; `running/PID`, locked for as long as that process, or a
program that it became, lives.
"""

import fcntl
import os
import select
import signal
import time
from contextlib import suppress
from typing import Final

import msgspec

from datamover.api import outside
from datamover.api.outside import Count

_PLAN: Final = "forced.json"
_PIPE: Final = "orders"
_RUNNING: Final = "running"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What such a process may touch."""

    volume: str
    is_device: bool
    rsync: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What happened: `began` (a transfer), `failed` (it, for this reason), `blocks` (a block device is equal now) or `shutdown`, with the source's code."""

    what: str
    code: Count = 0
    size: Count = 0
    written: Count = 0
    why: str = ""


BEGAN: Final = "began"
FAILED: Final = "failed"
BLOCKS: Final = "blocks"
SHUTDOWN: Final = "shutdown"


def log_of(folder: str) -> str:
    """Return the pipe that rsync's log goes to."""
    return f"{folder}/log"


_decode_plan: Final = outside.Decoder(Plan)
_decode_order: Final = outside.Decoder(Order)


def prepare(folder: str, plan: Plan) -> None:
    """Make the files."""
    os.mkfifo(f"{folder}/{_PIPE}", 0o600)
    os.mkdir(f"{folder}/{_RUNNING}", 0o700)
    with open(f"{folder}/{_PLAN}", "wb") as file:
        file.write(msgspec.json.encode(plan))


def read_plan(folder: str) -> Plan:
    """Return what such a process may touch. Raises OSError and outside.Unusable."""
    with open(f"{folder}/{_PLAN}", "rb") as file:
        return _decode_plan(file.read(outside.RECORD_LIMIT))


def tell(folder: str, order: Order) -> None:
    """Tell the attempt. Raises OSError when it is not there any more."""
    handle = os.open(f"{folder}/{_PIPE}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(handle, msgspec.json.encode(order) + b"\n")  # shorter than a pipe's atomic write
    finally:
        os.close(handle)


def register(folder: str) -> None:
    """Count as running for as long as this process lives, whatever program it becomes."""
    handle = os.open(f"{folder}/{_RUNNING}/{os.getpid()}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.set_inheritable(handle, True)


def find_running(folder: str) -> list[int]:
    """Return the processes that run."""
    found: list[int] = []
    for name in os.listdir(f"{folder}/{_RUNNING}"):
        with suppress(OSError), open(f"{folder}/{_RUNNING}/{name}", "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(int(name))
    return found


def end_running(folder: str, *, patience: float) -> bool:
    """Wait so long until no process runs, then kill those that do; return whether none had to be."""
    until = time.monotonic() + patience
    while running := find_running(folder):
        if time.monotonic() > until:
            for process in running:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True


class Inbox:
    """The attempt's end of the pipe."""

    def __init__(self, folder: str) -> None:
        # for writing as well, so that it does not end with the last of the writers
        self._handle = os.open(f"{folder}/{_PIPE}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def wait(self, seconds: float) -> list[Order]:
        """Return what is told within this time, as soon as something is."""
        if not select.select([self._handle], [], [], seconds)[0]:
            return []
        *lines, self._rest = (self._rest + os.read(self._handle, 1 << 16)).split(b"\n")
        return [_decode_order(line) for line in lines]

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._handle)
