"""What a claim needs from the provisioner, and the volume that is made for it. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from kubekit.words.meta import Manifest
from kubekit.words.quantity import parse_quantity
from localkube.node.kinds import Claim, PersistentVolume, StorageClass
from localkube.node.names import (
    ADOPTED,
    CLAIM_REF_FINALIZER,
    DRIVER,
    HOSTNAME_LABEL,
    PATH_ATTRIBUTE,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
)
from localkube.node.path_text import path_to_text

SNAPSHOT_KIND = "VolumeSnapshot"
CLAIM_KIND = "PersistentVolumeClaim"
_SNAPSHOT_GROUP = "snapshot.storage.k8s.io"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that a claim wants to be made from. `directory` is None while it is not ready."""

    directory: str | None
    restore_size: str | int | None
    driver: str
    ready: bool


@dataclass(frozen=True, slots=True)
class ProvisionFacts:
    """A claim and what it refers to. `source_*` are None when they do not exist."""

    claim: Claim
    storage_class: StorageClass | None
    node: str
    source_claim: Claim | None = None
    source_volume: PersistentVolume | None = None
    source_snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Nothing to do, or not yet."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Cannot be provisioned as things are. Tried again, because what is wrong may change."""

    message: str


@dataclass(frozen=True, slots=True)
class Provision:
    """Make a directory called `name`, empty or as a copy of `source`, after `delay` seconds."""

    name: str
    source: Path | None
    delay: float


Decision = NotOurs | Refused | Provision


def decide(facts: ProvisionFacts) -> Decision:
    """Return what is to be done for a claim."""
    claim, storage_class = facts.claim, facts.storage_class
    if claim.volume_name or claim.metadata.terminating or claim.metadata.annotation(STORAGE_PROVISIONER) != DRIVER:
        return NotOurs()
    if storage_class is None or storage_class.provisioner != DRIVER or _waits_for_populator(claim):
        return NotOurs()
    if storage_class.waits and claim.metadata.annotation(SELECTED_NODE) != facts.node:
        return NotOurs()
    problem = _problem(facts, storage_class)
    if problem is not None:
        return Refused(f'failed to provision volume with StorageClass "{storage_class.metadata.name}": {problem}')
    return Provision(
        name=f"pvc-{claim.metadata.uid}",
        source=_source_directory(facts),
        delay=_seconds((storage_class.parameters or {}).get("slow", "0")) or 0.0,
    )


def _waits_for_populator(claim: Claim) -> bool:
    """Tell whether the source is of a group that no driver serves: somebody else fills the claim, and gives it a volume."""
    source = claim.spec.data_source_ref if claim.spec is not None else None
    return source is not None and source.api_group not in (None, "", _SNAPSHOT_GROUP)


def _problem(facts: ProvisionFacts, storage_class: StorageClass) -> str | None:
    claim = facts.claim
    parameters = storage_class.parameters or {}
    if parameters.get("fail"):
        return parameters["fail"]
    if _seconds(parameters.get("slow", "0")) is None:
        return f"parameter slow must be a number of seconds, not {parameters['slow']!r}"
    if claim.spec is not None and claim.spec.volume_mode == "Block":
        return "this node keeps volumes as directories and cannot provide volumeMode Block; use Filesystem"
    if claim.spec is not None and claim.spec.selector is not None:
        return "claim Selector is not supported"
    source = (claim.spec.data_source_ref or claim.spec.data_source) if claim.spec else None
    if source is None:
        return None
    if source.kind == CLAIM_KIND and not source.api_group:
        if parameters.get("cloning", "true") == "false":
            return 'this StorageClass cannot clone volumes (parameter cloning is "false")'
        return _clone_problem(facts, source.name)
    if source.kind == SNAPSHOT_KIND and source.api_group == _SNAPSHOT_GROUP:
        if parameters.get("snapshots", "true") == "false":
            return 'this StorageClass cannot restore snapshots (parameter snapshots is "false")'
        return _restore_problem(facts, source.name)
    return f"a data source of kind {source.kind} is not supported; use a PersistentVolumeClaim or a VolumeSnapshot"


def _clone_problem(facts: ProvisionFacts, name: str) -> str | None:
    source, volume = facts.source_claim, facts.source_volume
    if source is None:
        return f"error getting PVC {name} (namespace {facts.claim.metadata.namespace!r}) from api server: not found"
    if source.metadata.terminating:
        return f"the PVC DataSource {name} is currently being deleted"
    if source.phase != "Bound" or volume is None:
        return f"the PVC DataSource {name} must be in bound state, it is {source.phase}"
    if not volume.directory:
        return f"the volume {volume.metadata.name} of PVC {name} is not a directory of this node"
    if _mode(source) != _mode(facts.claim):
        return f"the volume modes of the PVC DataSource {name} ({_mode(source)}) and of the new PVC ({_mode(facts.claim)}) differ"
    return _size_problem(facts.claim, volume.capacity, "specified PVC data source")


