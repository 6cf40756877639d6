"""A mirror of Debian on loopback, and packages for it."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from datamover.cli.embedded.debian import Package


def make_package(
    files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None, compression: str = "xz"
) -> bytes:
    """Return a Debian package of executable files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{compression}") as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o4755
            tar.addfile(entry, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar.{compression}": data.getvalue()}
    package = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        package += header + content + b"\n" * (len(content) % 2)
    return package


class Archive:
    """What the mirror has."""

    def __init__(self, address: str) -> None:
        self.mirror = f"{address}/debian"
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(self, content: bytes, name: str) -> Package:
        """Put a package there; return its pin."""
        path = f"pool/main/{name}/{name}_1+b1_amd64.deb"
        self.files[f"/debian/{path.replace('+', '%2B')}"] = content
        return Package(
            name=name, version="1+b1", path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )

    def damage(self, name: str) -> None:
        """Change one byte of a package."""
        for path, content in self.files.items():
            if f"/{name}_" in path:
                self.files[path] = content[:-1] + bytes([content[-1] ^ 1])


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Serve an archive."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there.asked.append(self.path)
            content = there.files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Archive(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield there
    server.shutdown()
    thread.join()
    server.server_close()
