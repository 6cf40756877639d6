"""A Velero server as its plugins see it: starts the real program as Velero's Go client does, reads one line, calls, and ends it.

What is imitated: the environment (the word, versions, ports), the server's own arguments behind the program's path, one line of at most a minute's
wait, a plaintext connection, a stream of what is printed, a health check, calls without a deadline, Shutdown, and a kill two seconds later. The log is
read as the host reads it: the three fields that begin with @ have to be strings, and a line is shorter than 64 KiB, else the host would be dead.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.empty_pb2 import Empty

from datamover.velero.generated import (
    backup_item_action_pb2,
    control_pb2,
    health_pb2,
    lister_pb2,
    restore_item_action_pb2,
    shared_pb2,
)

ARGUMENTS = ("--log-level", "debug", "--features", "EnableCSI")
"""What stands behind `velero server` on the server's own command line."""
START_LIMIT = 60.0
KILL_AFTER = 2.0
LINE_LIMIT = 65_536
PATIENCE = 20.0
PROGRAM = Path(
    os.environ.get("DATAMOVER_TEST_VELERO_PLUGIN") or Path(sys.executable).parent / "datamover-velero-plugin"
)
"""What is tested: the script of this environment, or the one file that the variable names."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment that a server gives a plugin, on top of its own."""
    kept = {key: value for key, value in os.environ.items() if key not in {"KUBECONFIG", "KUBERNETES_SERVICE_HOST"}}
    return {
        **kept,
        "VELERO_NAMESPACE": "velero",
        "VELERO_PLUGIN": "hello",
        "PLUGIN_PROTOCOL_VERSIONS": "2",
        "PLUGIN_MIN_PORT": "10000",
        "PLUGIN_MAX_PORT": "25000",
        **more,
    }


class HostDead(Exception):
    """What would have ended the Velero server, or kept it from starting."""


