"""Reading manifests: YAML files in, objects out, and a clear message for everything that is wrong with them.

ManifestError    a file or a document in it cannot be used; the message names the file, the document and the fix
"""

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES
from datamover.cli.documents import DocumentError, read_documents
from datamover.cli.namespaces import NAMESPACE_RULE, is_namespace
from datamover.cli.runnables import RUNNABLES
from kubekit.words.meta import Manifest

_MAX_BYTES = 8 * 1024 * 1024
_TOO_LARGE = "is larger than 8 MiB; that is not a manifest"
_ENDINGS = (".yaml", ".yml", ".json")
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
    if paths.count("-") > 1:
        raise ManifestError("standard input can be read only once: give `-f -` once")
    sources: list[Source] = []
    for path in paths:
        for file in _list_files(path):
            sources += _read_file(file, stdin=stdin)
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


def runnables(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Return those of the objects that are run: DataMovers, DataMoverRestores, ReplicationSources, ReplicationDestinations and DataVolumes."""
    return tuple(source for source in sources if is_runnable(source.manifest))


def is_runnable(manifest: Manifest) -> bool:
    """Tell whether an object is one that is run."""
    return manifest["kind"] in RUNNABLES


def find_claim_size(sources: tuple[Source, ...], name: str, *, namespace: str) -> str | None:
    """Return the size that a claim among the objects asks for; None where there is none."""
    for source in sources:
        manifest, meta = source.manifest, source.manifest["metadata"]
        if (manifest["kind"], meta.get("namespace"), meta["name"]) == ("PersistentVolumeClaim", namespace, name):
            found: Any = manifest
            for field in ("spec", "resources", "requests", "storage"):
                found = cast("Manifest", found).get(field) if isinstance(found, dict) else None
            return found if isinstance(found, str) else None
    return None


def _list_files(path: str) -> list[str]:
    """Return the manifests that a directory holds, as kubectl finds them: by their ending, not in folders below. A file is itself."""
    place = Path(path)
    try:
        if path == "-" or not place.is_dir():
            return [path]
        found = sorted(str(entry) for entry in place.iterdir() if entry.suffix in _ENDINGS and not entry.is_dir())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no name of a file"
        raise ManifestError(f"{path}: cannot be read: {why}") from error
    if not found:
        raise ManifestError(f"{path}: holds no manifest: none of its files ends in {', '.join(_ENDINGS)}")
    return found


def _read_file(path: str, *, stdin: TextIO) -> list[Source]:
    name = "standard input" if path == "-" else path
    try:
        text = _read_stdin(stdin) if path == "-" else _read_text(Path(path))
    except OSError as error:
        raise ManifestError(
            f"{name}: cannot be read: {error.strerror or error}: correct the path or its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{name}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if len(text) > _MAX_BYTES:
        raise ManifestError(f"{name}: {_TOO_LARGE}")
    try:
        documents = read_documents(text)
    except DocumentError as error:
        raise ManifestError(f"{name}, document {error.document}: {error}") from error
    sources: list[Source] = []
    for number, document in enumerate(documents, start=1):
        if document.value is not None:
            sources += _unfold(document.value, f"{name}, line {document.line}, document {number}")
    if not sources:
        raise ManifestError(
            f"{name}: holds no object: write into it what is wanted, such as a DataMover and its Secret, or leave it out"
        )
    return sources


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ManifestError(f"{path}: {_TOO_LARGE}")
    return data.decode("utf-8")


def _read_stdin(stdin: TextIO) -> str:
    """Read standard input as UTF-8, whatever the locale is."""
    binary = getattr(stdin, "buffer", None)
    if binary is None:
        return stdin.read(_MAX_BYTES + 1)
    data: bytes = binary.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ManifestError(f"standard input: {_TOO_LARGE}")
    return data.decode("utf-8")


def _unfold(document: Any, place: str) -> list[Source]:
    if not isinstance(document, dict):
        raise ManifestError(f"{place}: is {_kind_of(document)}, not an object with apiVersion, kind and metadata")
    manifest = cast("Manifest", document)
    if str(manifest.get("kind")).endswith("List") and ("items" in manifest or manifest["kind"] == "List"):
        return _unfold_list(manifest, place)
    for field in ("apiVersion", "kind"):
        if not isinstance(manifest.get(field), str) or not manifest[field]:
            raise ManifestError(f"{place}: has no {field}: every object names its apiVersion and kind")
    _check_metadata(manifest, place)
    known = RUNNABLES.get(manifest["kind"])
    if known is not None and manifest["apiVersion"] != known.api_version:
        raise ManifestError(f"{place}: {known.kind} has apiVersion {manifest['apiVersion']}: it is {known.api_version}")
    if known is DATA_MOVERS or known is DATA_MOVER_RESTORES:
        _check_variables(manifest, place)
    if manifest["kind"] == "Secret":
        _check_secret(manifest, place)
    return [Source(manifest, place)]


def _unfold_list(manifest: Manifest, place: str) -> list[Source]:
    kind, items = manifest["kind"], manifest.get("items")
    if items is None:
        raise ManifestError(f"{place}: is a {kind} without items: give it items, or leave it out")
    if not isinstance(items, list):
        raise ManifestError(f"{place}: {kind}.items is {_kind_of(items)}, not a list of objects")
    return [
        found
        for number, item in enumerate(cast("list[Any]", items), start=1)
        for found in _unfold(item, f"{place}, item {number}")
    ]


def _check_metadata(manifest: Manifest, place: str) -> None:
    """Check name and namespace here, because they become parts of a path. The API server checks the rest."""
    kind, metadata = manifest["kind"], manifest.get("metadata")
    name = cast("Manifest", metadata).get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise ManifestError(f"{place}: {kind} has no metadata.name (quote it when it is a number)")
    if "/" in name:
        raise ManifestError(f"{place}: {kind} is called {name!r}: a name has no slash")
    meta = cast("Manifest", metadata)
    namespace = meta.get("namespace")
    if namespace is None:
        meta.pop("namespace", None)
    elif not isinstance(namespace, str) or not is_namespace(namespace):
        raise ManifestError(f"{place}: {kind} {name} is in the namespace {namespace!r}: {NAMESPACE_RULE}")


def _check_variables(manifest: Manifest, place: str) -> None:
    """Refuse values that are not text. `value: true` is a very common mistake, and the API server's message for it is hard to read."""
    spec = manifest.get("spec")
    variables = cast("Manifest", spec).get("additionalEnv") if isinstance(spec, dict) else None
    for index, variable in enumerate(cast("list[Any]", variables) if isinstance(variables, list) else ()):
        value = cast("Manifest", variable).get("value") if isinstance(variable, dict) else None
        if value is not None and not isinstance(value, str):
            raise ManifestError(
                f"{place}: spec.additionalEnv[{index}].value is {_kind_of(value)}: quote it, it must be text"
            )


def _check_secret(manifest: Manifest, place: str) -> None:
    """Refuse placeholders such as those in the documentation, which would end as a confusing base64 error. No value is ever shown (law L8)."""
    for field in ("data", "stringData"):
        values: Any = manifest.get(field) or {}
        if not isinstance(values, dict):
            raise ManifestError(f"{place}: Secret.{field} is {_kind_of(values)}, not a mapping of keys to values")
        for key, value in cast("dict[str, Any]", values).items():
            if not isinstance(value, str):
                raise ManifestError(f"{place}: Secret.{field}.{key} is {_kind_of(value)}: quote it, it must be text")
            if _PLACEHOLDER.match(value):
                raise ManifestError(f"{place}: Secret.{field}.{key} still holds a placeholder: fill in the value")
            if field == "data" and not _is_base64(value):
                raise ManifestError(
                    f"{place}: Secret.data.{key} is illegal base64: encode the value, or put it as it is under stringData"
                )


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)  # Go skips the ends of lines as well
    except ValueError:
        return False
    return True


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
    return len(_ORDER) + (1 if kind in RUNNABLES else 0)


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
