"""What a fresh API server brings: its namespaces, the system's priority classes, and the definitions of the snapshot kinds."""

from collections.abc import Iterator
from importlib.resources import files

from localkube.store.trees import Tree, decode, mapping

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_PRIORITIES = (
    ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster."),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)


def bootstrap_objects() -> Iterator[tuple[str, Tree]]:
    """Yield collection paths and the objects to create there."""
    for name in _NAMESPACES:
        yield "/api/v1/namespaces", {"metadata": {"name": name}}
    for name, value, description in _PRIORITIES:
        yield (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {"metadata": {"name": name}, "value": value, "description": description},
        )
    lines = (files("localkube.store.schemas") / "snapshots.jsonl").read_bytes().splitlines()
    for line in lines:
        yield "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", mapping(decode(line))
