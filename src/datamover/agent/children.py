# ruff: noqa: PTH100, PTH119, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Child processes of the agent, and the stop that ends them.

Guarantees: no secret on a command line (law L8); every child is asked to end by SIGTERM when the attempt is stopped, and killed
after the grace period; output is drained or goes to a file, so that no child blocks; children of children that were left behind are reaped
when the agent is process 1.
Assumptions: one thread starts and awaits children; threads of ours only drain logs, and timers only request a stop.
Caveats: a child whose parent is killed with -9 gets SIGTERM where util-linux's `setpriv` is there to ask the kernel for that. Elsewhere the
one that moves data ends at its next line of log (a broken pipe), at most a second later, and the one that takes small requests stays,
idle; in a container of its own everything ends with the agent.
"""

import math
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO

from datamover.agent.errors import Stopped
from datamover.api import outside

RawLineHandler = Callable[[bytes], None]

_LOOKS = 20
"""How often it is looked whether a process says anything, in the time after which it counts as silent."""


def find_wrapper(*, search: str | None) -> list[str]:
    """Return what to put before a command so that it hears of its parent's death: util-linux's setpriv, if it is there."""
    import shutil

    found = shutil.which("setpriv", path=search)
    if not found or os.path.basename(os.path.realpath(found)) != "setpriv":  # busybox's cannot do it
        return []
    return [os.path.abspath(found), "--pdeathsig", "TERM"]


class Stop:
    """Whether and why the attempt is to end, and the children that must hear of it. `grace`: seconds that they get to end by themselves.

    `signal` is the last signal that the agent got, if it got any.
    """

    def __init__(self, *, grace: float) -> None:
        self.why: str | None = None
        self.signal: int = signal.SIGTERM
        self.grace = grace
        self._children: set[subprocess.Popen[bytes]] = set()

    def request(self, why: str) -> None:
        """End the attempt: children get SIGTERM now and SIGKILL after the grace period. Safe in a signal handler."""
        if self.why is None:
            self.why = why
            killer = threading.Timer(self.grace, self._kill)
            killer.daemon = True
            killer.start()
        for child in tuple(self._children):
            child.send_signal(signal.SIGTERM)

    def check(self) -> None:
        """Raise Stopped when the attempt is to end."""
        if self.why is not None:
            raise Stopped(self.why)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop. Raises Stopped."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))
        self.check()

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        """Let `child` hear of a stop, also of one that came while it was being started."""
        self._children.add(child)
        if self.why is not None:
            child.send_signal(signal.SIGTERM)

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """The child has ended."""
        self._children.discard(child)

    def pids(self) -> frozenset[int]:
        """Return the process ids of our own children."""
        return frozenset(child.pid for child in tuple(self._children))

    def _kill(self) -> None:
        for child in tuple(self._children):
            child.kill()


def start_process(
    command: Sequence[str | bytes],
    *,
    stop: Stop,
    environment: Mapping[str, str],
    piped: bool,
    merged: bool = False,
    conversing: bool = False,
    output: str | None = None,
    folder: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in `folder`; `stop` ends it. Its log, standard error, is a pipe that the caller reads.

    Standard output goes to the file `output`, else into a pipe when it is `piped`, else nowhere. `merged`: the log goes where that goes.
    `conversing`: its standard input is a pipe, which the caller closes or `Child.close` does.
    """
    target = open(output, "wb") if output is not None else None  # noqa: SIM115 - the child keeps it
    try:
        process = subprocess.Popen(  # noqa: S603 - the program was looked up, arguments hold no secret
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE if conversing else subprocess.DEVNULL,
            stdout=target if target is not None else subprocess.PIPE if piped else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        )
    finally:
        if target is not None:
            target.close()
    stop.watch(process)
    return process


class _Ear:
    """Has a process ended from which nothing is heard for `limit` seconds while its log is listened to.

    What counts are the looks of a thread, not a clock: a container that was frozen, or a machine that slept, has not been silent.
    """

    def __init__(self, limit: float, *, end: Callable[[], None]) -> None:
        self._interval = limit / _LOOKS
        self._end = end
        self._turn = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if limit != math.inf:
            self._thread.start()

    def turn(self) -> None:
        """Begin to wait for a line (first, and each second time), or deal with one."""
        self._turn += 1

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        looks = before = 0
        while not self._closed.wait(self._interval):
            now = self._turn
            looks = looks + 1 if now % 2 and now == before else 0
            before = now
            if looks >= _LOOKS:
                self._end()
                return


