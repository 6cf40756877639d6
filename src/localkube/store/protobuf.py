"""Reads the protobuf form of built-in kinds into JSON objects.

kubectl's `create` shortcuts and `auth can-i` send it, as do Go programs with typed clients. Only reading is needed: every client takes JSON answers.
Source of the form: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`; field numbers: `schemas/messages.txt`.
"""

import base64
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from kubekit.words import timestamps
from localkube.store.schemas.builtin import META, definition, kind_of, names
from localkube.store.schemas.nodes import Node
from localkube.store.trees import Tree, decode, is_tree

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_FIELD = re.compile(r" (\d+) (\S+?)(\??)(?: (\S+))?")
_EMPTY: tuple[Any, ...] = ("", 0, False, None, {}, [])


class _Field(NamedTuple):
    name: str
    pointer: bool
    message: str


@cache
def _messages() -> dict[str, dict[int, _Field]]:
    found: dict[str, dict[int, _Field]] = {}
    fields: dict[int, _Field] = {}
    for line in (files("localkube.store.schemas") / "messages.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = _FIELD.fullmatch(line)
        if match:
            fields[int(match[1])] = _Field(match[2], bool(match[3]), match[4] or "")
        else:
            fields = found[line] = {}
    return found


@cache
def _definitions() -> dict[tuple[str, str], str]:
    """Return the definitions of kinds by apiVersion and kind."""
    found: dict[tuple[str, str], str] = {}
    for name in names():
        identity = kind_of(name)
        if identity is not None and name in _messages():
            group, version, kind = identity
            found[f"{group}/{version}" if group else version, kind] = name
    return found


def read_protobuf(body: bytes) -> Tree:
    """Return the object in a body. Raises ValueError for what is not in this form or of a kind that is not known."""
    if not body.startswith(_MAGIC):
        raise ValueError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    envelope = _collect(body[len(_MAGIC) :])
    meta = _collect(_bytes(envelope.get(1, [b""])[-1]))
    version, kind = (_bytes(meta.get(number, [b""])[-1]).decode() for number in (1, 2))
    name = META + kind if kind == "DeleteOptions" else _definitions().get((version, kind))
    if name is None:
        raise ValueError(f'no kind "{kind}" is registered for version "{version}"')
    tree: Tree = {"apiVersion": version, "kind": kind}
    tree.update(_message(_bytes(envelope.get(2, [b""])[-1]), name, definition(name)))
    return tree


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield numbers and raw values: integers for varints, bytes for everything else."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, form = tag >> 3, tag & 7
        if form == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(form)
        if form == 2:
            size, position = _varint(data, position)
        if size is None or position + size > len(data):
            raise ValueError("unexpected EOF")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("unexpected EOF")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def _collect(data: bytes) -> dict[int, list[int | bytes]]:
    found: dict[int, list[int | bytes]] = {}
    for number, value in _wire(data):
        found.setdefault(number, []).append(value)
    return found


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("proto: wrong wireType")  # noqa: TRY004 - a fault of the data, not of the program
    return value


def _message(data: bytes, name: str, node: Node) -> Tree:
    tree: Tree = {}
    fields = _messages()[name]
    for number, values in _collect(data).items():
        field = fields.get(number)
        if field is None:
            continue
        if field.name == "^":
            tree.update(_message(_bytes(values[-1]), field.message, node))
            continue
        below = node.below(field.name)
        if below is None:
            continue
        value = _value(values, field, below)
        if field.pointer or value not in _EMPTY or (isinstance(value, bool) and value):
            tree[field.name] = value
    return tree


def _value(values: list[int | bytes], field: _Field, node: Node) -> Any:
    if node.type == "array":
        items = node.items or Node()
        return [item for value in values for item in _items(value, field, items)]
    if node.values is not None:
        return dict(_entry(_bytes(value), field, node.values) for value in values)
    return _single(values[-1], field, node)


def _items(value: int | bytes, field: _Field, node: Node) -> Iterator[Any]:
    if node.type == "integer" and isinstance(value, bytes):
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            yield _signed(number)
    else:
        yield _single(value, field, node)


def _entry(data: bytes, field: _Field, node: Node) -> tuple[str, Any]:
    parts = _collect(data)
    key = _bytes(parts.get(1, [b""])[-1]).decode()
    value = parts.get(2, [0 if node.type in {"integer", "boolean"} else b""])[-1]
    return key, _single(value, field, node)


def _single(value: int | bytes, field: _Field, node: Node) -> Any:
    if field.message:
        return _message(_bytes(value), field.message, node)
    if isinstance(value, int):
        return bool(value) if node.type == "boolean" else _signed(value)
    if node.type == "number":
        return struct.unpack("<d" if len(value) == 8 else "<f", value)[0]
    match node.format:
        case "date-time":
            return _time(value)
        case "byte":
            return base64.b64encode(value).decode()
        case "quantity":
            return _bytes(_collect(value).get(1, [b""])[-1]).decode()
        case "int-or-string":
            parts = _collect(value)
            number = parts.get(2, [0])[-1]
            is_text = parts.get(1, [0])[-1] == 1
            return _bytes(parts.get(3, [b""])[-1]).decode() if is_text else number
        case _:
            pass
    if node.type == "string":
        return value.decode()
    raw = _bytes(_collect(value).get(1, [b"{}"])[-1])
    tree = decode(raw or b"{}")
    return tree if is_tree(tree) else {}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _time(data: bytes) -> str:
    parts = _collect(data)
    seconds, nanos = parts.get(1, [0])[-1], parts.get(2, [0])[-1]
    if not isinstance(seconds, int) or not isinstance(nanos, int) or not seconds:
        return ""
    moment = datetime.fromtimestamp(_signed(seconds) + nanos / 1e9, UTC)
    return timestamps.micros(moment) if nanos else timestamps.seconds(moment)
