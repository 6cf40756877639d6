"""Types of built-in kinds: what a Go decoder would refuse."""

from typing import Any

from datamover.local.store.schemas.nodes import Node
from datamover.local.store.trees import is_list, is_tree


def type_error(value: Any, node: Node, path: str = "") -> str | None:
    """Return the decoder's complaint about the first value of a wrong type, or None."""
    if value is None:
        return None
    if is_tree(value):
        if node.type not in {"object", ""}:
            return _said("object", node, path)
        for key, item in value.items():
            below = node.below(key)
            if below is not None and (error := type_error(item, below, f"{path}.{key}" if path else key)):
                return error
        return None
    if is_list(value):
        if node.type not in {"array", ""}:
            return _said("array", node, path)
        if node.items is not None:
            for item in value:
                if error := type_error(item, node.items, path):
                    return error
        return None
    if isinstance(value, bool):
        return None if node.type in {"boolean", ""} and not node.int_or_string else _said("bool", node, path)
    if isinstance(value, str):
        return None if node.type in {"string", ""} else _said("string", node, path)
    if isinstance(value, int):
        return None if node.type in {"integer", "number", ""} else _said("number", node, path)
    return None if node.type in {"number", ""} else _said(f"number {value}", node, path)


def _said(found: str, node: Node, path: str) -> str:
    wanted = {
        "string": "string",
        "boolean": "bool",
        "integer": node.format or "int64",
        "number": "float64",
        "array": "[]" + (node.items.type if node.items else ""),
        "object": "map[string]" + (node.values.type if node.values else "struct"),
    }.get(node.type, node.type)
    last = path.rpartition(".")[2]
    return (
        f"json: cannot unmarshal {found} into Go struct field {last} of type {wanted}"
        if path
        else f"json: cannot unmarshal {found}"
    )
