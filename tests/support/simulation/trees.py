"""Reading JSON objects of the API."""

from typing import Any

from support.simulation.calls import Tree


def look(tree: Any, *path: str) -> Any:
    """Return what lies at a path, or None."""
    for part in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(part)
    return tree


def uid_of(tree: Tree) -> str:
    return tree["metadata"]["uid"]


def name_of(tree: Tree) -> str:
    return tree["metadata"]["name"]


def space_of(tree: Tree) -> str:
    return tree["metadata"].get("namespace", "")


def owners_of(tree: Tree) -> list[str]:
    """Return the UIDs of the owners."""
    return [reference["uid"] for reference in tree["metadata"].get("ownerReferences") or ()]


def is_going(tree: Tree) -> bool:
    return "deletionTimestamp" in tree["metadata"]


def finalizers_of(tree: Tree) -> list[str]:
    return list(tree["metadata"].get("finalizers") or ())


def label_of(tree: Tree, label: str) -> str:
    return (tree["metadata"].get("labels") or {}).get(label, "")


def holds(tree: Tree, condition: str) -> bool:
    """Tell whether a condition is True."""
    return any(
        found["type"] == condition and found["status"] == "True" for found in look(tree, "status", "conditions") or ()
    )


def environment_of(pod: Tree) -> dict[str, str]:
    """Return the environment that is given as values; the last one of a name counts."""
    return {variable["name"]: variable.get("value", "") for variable in pod["spec"]["containers"][0].get("env") or ()}
