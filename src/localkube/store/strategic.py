"""Strategic merge patch, for built-in kinds: lists merge by their keys, `$patch`, `$deleteFromPrimitiveList`, `$setElementOrder`, `$retainKeys`.

Source: Kubernetes "Strategic Merge Patch" and its definition in API conventions.
"""

from typing import Any

from localkube.store.schemas.nodes import Node
from localkube.store.statuses import bad_request
from localkube.store.trees import Tree, copy, entries, is_list, is_tree, mapping, sequence

_ORDER, _DELETE, _RETAIN, _DIRECTIVE = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def merge_strategically(target: Tree, patch: Tree, node: Node | None) -> Tree:
    """Return the patch's result; nothing given is changed. Raises StatusError 400 for an unknown directive or an item without its key."""
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: copy(value) for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in {None, "merge"}:
        raise bad_request(f"Unknown patch type found: {directive}")
    result = _without_what_goes(target, patch)
    for key, value in patch.items():
        if key in {_DIRECTIVE, _RETAIN} or key.startswith((_ORDER, _DELETE)):
            continue
        below = node.below(key) if node is not None else None
        if value is None:
            result.pop(key, None)
        elif is_tree(value):
            former = mapping(result.get(key))
            result[key] = merge_strategically(former, value, below)
        elif is_list(value):
            result[key] = _merge_list(sequence(result.get(key)), value, below)
        else:
            result[key] = value
    # the order comes last: it names items that the patch may just have added
    for key, value in patch.items():
        name = key.removeprefix(_ORDER)
        if name != key and is_list(result.get(name)):
            below = node.below(name) if node is not None else None
            result[name] = _reorder(sequence(result[name]), sequence(value), below)
    return result


def _without_what_goes(target: Tree, patch: Tree) -> Tree:
    """Return a copy of `target` without the keys that the patch does not retain and the plain items that it deletes."""
    retain = patch.get(_RETAIN)
    kept = set(sequence(retain)) if is_list(retain) else target.keys()
    result = {key: value for key, value in target.items() if key in kept}
    for key, value in patch.items():
        name = key.removeprefix(_DELETE)
        if name != key and is_list(result.get(name)):
            gone = sequence(value)
            result[name] = [item for item in sequence(result[name]) if item not in gone]
    return result


def _merge_list(target: list[Any], patch: list[Any], node: Node | None) -> list[Any]:
    if node is None or "merge" not in node.strategy.split(","):
        return [copy(item) for item in patch if not _is_directive(item)]
    if any(_is_directive(item) and mapping(item).get(_DIRECTIVE) == "replace" for item in patch):
        return [copy(item) for item in patch if not _is_directive(item)]
    if not node.merge_key:
        return target + [copy(item) for item in patch if item not in target]
    key = node.merge_key
    result: list[Any] = list(target)
    for item in entries(patch):
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        position = next((i for i, old in enumerate(result) if mapping(old).get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            result = [old for old in result if mapping(old).get(key) != item[key]]
        elif position is None:
            result.append({name: copy(value) for name, value in item.items() if name != _DIRECTIVE})
        else:
            result[position] = merge_strategically(mapping(result[position]), item, node.items)
    return result


def _is_directive(item: Any) -> bool:
    return is_tree(item) and set(item) == {_DIRECTIVE}


def _reorder(items: list[Any], order: list[Any], node: Node | None) -> list[Any]:
    """Put the items that `order` names into its order; the others stay behind the item that they followed."""
    key = node.merge_key if node is not None else ""

    def mark(item: Any) -> Any:
        return mapping(item).get(key) if key else item

    wanted = [mark(item) for item in order]
    named = sorted((item for item in items if mark(item) in wanted), key=lambda item: wanted.index(mark(item)))
    result = list[Any]()
    queue = iter(named)
    for item in items:
        result.append(next(queue) if mark(item) in wanted else item)
    return result
