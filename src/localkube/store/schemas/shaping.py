"""Shaping: what decoding does to an object before anything else sees it. One walk over the object, in place.

Custom resources lose unknown fields and impossible nulls and get their defaults. Built-in kinds lose unknown fields and nulls, as in a Go struct, their types are
checked and their quantities spelled in the server's way; what they default is in their strategies.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from localkube.store.quantities import canonical_quantity
from localkube.store.schemas.nodes import UNSET, Node
from localkube.store.trees import Tree, copy, is_list, is_tree

_type: Callable[[Any], type] = type
_Trail = tuple[Any, ...]
"""Where a value lies: `(trail of the parent, key or position)`, so that paths cost nothing until one is needed."""


def shape_custom(obj: Tree, node: Node | None) -> list[str]:
    """Shape a custom resource; return the paths of the unknown fields that were removed, sorted."""
    unknown: list[str] = []
    if node is not None:
        _custom_object(obj, node, (), unknown)
    return sorted(unknown)


def _custom_object(tree: Tree, node: Node, trail: _Trail, unknown: list[str]) -> None:
    fields, values = node.fields, node.values
    if fields is None and values is None:
        if not node.preserve and node.type == "object" and not node.definition:
            unknown.extend(_path((trail, key)) for key in tree)
            tree.clear()
        return
    for key in list(tree):
        below = fields.get(key) if fields is not None else None
        if below is None:
            below = values
            if below is None:
                if not node.preserve:
                    unknown.append(_path((trail, key)))
                    del tree[key]
                continue
        value = tree[key]
        kind = _type(value)
        if kind is dict:
            _custom_object(value, below, (trail, key), unknown)
        elif kind is list:
            _custom_list(value, below, (trail, key), unknown)
        elif value is None and not below.nullable:
            if below.default is not UNSET:
                tree[key] = _default(below)
            elif below.type or below.rules:
                del tree[key]
    if fields is not None:
        for key in node.defaulted():
            if key not in tree:
                tree[key] = _default(fields[key])


def _custom_list(items: list[Any], node: Node, trail: _Trail, unknown: list[str]) -> None:
    below = node.items
    if below is None:
        return
    for position, item in enumerate(items):
        kind = _type(item)
        if kind is dict:
            _custom_object(item, below, (trail, position), unknown)
        elif kind is list:
            _custom_list(item, below, (trail, position), unknown)
        elif item is None and below.default is not UNSET and not below.nullable:
            items[position] = _default(below)


def _default(node: Node) -> Any:
    value: Any = copy(node.default)
    if is_tree(value):
        _custom_object(value, node, (), [])
    elif is_list(value):
        _custom_list(value, node, (), [])
    return value


class UndecodableError(ValueError):
    """A value that the Go struct of a built-in kind could not hold. The text is the decoder's complaint."""


class _MisfitError(Exception):
    def __init__(self, found: type, node: Node, trail: _Trail) -> None:
        super().__init__()
        self.found, self.node, self.trail = found, node, trail


_EMPTY: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_FOUND = {dict: "object", list: "array", bool: "bool", str: "string", int: "number", float: "number"}
_HOLDS: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "object": frozenset({dict}),
    "array": frozenset({list}),
}


def shape_builtin(obj: Tree, node: Node | None) -> list[str]:
    """Shape an object of a built-in kind; return the paths of the unknown fields that were removed, sorted. Raises UndecodableError."""
    unknown: list[str] = []
    if node is not None:
        try:
            _builtin_object(obj, node, (), unknown)
        except _MisfitError as misfit:
            raise UndecodableError(_complaint(misfit, node)) from None
    return sorted(unknown)


def _builtin_object(tree: Tree, node: Node, trail: _Trail, unknown: list[str]) -> None:
    fields, values = node.fields, node.values
    for key in list(tree):
        below = fields.get(key) if fields is not None else None
        if below is None:
            below = values
            if below is None:
                if not node.preserve:
                    unknown.append(_path((trail, key)))
                    del tree[key]
                continue
        value = tree[key]
        if value is None:
            # nothing, or in a map the empty value
            if below is values and below.type in _EMPTY:
                tree[key] = _EMPTY[below.type]
            elif not node.preserve:
                del tree[key]
            continue
        kind = _type(value)
        if below.int_or_string:
            if below.format == "quantity":
                tree[key] = _quantity(value, below, (trail, key))
            elif kind is not str and kind is not int:
                _complain(kind, below, (trail, key))
        elif below.type and kind not in _HOLDS[below.type]:
            _complain(kind, below, (trail, key))
        elif kind is dict:
            _builtin_object(value, below, (trail, key), unknown)
        elif kind is list:
            _builtin_list(value, below, (trail, key), unknown)


def _builtin_list(items: list[Any], node: Node, trail: _Trail, unknown: list[str]) -> None:
    below = node.items
    if below is None:
        return
    for position, item in enumerate(items):
        kind = _type(item)
        if item is None:
            items[position] = _EMPTY.get(below.type, {})
        elif below.type and not below.int_or_string and kind not in _HOLDS[below.type]:
            _complain(kind, below, (trail, position))
        elif kind is dict:
            _builtin_object(item, below, (trail, position), unknown)


def _quantity(value: Any, node: Node, trail: _Trail) -> str:
    if type(value) not in {str, int, float}:
        _complain(_type(value), node, trail)
    try:
        return canonical_quantity(value if isinstance(value, str) else str(value))
    except ValueError as error:
        raise UndecodableError(str(error)) from None


def _complain(found: type, node: Node, trail: _Trail) -> NoReturn:
    raise _MisfitError(found, node, trail)


def _complaint(misfit: _MisfitError, root: Node) -> str:
    """Return the sentence of Go's decoder: it names the innermost struct, and the fields from the root on."""
    node = misfit.node
    wanted = {
        "boolean": "bool",
        "integer": node.format or "int64",
        "number": "float64",
        "array": f"[]{_struct(node.items)}",
        "object": f"map[string]{node.values.type}" if node.values else "struct",
    }.get(node.type, node.type)
    struct, fields, place = root.definition, list[str](), root
    for step in _steps(misfit.trail):
        if isinstance(step, int):
            place = place.items or Node()
            continue
        if place.definition:
            struct = place.definition
        if place.fields is not None and step in place.fields:
            fields.append(step)
        place = place.below(step) or Node()
    where = f"{struct.rpartition('.')[2]}.{'.'.join(fields)}"
    return f"json: cannot unmarshal {_FOUND[misfit.found]} into Go struct field {where} of type {wanted}"


def _struct(node: Node | None) -> str:
    if node is None:
        return ""
    return ".".join(node.definition.split(".")[-2:]) or node.type


def _steps(trail: _Trail) -> list[Any]:
    return [*_steps(trail[0]), trail[1]] if trail else []


def _path(trail: _Trail) -> str:
    if not trail:
        return ""
    before, last = _path(trail[0]), trail[1]
    if isinstance(last, int):
        return f"{before}[{last}]"
    return f"{before}.{last}" if before else str(last)
