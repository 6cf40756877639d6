"""Empties a namespace that is being deleted, then lets it go.

The namespace goes only when nothing is left in it. Its conditions say meanwhile what remains and which finalizers hold it.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import islice

from localkube.store.editor import Editor
from localkube.store.kinds import Kind
from localkube.store.strategies.base import ServerView
from localkube.store.strategies.namespaces import HOLDER
from localkube.store.trees import Tree, entries, look, mapping, sequence, text

_BATCH = 100
"""Objects that are deleted at a time, so that other requests are answered in between."""


_ALWAYS_WELL = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)
"""What can fail in a controller that is a client, and not inside the server. The conditions are there nevertheless: people know them."""


def conditions(remaining: Mapping[str, int], finalizers: Mapping[str, int]) -> list[Tree]:
    """Return the conditions, without times, in kube-controller-manager's words. Pure."""
    found = [_condition(kind, "False", reason, message) for kind, reason, message in _ALWAYS_WELL]
    kind = "NamespaceContentRemaining"
    if remaining:
        counts = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(remaining.items()))
        found.append(_condition(kind, "True", "SomeResourcesRemain", f"Some resources are remaining: {counts}"))
    else:
        found.append(_condition(kind, "False", "ContentRemoved", "All content successfully removed"))
    kind = "NamespaceFinalizersRemaining"
    if finalizers:
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
        message = f"Some content in the namespace has finalizers remaining: {held}"
        found.append(_condition(kind, "True", "SomeFinalizersRemain", message))
    else:
        found.append(_condition(kind, "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"))
    return found


def _condition(kind: str, status: str, reason: str, message: str) -> Tree:
    return {"type": kind, "status": status, "reason": reason, "message": message}


class NamespaceDeletion:
    """See the module's docstring."""

    def __init__(self, editor: Editor, server: ServerView) -> None:
        self._editor = editor
        self._server = server

    def look(self, kind: Kind, namespace: Tree) -> bool:
        """Bring the deletion of a namespace on; tell whether there is more to do at once. Raises StatusError."""
        meta = mapping(namespace["metadata"])
        holders = sequence(look(namespace, "spec", "finalizers"))
        if not meta.get("deletionTimestamp") or HOLDER not in holders:
            return False
        name = text(meta.get("name"))
        staying = ((k, mapping(t["metadata"])) for k, t in self._editor.everything(name))
        batch = list(islice(((k, m) for k, m in staying if not m.get("deletionTimestamp")), _BATCH))
        for content_kind, content in batch:
            self._editor.delete(content_kind, content, "Background")
        if len(batch) == _BATCH:
            return True
        found = [(k.resource, mapping(t["metadata"])) for k, t in self._editor.everything(name)]
        remaining = Counter(resource for resource, _ in found)
        held = Counter(text(finalizer) for _, m in found for finalizer in sequence(m.get("finalizers")))
        self._report(kind, namespace, conditions(remaining, held))
        if not found:
            kept = [holder for holder in holders if holder != HOLDER]
            self._editor.patch(kind, meta, {"spec": {"finalizers": kept or None}}, subresource="finalize")
        return False

    def _report(self, kind: Kind, namespace: Tree, wanted: list[Tree]) -> None:
        known = {c.get("type"): c for c in entries(look(namespace, "status", "conditions"))}
        now = self._server.stamp()
        for condition in wanted:
            before = known.get(condition["type"], {})
            same = before.get("status") == condition["status"]
            condition["lastTransitionTime"] = before.get("lastTransitionTime") if same else now
        if wanted != list(known.values()):
            change: Tree = {"status": {"conditions": wanted}}
            self._editor.patch(kind, mapping(namespace["metadata"]), change, subresource="status")
