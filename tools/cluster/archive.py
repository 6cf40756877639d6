"""Images as docker-archive files, without a builder: of one static program, perhaps with other files beside it.

An image is two small JSON documents and one layer; all are always the same for the same files, so nothing is imported twice.
"""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
WRITABLE = ("tmp", "data")
"""Folders at the root of each image, into which any user may write."""


def write_image(
    path: Path,
    *,
    name: str,
    program: Path,
    arguments: Sequence[str] = (),
    beside: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    machine: str,
) -> None:
    """Write the image `name` (with its tag) that runs `program` as user 65532. Raises KeyError for an unknown machine.

    `beside` are more files by their paths in the image, without a slash at the begin; all may be run.
    """
    fresh = path.with_suffix(".new")
    # not in memory: some programs have a hundred megabytes
    with tempfile.TemporaryFile(dir=path.parent) as layer, tarfile.open(fresh, "w") as image:
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for folder in WRITABLE:
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(entry)
            for member, file in ({program.name: program} | dict(beside or {})).items():
                entry = tarfile.TarInfo(member)
                entry.size, entry.mode = file.stat().st_size, 0o755
                with file.open("rb") as content:
                    tar.addfile(entry, content)
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        config = json.dumps(
            {
                "architecture": _ARCHITECTURES[machine],
                "os": "linux",
                "config": {
                    "Entrypoint": [f"/{program.name}", *arguments],
                    "Env": [f"{key}={value}" for key, value in (environment or {}).items()],
                    "User": "65532:65532",
                    "WorkingDir": "/",
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        ).encode()
        described = f"{hashlib.sha256(config).hexdigest()}.json"
        listing = json.dumps([{"Config": described, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]).encode()
        entry = tarfile.TarInfo(f"{digest}.tar")
        entry.size = layer.seek(0, io.SEEK_END)
        layer.seek(0)
        image.addfile(entry, layer)
        for member, text in ((described, config), ("manifest.json", listing)):
            entry = tarfile.TarInfo(member)
            entry.size = len(text)
            image.addfile(entry, io.BytesIO(text))
    fresh.rename(path)
