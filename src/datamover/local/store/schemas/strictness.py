"""What server-side apply refuses before it merges: unknown fields, wrong types, list items without their key or twice."""

from typing import Any

from datamover.local.store.fieldsets import item_key, spell
from datamover.local.store.schemas.nodes import Node
from datamover.local.store.trees import Tree, is_list, is_tree


def claim_error(value: Any, node: Node | None, path: str = "") -> str | None:
    """Return the first complaint about an applied object, or None."""
    if node is None or value is None:
        return None
    if is_tree(value):
        return _object_error(value, node, path)
    if is_list(value):
        return _list_error(value, node, path)
    if node.int_or_string or not node.type:
        return None
    wanted = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}.get(node.type)
    if wanted is None:
        return f"{path}: expected {'list' if node.type == 'array' else 'map'}, got {_shown(value)}"
    if not isinstance(value, wanted) or (isinstance(value, bool) and node.type != "boolean"):
        return f"{path}: expected {'numeric (int or float)' if node.type in {'integer', 'number'} else node.type}, got {_shown(value)}"
    return None


def _object_error(value: Tree, node: Node, path: str) -> str | None:
    if node.type not in {"object", ""}:
        return f"{path}: expected {'list' if node.type == 'array' else node.type}, got {_shown(value)}"
    if node.fields is None and node.values is None:
        return None
    for key, item in value.items():
        below = node.below(key)
        if below is None:
            if node.preserve:
                continue
            return f"{path}.{key}: field not declared in schema"
        if error := claim_error(item, below, f"{path}.{key}"):
            return error
    return None


def _list_error(value: list[Any], node: Node, path: str) -> str | None:
    if node.type not in {"array", ""}:
        return f"{path}: expected {'map' if node.type == 'object' else node.type}, got {_shown(value)}"
    keyed = node.list_type in {"map", "set"}
    seen = set[str]()
    for position, item in enumerate(value):
        where = f"{path}[{position}]"
        if keyed:
            key = item_key(item, node)
            if key is None:
                listed = " ".join(f'"{name}"' for name in node.list_keys)
                return (
                    f"{path}: element {position}: associative list with keys has an element that omits all key fields [{listed}] "
                    "(and doesn't have default values for any key fields)"
                )
            if key in seen:
                return f"{path}: duplicate entries for key {spell(key)}"
            seen.add(key)
            where = path + spell(key)
        if error := claim_error(item, node.items, where):
            return error
    return None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"&value.valueUnstructured{{Value:{str(value).lower()}}}"
    if isinstance(value, str):
        return f'&value.valueUnstructured{{Value:"{value}"}}'
    return f"&value.valueUnstructured{{Value:{value}}}"
