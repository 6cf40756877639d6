"""Merging an applied object into the live one, and taking out what its manager no longer wants.

Both follow the schema: structs and maps merge key by key, keyed lists and sets item by item, everything else is replaced. Neither changes its
arguments; results share what did not change. Source of the rules: structured-merge-diff.
"""

from typing import Any, cast

from localkube.store.fieldsets import FieldSet, is_leaf
from localkube.store.schemas.list_keys import item_key
from localkube.store.schemas.nodes import Node
from localkube.store.trees import Tree, is_tree, sequence


def merge(live: Tree, applied: Tree, node: Node | None) -> Tree:
    """Return the live object with everything that `applied` says."""
    merged = dict(live)
    for key, value in applied.items():
        below = node.below(key) if node is not None else None
        merged[key] = _merge(merged[key], value, below) if key in merged else value
    return merged


def _merge(live: Any, applied: Any, node: Node | None) -> Any:
    if applied is None:
        # a null says nothing about a struct or a keyed list, and sets everything else to null
        return cast("Any", live) if isinstance(live, dict | list) and not is_leaf(cast("Any", live), node) else None
    if is_leaf(applied, node) or type(live) is not type(applied):
        return applied
    if is_tree(applied):
        return merge(live, applied, node)
    return _merge_lists(sequence(live), sequence(applied), node) if node is not None else applied


def _merge_lists(live: list[Any], applied: list[Any], node: Node) -> list[Any]:
    ours = [(item_key(item, node), item) for item in live]
    theirs = {item_key(item, node): item for item in applied}
    mine = dict(ours)
    wanted = list(theirs)
    shared = [key for key in wanted if key in mine]
    merged: list[Any] = []
    done = set[str | None]()
    left = right = 0

    def take(key: str | None) -> None:
        done.add(key)
        if shared and shared[0] == key:
            shared.pop(0)
        item = theirs[key]
        merged.append(_merge(mine[key], item, node.items) if key in mine else item)

    # items that both have come in the applied order, the others keep their place between them
    while left < len(ours) or right < len(wanted):
        if left < len(ours):
            key, item = ours[left]
            if right < len(wanted) and key == wanted[right]:
                take(key)
                left, right = left + 1, right + 1
                continue
            if key not in theirs:
                merged.append(item)
                left += 1
                continue
            if key in done or (right < len(wanted) and shared and shared[0] != key):
                left += 1
                continue
        if right < len(wanted):
            if wanted[right] not in done:
                take(wanted[right])
            right += 1
        else:
            left += 1
    return merged


def remove(value: Tree, fields: FieldSet, node: Node | None) -> Tree:
    """Return `value` without the members of `fields`."""
    kept: Tree = {}
    for key, item in value.items():
        below = fields.get(f"f:{key}")
        if below is None:
            kept[key] = item
        elif below and "." not in below:
            kept[key] = _remove(item, below, node.below(key) if node is not None else None)
    return kept


def _remove(value: Any, fields: FieldSet, node: Node | None) -> Any:
    if is_leaf(value, node):
        return value
    if is_tree(value):
        return remove(value, fields, node)
    if node is None:
        return value
    kept: list[Any] = []
    for item in sequence(value):
        key = item_key(item, node)
        below = fields.get(key) if key is not None else None
        if below is None:
            kept.append(item)
        elif below and "." not in below:
            kept.append(_remove(item, below, node.items))
    return kept
