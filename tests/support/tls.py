"""Both sides of rsync-tls on loopback: our mover in a directory that stands for its container, and stock stunnel and rsync that speak for
another project's.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.agent import Container, Running
from support.engines import find_engine, path_with
from support.s3 import wait_for

PATIENCE = 60.0


def free_port() -> int:
    """Return a port on loopback that is free now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_key() -> str:
    """Return what a Secret has in psk.txt."""
    return f"volsync:{secrets.token_hex(64)}"


def side(root: Path, key: str, **environment: str) -> Container:
    """Return a container of the mover."""
    for name in ("keys", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "keys" / "psk.txt").write_text(key)
    programs = {"PATH": path_with("rsync", "stunnel"), "PRIVILEGED_MOVER": "1"}
    return Container(root, programs | environment, arguments=["rsync-tls"])


@contextlib.contextmanager
def listening(container: Container, port: int, **changes: str) -> Iterator[Running]:
    """Start a destination and wait until it listens."""
    with container.start(DIRECTION="destination", LISTEN_PORT=str(port), **changes) as running:
        wait_for(
            lambda: "Waiting for a source" in running.output or running.process.poll() is not None, seconds=PATIENCE
        )
        yield running


def to(port: int) -> dict[str, str | None]:
    """Return the variables of a source whose destination listens there."""
    return {"DIRECTION": "source", "DESTINATION_ADDRESS": "127.0.0.1", "DESTINATION_PORT": str(port)}


def push(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run stock rsync."""
    return subprocess.run([rsync(), *arguments], check=False, capture_output=True, timeout=60)


def rsync() -> str:
    """Return the stock program."""
    return str(find_engine("rsync"))


@contextlib.contextmanager
def stunnel(folder: Path, service: str) -> Iterator[Path]:
    """Run a stock stunnel with this service; yield its log."""
    configuration, log = folder / "stunnel.conf", folder / "stunnel.log"
    configuration.write_text(
        f"foreground = yes\nsyslog = no\npid =\ndebug = 6\noutput = {log}\n[peer]\nciphers = PSK\nsslVersionMin = TLSv1.3\n{service}"
    )
    process = subprocess.Popen(
        [find_engine("stunnel"), configuration],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(
            lambda: (log.exists() and "bound to" in log.read_text()) or process.poll() is not None, seconds=PATIENCE
        )
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.terminate()
        process.wait()


@dataclass
class StockDestination:
    """rsync's daemon behind stunnel: what another project's destination is on the wire."""

    folder: Path
    key: str
    munge: bool = False
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        for name in ("data", "control"):
            (self.folder / name).mkdir(parents=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def complete(self) -> Path:
        return self.folder / "control" / "complete"

    @contextlib.contextmanager
    def run(self) -> Iterator[Path]:
        """Run it; yield stunnel's log."""
        user = "uid = 0\ngid = *\n" if os.geteuid() == 0 else ""
        configuration = self.folder / "rsyncd.conf"
        configuration.write_text(
            f"use chroot = no\n{user}log file = {self.folder}/rsyncd.log\nread only = no\nnumeric ids = yes\n"
            f"munge symlinks = {'yes' if self.munge else 'no'}\n[data]\npath = {self.data}\n[control]\npath = {self.folder}/control\n"
        )
        (self.folder / "psk.txt").write_text(self.key + "\n")
        service = (
            f"accept = 127.0.0.1:{self.port}\nPSKsecrets = {self.folder}/psk.txt\nexec = {rsync()}\n"
            f"execArgs = rsync --daemon --config={configuration} .\n"
        )
        with stunnel(self.folder, service) as log:
            yield log


@contextlib.contextmanager
def stock_tunnel(folder: Path, key: str, port: int) -> Iterator[str]:
    """Run a stock stunnel to a destination; yield the address that rsync sends to, without a module."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "psk.txt").write_text(key + "\n")
    near = free_port()
    service = f"client = yes\naccept = 127.0.0.1:{near}\nconnect = 127.0.0.1:{port}\nPSKsecrets = {folder}/psk.txt\n"
    with stunnel(folder, service):
        yield f"rsync://127.0.0.1:{near}"


class Breaking:
    """A proxy before a destination. It cuts the first connections off after so many bytes; then it lets all through, with a pause after each piece.
    `opened` is called before each connection with its number, from 1, and `cutting` before it cuts one off.
    """

    def __init__(
        self,
        target: int,
        *,
        after: int = 0,
        times: int = 1,
        pause: float = 0,
        opened: Callable[[int], object] = lambda _: None,
        cutting: Callable[[], object] = lambda: None,
    ) -> None:
        self._target = target
        self._after = after
        self._times = times if after else 0
        self._pause = pause
        self._opened = opened
        self._cutting = cutting
        self.cut = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # a thread that waits in accept() would keep the socket
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                number += 1
                self._opened(number)
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, outgoing: bool) -> None:
        seen = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 13 if self._pause else 1 << 16):
                seen += len(piece)
                if outgoing and self.cut < self._times and seen > self._after:
                    self.cut += 1
                    self._cutting()
                    break
                target.sendall(piece)
                time.sleep(self._pause)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of all processes whose directory or arguments lie in `folder`."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if str(folder) in command or os.readlink(entry / "cwd").startswith(str(folder)):
                    found.append(command)
    return found


def wait_gone(folder: Path) -> None:
    """Wait until no process of a container is left."""
    end = time.monotonic() + PATIENCE
    while left := processes_in(folder):
        assert time.monotonic() < end, left
        time.sleep(0.05)
