"""Processes that must not outlive their node: how they are tied to its life, marked, found again and ended.

Guarantees: where util-linux's `setpriv` is there, the kernel kills a process that was started behind `tied()` as soon as its node dies, by
kill -9 too; whatever else is left of it (what it had started itself, everything where there is no setpriv) is ended by `end_leftovers` when the
next node opens the state directory. Strangers are never touched: a process is ours when its own environment says so.
Caveats: a process that has left its session and cleared its environment is not known as ours any more, and one that forks and leaves in each
millisecond can be missed. The kernel's promise is for the process that was started, not for what that one starts (the mover's agent ties its engine by itself), and it
ends when a program is executed that is set-uid. Without /proc (macOS) nothing is found again.
"""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from urllib.parse import quote

MARKER = "DATAMOVER_CONTAINER_ID"
"""Environment variable that every process of a container inherits, with the id of the container."""
_TICK = 0.02


class LeftoversError(Exception):
    """Something of an earlier node still runs and cannot be ended."""


def tied() -> tuple[str, ...]:
    """Return what to put before a command so that it is killed when the thread that starts it ends; empty where nothing can do that.

    The kernel ties a child to the *thread* that made it. asyncio and uvloop start children in the thread of their loop, which is the main thread
    of a node's process: do not start one from a worker thread.
    """
    found = shutil.which("setpriv")
    if found is None or Path(found).resolve().name != "setpriv":  # busybox has one that cannot do it
        return ()
    return (str(Path(found).absolute()), "--pdeathsig", "KILL", "--")


def marker_prefix(state_dir: Path) -> str:
    """Return what the ids of all containers of a state directory start with."""
    return quote(os.fsencode(state_dir.resolve())) + "#"


def kill_marked(id_: str, *, prefix: bool = False) -> list[int]:
    """Kill every process that is marked with this id (with `prefix`: with any that begins so), and return their pids. Blocks for some milliseconds."""
    wanted = f"{MARKER}={id_}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it went, or is another user's
            variables = (entry / "environ").read_bytes().split(b"\0")
            if any(each.startswith(wanted) if prefix else each == wanted for each in variables):
                os.kill(int(entry.name), signal.SIGKILL)
                found.append(int(entry.name))
    return found


def end_leftovers(state_dir: Path, *, patience: float) -> None:
    """Kill what an earlier node left running, and wait until it is gone. Blocks up to `patience` seconds. Raises LeftoversError."""
    deadline = time.monotonic() + patience
    while left := kill_marked(marker_prefix(state_dir), prefix=True):
        if time.monotonic() >= deadline:
            raise LeftoversError(
                f"processes of an earlier node do not end: {', '.join(map(str, left))}; end them and start again"
            )
        time.sleep(_TICK)
