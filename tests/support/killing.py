"""`datamover` as a process that is killed with -9 at the n-th of its effects.

An effect is what another process or a later run can see: a file or folder that is synced, renamed or removed, a process that is started.
The count goes over all threads; the process dies just before the effect, or just after it.

Run as a program: `killing.py N before|after ARGUMENTS...`; N 0 kills nothing. The last line on standard error says how many effects there were.
"""

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Guillotine:
    """Counts effects, and ends the process at the chosen one."""

    def __init__(self, fatal: int, *, after: bool) -> None:
        self._fatal = fatal
        self._after = after
        self._lock = threading.Lock()
        self.count = 0

    def wrap(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(effect):

            async def awaited(*arguments: Any, **named: Any) -> Any:
                with self._stroke():
                    return await effect(*arguments, **named)

            return awaited

        def called(*arguments: Any, **named: Any) -> Any:
            with self._stroke():
                return effect(*arguments, **named)

        return called

    @contextmanager
    def _stroke(self) -> Iterator[None]:
        with self._lock:
            self.count += 1
            fatal = self.count == self._fatal
        if fatal and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        yield
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    from datamover.cli import main as command
    from localkube.node import directories, pod_directory, process

    fatal, when, *arguments = sys.argv[1:]
    blade = Guillotine(int(fatal), after=when == "after")
    for place, name in (
        (os, "fsync"),
        (Path, "rename"),
        (Path, "replace"),
        (directories, "remove_tree"),
        (directories, "copy_tree"),
        (pod_directory, "remove_tree"),
        (process.Supervisor, "start"),
    ):
        setattr(place, name, blade.wrap(getattr(place, name)))
    try:
        command.main(arguments, prog_name="datamover")
    finally:
        print(f"effects: {blade.count}", file=sys.stderr)


if __name__ == "__main__":
    main()
