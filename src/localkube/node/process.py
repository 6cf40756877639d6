"""Container processes as the node sees them: start, signal, and hear of the end.

`Processes` is the seam: the kubelet part knows only this, tests put a fake in its place. `Supervisor` is the real one; it drives the
script `localkube.node.supervisor`, which says what is guaranteed.

ProcessError
└── StartRefused        the program could not be executed; the message is for people and holds no argument or variable (law L8)
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kubekit.runtime.clock import Clock
from localkube.node import supervisor

_log = logging.getLogger(__name__)

DEFAULT_LOG_LIMIT = 10 * 1024 * 1024
"""Bytes of one log file before it is rotated; kubelet's containerLogMaxSize."""

_KILL_WAIT = 5.0


class ProcessError(Exception):
    """Anything that goes wrong with container processes."""


class StartRefused(ProcessError):  # noqa: N818 - says what happened
    """The program could not be executed."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `argv[0]` is looked up on the PATH of `env`; `cwd`, `log` and `record` are files of the Pod's directory."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    record: Path
    log_limit: int = DEFAULT_LOG_LIMIT


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. `code` is 128 + n after signal n. Times are RFC 3339. `node_gone`: it was ended because the node went."""

    code: int
    signal: int | None
    started: str
    finished: str
    node_gone: bool = False


class Processes(Protocol):
    """Where container processes run."""

    async def start(self, id_: str, command: Command) -> int:
        """Start a program and return its pid. Raises StartRefused; `id_` must be new."""
        ...

    def send_signal(self, id_: str, number: int) -> None:
        """Signal the container's process group. An unknown or ended id is ignored."""
        ...

    def on_exit(self, hear: Callable[[str, Exit], None]) -> None:
        """Have `hear(id, exit)` called for every process that ends."""
        ...


class Supervisor:
    """Runs containers under the supervisor script.

    Guarantees: two nodes never serve one state directory (`open` raises ProcessError); when the script dies, every container that ran
    under it is reported as killed, and the next start brings a new script.
    """

    def __init__(self, state_dir: Path, *, clock: Clock, grace: float = 5.0) -> None:
        self._state_dir = state_dir
        self._clock = clock
        self._grace = grace
        self._hearers: list[Callable[[str, Exit], None]] = []
        self._pending: dict[str, asyncio.Future[int]] = {}
        self._running: dict[str, str] = {}
        self._script: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._lock: int | None = None

    async def open(self) -> None:
        """Take the state directory; end what an earlier node left running in it. Raises ProcessError when another node serves it."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._state_dir / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ProcessError(
                f"another node already serves {self._state_dir}; stop it, or choose another state directory"
            ) from None
        self._lock = descriptor
        await asyncio.to_thread(end_leftovers, self._state_dir, patience=self._grace + _KILL_WAIT)

    async def close(self) -> None:
        """Stop every container (SIGTERM, then SIGKILL after the grace) and wait until all have ended. Safe to call twice."""
        if self._writer is not None:
            self._writer.write_eof()
        if self._listening is not None:
            await self._listening
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def on_exit(self, hear: Callable[[str, Exit], None]) -> None:
        """Have `hear(id, exit)` called for every process that ends."""
        self._hearers.append(hear)

    async def start(self, id_: str, command: Command) -> int:
        """Start a program and return its pid. Raises StartRefused."""
        writer = await self._connected()
        waiting = asyncio.get_running_loop().create_future()
        self._pending[id_] = waiting
        order = {
            "op": "start",
            "id": id_,
            "argv": list(command.argv),
            "env": dict(command.env),
            "cwd": str(command.cwd),
            "log": str(command.log),
            "log_limit": command.log_limit,
            "record": str(command.record),
        }
        writer.write(json.dumps(order).encode() + b"\n")
        try:
            await writer.drain()
            return await waiting
        except ConnectionError as error:
            raise StartRefused("the node's supervisor process is gone") from error
        finally:
            self._pending.pop(id_, None)

    def send_signal(self, id_: str, number: int) -> None:
        """Signal the container's process group. An unknown or ended id is ignored."""
        if self._writer is not None and id_ in self._running:
            order = {"op": "signal", "id": id_, "signal": int(number)}
            self._writer.write(json.dumps(order).encode() + b"\n")

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._starting:
            if self._writer is None:
                await self._launch()
            assert self._writer is not None
            return self._writer

    async def _launch(self) -> None:
        if self._listening is not None:
            await self._listening
        mine, theirs = socket.socketpair()
        lock = _take(self._state_dir / "supervisor.lock")
        try:
            self._script = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-X", "utf8", supervisor.__file__),
                *("--control", str(theirs.fileno())),
                *("--lock", str(lock)),
                *("--node", str(os.getpid())),
                *("--grace", str(self._grace)),
                pass_fds=(theirs.fileno(), lock),
                env={"PATH": os.defpath},
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the node; it ends the containers in order
            )
        finally:
            theirs.close()
            os.close(lock)  # the script holds it now
        reader, self._writer = await asyncio.open_unix_connection(sock=mine)
        self._listening = asyncio.create_task(self._listen(reader), name="supervisor reports")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                self._hear(json.loads(line))
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        if self._script is not None:
            await self._script.wait()
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(StartRefused("the node's supervisor process is gone"))
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for id_, started in list(self._running.items()):
            self._end(id_, Exit(128 + signal.SIGKILL, int(signal.SIGKILL), started, now))

    def _hear(self, report: Mapping[str, Any]) -> None:
        id_ = report["id"]
        waiting = self._pending.get(id_)
        match report["event"]:
            case "started":
                self._running[id_] = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                if waiting is not None and not waiting.done():
                    waiting.set_result(report["pid"])
            case "refused":
                if waiting is not None and not waiting.done():
                    waiting.set_exception(StartRefused(report["error"]))
            case _:
                self._end(id_, parse_exit(report))

    def _end(self, id_: str, exit_: Exit) -> None:
        self._running.pop(id_, None)
        for hear in self._hearers:
            try:
                hear(id_, exit_)
            except Exception:  # noqa: BLE001 - one listener's fault must not hide the end from the others
                _log.exception("a listener for ended processes failed")


