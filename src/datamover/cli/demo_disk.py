"""The act of `datamover demo` about a DataVolume: what is applied, the web server that has its image, and whether the disk is that image."""

import functools
import hashlib
import lzma
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from datamover.api.cdi import names
from kubekit.words.meta import Manifest

DISK: Final = "vm-disk"
"""The DataVolume, and its claim."""
_IMAGE: Final = "image.raw.xz"
_SIZE: Final = 24 << 20
_FILLED: Final = 4 << 20


@contextmanager
def serve_image(place: Path) -> Generator[tuple[str, bytes]]:
    """Make an image, serve it on loopback as it is packed, and give its address and what is in it. Raises OSError."""
    folder = place / "images"
    folder.mkdir(exist_ok=True)
    content = hashlib.shake_256(b"datamover demo").digest(_FILLED) + bytes(_SIZE - _FILLED)
    (folder / _IMAGE).write_bytes(lzma.compress(content, preset=0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{_IMAGE}", content
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        del format, args


def objects_of(address: str, *, checksum: str) -> list[Manifest]:
    """Return the DataVolume, which asks to be collected, and the configuration by which it is at once."""
    api = f"{names.GROUP}/{names.VERSION}"
    return [
        {
            "apiVersion": api,
            "kind": "CDIConfig",
            "metadata": {"name": names.CONFIG_NAME},
            "spec": {"dataVolumeTTLSeconds": 0},
        },
        {
            "apiVersion": api,
            "kind": "DataVolume",
            "metadata": {"name": DISK, "annotations": {names.DELETE_AFTER_COMPLETION: "true"}},
            "spec": {
                "source": {"http": {"url": address, "checksum": f"sha256:{checksum}"}},
                "storage": {"resources": {"requests": {"storage": "32Mi"}}},
            },
        },
    ]


def packed_checksum(place: Path) -> str:
    """Return the SHA-256 of the image as it is served."""
    return hashlib.sha256((place / "images" / _IMAGE).read_bytes()).hexdigest()


def is_image(disk: Path, content: bytes) -> bool:
    """Tell whether a disk begins with the image, and has nothing behind it."""
    found = disk.read_bytes()
    return found[: len(content)] == content and not any(found[len(content) :])
