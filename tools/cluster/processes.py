"""Processes of this machine, as /proc shows them: whose they are, since when they run, what they take.

Two things tell that a process is the cluster's, even when nobody wrote it down: its program and a path of the cluster on its command line,
or a root file system made of layers in the cluster's directory.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PROCESSES = Path("/proc")
_SHIM = "containerd-shim-runc-v2"


def find_programs(name: str, directory: Path) -> list[int]:
    """Return the processes of the program `name` that name something below `directory` on their command line."""
    return [pid for pid in _each() if _runs(_read(pid, "cmdline"), name, directory)]


def find_containers(directory: Path) -> list[int]:
    """Return the processes in containers whose layers lie below `directory`, and those that look after such containers."""
    return [
        *find_programs(_SHIM, directory),
        *(pid for pid in _each() if _lives_in(_read(pid, "mountinfo"), directory)),
    ]


def end_containers(directory: Path, *, seconds: float = 10) -> None:
    """Kill all of these, and wait for their end at most `seconds`."""
    deadline = time.monotonic() + seconds
    while (found := find_containers(directory)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def started_at(pid: int) -> str:
    """Return when the kernel started a process, in its ticks; empty when there is none, or it is only a remainder."""
    try:
        stat = (_PROCESSES / str(pid) / "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]


def age_of(pid: int) -> float:
    """Return for how many seconds a process has been running, 0 when there is none."""
    started = started_at(pid)
    ticks = os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / ticks) if started else 0.0


def memory_of(pid: int) -> int:
    """Return a process's resident memory in bytes, 0 when there is none."""
    try:
        return int((_PROCESSES / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def reap() -> None:
    """Take note of children of ours that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _each() -> Iterator[int]:
    return (int(entry.name) for entry in _PROCESSES.iterdir() if entry.name.isdecimal())


def _read(pid: int, name: str) -> str:
    """Return a file of a process; empty when it has ended."""
    try:
        return os.fsdecode((_PROCESSES / str(pid) / name).read_bytes())
    except OSError:
        return ""


def _runs(line: str, name: str, directory: Path) -> bool:
    program, *arguments = line.split("\0")
    words = [word for argument in arguments for word in (argument, argument.partition("=")[2])]
    return Path(program).name == name and any(word.startswith(f"{directory}/") for word in words)


def _lives_in(table: str, directory: Path) -> bool:
    """Tell whether the root of a mount table is an overlay whose files are kept below `directory`."""
    roots = [line for line in table.split("\n") if line and line.split(" ")[4] == "/"]
    return any(f"upperdir={directory}/" in line for line in roots)
