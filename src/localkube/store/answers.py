"""What an answer looks like: plain objects, tables for people, or metadata only, as the Accept header asks."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import yaml

from kubekit.client.transport import Response
from localkube.store.kinds import Kind
from localkube.store.objects import served_form
from localkube.store.statuses import StatusError, not_acceptable
from localkube.store.storage import Record
from localkube.store.tables import table
from localkube.store.trees import Tree, decode, encode

JSON = "application/json"
YAML = "application/yaml"
_HEADERS: Mapping[str, str] = {"content-type": JSON, "cache-control": "no-cache, private"}
_KNOWN = (
    JSON,
    YAML,
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
)


class Format(NamedTuple):
    """One of object, table, metadata; objects may come in YAML."""

    word: str
    version: str = "v1"
    yaml: bool = False

    @property
    def api_version(self) -> str:
        """The apiVersion of a table or of partial objects."""
        return f"meta.k8s.io/{self.version}"


_OBJECT = Format("object")


def read_format(accept: str) -> Format:
    """Return the first format of an Accept header that can be given. Raises StatusError 406 when none can."""
    if not accept or accept in {JSON, "*/*"}:
        return _OBJECT
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media == YAML:
            return Format("object", yaml=True)
        if media not in {JSON, "*/*"}:
            continue
        options = dict(option.split("=", 1) for option in parameters if "=" in option)
        word = options.get("as")
        if word is None:
            return _OBJECT
        if options.get("g", "meta.k8s.io") == "meta.k8s.io" and options.get("v", "v1") in {"v1", "v1beta1"}:
            if word == "Table":
                return Format("table", options.get("v", "v1"))
            if word in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
                return Format("metadata", options.get("v", "v1"))
    raise not_acceptable(_KNOWN)


def respond(
    status: int,
    body: bytes,
    *,
    warnings: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    form: Format = _OBJECT,
) -> Response:
    """Return an answer for a body of JSON, as YAML when the format asks for it."""
    said = list(warnings)
    if form.yaml:
        body = yaml.safe_dump(decode(body), sort_keys=False).encode()
        headers = {**(headers or {}), "content-type": YAML}
    if not said and not headers:
        return Response(status, _HEADERS, body)
    return Response(status, {**_HEADERS, **warning_header(said), **(headers or {})}, body)


def warning_header(warnings: Iterable[str]) -> Mapping[str, str]:
    """Return the Warning header (RFC 7234) for sentences, repeated ones left out."""
    said = [f'299 - "{_quoted(sentence)}"' for sentence in dict.fromkeys(warnings)]
    return {"warning": ", ".join(said)} if said else {}


def _quoted(sentence: str) -> str:
    clean = "".join(char if " " <= char <= "~" else "?" for char in sentence)
    return clean.replace("\\", "\\\\").replace('"', '\\"')[:1024]


def refuse(error: StatusError) -> Response:
    """Return the answer of an error."""
    return respond(error.code, error.body(), headers=error.headers)


def to_served(kind: Kind, data: bytes) -> bytes:
    """Return stored bytes as the kind's version has them."""
    if kind.to_served is None and (not kind.stored or kind.stored == kind.api_version):
        return data
    return encode(served_form(kind, data))


def one(kind: Kind, record: Record, form: Format, *, include: str, now: datetime) -> bytes:
    """Return the body for one object."""
    if form.word == "object":
        return to_served(kind, record.data)
    tree = served_form(kind, record.data)
    if form.word == "metadata":
        return encode(partial(tree, form))
    return encode(
        table(
            kind,
            [tree],
            {"resourceVersion": str(record.revision)},
            api_version=form.api_version,
            include=include,
            now=now,
        )
    )


def many(kind: Kind, records: Iterable[Record], metadata: Tree, form: Format, *, include: str, now: datetime) -> bytes:
    """Return the body for a list."""
    if form.word == "object":
        head = b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (
            kind.listed.encode(),
            kind.api_version.encode(),
            encode(metadata),
        )
        return head + b",".join(_items(kind, records)) + b"]}"
    trees = [served_form(kind, record.data) for record in records]
    if form.word == "metadata":
        return encode(
            {
                "kind": "PartialObjectMetadataList",
                "apiVersion": form.api_version,
                "metadata": metadata,
                "items": [partial(tree, form) for tree in trees],
            }
        )
    return encode(table(kind, trees, metadata, api_version=form.api_version, include=include, now=now))


def _items(kind: Kind, records: Iterable[Record]) -> list[bytes]:
    if kind.custom:
        return [to_served(kind, record.data) for record in records]
    # items of built-in kinds go without apiVersion and kind, which lead every stored object
    if plain(kind):
        lead = len(encode({"apiVersion": kind.api_version, "kind": kind.kind}))
        return [b"{" + record.data[lead:] for record in records]
    items = list[bytes]()
    for record in records:
        tree = served_form(kind, record.data)
        del tree["apiVersion"], tree["kind"]
        items.append(encode(tree))
    return items


def partial(tree: Tree, form: Format) -> Tree:
    """Return an object of which only the metadata is left."""
    return {"kind": "PartialObjectMetadata", "apiVersion": form.api_version, "metadata": tree.get("metadata")}


def plain(kind: Kind) -> bool:
    """Tell whether stored bytes go out as they are."""
    return kind.to_served is None and (not kind.stored or kind.stored == kind.api_version)


def rendered(kind: Kind, data: bytes, form: Format, *, include: str, now: datetime, columns: bool) -> bytes:
    """Return the body of one object of a watch; a table says its columns only when asked to."""
    tree = served_form(kind, data)
    if form.word == "metadata":
        return encode(partial(tree, form))
    meta: Tree = {"resourceVersion": tree["metadata"].get("resourceVersion")}
    shown = table(kind, [tree], meta, api_version=form.api_version, include=include, now=now)
    return encode(shown if columns else {**shown, "columnDefinitions": None})