def _restore_problem(facts: ProvisionFacts, name: str) -> str | None:
    snapshot = facts.source_snapshot
    if snapshot is None:
        return f"error getting snapshot {name} from api server: not found"
    if snapshot.driver and snapshot.driver != DRIVER:
        return f"snapshot {name} belongs to driver {snapshot.driver}, not to {DRIVER}"
    if not snapshot.ready or snapshot.directory is None:
        return f"snapshot {name} is not Ready"
    return _size_problem(facts.claim, snapshot.restore_size or 0, "snapshot")


def _size_problem(claim: Claim, available: str | float, what: str) -> str | None:
    try:
        if parse_quantity(claim.request) >= parse_quantity(available):
            return None
    except ValueError as error:
        return str(error)
    return (
        f"new PVC request must be greater than or equal in size to the {what}, "
        f"requested {claim.request} but source is {available}"
    )


def _source_directory(facts: ProvisionFacts) -> Path | None:
    if facts.source_volume is not None:
        return Path(facts.source_volume.directory)
    if facts.source_snapshot is not None and facts.source_snapshot.directory is not None:
        return Path(facts.source_snapshot.directory)
    return None


def _mode(claim: Claim) -> str:
    return (claim.spec.volume_mode if claim.spec else None) or "Filesystem"


def _seconds(text: str) -> float | None:
    try:
        return float(Decimal(text))
    except ArithmeticError:
        return None


def volume_manifest(claim: Claim, storage_class: StorageClass, *, name: str, directory: Path, node: str) -> Manifest:
    """Return the PersistentVolume for a directory that was made for a claim, already reserved for that claim."""
    spec = claim.spec
    reclaim = storage_class.reclaim_policy or "Delete"
    return {
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: DRIVER},
            "finalizers": [CLAIM_REF_FINALIZER] if reclaim == "Delete" else [],
        },
        "spec": {
            **_place(name, directory, node),
            "capacity": {"storage": claim.request},
            "accessModes": list((spec.access_modes if spec else None) or ("ReadWriteOnce",)),
            "persistentVolumeReclaimPolicy": reclaim,
            "storageClassName": storage_class.metadata.name,
            "volumeMode": "Filesystem",
            "claimRef": {
                "apiVersion": "v1",
                "kind": CLAIM_KIND,
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": claim.metadata.uid,
            },
        },
    }


def adopted_manifests(
    *, name: str, namespace: str, volume: str, directory: Path, node: str, size: str, storage_class: str
) -> tuple[Manifest, Manifest]:
    """Return volume and claim for a user's own directory, reserved for each other. The directory is never removed: reclaim is Retain."""
    shared: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "volumeMode": "Filesystem",
    }
    return (
        {
            "metadata": {"name": volume, "annotations": {ADOPTED: "true"}},
            "spec": {
                **shared,
                **_place(volume, directory, node),
                "capacity": {"storage": size},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"apiVersion": "v1", "kind": CLAIM_KIND, "namespace": namespace, "name": name},
            },
        },
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**shared, "volumeName": volume, "resources": {"requests": {"storage": size}}},
        },
    )


def _place(volume: str, directory: Path, node: str) -> dict[str, Any]:
    """Volumes are a CSI driver's, as everywhere: of other types the operator knows that no driver clones them."""
    term = {"matchExpressions": [{"key": HOSTNAME_LABEL, "operator": "In", "values": [node]}]}
    source = {"driver": DRIVER, "volumeHandle": volume, "volumeAttributes": {PATH_ATTRIBUTE: path_to_text(directory)}}
    return {"csi": source, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}


def belongs(volume: PersistentVolume, directory: Path) -> bool:
    """Tell whether the directory is all that there is of a volume, and this node's to make and remove.

    Without it the volume is lost. A user's own directory, and one that was to be retained, may come back: those are waited for.
    """
    meta = volume.metadata
    return (
        meta.annotation(PROVISIONED_BY) == DRIVER
        and meta.annotation(ADOPTED) is None
        and volume.spec is not None
        and volume.spec.persistent_volume_reclaim_policy == "Delete"
        and volume.directory == str(directory)
    )


def deletable(volume: PersistentVolume, directory: Path) -> str | None:
    """Say why a volume's directory must not be removed by this node, or None when it must be (law L2)."""
    meta = volume.metadata
    if meta.annotation(PROVISIONED_BY) != DRIVER or meta.annotation(ADOPTED) is not None:
        return "it was not made by this node"
    if volume.spec is None or volume.spec.persistent_volume_reclaim_policy != "Delete":
        return "its reclaim policy is not Delete"
    if volume.phase not in ("Released", "Failed") and not (meta.terminating and volume.phase != "Bound"):
        return f"it is {volume.phase}"
    if volume.directory != str(directory):
        return f"its path {volume.directory} is not the one that this node gave it"
    return None
