"""JSON trees: typed looks into plain values, and copies that share what nobody changes.

A tree is what a JSON decoder gives: dict, list, str, int, float, bool, None. Functions here never raise for a value of another
shape than hoped: manifests come from people.
"""

from collections.abc import Iterator
from typing import Any, TypeGuard

import msgspec

Tree = dict[str, Any]
"""A JSON object."""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def is_tree(value: object) -> TypeGuard[Tree]:
    """Tell whether a value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a value is a JSON array."""
    return isinstance(value, list)


def mapping(value: object) -> Tree:
    """Return `value` when it is a JSON object, else a new empty one."""
    return value if is_tree(value) else {}


def sequence(value: object) -> list[Any]:
    """Return `value` when it is a JSON array, else a new empty one."""
    return value if is_list(value) else []


def text(value: object) -> str:
    """Return `value` when it is a string, else the empty string."""
    return value if isinstance(value, str) else ""


def entries(value: object) -> Iterator[Tree]:
    """Yield the JSON objects of an array and skip what is not one."""
    for item in sequence(value):
        if is_tree(item):
            yield item


def child(tree: Tree, key: str) -> Tree:
    """Return the object below `key`, made (and kept) there when absent or of another shape."""
    value = tree.get(key)
    if is_tree(value):
        return value
    made: Tree = {}
    tree[key] = made
    return made


def look(tree: object, *path: str) -> Any:
    """Return what lies at `path`, or None when any step is missing."""
    for key in path:
        if not is_tree(tree):
            return None
        tree = tree.get(key)
    return tree


def copy(value: Any) -> Any:
    """Return a deep copy. Scalars are shared: they cannot change."""
    if is_tree(value):
        return {key: copy(item) for key, item in value.items()}
    if is_list(value):
        return [copy(item) for item in value]
    return value


def same(left: object, right: object) -> bool:
    """Tell whether two trees are equal JSON. Unlike `==`, `1` and `True` differ, as they do on the wire."""
    # `==` and the encoder are many times faster than a walk, which is left for equal trees of another order
    return left == right and (left is right or encode(left) == encode(right) or _same(left, right))


def _same(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_tree(left) and is_tree(right):
        return len(left) == len(right) and all(key in right and _same(item, right[key]) for key, item in left.items())
    if is_list(left) and is_list(right):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return left == right
