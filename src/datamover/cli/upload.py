"""What `datamover upload` prints, and the exit code that it ends with."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from datamover.cli import logs, uploading
from datamover.cli.display import size
from datamover.cli.loop import start
from datamover.cli.terminal import open_console, print_document, say, warn
from datamover.cli.upload_file import File
from datamover.cli.uploading import Done, Errand, Exit, Keys, UploadError
from kubekit.client.client import Client
from kubekit.client.cluster import ClusterConfig
from kubekit.client.config import load_config
from kubekit.client.errors import ConfigError, KubeError
from kubekit.client.http import HttpTransport


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What was asked. `server` None goes through the API server; `authority` is a file with who vouches for `server`."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None
    name: str
    path: str
    server: str | None = None
    authority: Path | None = None
    checksum: str = ""
    timeout: float = 300.0
    retries: int = 3
    machine: bool = False


def perform(request: UploadRequest) -> Exit:
    """Send, print, and return the exit code."""
    logs.set_up(level="error")
    console = open_console(stderr=request.machine)
    try:
        done = start(_perform(request, console))
    except (UploadError, KubeError, OSError) as error:
        code = (
            error.code
            if isinstance(error, UploadError)
            else Exit.USAGE
            if isinstance(error, ConfigError)
            else Exit.FAILED
        )
        warn(f"datamover upload: {error}")
        if request.machine:
            print_document(msgspec.json.encode({"exitCode": code, "error": str(error)}))
        return code
    if request.machine:
        print_document(
            msgspec.json.format(
                msgspec.json.encode(
                    {
                        "exitCode": 0,
                        "dataVolume": request.name,
                        "bytes": done.bytes,
                        "checksum": done.checksum,
                        "disk": done.disk,
                    }
                ),
                indent=2,
            )
        )
    else:
        of = f", a disk of {size(done.disk)}" if done.disk else ""
        say(console, f"uploaded: {size(done.bytes)} ({done.checksum}){of}; DataVolume {request.name} is Succeeded")
    return Exit.DONE


async def _perform(request: UploadRequest, console: Console) -> Done:
    file = _open(request.path)
    config = load_config(request.kubeconfig, request.context)
    namespace = request.namespace or config.namespace
    transport = HttpTransport(config)
    client = Client(transport, user_agent="datamover-upload")

    def tell(line: str) -> None:
        say(console, line)

    try:
        volume = await uploading.await_ready(
            client, namespace=namespace, name=request.name, timeout=request.timeout, say=tell
        )
        keys = await uploading.read_keys(client, volume)
        way, prefix = transport, uploading.forwarded(volume)
        if request.server is not None:
            way, prefix = HttpTransport(_direct(request, keys, host=uploading.host_of(volume))), ""
        errand = Errand(
            volume=volume, keys=keys, file=file, prefix=prefix, retries=request.retries, wanted=request.checksum
        )
        try:
            with _bar(console, file.size, quiet=request.machine) as sent:
                done = await uploading.send(errand, way, client, say=tell, sent=sent)
        finally:
            if way is not transport:
                await way.close()
        await uploading.await_done(client, volume, timeout=request.timeout)
    finally:
        await client.close()
    return done


def _open(path: str) -> File:
    if path == "-":
        return File(None, stdin=sys.stdin.buffer)
    try:
        return File(path)
    except OSError as error:
        raise UploadError(f"{path} cannot be read: {error.strerror}", code=Exit.USAGE) from None


def _direct(request: UploadRequest, keys: Keys, *, host: str) -> ClusterConfig:
    """Return the way straight to the receiver. Its certificate is for its Service's name, whatever the address is called."""
    server = (request.server or "").rstrip("/")
    if urlsplit(server).scheme != "https" or not urlsplit(server).hostname:
        raise UploadError(f"--server {server!r} is no https://HOST[:PORT]", code=Exit.USAGE)
    if request.authority is None:
        return ClusterConfig(server, ca=keys.authority, tls_server_name=host, source="the Secret of the upload")
    return ClusterConfig(server, ca=request.authority.read_bytes(), source=str(request.authority))


@contextmanager
def _bar(console: Console, total: int | None, *, quiet: bool) -> Generator[Callable[[int], None]]:
    """Show how far it is, on a terminal."""
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("upload", total=total)
        yield lambda done: progress.update(task, completed=done)
