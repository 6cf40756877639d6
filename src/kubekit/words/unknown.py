"""What the status of an object holds beside the fields of our struct: kept when it is read, sent back when it is written. Pure.

A status that is written by PUT is replaced as a whole. Another version of a program, or another project whose definition is installed, may
have written fields that our narrow struct does not know, in the status itself, in the structs within it and in the entries of its lists.
They stay as they are as long as what they belong to stays: a struct with another `id` is another one.

Guarantees: of an object without unknown fields nothing is kept but an empty reference. Reading costs one more encoding of the status.
Assumptions: an entry of a list of structs is known by its `type`, or else by its `name`, as conditions are.
Caveats: what is unknown within other lists, and within maps of free keys, is not kept: those are replaced whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect

from kubekit.words.meta import Model

_ENTRY_KEYS: Final = ("type", "name")
_IDENTITY: Final = "id"


class KeepsUnknown(Model, frozen=True):
    """An object with a field `status`. `unknown` is what that holds and our struct does not, as JSON; it is never on the wire."""

    unknown: bytes | None = None


def never_on_the_wire(type_: type[Any]) -> tuple[str, ...]:
    """Return the fields of a struct that no server sends or takes."""
    return ("unknown",) if issubclass(type_, KeepsUnknown) else ()


T = TypeVar("T", bound=KeepsUnknown)

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Shape:
    """The fields of a struct by their names on the wire; those that hold structs with their own shape. `key` names entries of a list."""

    fields: Mapping[str, "_Shape | None"] = field(default_factory=dict[str, "_Shape | None"])
    key: str | None = None


@lru_cache(maxsize=64)
def wire_of(type_: type[KeepsUnknown]) -> type[msgspec.Struct]:
    """Return the struct that an object is read into first: its status as raw JSON."""
    others = [each for each in msgspec.structs.fields(type_) if each.name not in ("status", "unknown")]
    fields = [(each.name, each.type, each.default) for each in others]
    status = ("status", msgspec.Raw, msgspec.Raw())
    return msgspec.defstruct(f"{type_.__name__}Wire", [*fields, status], rename="camel", kw_only=True, gc=False)


@lru_cache(maxsize=64)
def finisher(type_: type[T]) -> Callable[[msgspec.Struct], T]:
    """Return what makes the object of what was read into `wire_of`. It raises what decoding raises."""
    others = tuple(each.name for each in msgspec.structs.fields(type_) if each.name not in ("status", "unknown"))
    (status_type,) = (each.type for each in msgspec.structs.fields(type_) if each.name == "status")
    decode = msgspec.json.Decoder(status_type).decode
    encode = msgspec.json.Encoder().encode
    shape = shape_of(status_type)

    make = cast("Callable[..., T]", type_)

    def finish(found: msgspec.Struct) -> T:
        values: Tree = {name: getattr(found, name) for name in others}
        raw: bytes = memoryview(cast("Any", found).status).tobytes()
        if not raw:
            return make(**values)
        status = decode(raw)
        # JSON as short as that of our struct holds nothing more. Longer it may be for other reasons too: a null, an escape.
        if status is None or len(encode(status)) >= len(raw):
            return make(**values, status=status)
        return make(**values, status=status, unknown=_find(raw, shape))

    return finish


def restore(status: Tree, unknown: bytes | None, type_: Any) -> Tree:
    """Return a status of this type, as it is to be written, with what was unknown in the one that was read."""
    return _restore(status, msgspec.json.decode(unknown), shape_of(type_)) if unknown is not None else status


@lru_cache(maxsize=64)
def shape_of(type_: Any) -> _Shape:
    """Return the shape of a struct, or of a struct that may be missing."""
    return _shape(inspect.type_info(type_)) or _Shape()


def _shape(info: inspect.Type) -> _Shape | None:
    match info:
        case inspect.UnionType():
            return next((found for found in map(_shape, info.types) if found is not None), None)
        case inspect.Metadata():
            return _shape(info.type)
        case inspect.VarTupleType() | inspect.ListType():
            entry = _shape(info.item_type)
            key = next((name for name in _ENTRY_KEYS if entry is not None and name in entry.fields), None)
            return None if entry is None or key is None else _Shape(entry.fields, key)
        case inspect.StructType():
            return _Shape({each.encode_name: _shape(each.type) for each in info.fields})
        case _:
            return None


def _find(raw: bytes, shape: _Shape) -> bytes | None:
    found = _unknown(msgspec.json.decode(raw), shape)
    return msgspec.json.encode(found) if found else None


def _unknown(tree: Any, shape: _Shape) -> Tree:
    """Return what the shape does not know, in the shape of the tree; the entries of a list by their key."""
    if isinstance(tree, list):
        entry_shape, key = _Shape(shape.fields), shape.key or ""
        entries = ((entry.get(key), _unknown(entry, entry_shape)) for entry in _trees(tree))
        return {key: rest for key, rest in entries if isinstance(key, str) and rest}
    if not isinstance(tree, dict):
        return {}
    rest: Tree = {}
    for name, value in cast("Tree", tree).items():
        if name not in shape.fields:
            rest[name] = value
        elif (inner := shape.fields[name]) is not None and (found := _unknown(value, inner)):
            rest[name] = found
    if rest and _IDENTITY in shape.fields:
        # Whose it is. This is never written back: what we say of it ourselves counts.
        rest[_IDENTITY] = cast("Tree", tree).get(_IDENTITY)
    return rest


def _restore(tree: Tree, rest: Tree, shape: _Shape) -> Tree:
    restored = dict(tree)
    for name, value in rest.items():
        inner = shape.fields.get(name)
        present = tree.get(name)
        if name not in shape.fields:
            restored[name] = value
        elif inner is None or present is None or _is_another(present, value, inner):
            continue  # what it belonged to is gone
        elif inner.key is None:
            restored[name] = _restore(present, value, inner)
        else:
            entries = _Shape(inner.fields)
            restored[name] = [_restore(entry, value.get(entry[inner.key], {}), entries) for entry in present]
    return restored


def _is_another(present: Any, rest: Tree, shape: _Shape) -> bool:
    return shape.key is None and _IDENTITY in shape.fields and present.get(_IDENTITY) != rest.get(_IDENTITY)


def _trees(entries: Any) -> list[Tree]:
    return [entry for entry in entries if isinstance(entry, dict)]
