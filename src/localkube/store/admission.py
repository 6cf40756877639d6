"""What every write goes through, whatever its kind: names, namespaces, system metadata, and the question whether anything changed."""

from collections.abc import Callable

from localkube.store.calls import Call
from localkube.store.kinds import Kind
from localkube.store.schemas.nodes import Node
from localkube.store.statuses import StatusError, bad_request, forbidden, not_found
from localkube.store.storage import Collection
from localkube.store.strategies.base import ServerView
from localkube.store.trees import Tree, look, mapping, same, sequence, text

NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names end with: no vowels, nothing that is easily confused."""

_PREFIX, _SUFFIX, _TRIES = 58, 5, 8
SYSTEM_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation")
"""What a client cannot set at creation."""


def take(target: Tree, source: Tree, field: str) -> None:
    """Make a field of `target` what it is in `source`: the same value, or absent."""
    if field in source:
        target[field] = source[field]
    else:
        target.pop(field, None)


def place(meta: Tree, call: Call) -> None:
    """Put the request's namespace into the metadata. Raises StatusError 400 when the body says another."""
    given = text(meta.get("namespace"))
    if not call.kind.namespaced:
        meta.pop("namespace", None)
        return
    if given and given != call.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    meta["namespace"] = call.namespace


def keep_system(meta: Tree, old: Tree) -> None:
    """Put back what an update cannot change."""
    for field in ("creationTimestamp", "deletionTimestamp", "generation", "selfLink"):
        take(meta, old, field)
    for field in ("uid", "deletionGracePeriodSeconds"):
        if field not in meta or not meta[field]:
            take(meta, old, field)


def generate_name(meta: Tree, collection: Collection, namespace: str, choose: Callable[[str], str]) -> None:
    """Make a name from `generateName`; a taken one is tried again, a few times."""
    prefix = text(meta["generateName"])[:_PREFIX]
    for _ in range(_TRIES):
        meta["name"] = prefix + "".join(choose(NAME_CHARACTERS) for _ in range(_SUFFIX))
        if collection.get(namespace, meta["name"]) is None:
            return


def admit_namespace(kind: Kind, namespace: str, name: str, server: ServerView) -> None:
    """Raise StatusError 404 when the namespace is not there and 403 when it is on its way out."""
    if not kind.namespaced:
        return
    found = server.find("namespaces", "", namespace)
    if found is None:
        raise not_found("", "namespaces", namespace)
    if look(found, "metadata", "deletionTimestamp"):
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        cause: Tree = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        raise forbidden(kind.group, kind.plural, name, why, causes=[cause])


def always_there(kind: Kind) -> Tree:
    """Return the structs that a new object of a built-in kind has from the start: nobody owns that they are there."""
    base: Tree = {"metadata": Tree()}
    if not kind.custom and kind.node is not None and kind.node.fields is not None:
        for name in ("spec", "status"):
            field = kind.node.fields.get(name)
            if field is not None and field.always:
                base[name] = _skeleton(field)
    return base


def _skeleton(node: Node) -> Tree:
    below = node.fields or {}
    found: Tree = {name: _skeleton(field) for name, field in below.items() if field.always and field.type == "object"}
    # a required list is there from the start as well, as null
    found.update({name: None for name in node.required if below[name].type == "array"})
    return found


def unchanged(tree: Tree, live: Tree) -> bool:
    """Tell whether a write would change nothing but the times of ownership."""
    if tree.keys() != live.keys():
        return False
    if any(not same(tree[key], live[key]) for key in tree if key != "metadata"):
        return False
    mine, theirs = mapping(tree["metadata"]), mapping(live["metadata"])
    if any(not same(mine.get(key), theirs.get(key)) for key in (mine.keys() | theirs.keys()) - {"managedFields"}):
        return False
    return same(_timeless(mine), _timeless(theirs))


def _timeless(meta: Tree) -> list[Tree]:
    return [
        {key: value for key, value in mapping(entry).items() if key != "time"}
        for entry in sequence(meta.get("managedFields"))
    ]


def check_name(found: str, wanted: str) -> None:
    """Raise StatusError 400 when a body names another object than its path."""
    if found != wanted:
        raise name_mismatch(found, wanted)


def name_mismatch(found: str, wanted: str) -> StatusError:
    """The refusal of a body that names another object than its path."""
    return bad_request(f"the name of the object ({found}) does not match the name on the URL ({wanted})")
