"""The one process that starts container processes: a script of its own, standard library only, one thread.

The node talks to it over a socket, one JSON object a line. A separate process because only a single-threaded one may fork
safely, and because it outlives a killed node long enough to stop what the node had started.

Orders (node -> supervisor):
    {"op": "start", "id", "argv", "env", "cwd", "log", "log_limit", "record"}
    {"op": "signal", "id", "signal"}
Reports (supervisor -> node):
    {"event": "started", "id", "pid"}
    {"event": "refused", "id", "error"}                           the program could not be executed
    {"event": "exited", "id", "code", "signal", "started", "finished"}

Guarantees:
- When the node goes away (the socket closes), every container gets SIGTERM, then SIGKILL after `--grace` seconds, and this process ends.
- When this process is killed, the kernel kills the containers' main processes (PR_SET_PDEATHSIG, Linux).
- The end of a container is on disk (`record`, replaced atomically) before it is reported, so that a restarted node finds it.
- A log never takes more than twice `log_limit` bytes; a full disk loses log lines, never a container.
Caveat: on systems without prctl a kill -9 of this process leaves the containers running.
"""

import argparse
import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

MARKER = "DATAMOVER_CONTAINER_ID"
"""Environment variable that every process of a container inherits: how strays are recognised."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 65_536
_LONGEST_LINE = 16_384
_DRAIN_SECONDS = 1.0


def _prctl() -> Any:
    """Return libc's prctl, or None where there is none."""
    try:
        return ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Log:
    """A container's output in the CRI format `<time> <stream> <F|P> <text>`, bounded by one rotation to `<path>.1`."""

    def __init__(self, path: Path, *, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._size = 0
        self._pending = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, data: bytes) -> None:
        """Add output. What does not end in a newline waits for the rest, up to 16 KiB."""
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        for line in lines:
            self._put(stream, b"F", line)
        while len(rest) >= _LONGEST_LINE:
            self._put(stream, b"P", rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._pending[stream] = rest
        self._flush()

    def close(self) -> None:
        """Write what waits for a newline, as a piece that nothing follows, and close."""
        for stream, rest in self._pending.items():
            if rest:
                self._put(stream, b"P", rest)
        self._pending = dict.fromkeys(self._pending, b"")
        self._flush()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _flush(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk must not stop the container
                self._file.flush()

    def _put(self, stream: str, tag: bytes, text: bytes) -> None:
        line = b"%s %s %s %s\n" % (_timestamp().encode(), stream.encode(), tag, text)
        with contextlib.suppress(OSError):
            if self._file is not None and self._size + len(line) > self._limit:
                self._file.close()
                self._file = None
                self._path.replace(f"{self._path}.1")
            if self._file is None:
                self._file = self._path.open("ab")
                self._size = self._file.tell()
            self._file.write(line)
            self._size += len(line)


class Container:
    """One started program: its process group, output pipes and log."""

    def __init__(self, id_: str, process: subprocess.Popen[bytes], log: Log, record: str) -> None:
        self.id = id_
        self.pid = process.pid
        self.process = process
        self.log = log
        self.record = record
        self.started = _timestamp()
        self.open_streams = 2
        self.exit: tuple[int, int | None] | None = None
        self.finished = ""
        self.drain_until = 0.0


class Supervisor:
    """The event loop: orders, output, exits."""

    def __init__(self, control: socket.socket, *, node: int, grace: float) -> None:
        self._control = control
        self._node = node
        self._grace = grace
        self._selector = selectors.DefaultSelector()
        self._containers: dict[str, Container] = {}
        self._by_pid: dict[int, Container] = {}
        self._orders = b""
        self._stopping: float | None = None
        self._killed = False
        self._prctl = _prctl()
        self._wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._ignore)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        if self._prctl is not None:
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(self) -> None:
        """Serve until the node is gone and every container has ended."""
        self._selector.register(self._control, selectors.EVENT_READ, self._read_orders)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._read_wake)
        while self._stopping is None or self._containers:
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._reap()
            self._finish()
            if self._stopping is not None and not self._killed and time.monotonic() >= self._stopping:
                self._killed = True
                self._signal_all(signal.SIGKILL)

    def _patience(self) -> float | None:
        deadlines = [c.drain_until for c in self._containers.values() if c.exit is not None]
        if self._stopping is not None and not self._killed:
            deadlines.append(self._stopping)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _read_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 512)

    def _read_orders(self) -> None:
        try:
            data = self._control.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(self._control)
            self._stop()
            return
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _ignore(self, *_: object) -> None:
        pass  # the wake-up descriptor is what counts

    def _on_signal(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._stopping is None:
            self._stopping = time.monotonic() + self._grace
            self._signal_all(signal.SIGTERM)

    def _obey(self, order: dict[str, Any]) -> None:
        if order["op"] == "start" and os.getppid() == self._node:  # a node that is gone wants nothing any more
            self._start(order)
        elif order["op"] == "signal" and (container := self._containers.get(order["id"])) is not None:
            _signal_group(container, order["signal"])

    def _start(self, order: dict[str, Any]) -> None:
        parent = os.getpid()
        prctl = self._prctl

        def before_exec() -> None:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            if prctl is not None:
                prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:  # it died before the line above could take effect
                    os._exit(137)

        record = Path(order["record"])
        try:
            # before the program: whoever finds this knows that it may have run, and will not run it again
            record.write_text(json.dumps({"id": order["id"]}))
            process = subprocess.Popen(  # noqa: S603 - running programs is what a node does
                order["argv"],
                env={**order["env"], MARKER: order["id"]},
                cwd=order["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509 - safe: this process has one thread
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            with contextlib.suppress(OSError):
                record.unlink()
            self._report({"event": "refused", "id": order["id"], "error": _explain(error, order["argv"][0])})
            return
        container = Container(order["id"], process, Log(Path(order["log"]), limit=order["log_limit"]), order["record"])
        self._containers[container.id] = container
        self._by_pid[container.pid] = container
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, self._reader(container, name, pipe))
        _write_record(container.record, {"id": container.id, "pid": container.pid, "started": container.started})
        self._report({"event": "started", "id": container.id, "pid": container.pid})

    def _reader(self, container: Container, name: str, pipe: IO[bytes]) -> Any:
        def read() -> None:
            try:
                data = os.read(pipe.fileno(), _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                container.log.write(name, data)
            else:
                self._selector.unregister(pipe)
                pipe.close()
                container.open_streams -= 1

        return read

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            container = self._by_pid.pop(pid, None)
            if container is None:
                continue  # a stray that was handed to us as the subreaper
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            code = 128 + number if number is not None else os.WEXITSTATUS(status)
            container.process.returncode = code  # Popen must not wait for it again
            container.exit = (code, number)
            container.finished = _timestamp()
            container.drain_until = time.monotonic() + _DRAIN_SECONDS
            _signal_group(container, signal.SIGKILL)  # like PID 1 of a container: when it ends, all end
            _kill_strays(container.id)

    def _finish(self) -> None:
        ended = [
            c
            for c in self._containers.values()
            if c.exit is not None and (c.open_streams == 0 or time.monotonic() >= c.drain_until)
        ]
        for container in ended:
            for pipe in (container.process.stdout, container.process.stderr):
                if pipe is not None and not pipe.closed:
                    self._selector.unregister(pipe)
                    pipe.close()
            container.log.close()
            assert container.exit is not None
            outcome = {
                "id": container.id,
                "pid": container.pid,
                "code": container.exit[0],
                "signal": container.exit[1],
                "started": container.started,
                "finished": container.finished,
            }
            if self._stopping is not None:
                outcome["node_gone"] = True
            _write_record(container.record, outcome)
            del self._containers[container.id]
            self._report({"event": "exited", **outcome})

    def _signal_all(self, number: int) -> None:
        for container in self._containers.values():
            if container.exit is None:
                _signal_group(container, number)

    def _report(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the node is gone: the record on disk is what counts
            self._control.sendall(json.dumps(message).encode() + b"\n")


def _explain(error: BaseException, program: str) -> str:
    """Say why a program could not be started, without its arguments or environment (law L8)."""
    if isinstance(error, FileNotFoundError):
        return f'exec: "{program}": no such file or directory'
    if isinstance(error, PermissionError):
        return f'exec: "{program}": permission denied'
    if isinstance(error, OSError) and error.strerror:
        return f'exec: "{program}": {error.strerror.lower()}'
    if isinstance(error, ValueError):
        return f'exec: "{program}": an argument or environment variable contains a NUL byte or an invalid name'
    return f'exec: "{program}": {type(error).__name__}'


def _signal_group(container: Container, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(container.pid, number)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _kill_strays(id_: str) -> None:
    """Kill what left the container's process group and was handed to us, recognised by the inherited marker."""
    marker = f"{MARKER}={id_}".encode()
    suspects = _children(os.getpid())
    while suspects:
        pid = suspects.pop()
        with contextlib.suppress(OSError):
            if marker not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                continue
            suspects += _children(pid)
            os.kill(pid, signal.SIGKILL)


def _write_record(path: str, content: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        temporary = Path(f"{path}.tmp")
        temporary.write_text(json.dumps(content))
        temporary.replace(path)


def main(argv: list[str]) -> int:
    """Run until the node is gone and every container has ended."""
    parser = argparse.ArgumentParser(prog="datamover-supervisor")
    parser.add_argument("--control", type=int, required=True, help="inherited socket to the node")
    parser.add_argument("--lock", type=int, required=True, help="inherited, locked file that says that this one serves")
    parser.add_argument(
        "--node", type=int, required=True, help="pid of the node: for another parent nothing is started"
    )
    parser.add_argument("--grace", type=float, required=True, help="seconds between SIGTERM and SIGKILL at the end")
    options = parser.parse_args(argv)
    os.set_inheritable(options.lock, False)
    os.write(options.lock, str(os.getpid()).encode())
    with socket.socket(fileno=options.control) as control:
        control.set_inheritable(False)
        Supervisor(control, node=options.node, grace=options.grace).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
