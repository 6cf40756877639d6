"""Images as docker-archive files, without a builder: of one static program, and of another image with one layer more.

An image is two small JSON documents and its layers; all are always the same for the same files, so nothing is imported twice.
"""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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


def layers_of(image: Path) -> list[str]:
    """Return the paths of all files in an image, of the lowest layer first. Raises KeyError, ValueError or tarfile.TarError when it is none."""
    with tarfile.open(image) as archive:
        names: list[str] = []
        for layer in _document(archive, "manifest.json")[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                names += [each.removeprefix("./") for each in content.getnames()]
        return names


def extend_image(
    path: Path,
    *,
    base: Path,
    name: str,
    add: Callable[[tarfile.TarFile], None],
    entrypoint: Sequence[str],
    environment: Mapping[str, str],
) -> None:
    """Write the image `name`: that of the docker-archive file `base` with one layer more, which `add` fills.

    It runs `entrypoint`, with the variables of `base` and those of `environment`, as the user of `base`. Raises as `layers_of`.
    """
    fresh = path.with_suffix(".new")
    with tempfile.TemporaryFile(dir=path.parent) as layer, tarfile.open(base) as old, tarfile.open(fresh, "w") as new:
        with tarfile.open(fileobj=layer, mode="w") as content:
            add(content)
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        manifest = _document(old, "manifest.json")[0]
        config = _document(old, manifest["Config"])
        known = dict(each.split("=", 1) for each in config["config"].get("Env") or ())
        config["config"] |= {
            "Entrypoint": list(entrypoint),
            "Env": [f"{k}={v}" for k, v in (known | environment).items()],
        }
        config["config"].pop("Cmd", None)
        config["rootfs"]["diff_ids"].append(f"sha256:{digest}")
        config["history"] = [*config.get("history", ()), {"created_by": name}]
        for each in manifest["Layers"]:
            new.addfile(old.getmember(each), old.extractfile(each))
        entry = tarfile.TarInfo(f"{digest}.tar")
        entry.size = layer.seek(0, io.SEEK_END)
        layer.seek(0)
        new.addfile(entry, layer)
        written = json.dumps(config).encode()
        described = f"{hashlib.sha256(written).hexdigest()}.json"
        listing = {"Config": described, "RepoTags": [name], "Layers": [*manifest["Layers"], f"{digest}.tar"]}
        for member, text in ((described, written), ("manifest.json", json.dumps([listing]).encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(text)
            new.addfile(entry, io.BytesIO(text))
    fresh.rename(path)


def _document(archive: tarfile.TarFile, name: str) -> Any:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is no file")
    return json.load(stream)
