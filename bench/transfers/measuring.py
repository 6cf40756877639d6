"""One program that is measured with all that it starts: the clock, the processor, and the most memory that all of them had at one moment."""

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.processes import used_by_children
from support.programs import Undertaker

_INTERVAL = 0.05
"""Seconds between two looks at the memory."""
_GRACE = 10.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TOLD = 300
"""Characters of a failure."""


class Command(NamedTuple):
    """A program, all of its environment, and where it runs."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str]
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of the clock and of the processor; MiB of resident memory of all processes together, pages that they share counted more than once."""

    seconds: float
    cpu: float
    mebibytes: float


class StepError(Exception):
    """A step did not succeed: a short line that says why."""


def measure(command: Command, *, limit: float, undertaker: Undertaker) -> Spent:
    """Run a command to its end. Raises StepError when it fails or takes longer than `limit` seconds; nothing of it is left in either case."""
    with tempfile.TemporaryFile() as said:
        used, begun = used_by_children(), time.monotonic()
        process = subprocess.Popen(
            command.arguments,
            env=dict(command.environment),
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        )
        try:
            undertaker.watch(process.pid)
            most = _follow(process.pid, begun + limit)
            took = time.monotonic() - begun
        finally:
            end_tree(process)
            undertaker.forget(process.pid)
        if took >= limit:
            raise StepError(f"took longer than {limit:.0f} s")
        if process.returncode:
            said.seek(0)
            words = " ".join(said.read().decode("utf-8", "replace").split())
            raise StepError(f"ended with {process.returncode}: …{words[-_TOLD:]}")
        return Spent(took, used_by_children() - used, most / (1 << 20))


def tree_of(pid: int) -> list[int]:
    """Return the ids of a process and of all below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):  # it may have ended meanwhile, as may each of its threads
            for thread in os.listdir(f"/proc/{each}/task"):
                with contextlib.suppress(OSError):
                    found += map(int, Path(f"/proc/{each}/task/{thread}/children").read_text().split())
    return found


def end_tree(process: "subprocess.Popen[bytes]") -> None:
    """End a process with all below it: by SIGTERM, and after a while by SIGKILL."""
    if process.poll() is not None:
        return
    below = tree_of(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE)
    for pid in below:
        if pid == process.pid and process.returncode is not None:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _follow(pid: int, end: float) -> int:
    """Wait until a process has ended, or until `end`; return the most bytes that it and those below it had at one moment."""
    most = 0
    handle = os.pidfd_open(pid)
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        while not waiting.poll(_INTERVAL * 1000) and time.monotonic() < end:
            most = max(most, sum(map(_resident, tree_of(pid))))
    finally:
        os.close(handle)
    return most


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
