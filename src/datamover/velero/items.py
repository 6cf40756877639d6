"""Reading items, backups and restores as Velero sends them: narrow, within limits, and only what an action looks at."""

from typing import Any, TypeVar

import msgspec

from datamover.api.outside import Decoder, Unusable
from datamover.velero.actions import ActionError

LIMIT = 16 << 20
"""Bytes of one item. etcd takes 1.5 MiB of an object; ten times as much is read all the same."""

T = TypeVar("T")
_Members = dict[str, msgspec.Raw]
_members = Decoder(_Members, limit=LIMIT)


class Metadata(msgspec.Struct, frozen=True):
    """Of any object. Unlike in objects of the API server, anything may be missing."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Item(msgspec.Struct, frozen=True):
    """What every object has."""

    kind: str = ""
    metadata: Metadata = Metadata()


def reader(kind: type[T]) -> Decoder[T]:
    """Return what reads JSON of an item into a narrow struct."""
    return Decoder(kind, limit=LIMIT)


def read(decoder: Decoder[T], raw: bytes, what: str) -> T:
    """Return what `raw` says. Raises ActionError: `the item cannot be read: it is no JSON, or only a part of it`."""
    if not raw:
        raise ActionError(f"the {what} cannot be read: it is empty")
    try:
        return decoder(raw)
    except Unusable as error:
        raise ActionError(f"the {what} cannot be read: {error}") from None


def fits(decoder: Decoder[T], raw: bytes, what: str) -> T | None:
    """Return what `raw` says, or None when it is an object that the struct does not fit. Raises ActionError when it is no JSON object."""
    try:
        return decoder(raw)
    except Unusable:
        read(_members, raw, what)
        return None


def annotated(raw: bytes, key: str, value: str) -> bytes:
    """Return the object with one more annotation, and every other byte of it as it came. Raises ActionError."""
    members = read(_members, raw, "item")
    metadata = _object(members.get("metadata"))
    annotations = _object(metadata.get("annotations"))
    annotations[key] = _raw(value)
    metadata["annotations"] = _raw(annotations)
    return msgspec.json.encode({**members, "metadata": metadata})


def _object(raw: msgspec.Raw | None) -> _Members:
    """Return the members of an object; null and nothing are an empty one."""
    if raw is None or bytes(raw).strip() == b"null":
        return {}
    return read(_members, bytes(raw), "item's metadata")


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
