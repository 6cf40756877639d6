"""Processes that outlive the program that started them: a pid file, a log, and an end in order.

A pid file holds the pid and the time at which the kernel started it, so that another process with the same number is never taken for ours.
A part whose `up` was killed before it wrote that file is known by its command line.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.layout import ClusterError, Layout
from cluster.processes import age_of, find_programs, memory_of, reap, started_at


class DaemonError(ClusterError):
    """A part did not start, or did not become ready. The message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """One part of the cluster. `arguments` is empty for one that is only looked at or stopped."""

    name: str
    layout: Layout
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.layout.logs / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return self.layout.pids / f"{self.name}.json"

    @property
    def pid(self) -> int | None:
        """The pid of the running process; None when it does not run."""
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(self._record.read_text())
            # no time is noted of a process that ended before it could be
            if record["started"] and started_at(record["pid"]) == record["started"]:
                return record["pid"]
        if not self.arguments:
            return None
        return next(iter(find_programs(Path(self.arguments[0]).name, self.layout.directory)), None)

    def start(self) -> None:
        """Start it, unless it runs; does not wait until it is ready."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            # spawned and not a child object of ours: it outlives this program
            pid = os.posix_spawn(
                self.arguments[0],
                self.arguments,
                {"PATH": os.environ["PATH"], "HOME": str(self.layout.directory), **self.environment},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
            )
        fresh = self._record.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": pid, "started": started_at(pid)}))
        fresh.rename(self._record)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 60) -> None:
        """Wait until `ready()`; OSErrors of it count as not yet. Raises DaemonError when it ends before, or time is up."""
        deadline = time.monotonic() + seconds
        while True:
            reap()
            if self.pid is None:
                raise DaemonError(f"{self.name} ended while starting; the end of {self.log}:\n{self.tail()}")
            with contextlib.suppress(OSError):
                if ready():
                    return
            if time.monotonic() > deadline:
                raise DaemonError(
                    f"{self.name} was not ready after {seconds:.0f} s; the end of {self.log}:\n{self.tail()}"
                )
            time.sleep(0.05)

    def stop(self, *, patience: float = 10) -> None:
        """Ask it to end, kill it after `patience` seconds, and wait for its end. Does nothing when it does not run."""
        pid = self.pid
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 30)):
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while self.pid is not None and time.monotonic() < deadline:
                reap()
                time.sleep(0.02)
            pid = self.pid
        if pid is not None:
            raise DaemonError(f"{self.name} (pid {pid}) does not end even when it is killed")
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        self.stop()

    def tail(self, lines: int = 30) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - lines * 600))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])

    @property
    def memory(self) -> int:
        """Resident memory in bytes; 0 when it does not run."""
        pid = self.pid
        return memory_of(pid) if pid is not None else 0

    @property
    def age(self) -> float:
        """Seconds since the start; 0 when it does not run."""
        pid = self.pid
        return age_of(pid) if pid is not None else 0
