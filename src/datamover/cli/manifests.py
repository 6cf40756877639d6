"""Reading manifests: YAML files in, objects out, and a clear word on everything that is wrong with them.

ManifestError    a file or a document in it cannot be used; the message names the file, the document and the fix
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import yaml

from datamover.api.meta import Manifest
from datamover.api.names import GROUP
from datamover.api.v1alpha1.datamover import DATA_MOVERS

_MAX_BYTES = 8 * 1024 * 1024
_ORDER = ("Namespace", "StorageClass", "VolumeSnapshotClass", "Secret", "ConfigMap", "ServiceAccount")
_PLACEHOLDER = re.compile(r"^<.*>$")


class ManifestError(Exception):
    """A manifest cannot be used."""


@dataclass(frozen=True, slots=True)
class Source:
    """An object and where it was read."""

    manifest: Manifest
    place: str


def read_manifests(paths: tuple[str, ...], *, stdin: TextIO, namespace: str) -> tuple[Source, ...]:
    """Return the objects of all files in the order in which they are to be applied; `-` is standard input.

    Objects without a namespace get `namespace`. Raises ManifestError.
    """
    sources: list[Source] = []
    for path in paths:
        sources += _read_file(path, stdin=stdin)
    for source in sources:
        if source.manifest["kind"] != "Namespace":
            source.manifest["metadata"].setdefault("namespace", namespace)
    seen: dict[tuple[str, str, str, str], str] = {}
    for source in sources:
        identity = _identity(source.manifest)
        if identity in seen:
            raise ManifestError(
                f"{source.place}: {identity[1]} {identity[3]} is there twice, first in {seen[identity]}: remove one or rename it"
            )
        seen[identity] = source.place
    return tuple(sorted(sources, key=lambda source: _rank(source.manifest)))


def data_movers(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Return the DataMovers among the objects."""
    return tuple(source for source in sources if source.manifest["kind"] == DATA_MOVERS.kind)


def _read_file(path: str, *, stdin: TextIO) -> list[Source]:
    name = "standard input" if path == "-" else path
    try:
        text = stdin.read(_MAX_BYTES + 1) if path == "-" else _read_text(Path(path))
    except OSError as error:
        raise ManifestError(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{name}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if len(text) > _MAX_BYTES:
        raise ManifestError(f"{name}: is larger than 8 MiB; that is not a manifest")
    try:
        documents: list[Any] = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ManifestError(f"{name}: is not YAML: {_first_line(error)}") from error
    sources: list[Source] = []
    for number, document in enumerate(documents, start=1):
        if document is not None:
            sources += _unfold(document, f"{name}, document {number}")
    if not sources:
        raise ManifestError(f"{name}: holds no object")
    return sources


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise ManifestError(f"{path}: is a directory: name the files in it, or use -f for each")
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1).decode("utf-8")


def _unfold(document: Any, place: str) -> list[Source]:
    if not isinstance(document, dict):
        raise ManifestError(f"{place}: is {_kind_of(document)}, not an object with apiVersion, kind and metadata")
    manifest = cast("Manifest", document)
    if manifest.get("kind") == "List" and isinstance(manifest.get("items"), list):
        return [found for item in cast("list[Any]", manifest["items"]) for found in _unfold(item, place)]
    for field in ("apiVersion", "kind"):
        if not isinstance(manifest.get(field), str) or not manifest[field]:
            raise ManifestError(f"{place}: has no {field}: every object names its apiVersion and kind")
    metadata: Any = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(cast("Manifest", metadata).get("name"), str):
        raise ManifestError(f"{place}: {manifest['kind']} has no metadata.name (quote it when it is a number)")
    if manifest["kind"] == DATA_MOVERS.kind and not str(manifest["apiVersion"]).startswith(f"{GROUP}/"):
        raise ManifestError(
            f"{place}: DataMover has apiVersion {manifest['apiVersion']}: it is {DATA_MOVERS.api_version}"
        )
    if manifest["kind"] == "Secret":
        _check_secret(manifest, place)
    return [Source(manifest, place)]


def _check_secret(manifest: Manifest, place: str) -> None:
    """The documents print placeholders; taken as they are they would be a confusing base64 error."""
    for field in ("data", "stringData"):
        values: Any = manifest.get(field) or {}
        if not isinstance(values, dict):
            raise ManifestError(f"{place}: Secret.{field} is {_kind_of(values)}, not a mapping of keys to values")
        for key, value in cast("dict[str, Any]", values).items():
            if not isinstance(value, str):
                raise ManifestError(f"{place}: Secret.{field}.{key} is {_kind_of(value)}: quote it, it must be text")
            if _PLACEHOLDER.match(value):
                raise ManifestError(f"{place}: Secret.{field}.{key} still holds a placeholder: fill in the value")


def _identity(manifest: Manifest) -> tuple[str, str, str, str]:
    metadata = manifest["metadata"]
    return (
        str(manifest["apiVersion"]).rpartition("/")[0],
        manifest["kind"],
        metadata.get("namespace", ""),
        metadata["name"],
    )


def _rank(manifest: Manifest) -> int:
    kind = manifest["kind"]
    if kind in _ORDER:
        return _ORDER.index(kind)
    return len(_ORDER) + (1 if kind == DATA_MOVERS.kind else 0)


def _kind_of(value: Any) -> str:
    names: dict[Any, str] = {
        dict: "a mapping",
        list: "a list",
        str: "text",
        int: "a number",
        float: "a number",
        bool: "a boolean",
    }
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")


def _first_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())[:200]
