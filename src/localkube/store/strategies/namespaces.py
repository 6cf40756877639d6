"""Namespaces: they stay while `spec.finalizers` holds them."""

from collections.abc import Mapping

from localkube.store.strategies.base import Strategy
from localkube.store.trees import Tree, child, look, sequence, text

_NAME_LABEL = "kubernetes.io/metadata.name"
HOLDER = "kubernetes"
"""The entry of `spec.finalizers` that stays until the namespace is empty."""


class NamespaceStrategy(Strategy):
    """Namespaces. The controller that empties them removes the holder through the `finalize` subresource."""

    counts_generations = False
    unconditional_update = True
    returns_deleted = True
    name_rule: Mapping[str, bool] = {"label_name": True}
    selectable: Mapping[str, tuple[str, ...]] = {"status.phase": ("status", "phase")}

    def default(self, obj: Tree) -> None:
        """Label it with its name."""
        name = text(look(obj, "metadata", "name"))
        if name:
            child(child(obj, "metadata"), "labels")[_NAME_LABEL] = name

    def prepare_create(self, obj: Tree) -> None:
        """Start Active, held by the namespace controller."""
        self.default(obj)
        spec = child(obj, "spec")
        finalizers = [text(name) for name in sequence(spec.get("finalizers"))]
        if HOLDER not in finalizers:
            finalizers.append(HOLDER)
        spec["finalizers"] = finalizers
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Tree, live: Tree) -> None:
        """Holders change through `finalize` only."""
        self.keep_finalizers(obj, live)

    @staticmethod
    def keep_finalizers(obj: Tree, live: Tree) -> None:
        """Put the live holders back."""
        held = look(live, "spec", "finalizers")
        if held is None:
            child(obj, "spec").pop("finalizers", None)
        else:
            child(obj, "spec")["finalizers"] = held

    def holds(self, obj: Tree) -> bool:
        """Tell whether a holder keeps it from going."""
        return bool(sequence(look(obj, "spec", "finalizers")))

    def prepare_deletion(self, obj: Tree) -> None:
        """Say that it is going."""
        child(obj, "status")["phase"] = "Terminating"
        child(obj, "metadata").pop("deletionGracePeriodSeconds", None)