class VeleroHost:
    """One plugin process, and the connection to it. A context manager; leaving it ends the process as the host does."""

    def __init__(
        self,
        *,
        command: Sequence[str] = (),
        arguments: Sequence[str] = ARGUMENTS,
        environ: Mapping[str, str] | None = None,
        preexec: Any = None,
    ) -> None:
        self._command = [*(command or [str(PROGRAM)]), *arguments]
        self._environ = dict(environ if environ is not None else environment())
        self._preexec = preexec
        self.logs: list[dict[str, str]] = []
        self.noise: list[str] = []
        """Lines of standard error that are no JSON."""
        self.deadly: list[str] = []
        """Lines that would have ended the host."""
        self.printed = b""
        """What came on standard output behind the first line."""
        self.ended_in = 0.0
        self.killed = False
        self._stopped = False

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=self._preexec,
        )
        self._readers = [threading.Thread(target=self._read_log, daemon=True)]
        self._readers[0].start()
        try:
            self.network, self.address = self._handshake()
            target = f"unix:{self.address}" if self.network == "unix" else self.address
            self.channel = grpc.insecure_channel(
                target,
                options=[
                    ("grpc.max_receive_message_length", -1),
                    ("grpc.max_send_message_length", -1),
                    ("grpc.enable_http_proxy", 0),
                ],
            )
            self._readers.append(threading.Thread(target=self._read_output, daemon=True))
            self._readers[1].start()
            grpc.channel_ready_future(self.channel).result(timeout=10)
            self._stdio = self.channel.unary_stream(
                "/plugin.GRPCStdio/StreamStdio",
                request_serializer=Empty.SerializeToString,
                response_deserializer=control_pb2.StdioData.FromString,
            )(Empty())
            self.ping()
        except BaseException:
            self.process.kill()
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process as the host does: ask it, wait two seconds, kill it. Raises HostDead when a line would have ended the host."""
        if self._stopped:
            return
        self._stopped = True
        begun = time.monotonic()
        if self.process.poll() is None:
            with contextlib.suppress(grpc.RpcError):
                self.call("/plugin.GRPCController/Shutdown", control_pb2.Empty(), control_pb2.Empty, timeout=KILL_AFTER)
            try:
                self.process.wait(KILL_AFTER)
            except subprocess.TimeoutExpired:
                self.killed = True
                self.process.kill()
                self.process.wait()
        self.ended_in = time.monotonic() - begun
        self.channel.close()
        self._close()
        if self.deadly:
            raise HostDead(self.deadly[0][:500])

    def _close(self) -> None:
        """Read what is left of a process that has ended, and let go of it."""
        self.process.wait()
        for reader in self._readers:
            reader.join(5)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    # The calls, as the host makes them: without a deadline of its own. Tests give one, so that they end.

    def call(self, method: str, request: Any, answer: Any, *, timeout: float = 30.0) -> Any:
        """Make one call. Raises grpc.RpcError."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        ask = self.channel.unary_unary(
            method, request_serializer=lambda message: message, response_deserializer=answer.FromString
        )
        return ask(raw, timeout=timeout)

    def ping(self) -> None:
        """Ask whether the process is well. Raises HostDead when it says that it is not."""
        request = health_pb2.HealthCheckRequest(service="plugin")
        answer = self.call("/grpc.health.v1.Health/Check", request, health_pb2.HealthCheckResponse)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise HostDead(f"health: {answer.status}")

    def plugins(self) -> list[tuple[str, str, str]]:
        """Return command, kind and name of each action."""
        answer = self.call("/generated.PluginLister/ListPlugins", shared_pb2.Empty(), lister_pb2.ListPluginsResponse)
        return [(plugin.command, plugin.kind, plugin.name) for plugin in answer.plugins]

    def backup_applies(self, plugin: str) -> Any:
        """Return the selector of a backup action."""
        b = backup_item_action_pb2
        return self.call(
            "/v2.BackupItemAction/AppliesTo",
            b.BackupItemActionAppliesToRequest(plugin=plugin),
            b.BackupItemActionAppliesToResponse,
        ).ResourceSelector

    def backup(self, plugin: str, item: Any, backup: Any, *, timeout: float = 30.0) -> tuple[Any, str]:
        """Execute a backup action; return the item as the host reads it, and the operation's id."""
        b = backup_item_action_pb2
        request = b.ExecuteRequest(plugin=plugin, item=_json(item), backup=_json(backup))
        answer = self.call("/v2.BackupItemAction/Execute", request, b.ExecuteResponse, timeout=timeout)
        return json.loads(answer.item), answer.operationID

    def progress(self, plugin: str, operation: str, backup: Any, *, timeout: float = 30.0) -> Any:
        """Ask for an operation's progress. Raises HostDead where the answer has none: the host looks into it without asking."""
        b = backup_item_action_pb2
        request = b.BackupItemActionProgressRequest(plugin=plugin, operationID=operation, backup=_json(backup))
        answer = self.call(
            "/v2.BackupItemAction/Progress", request, b.BackupItemActionProgressResponse, timeout=timeout
        )
        if not answer.HasField("progress"):
            raise HostDead("no progress in the answer")
        return answer.progress

    def cancel(self, plugin: str, operation: str, backup: Any) -> None:
        """Cancel an operation."""
        b = backup_item_action_pb2
        request = b.BackupItemActionCancelRequest(plugin=plugin, operationID=operation, backup=_json(backup))
        self.call("/v2.BackupItemAction/Cancel", request, Empty)

    def restore_applies(self, plugin: str) -> Any:
        """Return the selector of a restore action."""
        r = restore_item_action_pb2
        return self.call(
            "/v2.RestoreItemAction/AppliesTo",
            r.RestoreItemActionAppliesToRequest(plugin=plugin),
            r.RestoreItemActionAppliesToResponse,
        ).ResourceSelector

    def restore(self, plugin: str, item: Any, restore: Any) -> tuple[Any, bool]:
        """Execute a restore action; return the item as the host reads it, and whether it is skipped."""
        r = restore_item_action_pb2
        request = r.RestoreItemActionExecuteRequest(
            plugin=plugin, item=_json(item), restore=_json(restore), itemFromBackup=_json(item)
        )
        answer = self.call("/v2.RestoreItemAction/Execute", request, r.RestoreItemActionExecuteResponse)
        return json.loads(answer.item), answer.skipRestore

    # What the process says and takes.

    def messages(self, level: str | None = None) -> list[str]:
        """Return the messages logged so far."""
        return [line["@message"] for line in list(self.logs) if level in (None, line["@level"])]

    def says(self, words: str, level: str | None = None) -> bool:
        """Tell whether a message with these words is logged, or is soon: the log comes on another way than the answer."""
        deadline = time.monotonic() + PATIENCE
        while not any(words in message for message in self.messages(level)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def resident(self) -> int:
        """Return the bytes of memory that the process holds."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def _handshake(self) -> tuple[str, str]:
        """Read the first line. Raises HostDead where the host would say that it does not understand the plugin."""
        assert self.process.stdout is not None
        line = _first_line(self.process.stdout.fileno(), self.process, START_LIMIT)
        parts = line.strip().split("|")
        if len(parts) < 5 or parts[0] != "1" or parts[1] != "2" or parts[4] != "grpc":
            raise HostDead(f"not understood: {line[:200]!r}; log: {self.messages()} {self.noise}")
        if parts[2] not in ("unix", "tcp"):
            raise HostDead(f"unknown network {parts[2]!r}")
        return parts[2], parts[3]

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        self.printed += self.process.stdout.read()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            if len(raw) >= LINE_LIMIT:
                self.deadly.append(f"a line of {len(raw)} bytes")
            try:
                line = json.loads(raw)
            except ValueError:
                self.noise.append(raw.decode(errors="replace").rstrip())
                continue
            wrong = [key for key, value in line.items() if not isinstance(value, str)]
            if wrong or line.get("@level") not in ("trace", "debug", "info", "warn", "error"):
                self.deadly.append(f"{wrong}: {raw!r}")
            self.logs.append(line)


def _json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _first_line(descriptor: int, process: subprocess.Popen[bytes], limit: float) -> str:
    """Return the first line, read byte by byte, so that what follows stays in the pipe."""
    deadline = time.monotonic() + limit
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise HostDead("it said nothing in time")
            piece = os.read(descriptor, 1)
            if not piece:
                raise HostDead(f"it ended before it said where it is: exit status {process.wait(5)}")
            line += piece
    return line.decode()
