"""Images of one static program, as docker-archive files, without a builder.

An image is two small JSON documents and a layer; both are always the same for the same program, so nothing is imported twice.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image(path: Path, *, name: str, program: Path, arguments: Sequence[str] = (), machine: str) -> None:
    """Write the image `name` (with its tag) that runs `program` as user 65532. Raises KeyError for an unknown machine."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("tmp", "data"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as content:
            tar.addfile(entry, content)
    digest = hashlib.sha256(layer.getbuffer()).hexdigest()
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES[machine],
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}", *arguments], "User": "65532:65532", "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    described = hashlib.sha256(config).hexdigest()
    listing = json.dumps([{"Config": f"{described}.json", "RepoTags": [name], "Layers": [f"{digest}.tar"]}]).encode()
    fresh = path.with_suffix(".new")
    with tarfile.open(fresh, "w") as tar:
        for member, content in (
            (f"{described}.json", config),
            (f"{digest}.tar", layer.getvalue()),
            ("manifest.json", listing),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    fresh.rename(path)
