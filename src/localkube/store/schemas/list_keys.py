"""Keys of list items, in the notation of FieldsV1: what makes two items of a keyed list, or of a set, the same one."""

from localkube.store.schemas.nodes import UNSET, Node
from localkube.store.trees import Tree, decode, encode, is_tree, mapping


def item_key(item: object, node: Node) -> str | None:
    """Return the path element of an item of a keyed list or a set; None when the item has no key."""
    if node.list_type == "set":
        return None if item is None or isinstance(item, dict | list) else "v:" + encode(item).decode()
    if not is_tree(item):
        return None
    tree = item
    keys: Tree = {}
    for name in sorted(node.list_keys):
        value = tree.get(name, UNSET)
        if value is UNSET and node.items is not None:
            known = node.items.below(name)
            value = known.default if known is not None else UNSET
        if value is not UNSET:
            keys[name] = value
    return "k:" + encode(keys).decode() if keys else None


def spell(key: str) -> str:
    """Return one path element as people write it."""
    if key.startswith("f:"):
        return f".{key[2:]}"
    if key.startswith("k:"):
        inside = ",".join(f"{name}={encode(value).decode()}" for name, value in mapping(decode(key[2:])).items())
        return f"[{inside}]"
    if key.startswith("v:"):
        return f"[={key[2:]}]"
    return f"[{key[2:]}]"
