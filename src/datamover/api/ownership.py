"""The owner of a child object, and the metadata that ties the child to it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from datamover.api import names
from datamover.api.velero.names import EXCLUDE_LABEL
from kubekit.words.meta import HasMeta, Manifest, ObjectMeta, Resource, owner_reference


@dataclass(frozen=True, slots=True)
class Owner:
    """An object, of any kind, whose children refer to it and carry its `labels` (the created-by label is one of them)."""

    resource: Resource[Any]
    metadata: ObjectMeta
    labels: Mapping[str, str]

    @property
    def uid(self) -> str:
        """The UID by which children are known."""
        return self.metadata.uid

    def holds(self, child: HasMeta | None) -> bool:
        """Tell whether a child names this object as its owner."""
        return child is not None and child.metadata.owned_by(self.uid)

    def owns(self, child: HasMeta | None) -> TypeGuard[HasMeta]:
        """Tell whether a child is ours to delete: by owner UID and by label (law L2)."""
        label = names.CREATED_BY_LABEL
        return child is not None and self.holds(child) and child.metadata.label(label) == self.labels[label]

    def child(self, name: str, *, component: str) -> Manifest:
        """Return the metadata of a child of that name: our labels with its component, and the owner's reference."""
        return {
            "name": name,
            "namespace": self.metadata.namespace,
            "labels": {**self.labels, names.COMPONENT_LABEL: component},
            "ownerReferences": [owner_reference(self.resource, self.metadata)],
        }


def select_children(created_by: Collection[str]) -> str:
    """Return the label selector of all children that were made under one of these created-by values.

    Each kind declares its own values: those of another project's kinds are fixed by that project.
    """
    values = sorted(set(created_by))
    if not values:
        raise ValueError("no created-by value: the selector would be one of nothing")
    label = names.CREATED_BY_LABEL
    return f"{label}={values[0]}" if len(values) == 1 else f"{label} in ({','.join(values)})"


def labels_of(metadata: ObjectMeta, *, run_id: str) -> dict[str, str]:
    """Return the labels of the children of one of our own kinds. Velero is told to leave temporary copies alone."""
    return {
        names.CREATED_BY_LABEL: names.CREATED_BY_VALUE,
        names.MANAGED_BY_LABEL: names.CREATED_BY_VALUE,
        names.PART_OF_LABEL: names.PART_OF_VALUE,
        names.OWNER_UID_LABEL: metadata.uid,
        names.RUN_ID_LABEL: run_id,
        EXCLUDE_LABEL: "true",
    }