class Child:
    """A running child process. Its log (standard error, or both where they are merged) is given to `on_line` by a thread, line by line, unless
    the caller reads it (`drain`).
    """

    def __init__(self, process: subprocess.Popen[bytes], *, stop: Stop, on_line: RawLineHandler | None) -> None:
        self.output = b""
        self.timed_out = False
        self.fell_silent = False
        self._process = process
        self._stop = stop
        self._killer: threading.Timer | None = None
        self._drainer: threading.Thread | None = None
        if on_line is not None:
            self._drainer = threading.Thread(target=self.drain, args=(on_line,), daemon=True)
            self._drainer.start()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def code(self) -> int | None:
        """The exit code, None as long as the process runs."""
        return self._process.poll()

    @property
    def memory(self) -> int:
        """Bytes that the process has in memory; 0 where that is not known, as of one that has ended."""
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{self._process.pid}/statm", "rb") as file:
            return int(file.read(100).split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def limit_files(self, size: int) -> None:
        """Let the process write no file beyond `size` bytes; it gets an error where it tries (EFBIG). For right after the start."""
        import resource

        with suppress(ProcessLookupError):  # it has ended
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, size))

    def ended_within(self, seconds: float) -> bool:
        """Wait for the end of the process, at most so long; return whether it has ended. Its output must go to a file."""
        if self._process.poll() is None:
            # Popen.wait would sleep between looks, up to a twentieth of a second at each end of a listing
            try:
                handle = os.pidfd_open(self._process.pid)
            except OSError:  # a sandbox may not have it
                time.sleep(min(seconds, 0.05))
            else:
                try:
                    select.select([handle], [], [], seconds)
                finally:
                    os.close(handle)
        return self._process.poll() is not None

    def was_killed(self, *, patience: float) -> bool:
        """Whether the process was ended by SIGKILL, or is within `patience` seconds."""
        try:
            return self._process.wait(patience) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    def drain(self, on_line: RawLineHandler, *, silence: float = math.inf) -> None:
        """Give every line of the log to `on_line`, in this thread, until the process closes it. One that says nothing for `silence` seconds is killed, and
        `fell_silent` is set.
        """
        pipe = self._process.stderr or self._process.stdout  # the latter where both are one
        if pipe is None:
            return
        # of what is longer than a line may be the beginning counts: memory stays flat whatever the engine quotes, and a second part might begin
        # within a secret, half of which nobody would know (law L8)
        whole = True
        ear = _Ear(silence, end=self._end_silent)

        def read() -> bytes:
            ear.turn()
            raw = pipe.readline(outside.LOG_LINE_LIMIT)
            ear.turn()
            return raw

        try:
            for raw in iter(read, b""):
                if whole:
                    on_line(raw)
                whole = raw.endswith(b"\n")
        finally:
            ear.close()

    def _end_silent(self) -> None:
        self.fell_silent = True
        self._process.kill()

    def pieces(self) -> Iterator[bytes]:
        """Yield what the process writes to its standard output, a pipe, as it comes, until it closes it. `wait` tells how it ended."""
        pipe = self._process.stdout
        if pipe is not None:
            yield from iter(lambda: os.read(pipe.fileno(), outside.PIECE), b"")

    def wait(self, *, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended; after `timeout` seconds it is killed and `timed_out` is set."""
        code = self.finish(timeout=timeout)
        self._stop.check()
        return code

    def finish(self, *, timeout: float | None = None) -> int:
        """Wait like `wait`, also when the attempt is to end."""
        timer: threading.Timer | None = None
        if timeout is not None:
            timer = threading.Timer(timeout, self.expire)
            timer.daemon = True
            timer.start()
        try:
            if self._process.stdout is not None and self._process.stderr is not None:
                self.output = _read_start(self._process.stdout)
            code = self._process.wait()
        finally:
            if timer:
                timer.cancel()
            self.close()
        return code

    def end(self, *, grace: float) -> None:
        """Ask the process to end, as a stop of the whole attempt would; it is killed after the grace period."""
        self._process.send_signal(signal.SIGTERM)
        self._killer = threading.Timer(grace, self._process.kill)
        self._killer.daemon = True
        self._killer.start()

    def close(self) -> None:
        """Make sure that the process is gone, and nothing of it is left open."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._stop.forget(self._process)
        if self._killer is not None:
            self._killer.cancel()
        if self._drainer is not None:
            self._drainer.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        reap_orphans(self._stop.pids())

    def expire(self) -> None:
        """Kill the process because its time is up. Safe in another thread."""
        self.timed_out = True
        self._process.kill()


def _read_start(pipe: IO[bytes]) -> bytes:
    """Read a pipe to its end; return the beginning, which is all that is asked for of what does not go into a file."""
    start = pipe.read(outside.RECORD_LIMIT)
    while pipe.read(outside.RECORD_LIMIT):
        pass
    return start


def reap_orphans(ours: frozenset[int]) -> None:
    """Collect processes that lost their parent, when the agent is process 1 of its container and so inherits them."""
    if os.getpid() != 1:
        return
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return  # our own children are awaited where they were started
        os.waitpid(found.si_pid, os.WNOHANG)
