"""Sets of fields, as `managedFields` records them, and the comparison of two objects as such sets.

A set is a trie in the shape of FieldsV1: keys are `f:NAME` (a field), `k:{…}` (an item of a keyed list), `v:VALUE` (an item of a set);
a node without children is a member, a node with children is one when it has the key `"."`. The root is never a member, so an empty root is the
empty set. Tries are shared between sets and never changed once made.

Source of the rules: structured-merge-diff, the library behind server-side apply.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from localkube.store.schemas.list_keys import item_key, spell
from localkube.store.schemas.nodes import UNSET, Node
from localkube.store.trees import Tree, is_list, is_tree, mapping, sequence

FieldSet = dict[str, Any]
"""A trie of fields; see the module."""

SCALARS: frozenset[type] = frozenset({str, int, bool, float})
"""The types of values that have nothing below them."""

_MEMBER: FieldSet = {}
_ABSENT: Any = UNSET


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return what is in either set."""
    if not left or not right:
        return left or right
    return _union(left, right)


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right:
        return left
    if not left:
        return right if not right or "." in right else {".": _MEMBER, **right}
    if not right:
        return left if "." in left else {".": _MEMBER, **left}
    both = dict(left)
    for key, below in right.items():
        mine = both.get(key)
        both[key] = below if mine is None else _union(mine, below)
    return both


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return what is in `left` and not in `right`. Children of a removed member stay."""
    return (_difference(left, right) or {}) if left and right else left


def _difference(left: FieldSet, right: FieldSet) -> FieldSet | None:
    if not left:
        return left if right and "." not in right else None
    if not right:
        rest = {key: below for key, below in left.items() if key != "."}
        return rest or None
    rest: FieldSet = {}
    for key, below in left.items():
        if key == ".":
            if "." not in right:
                rest[key] = below
        elif (theirs := right.get(key)) is None:
            rest[key] = below
        elif (remaining := _difference(below, theirs)) is not None:
            rest[key] = remaining
    return _tidy(rest)


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return what is in both sets."""
    return (_intersection(left, right) or {}) if left and right else {}


def _intersection(left: FieldSet, right: FieldSet) -> FieldSet | None:
    if not left:
        return left if not right or "." in right else None
    if not right:
        return _MEMBER if "." in left else None
    both: FieldSet = {}
    for key, below in left.items():
        theirs = right.get(key)
        if theirs is None:
            continue
        if key == ".":
            both[key] = _MEMBER
        elif (shared := _intersection(below, theirs)) is not None:
            both[key] = shared
    return _tidy(both)


def without(fields: FieldSet, prefixes: FieldSet) -> FieldSet:
    """Return the set without the members of `prefixes` and all that lies below them."""
    if not prefixes:
        return fields
    rest: FieldSet = {}
    for key, below in fields.items():
        cut = prefixes.get(key)
        if cut is None:
            rest[key] = below
        elif cut and "." not in cut:
            kept = without(below, cut)
            if kept or not below:
                rest[key] = kept
    return rest


def _tidy(trie: FieldSet) -> FieldSet | None:
    if not trie:
        return None
    return _MEMBER if len(trie) == 1 and "." in trie else trie


def is_leaf(value: object, node: Node | None) -> bool:
    """Tell whether a value is owned as a whole: scalars, atomic lists and maps, lists without a schema."""
    if is_tree(value):
        return node is not None and node.map_type == "atomic"
    if is_list(value):
        return node is None or node.list_type not in {"map", "set"}
    return value is not None or node is None or not (node.type == "object" or node.list_type in {"map", "set"})


def fields_of(value: object, node: Node | None) -> FieldSet:
    """Return the set that an applied object claims."""
    return _fields_of(value, node) or {}


def _fields_of(value: object, node: Node | None) -> FieldSet | None:
    # None: claims nothing by itself (an empty keyed list, for instance)
    if is_leaf(value, node):
        return _MEMBER
    found: FieldSet = {}
    if is_tree(value):
        fields = node.fields if node is not None else None
        for key, item in value.items():
            if type(item) in SCALARS:
                found[f"f:{key}"] = _MEMBER
                continue
            named = fields is not None and key in fields
            claimed = _fields_of(item, node.below(key) if node is not None else None)
            if not named or item is None or item == {}:
                claimed = _MEMBER if not claimed else {".": _MEMBER, **claimed}
            if claimed is not None:
                found[f"f:{key}"] = claimed
    elif node is not None:
        for item in sequence(value):
            key = item_key(item, node)
            if key is None:
                continue
            if key in found:
                found[key] = _MEMBER  # a duplicate is owned as a whole
                continue
            claimed = _fields_of(item, node.items) if is_tree(item) else None
            found[key] = {".": _MEMBER, **claimed} if claimed else _MEMBER
    return found or None


