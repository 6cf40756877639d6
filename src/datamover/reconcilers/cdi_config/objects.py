"""CDI and CDIConfig as they are stored: what is handed on from one to the other is handed on whole, with fields that we do not know. Pure."""

from typing import Any

from datamover.api.cdi import names
from kubekit.words.meta import Model, ObjectMeta, Resource

Tree = dict[str, Any]


class Stored(Model, frozen=True):
    """An object of either kind."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Tree | None = None
    status: Tree | None = None


CONFIGS = Resource(names.GROUP, names.VERSION, "cdiconfigs", "CDIConfig", Stored, namespaced=False)
INSTALLATIONS = Resource(names.GROUP, names.VERSION, "cdis", "CDI", Stored, namespaced=False)


def active_of(installations: tuple[Stored, ...]) -> Stored | None:
    """Return the CDI object that counts: the oldest of those that stay."""
    return min(
        (each for each in installations if not each.metadata.terminating),
        key=lambda each: (each.metadata.creation_timestamp or "", each.metadata.name),
        default=None,
    )


def merge_patch(before: Tree, after: Tree) -> Tree:
    """Return the merge patch that makes one tree of another; empty when they are equal."""
    patch: Tree = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            within = merge_patch(old, value)  # pyright: ignore[reportUnknownArgumentType] - a user's words
            if within:
                patch[key] = within
        elif old != value or key not in before:
            patch[key] = value
    return patch
