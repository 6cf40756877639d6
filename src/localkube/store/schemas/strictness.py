"""What server-side apply refuses before it merges: unknown fields, wrong types, list items without their key or twice."""

from typing import Any

from localkube.store.schemas.list_keys import item_key, spell
from localkube.store.schemas.nodes import Node
from localkube.store.trees import Tree, is_list, is_tree

_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_NAMES = {"integer": "numeric (int or float)", "number": "numeric (int or float)"}


def claim_error(value: Any, node: Node | None) -> str | None:
    """Return the first complaint about an applied object, with its path, or None."""
    if node is None or value is None:
        return None
    if is_tree(value):
        return _object_error(value, node)
    if is_list(value):
        return _list_error(value, node)
    if node.int_or_string or not node.type:
        return None
    wanted = _SCALARS.get(node.type)
    if wanted is None:
        return f": expected {'list' if node.type == 'array' else 'map'}, got {_shown(value)}"
    if type(value) not in wanted:
        return f": expected {_NAMES.get(node.type, node.type)}, got {_shown(value)}"
    return None


def _object_error(value: Tree, node: Node) -> str | None:
    if node.type not in {"object", ""}:
        return f": expected {'list' if node.type == 'array' else node.type}, got {_shown(value)}"
    fields, values = node.fields, node.values
    if fields is None and values is None:
        return None
    for key, item in value.items():
        below = (fields.get(key) if fields is not None else None) or values
        if below is None:
            if node.preserve:
                continue
            return f".{key}: field not declared in schema"
        if type(item) in _SCALARS.get(below.type, ()):
            continue
        if error := claim_error(item, below):
            return f".{key}{error}"
    return None


def _list_error(value: list[Any], node: Node) -> str | None:
    if node.type not in {"array", ""}:
        return f": expected {'map' if node.type == 'object' else node.type}, got {_shown(value)}"
    keyed = node.list_type in {"map", "set"}
    seen = set[str]()
    for position, item in enumerate(value):
        key = item_key(item, node) if keyed else None
        if keyed and key is None:
            listed = " ".join(f'"{name}"' for name in node.list_keys)
            return (
                f": element {position}: associative list with keys has an element that omits all key fields [{listed}] "
                "(and doesn't have default values for any key fields)"
            )
        if key in seen:
            return f": duplicate entries for key {spell(key or '')}"
        if key is not None:
            seen.add(key)
        if error := claim_error(item, node.items):
            return f"{spell(key) if key is not None else f'[{position}]'}{error}"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"&value.valueUnstructured{{Value:{str(value).lower()}}}"
    if isinstance(value, str):
        return f'&value.valueUnstructured{{Value:"{value}"}}'
    return f"&value.valueUnstructured{{Value:{value}}}"
