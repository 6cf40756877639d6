"""Programs that a test starts: each with a log, stopped by pid, and gone even when the test runner is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Reads "+ PID" and "- PID" lines; when its input ends, because its parent ended in whatever way, it kills what is left and
# removes the directory.
_UNDERTAKER = r"""
trap '' INT TERM HUP
pids=" "
while read -r sign pid; do
  case $sign in
    +) pids="$pids$pid " ;;
    -) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
rm -rf -- "$1"
"""

GO = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}
"""The environment of programs in Go that tests start: they collect garbage when there is much of it. A third of what a short one costs."""


class ProgramError(RuntimeError):
    """A program did not start or did not become ready. The message ends with the last lines of its log."""


class Undertaker:
    """A tiny shell that outlives us just long enough to end our programs and remove their directory."""

    def __init__(self, directory: Path) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _UNDERTAKER, "undertaker", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """Kill `pid` when we end."""
        self._tell(f"+ {pid}\n")

    def forget(self, pid: int) -> None:
        """`pid` has ended; somebody else may get its number."""
        self._tell(f"- {pid}\n")

    def close(self) -> None:
        """Let it do its work now and wait for it."""
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        self._shell.wait(timeout=30)

    def _tell(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()


class Program:
    """One program. `arguments` may be replaced between starts; the log is appended to."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        undertaker: Undertaker,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.arguments = tuple(arguments)
        self.log = log
        self._undertaker = undertaker
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the running program. Raises ProgramError when it does not run."""
        if self._process is None:
            raise ProgramError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; does not wait until it is ready."""
        if self.running:
            raise ProgramError(f"{self.name} runs already")
        with self.log.open("ab") as log:
            # A session of its own, so that Ctrl-C reaches us alone and we stop the parts in order.
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=GO | os.environ | self._environment,
                start_new_session=True,
            )
        self._undertaker.watch(self._process.pid)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `ready()`; OSErrors of it count as not yet. Raises ProgramError when it ends before or time is up."""
        deadline = time.monotonic() + seconds
        while True:
            if not self.running:
                raise ProgramError(f"{self.name} ended while starting\n{self.tail()}")
            with contextlib.suppress(OSError):
                if ready():
                    return
            if time.monotonic() > deadline:
                raise ProgramError(f"{self.name} was not ready after {seconds:.0f} s\n{self.tail()}")
            time.sleep(0.05)

    def send(self, number: int) -> None:
        """Send it a signal; nothing when it does not run."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would, and wait for its end."""
        self._end(signal.SIGKILL, patience=10)

    def stop(self, *, patience: float = 5) -> None:
        """Ask it to end; kill it after `patience` seconds. Does nothing when it does not run."""
        try:
            self._end(signal.SIGTERM, patience=patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self, lines: int = 30) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - lines * 600))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])

    def _end(self, number: int, *, patience: float) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        process.wait(timeout=patience)
        self._undertaker.forget(process.pid)
        self._process = None


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on. Another program may take one first: be ready to try again."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
