"""Remote control of one running rclone, for small requests: a process for each would cost more than the request.

The engine listens on a Unix socket in the scratch directory, which only its owner may enter.

Guarantees: a request ends, with an answer or an error, within its timeout or when the attempt is stopped.
Assumptions: one thread asks.
Caveats: answers are held in memory, so of data only short listings come this way.
"""

import math
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from datamover.agent.errors import Stopped
from datamover.agent.rclone import logs, process
from datamover.api import outside
from datamover.api.outside import Unusable

_SOCKET = "control"
_START_SECONDS = 30.0
_LONGEST_PATH = 100
_LOOK_SECONDS = 0.5
_LOOK_AT_MEMORY_SECONDS = 0.02
_END_SECONDS = 0.5
"""An engine that is killed closes its connections a moment before it is gone."""


class Answer(msgspec.Struct, frozen=True):
    """What the engine said to a request: `error` is empty when it did what was asked for."""

    error: str = ""
    version: str = ""
    list: tuple["Item", ...] | None = None
    item: "Item | None" = None


class Item(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of a listing: its size in bytes, -1 for a folder; checksums by their names where they were asked for."""

    path: str
    is_dir: bool = False
    size: int = -1
    hashes: dict[str, str] | None = None


class ControlError(OSError):
    """The engine gave no answer: it is gone (`killed`: by SIGKILL), or the time is up."""

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


class Control:
    """See the module. The process is started by `start`, and again by a request that finds it gone."""

    def __init__(
        self,
        engine: process.Engine,
        *,
        environment: Mapping[str, str],
        scratch: str,
        show: Callable[[logs.Line], None],
    ) -> None:
        self._engine = engine
        self._environment = environment
        self._scratch = scratch
        self._show = show
        self._child: process.Child | None = None
        self._ending: list[process.Child] = []
        # the path of a socket may have 107 bytes only, and that of a scratch directory may be longer in an embedded Pod; the
        # engine then starts in that directory, where relative paths in the user's variables would not mean the same
        self._short = len(os.fsencode(f"{scratch}/{_SOCKET}")) <= _LONGEST_PATH
        self._folder = os.open(scratch, os.O_RDONLY)

    def start(self) -> None:
        """Start the process; it is ready a moment later."""
        with suppress(FileNotFoundError):  # one that was killed leaves its socket, and the next could not listen there
            os.unlink(_SOCKET, dir_fd=self._folder)
        # requests are tried again by the agent, which can say why
        environment = dict(self._environment) | {"RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_RETRIES": "1"}
        self._child = self._engine.start(
            ["rcd", "--rc-addr", f"unix://{f'{self._scratch}/' if self._short else ''}{_SOCKET}", "--rc-no-auth"],
            environment=environment,
            on_line=self._show,
            folder=None if self._short else self._scratch,
        )

    def start_early(self) -> None:
        """Start the process unless it was: it becomes ready beside other work."""
        if self._child is None:
            self.start()

    def end(self) -> None:
        """End the process, which is awaited by `close`; a request starts another one."""
        if self._child is not None:
            self._child.expire()
            self._ending.append(self._child)
            self._child = None

    def reconfigure(self, environment: Mapping[str, str]) -> None:
        """Have requests carried out in another environment from now on."""
        self._environment = environment
        if self._child is not None:
            self._child.close()
            self._child = None

    def works_in(self, environment: Mapping[str, str]) -> bool:
        """Tell whether requests are carried out in this environment."""
        return self._environment == environment

    @property
    def ready(self) -> bool:
        """Whether a request would be answered without waiting for the process to start."""
        if self._child is None:
            return False
        try:
            self._connect(timeout=1).close()
        except OSError:
            return False
        return True

    def ask(
        self,
        command: str,
        parameters: Mapping[str, Any],
        *,
        timeout: float,
        look: Callable[[], None] = lambda: None,
        limit: int = outside.ANSWER_LIMIT,
        room: int | None = None,
    ) -> Answer:
        """Return the answer to a request, of at most `limit` bytes; with `room` the engine is ended when it takes so many bytes of memory more than before; `look` is called while it is waited for, and may raise an OSError to give up. Raises ControlError without one, Unusable when it is too long, Stopped when the attempt is to end."""
        body = msgspec.json.encode(parameters)
        try:
            connection = self._wait_ready(timeout=timeout)
            with connection:
                head = (
                    f"POST /{command} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                connection.sendall(head.encode() + body)
                self._await(connection, timeout=timeout, look=look, room=room)
                answer = _decode(_receive(connection, limit=limit))
        except OSError as error:
            self._engine.stop.check()
            killed = self._child is not None and self._child.was_killed(patience=_END_SECONDS)
            if isinstance(error, (TimeoutError, ControlError)) and self._child is not None:
                # what was asked for may go on for ever, as a listing without an end does, and takes more memory all the time
                self._child.close()
            if isinstance(error, ControlError):
                raise
            what = "timeout" if isinstance(error, TimeoutError) else error
            raise ControlError(f"no answer to a small request: {what}", killed=killed) from None
        self._engine.stop.check()
        return answer

    def version(self, *, timeout: float) -> str:
        """Return the engine's name and version as it prints them; empty when it does not run, or does not say."""
        if self._engine.stop.why is None and self.ready:
            with suppress(ControlError, Unusable, Stopped):  # it is a remark in our records, and holds nothing up
                version = self.ask("core/version", {}, timeout=timeout).version
                return f"rclone {version}" if version else ""
        return ""

    def _await(self, connection: socket.socket, *, timeout: float, look: Callable[[], None], room: int | None) -> None:
        """Wait for the first byte of an answer. The engine gives it in one piece, when it is done."""
        end = time.monotonic() + timeout
        most = self._memory + room if room is not None else math.inf
        pause = _LOOK_SECONDS if room is None else _LOOK_AT_MEMORY_SECONDS
        while not select.select([connection], [], [], pause)[0]:
            self._engine.stop.check()
            look()
            if room is not None and self._memory > most:
                raise ControlError("a small request takes too much memory")
            if time.monotonic() >= end:
                raise TimeoutError

    @property
    def _memory(self) -> int:
        return self._child.memory if self._child is not None else 0

    def close(self) -> None:
        """End the process."""
        self.end()
        while self._ending:
            self._ending.pop().close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _connect(self, *, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(
                f"{self._scratch}/{_SOCKET}" if self._short else f"/proc/self/fd/{self._folder}/{_SOCKET}"
            )
        except OSError:
            connection.close()
            raise
        return connection

    def _wait_ready(self, *, timeout: float) -> socket.socket:
        end = time.monotonic() + min(timeout, _START_SECONDS)
        if self._child is None or self._child.ended:
            if self._child is not None:
                self._child.close()
            self._engine.stop.check()
            self.start()
        while True:
            try:
                return self._connect(timeout=timeout)
            except OSError:
                self._engine.stop.check()
                if time.monotonic() > end or (self._child is not None and self._child.ended):
                    raise
                time.sleep(0.002)


def _receive(connection: socket.socket, *, limit: int) -> bytes:
    """Return all that the engine sends. Raises Unusable when that is more than an answer may have."""
    parts: list[bytes] = []
    size = 0
    while part := connection.recv(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise Unusable(f"it is longer than {limit} bytes")
    return b"".join(parts)


_decode_answer = outside.Decoder(Answer, limit=outside.ANSWER_LIMIT)


def _decode(answer: bytes) -> Answer:
    """Return what the engine said. Raises OSError when it ended before it had said everything: silence is no success (law L4)."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/"):
        raise ConnectionResetError("the engine closed the connection")
    length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b"")
    try:
        if not length or outside.integer(length.partition(b":")[2].strip()) == len(body):
            return _decode_answer(body)
    except Unusable:  # long answers come without a length
        pass
    raise ConnectionResetError("the engine closed the connection in the middle of its answer")
