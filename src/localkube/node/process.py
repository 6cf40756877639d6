"""Container processes: start, signal, and hear of the end.

`Processes` is the seam: the kubelet part knows only this, tests put a fake in its place. `Supervisor` is the real one: child processes of this one.

ProcessError
└── StartRefused        the program could not be executed; the message is for people and holds no argument or variable (law L8)
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from kubekit.runtime.clock import Clock
from kubekit.words import timestamps
from localkube.node.leftovers import MARKER, LeftoversError, end_leftovers, kill_marked, tied
from localkube.node.logs import LogWriter

_log = logging.getLogger(__name__)

DEFAULT_LOG_LIMIT = 10 * 1024 * 1024
"""Bytes of one log file before it is rotated; kubelet's containerLogMaxSize."""

_LEFTOVERS_PATIENCE = 10.0
_DRAIN_SECONDS = 1.0
"""How long output is still read after the end of a container: of a process that somebody else keeps open."""
_STREAMS = {1: "stdout", 2: "stderr"}


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


class _Container(asyncio.SubprocessProtocol):
    """One started program: its output goes to its log; `begun` and `exited` are called when it begins and ends."""

    def __init__(
        self,
        id_: str,
        command: Command,
        *,
        begun: Callable[["_Container"], None],
        exited: Callable[["_Container"], None],
    ) -> None:
        self.id = id_
        self.record = command.record
        self.log = LogWriter(command.log, limit=command.log_limit)
        self.transport: asyncio.SubprocessTransport | None = None
        self.started = self.finished = ""
        self.drained = asyncio.Event()
        self.ended = asyncio.Event()
        self._begun = begun
        self._exited = exited
        self._open = set(_STREAMS)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)
        self._begun(self)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.log.write(_STREAMS[fd], data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.signal(signal.SIGKILL)  # like PID 1 of a container: when it ends, all end
        self._exited(self)

    @property
    def code(self) -> int | None:
        """How the main process ended: below 0 by a signal, None while it runs."""
        return self.transport.get_returncode() if self.transport is not None else None

    def signal(self, number: int) -> None:
        """Signal the process group, which is named after the process that began it."""
        if self.transport is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.transport.get_pid(), number)

    def close(self) -> None:
        """Read no more output, and complete the log."""
        if self.transport is not None:
            self.transport.close()
        self.log.close()


