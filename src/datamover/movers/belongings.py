"""What a mover of volsync.backube needs besides its data, and keeps between synchronisations: account, cache. Pure.

Names and forms are an interface (documents). Builders take an Owner whose labels are those of lasting children.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from datamover.api.ownership import Owner
from kubekit.words.meta import Manifest, owner_reference
from kubekit.words.rbac import ROLES

CACHE_SIZE: Final = "1Gi"


def build_account(owner: Owner, name: str) -> Manifest:
    """Return the mover's ServiceAccount. No token of it is mounted."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _child(owner, name)}


def build_role(owner: Owner, name: str) -> Manifest:
    """Return the account's Role. It is empty: nobody can grant what he does not have, and the operator has nothing that a mover needs."""
    return {
        "apiVersion": ROLES.api_version,
        "kind": "Role",
        "metadata": _child(owner, name),
        "rules": [],
    }


def build_role_binding(owner: Owner, name: str) -> Manifest:
    """Return what gives the Role to the account of the same name."""
    return {
        "apiVersion": ROLES.api_version,
        "kind": "RoleBinding",
        "metadata": _child(owner, name),
        "roleRef": {"apiGroup": ROLES.group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.metadata.namespace}],
    }


def build_claim(
    owner: Owner,
    name: str,
    *,
    size: str | float | None,
    access_modes: Sequence[str],
    storage_class: str | None,
    volume_mode: str = "Filesystem",
    labels: Mapping[str, str] | None = None,
) -> Manifest:
    """Return an empty claim: a cache, or a destination."""
    spec: Manifest = {
        "accessModes": list(access_modes),
        "resources": {"requests": {"storage": size}},
        "volumeMode": volume_mode,
        **({} if storage_class is None else {"storageClassName": storage_class}),
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _child(owner, name, labels=labels),
        "spec": spec,
    }


def _child(owner: Owner, name: str, *, labels: Mapping[str, str] | None = None) -> Manifest:
    return {
        "name": name,
        "namespace": owner.metadata.namespace,
        "labels": {**owner.labels, **(labels or {})},
        "ownerReferences": [owner_reference(owner.resource, owner.metadata)],
    }
