"""The temporary claim by which another one is filled: like that one in all that decides whether a volume fits it. Pure."""

from collections.abc import Mapping

from datamover.api.ownership import Owner
from kubekit.words.core import SELECTED_NODE, PersistentVolumeClaim
from kubekit.words.meta import Manifest


def like(claim: PersistentVolumeClaim) -> Manifest:
    """Return the spec of a claim that a volume fits which fits this one."""
    spec = claim.spec
    resources = spec.resources if spec is not None else None
    wanted: Manifest = {
        "accessModes": list((spec and spec.access_modes) or ("ReadWriteOnce",)),
        "resources": {
            name: dict(given)
            for name, given in (
                ("requests", resources and resources.requests),
                ("limits", resources and resources.limits),
            )
            if given
        },
        "storageClassName": (spec and spec.storage_class_name) or "",
        "volumeMode": (spec and spec.volume_mode) or "Filesystem",
    }
    if spec is not None and spec.volume_attributes_class_name:
        wanted["volumeAttributesClassName"] = spec.volume_attributes_class_name
    return wanted


def build_prime_of(
    owner: Owner,
    claim: PersistentVolumeClaim,
    *,
    name: str,
    component: str,
    node: str | None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Return an empty temporary claim. `node` is where the user's Pod is to run, for classes that bind on first use."""
    metadata = owner.child(name, component=component)
    noted = {**(annotations or {}), **({SELECTED_NODE: node} if node is not None else {})}
    if noted:
        metadata["annotations"] = noted
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": like(claim)}
