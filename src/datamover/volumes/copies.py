"""Builders of point-in-time copies: the clone, and the snapshot that it may be made of. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from datamover.api import names
from datamover.api.ownership import Owner
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import Manifest
from kubekit.words.quantity import larger
from kubekit.words.snapshot import VolumeSnapshot

NONE: Final[Mapping[str, str]] = MappingProxyType({})


def build_clone(
    owner: Owner,
    *,
    name: str,
    source: PersistentVolumeClaim,
    storage_class: str | None,
    snapshot: VolumeSnapshot | None = None,
    annotations: Mapping[str, str] = NONE,
    size: str | int | None = None,
    access_modes: tuple[str, ...] | None = None,
) -> Manifest:
    """Return the claim that a driver fills with the source's data, or with those of `snapshot`.

    Without a `size` it is the larger of what the source asked for and what it has got: drivers that round up refuse a smaller clone.
    """
    spec = source.spec
    status = source.status
    requested = spec and spec.resources and (spec.resources.requests or {}).get("storage")
    capacity = status and (status.capacity or {}).get("storage")
    needed = larger(requested, capacity)
    if snapshot is not None:
        needed = larger(needed, snapshot.status and snapshot.status.restore_size)
        data_source: Manifest = {
            "apiGroup": "snapshot.storage.k8s.io",
            "kind": "VolumeSnapshot",
            "name": snapshot.metadata.name,
        }
    else:
        data_source = {"kind": "PersistentVolumeClaim", "name": source.metadata.name}
    claim: Manifest = {
        "accessModes": list(access_modes or (spec and spec.access_modes) or ("ReadWriteOnce",)),
        "resources": {"requests": {"storage": size or needed or "1Gi"}},
        "volumeMode": (spec and spec.volume_mode) or "Filesystem",
        "dataSource": data_source,
    }
    if storage_class is not None:
        claim["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _child(owner, name, annotations),
        "spec": claim,
    }


def build_snapshot(
    owner: Owner, *, name: str, source: str, snapshot_class: str | None, annotations: Mapping[str, str] = NONE
) -> Manifest:
    """Return the VolumeSnapshot of the source claim. Without a class the driver's default is used."""
    spec: Manifest = {"source": {"persistentVolumeClaimName": source}}
    if snapshot_class is not None:
        spec["volumeSnapshotClassName"] = snapshot_class
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": _child(owner, name, annotations),
        "spec": spec,
    }


def _child(owner: Owner, name: str, annotations: Mapping[str, str]) -> Manifest:
    child = owner.child(name, component=names.COMPONENT_COPY)
    return {**child, "annotations": dict(annotations)} if annotations else child