def parse_exit(record: Mapping[str, Any]) -> Exit:
    """Return the end that a report or a finished record tells of. Raises KeyError when it tells of none."""
    return Exit(
        code=record["code"],
        signal=record["signal"],
        started=record["started"],
        finished=record["finished"],
        node_gone=bool(record.get("node_gone")),
    )


def read_record(path: Path) -> tuple[str | None, Exit | None]:
    """Return (container id, end) of a record on disk; (None, None) when there is none, (id, None) when the end was not recorded."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None, None
    return record.get("id"), parse_exit(record) if "code" in record else None


def end_leftovers(state_dir: Path, *, patience: float) -> None:
    """Wait for the supervisor of an earlier node to end its containers; then kill whatever still carries a marker of this state directory.

    Blocks up to `patience` seconds, so call it in a thread. Strangers are never touched: the supervisor is known by its lock, the others
    by a marker in their own environment that names a container recorded below `state_dir`.
    """
    lock = state_dir / "supervisor.lock"
    if lock.exists():
        _await_unlocked(lock, patience=patience)
    for pid in _marked_processes(state_dir):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _take(lock: Path) -> int:
    """Lock a file for a script that is about to be started, so that not even a node that dies at once leaves a script unseen.

    The lock belongs to the open file, so it lives as long as the script that inherits it. Raises StartRefused.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartRefused("the node's last supervisor process has not ended yet") from None
    os.ftruncate(descriptor, 0)  # the pid of an earlier script must not be taken for this one's
    return descriptor


def _await_unlocked(lock: Path, *, patience: float) -> None:
    with lock.open("a+") as file:
        holder = _read_pid(lock)
        if _lock_within(file.fileno(), patience) or holder is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(holder, signal.SIGKILL)  # it holds the lock, so it is ours
        if not _lock_within(file.fileno(), _KILL_WAIT):
            raise ProcessError(
                f"the supervisor of an earlier node (pid {holder}) does not end; kill it and start again"
            )


def _lock_within(descriptor: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)  # flock cannot wait with a deadline
        else:
            return True


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _marked_processes(state_dir: Path) -> list[int]:
    prefix = f"{supervisor.MARKER}={marker_prefix(state_dir)}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(part.startswith(prefix) for part in (entry / "environ").read_bytes().split(b"\0")):
                found.append(int(entry.name))
    return found


def marker_prefix(state_dir: Path) -> str:
    """Return what the ids of all containers of a state directory start with."""
    return re.sub(r"[^A-Za-z0-9/._-]", "_", str(state_dir.resolve())) + "#"
