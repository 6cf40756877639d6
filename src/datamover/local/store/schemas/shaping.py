"""Pruning and defaulting: what decoding does to an object before anything else sees it."""

from typing import Any

from datamover.local.store.schemas.nodes import UNSET, Node
from datamover.local.store.trees import Tree, copy, is_list, is_tree


def prune(obj: Tree, node: Node | None, *, keep: frozenset[str] = frozenset()) -> list[str]:
    """Remove from `obj` what its schema does not know and return the paths of that, sorted. Top-level keys in `keep` are left alone."""
    unknown: list[str] = []
    if node is not None:
        for key in list(obj):
            if key not in keep:
                _prune_key(obj, key, node, key, unknown)
    return sorted(unknown)


def _prune_key(tree: Tree, key: str, node: Node, path: str, unknown: list[str]) -> None:
    below = node.below(key)
    if below is not None:
        _prune(tree[key], below, path, unknown)
    elif not node.preserve:
        unknown.append(path)
        del tree[key]


def _prune(value: Any, node: Node, path: str, unknown: list[str]) -> None:
    if is_tree(value):
        if node.fields is None and node.values is None:
            if node.type == "object" and not node.preserve and not node.definition:
                _drop_all(value, path, unknown)
            return
        tree = value
        for key in list(tree):
            _prune_key(tree, key, node, f"{path}.{key}", unknown)
    elif is_list(value) and node.items is not None:
        for position, item in enumerate(value):
            if isinstance(item, dict | list):
                _prune(item, node.items, f"{path}[{position}]", unknown)


def _drop_all(tree: Tree, path: str, unknown: list[str]) -> None:
    unknown.extend(f"{path}.{key}" for key in tree)
    tree.clear()


def fill_defaults(value: Any, node: Node | None) -> None:
    """Put the schema's defaults where nothing is; a null where null may not be is replaced by the default as well."""
    if node is None:
        return
    if is_tree(value):
        tree = value
        if node.fields is not None:
            for key, below in node.fields.items():
                if below.default is not UNSET and (key not in tree or (tree[key] is None and not below.nullable)):
                    tree[key] = copy(below.default)
                item = tree.get(key)
                if isinstance(item, dict | list):
                    fill_defaults(item, below)
        if node.values is not None:
            known = node.fields or {}
            default = node.values.default
            for key in list(tree):
                if key in known:
                    continue
                if tree[key] is None and default is not UNSET and not node.values.nullable:
                    tree[key] = copy(default)
                fill_defaults(tree[key], node.values)
    elif is_list(value) and node.items is not None:
        items = value
        for position, item in enumerate(items):
            if item is None and node.items.default is not UNSET and not node.items.nullable:
                items[position] = copy(node.items.default)
            fill_defaults(items[position], node.items)


_EMPTY: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}


def drop_impossible_nulls(value: Any, node: Node | None) -> None:
    """Remove the nulls of a custom resource that its schema neither admits nor replaces by a default."""
    if is_tree(value):
        for key in list(value):
            below = node.below(key) if node is not None else None
            if value[key] is not None:
                drop_impossible_nulls(value[key], below)
            elif below is not None and not below.nullable and below.default is UNSET and (below.type or below.rules):
                del value[key]
    elif is_list(value):
        for item in value:
            drop_impossible_nulls(item, node.items if node is not None else None)


def drop_nulls(value: Any, node: Node | None) -> None:
    """Remove nulls as decoding a Go struct does: an explicit null of a built-in kind is the same as nothing.

    In a map it is the empty value.
    """
    if is_tree(value):
        for key in list(value):
            below = node.below(key) if node is not None else None
            if value[key] is not None:
                drop_nulls(value[key], below)
            elif node is not None and not node.preserve:
                if below is not None and below is node.values and below.type in _EMPTY:
                    value[key] = _EMPTY[below.type]
                else:
                    del value[key]
    elif is_list(value):
        for item in value:
            drop_nulls(item, node.items if node is not None else None)