class Supervisor:
    """Runs containers as child processes, each one in a session of its own and with nothing on its standard input.

    Guarantees:
    - two nodes never serve one state directory (`open` raises ProcessError), and nothing of an earlier node runs when `open` returns;
    - `close` asks every container to end, and makes it end after `grace` seconds;
    - when this process dies, the kernel kills the main process of every container (see `localkube.node.leftovers`, also for what it does not promise);
    - when the main process of a container ends, everything that it started is killed, as far as it can be known (the same module says what cannot);
    - before a program is started it is on disk (`record`) that it may have run, and its end is there before anybody hears of it;
    - a log never takes more than twice `log_limit` bytes; a full disk loses lines of it, never a container.
    Caveat: the end of a container in the instant in which this process is killed is not on disk: it counts as cut off.
    """

    def __init__(self, state_dir: Path, *, clock: Clock, grace: float = 5.0) -> None:
        self._state_dir = state_dir
        self._clock = clock
        self._grace = grace
        self._hearers: list[Callable[[str, Exit], None]] = []
        self._containers: dict[str, _Container] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._tied: tuple[str, ...] = ()
        self._closing = False
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
        self._tied = tied()
        if not self._tied:
            _log.warning(
                "there is no setpriv of util-linux on the PATH: what this node runs goes on when the node is killed by"
                " kill -9, until a node opens %s again",
                self._state_dir,
            )
        try:
            await asyncio.to_thread(end_leftovers, self._state_dir, patience=_LEFTOVERS_PATIENCE)
        except LeftoversError as error:
            raise ProcessError(str(error)) from error

    async def close(self) -> None:
        """Stop every container (SIGTERM, then SIGKILL after the grace) and wait until all have ended. Safe to call twice."""
        self._closing = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            for id_ in list(self._containers):
                self.send_signal(id_, number)
            await self._wait_for_ends(self._grace if number == signal.SIGTERM else None)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _wait_for_ends(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for container in list(self._containers.values()):
                    await container.ended.wait()

    def on_exit(self, hear: Callable[[str, Exit], None]) -> None:
        """Have `hear(id, exit)` called for every process that ends."""
        self._hearers.append(hear)

    async def start(self, id_: str, command: Command) -> int:
        """Start a program and return its pid. Raises StartRefused."""
        if self._closing:
            raise StartRefused("the node is being stopped")
        program = _find_program(command)
        container = _Container(id_, command, begun=self._note_begin, exited=self._note_exit)
        try:
            # before the program: whoever finds this knows that it may have run, and will not run it again
            command.record.write_text(json.dumps({"id": id_}))
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: container,
                *(*self._tied, program, *command.argv[1:]),
                env={**command.env, MARKER: id_},
                cwd=command.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # a process group to signal, and Ctrl-C in a terminal is for the node alone
            )
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                command.record.unlink()
            raise StartRefused(_explain(error, command.argv[0])) from None
        return transport.get_pid()

    def send_signal(self, id_: str, number: int) -> None:
        """Signal the container's process group. An unknown or ended id is ignored."""
        container = self._containers.get(id_)
        if container is not None and container.code is None:
            container.signal(number)

    def _note_begin(self, container: _Container) -> None:
        container.started = timestamps.micros(self._clock.now())
        self._containers[container.id] = container
        if self._closing:  # it was under way when `close` looked
            container.signal(signal.SIGKILL)

    def _note_exit(self, container: _Container) -> None:
        container.finished = timestamps.micros(self._clock.now())
        ending = asyncio.create_task(self._end(container, node_gone=self._closing), name="end of a container")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end(self, container: _Container, *, node_gone: bool) -> None:
        """See to it that nothing of a container runs any more, then note and tell its end."""
        await asyncio.to_thread(kill_marked, container.id)  # what has left the process group
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await container.drained.wait()
        code = container.code or 0
        container.close()
        exit_ = Exit(
            code=128 - code if code < 0 else code,
            signal=-code if code < 0 else None,
            started=container.started,
            finished=container.finished,
            node_gone=node_gone,
        )
        _write_record(container.record, {"id": container.id, **asdict(exit_)})
        del self._containers[container.id]
        container.ended.set()
        for hear in self._hearers:
            try:
                hear(container.id, exit_)
            except Exception:  # noqa: BLE001 - one listener's fault must not hide the end from the others
                _log.exception("a listener for ended processes failed")


def parse_exit(record: Mapping[str, Any]) -> Exit:
    """Return the end that a finished record tells of. Raises KeyError when it tells of none."""
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


def _write_record(path: Path, content: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a full disk: the end counts as cut off
        temporary = Path(f"{path}.tmp")
        temporary.write_text(json.dumps(content))
        temporary.replace(path)


def _find_program(command: Command) -> str:
    """Return the path of the program, for what ties it to this process could not tell a missing one from one that fails. Raises StartRefused."""
    name = command.argv[0]
    place = str(command.cwd / name) if "/" in name else name
    found = shutil.which(place, path=command.env.get("PATH", os.defpath))
    if found is None:
        why = "permission denied" if "/" in name and Path(place).exists() else "no such file or directory"
        raise StartRefused(f'exec: "{name}": {why}')
    return str(Path(found).absolute())


def _explain(error: Exception, program: str) -> str:
    """Say why a program could not be started, without its arguments or environment (law L8)."""
    if isinstance(error, OSError):
        return f'exec: "{program}": {(error.strerror or type(error).__name__).lower()}'
    return f'exec: "{program}": an argument or environment variable contains a NUL byte or an invalid name'