class Comparison(NamedTuple):
    """How an object changed."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    def __bool__(self) -> bool:
        return bool(self.removed or self.modified or self.added)


def compare(old: Tree, new: Tree, node: Node | None, *, skip: frozenset[str] = frozenset()) -> Comparison:
    """Return what changed from `old` to `new`. Top-level keys in `skip` are not looked at."""
    removed: FieldSet = {}
    modified: FieldSet = {}
    added: FieldSet = {}
    for key in _either(old, new):
        if key not in skip:
            below = node.below(key) if node is not None else None
            _differ(old.get(key, _ABSENT), new.get(key, _ABSENT), below, (removed, modified, added), f"f:{key}")
    return Comparison(removed, modified, added)


def _either(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    # in the order of the objects, so that the same writes always record the same bytes
    return [*one, *(key for key in other if key not in one)]


_Tries = tuple[FieldSet, FieldSet, FieldSet]


def _differ(old: Any, new: Any, node: Node | None, tries: _Tries, key: str) -> None:
    if old is new:
        return
    if old is _ABSENT:
        tries[2][key] = _everything(new, node)
        return
    if new is _ABSENT:
        tries[0][key] = _everything(old, node)
        return
    if type(old) is type(new) and old == new and not isinstance(old, bool):
        return
    if not old and not new and isinstance(old, bool) == isinstance(new, bool) and old == new:
        return
    if is_leaf(old, node) or is_leaf(new, node) or not (old or new):
        if old != new or isinstance(old, bool) != isinstance(new, bool):
            tries[1][key] = _MEMBER
        return
    below: _Tries = ({}, {}, {})
    if is_tree(old) or is_tree(new):
        mine, theirs = mapping(old), mapping(new)
        for name in _either(mine, theirs):
            known = node.below(name) if node is not None else None
            _differ(mine.get(name, _ABSENT), theirs.get(name, _ABSENT), known, below, f"f:{name}")
    elif node is not None:
        _differ_lists(sequence(old), sequence(new), node, below)
    for trie, found in zip(tries, below, strict=True):
        if found:
            trie[key] = found


def _differ_lists(old: list[Any], new: list[Any], node: Node, tries: _Tries) -> None:
    before, after = _by_key(old, node), _by_key(new, node)
    for key in _either(before, after):
        mine, theirs = before.get(key, []), after.get(key, [])
        if len(mine) <= 1 and len(theirs) <= 1:
            _differ(mine[0] if mine else _ABSENT, theirs[0] if theirs else _ABSENT, node.items, tries, key)
        elif len(mine) > 1 and len(theirs) > 1:
            if mine != theirs:
                tries[1][key] = _MEMBER
        elif len(mine) > 1:
            tries[0][key] = _MEMBER
            if theirs:
                tries[2][key] = _everything(theirs[0], node.items)
        else:
            tries[2][key] = _MEMBER
            if mine:
                tries[0][key] = _everything(mine[0], node.items)


def _by_key(items: list[Any], node: Node) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        key = item_key(item, node)
        if key is not None:
            found.setdefault(key, []).append(item)
    return found


def _everything(value: object, node: Node | None) -> FieldSet:
    """Return all that is in a value that came or went, containers included."""
    if not value or is_leaf(value, node):
        return _MEMBER
    found: FieldSet = {".": _MEMBER}
    if is_tree(value):
        for key, item in value.items():
            found[f"f:{key}"] = _everything(item, node.below(key) if node is not None else None)
    elif node is not None:
        for item in sequence(value):
            key = item_key(item, node)
            if key is not None:
                found[key] = _everything(item, node.items)
    return found


def paths(fields: FieldSet) -> Iterator[str]:
    """Yield the members as people write them: `.spec.containers[name="a"].image`. In structured-merge-diff's order."""
    yield from _paths(fields, "")


def _paths(trie: FieldSet, prefix: str) -> Iterator[str]:
    keys = sorted((key for key in trie if key != "."), key=_rank)
    for key in keys:
        below = trie[key]
        if not below or "." in below:
            yield prefix + spell(key)
    for key in keys:
        if trie[key]:
            yield from _paths(trie[key], prefix + spell(key))


def _rank(key: str) -> tuple[str, str]:
    return ({"f": "0", "k": "1", "v": "2"}.get(key[:1], "3"), key)


def with_parents(fields: FieldSet, node: Node | None) -> FieldSet:
    """Return the set with every named field on the way to a member made a member itself."""
    return {key: _with_parents(key, below, node) for key, below in fields.items()}


def _with_parents(key: str, below: FieldSet, node: Node | None) -> FieldSet:
    if not below:
        return below
    inner: Node | None = None
    named = False
    if node is not None:
        if key.startswith("f:"):
            name = key[2:]
            named = node.fields is not None and name in node.fields
            inner = node.below(name)
        elif key.startswith("k:"):
            inner = node.items
    grown = {name: _with_parents(name, deeper, inner) for name, deeper in below.items()}
    if named:
        grown["."] = _MEMBER
    return grown
