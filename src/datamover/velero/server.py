"""The gRPC server: where it listens, and how it ends.

A socket in a folder of its own that nobody else may enter; where no folder can be written (a root file system that is read-only, and no writable
folder for temporary files) a port of 127.0.0.1 from the range that the host allows.
"""

import random
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from datamover.velero.wire import UNLIMITED

WORKERS = 16
"""Threads for calls. The host calls in parallel, and each of its streams keeps one."""
GRACE = 1.0
"""Seconds that calls under way get at the end. The host kills after two."""
_PATH_LIMIT = 100
"""Letters of a socket's path; the system takes 107."""
_TRIES = 200


class CannotListenError(Exception):
    """Neither a socket nor a port can be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server listens: `unix` and a path, or `tcp` and host:port."""

    network: str
    text: str


class Server:
    """One server. `listen`, then `close`."""

    def __init__(self, services: Sequence[grpc.GenericRpcHandler], *, workers: int = WORKERS) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(workers, thread_name_prefix="call"),
            options=[
                ("grpc.max_receive_message_length", UNLIMITED),
                ("grpc.max_send_message_length", UNLIMITED),
                ("grpc.so_reuseport", 0),  # else two plugins could have one port, and take each other's calls
            ],
        )
        self._server.add_generic_rpc_handlers(services)
        self._folder = ""

    def listen(self, *, socket_directory: str | None, ports: range) -> Address:
        """Begin to answer. Raises CannotListenError."""
        address = self._listen_on_socket(socket_directory) or self._listen_on_port(ports)
        self._server.start()
        return address

    def _listen_on_socket(self, directory: str | None) -> Address | None:
        try:
            self._folder = tempfile.mkdtemp(prefix="plugin-", dir=directory)
        except OSError:
            return None
        path = f"{self._folder}/plugin.sock"
        if len(path.encode()) <= _PATH_LIMIT:
            try:
                self._server.add_insecure_port(f"unix:{path}")
            except RuntimeError:
                pass
            else:
                return Address(network="unix", text=path)
        self._tidy()
        return None

    def _listen_on_port(self, ports: range) -> Address:
        for port in random.sample(ports, min(len(ports), _TRIES)):
            text = f"127.0.0.1:{port}"
            try:
                self._server.add_insecure_port(text)
            except RuntimeError:
                continue
            return Address(network="tcp", text=text)
        raise CannotListenError(
            f"no folder can be written for a socket, and no port of 127.0.0.1 from {ports[0]} to {ports[-1]} is free: "
            "give the Velero Pod a writable /tmp (an emptyDir)"
        )

    def close(self, grace: float = GRACE) -> None:
        """Take no more calls, let those under way end within `grace` seconds, and leave nothing behind."""
        self._server.stop(grace).wait(grace + 1)
        self._tidy()

    def _tidy(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""
