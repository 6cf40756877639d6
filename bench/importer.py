"""The importer against curl: one large image from a web server on loopback into a file.

curl writes and syncs; the importer also looks for zeros, reads everything back and compares it. The server sends by sendfile, so it costs little.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.importing import Volume

MIB = 1 << 20


def measure(*, mebibytes: int) -> dict[str, Any]:
    """Return seconds of both, the best of three, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        image = base / "image"
        with image.open("wb") as file:
            for _ in range(mebibytes):
                file.write(os.urandom(MIB))
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(image))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            curl = min(_curl(url, base / "fetched") for _ in range(3))
            ours = min(_import(url, base / f"container-{number}", size=mebibytes * MIB) for number in range(3))
        finally:
            server.shutdown()
            server.server_close()
    return {
        "image, MiB": mebibytes,
        "curl and fsync, s": round(curl, 2),
        "importer, s": round(ours, 2),
        "ratio": round(ours / curl, 2),
    }


def _handler(image: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(image.stat().st_size))
            self.end_headers()
            with image.open("rb") as file:
                self.connection.sendfile(file)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _curl(url: str, path: Path) -> float:
    begun = time.monotonic()
    subprocess.run(["curl", "-sS", "-o", path, url], check=True)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    took = time.monotonic() - begun
    path.unlink()
    return took


def _import(url: str, root: Path, *, size: int) -> float:
    volume = Volume(root)
    container = volume.container(URL=url, TARGET_SIZE=str(size), DATAMOVER_OUTAGE_LIMIT="60")
    begun = time.monotonic()
    ended = container.run(timeout=600)
    took = time.monotonic() - begun
    if ended.code:
        raise RuntimeError(ended.output[-2000:])
    volume.disk.unlink()
    return took


if __name__ == "__main__":
    sys.stdout.write(f"{measure(mebibytes=int(sys.argv[1]) if len(sys.argv) > 1 else 512)}\n")
