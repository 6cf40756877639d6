"""Checks of volumes before anything is created: can the volume be copied, and what makes the copy bind. Pure."""

from dataclasses import dataclass
from typing import Final

from datamover.api import reasons
from datamover.api.fields import Fields
from datamover.api.names import CopyMethod
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.snapshot import IS_DEFAULT_CLASS, VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass

WAIT_FOR_FIRST_CONSUMER: Final = "WaitForFirstConsumer"
RETAIN: Final = "Retain"
"""The policy of StorageClasses, volumes and snapshot classes that leaves the data on the storage when the object goes."""

_WITHOUT_CLONES: Final = {
    "kubernetes.io/no-provisioner": "volumes of that class are made by hand",
    "rancher.io/local-path": "the local-path provisioner has no cloning",
    "k8s.io/minikube-hostpath": "the minikube host-path provisioner has no cloning",
    "docker.io/hostpath": "the Docker Desktop host-path provisioner has no cloning",
    "microk8s.io/hostpath": "the MicroK8s host-path provisioner has no cloning",
    "openebs.io/local": "the OpenEBS local provisioner has no cloning",
}
"""Provisioners that are known to ignore a data source, where the volume cannot be asked whether a CSI driver serves it."""

_NFS_SUBDIR: Final = "nfs-subdir-external-provisioner"
"""The end of the names that its chart and its manifests give to this provisioner: `cluster.local/RELEASE-…`, `k8s-sigs.io/…`."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a copy cannot be made now. `waits` tells whether it may go away without a change of the spec."""

    reason: str
    message: str
    waits: bool


def check_source(
    name: str,
    source: PersistentVolumeClaim | None,
    *,
    method: str,
    storage_class: StorageClass | None,
    fields: Fields,
    blocks: bool = False,
) -> Obstacle | None:
    """Return why the source claim cannot be copied, or None. Here and below, `fields` is how the kind calls what helps.

    `blocks`: the mover copies Block volumes as well.
    """
    if source is None:
        return Obstacle(
            reasons.SOURCE_NOT_FOUND,
            f"PersistentVolumeClaim {name} does not exist in this namespace: create it or correct {fields.source}",
            waits=True,
        )
    if source.metadata.terminating:
        return Obstacle(
            reasons.SOURCE_TERMINATING,
            f"PersistentVolumeClaim {name} is being deleted; the run begins when a new one of that name exists",
            waits=True,
        )
    phase = source.status and source.status.phase
    if phase == "Lost":
        return Obstacle(
            reasons.SOURCE_LOST,
            f"PersistentVolumeClaim {name} has lost its volume; there is nothing to back up",
            waits=True,
        )
    if ((source.spec and source.spec.volume_mode) or "Filesystem") == "Block" and not blocks:
        return Obstacle(
            reasons.BLOCK_NOT_SUPPORTED,
            f"PersistentVolumeClaim {name} is a Block volume, and its mover moves files: use a Filesystem volume",
            waits=False,
        )
    if phase != "Bound" and not (method == CopyMethod.DIRECT and binds_on_use(storage_class)):
        return Obstacle(
            reasons.SOURCE_NOT_BOUND,
            f"PersistentVolumeClaim {name} is not bound yet (phase {phase or 'unknown'}); the run begins when it is",
            waits=True,
        )
    return None


def check_class(
    source: PersistentVolumeClaim,
    *,
    wanted: str | None,
    storage_class: StorageClass | None,
    fields: Fields,
    volume: PersistentVolume | None = None,
) -> Obstacle | None:
    """Return why a copy in the class `wanted` (the source's own when None) cannot be made, or None.

    `volume` is the source's. A CSI driver clones its own volumes and restores its own snapshots only; a provisioner that is not a CSI driver
    ignores the data source and makes an empty volume, which would be backed up as if it were the data (law L4).
    """
    if volume is not None and is_foreign(volume):
        return Obstacle(
            reasons.CLASS_CANNOT_CLONE,
            f"PersistentVolume {volume.metadata.name} is not of a CSI driver, so nothing can copy it: set {fields.method}: Direct",
            waits=False,
        )
    name = wanted if wanted is not None else (source.spec and source.spec.storage_class_name)
    if not name:
        return Obstacle(
            reasons.CLASS_CANNOT_CLONE,
            f"PersistentVolumeClaim {source.metadata.name} has no StorageClass, so no driver can clone it: "
            f"set {fields.storage_class} to a class whose driver can, or {fields.method}: Direct",
            waits=False,
        )
    if storage_class is None:
        return Obstacle(
            reasons.STORAGE_CLASS_NOT_FOUND,
            f"StorageClass {name} does not exist: create it, or set {fields.storage_class} to one that does",
            waits=True,
        )
    provisioner = storage_class.provisioner
    why = why_not_copied(provisioner)
    if why is not None:
        return Obstacle(
            reasons.CLASS_CANNOT_CLONE,
            f"StorageClass {name} ({provisioner}) cannot clone: {why}. "
            f"Set {fields.storage_class} to a class of a CSI driver that can, or {fields.method}: Direct",
            waits=False,
        )
    return None if volume is None else _check_driver(volume, name, provisioner, fields)


def why_not_copied(provisioner: str) -> str | None:
    """Return why a provisioner ignores what a claim is to be made from, and makes an empty volume; None when it is not known to."""
    why = _WITHOUT_CLONES.get(provisioner)
    if why is None and provisioner.startswith("kubernetes.io/"):
        why = "in-tree provisioners have no cloning"
    if why is None and provisioner.endswith(_NFS_SUBDIR):
        why = "the NFS subdirectory provisioner has no cloning"
    return why


def _check_driver(volume: PersistentVolume, class_name: str, provisioner: str, fields: Fields) -> Obstacle | None:
    """Return why the provisioner of a class cannot copy a CSI volume."""
    driver = volume.spec.csi.driver if volume.spec and volume.spec.csi else provisioner
    if driver == provisioner:
        return None
    return Obstacle(
        reasons.CLASS_CANNOT_CLONE,
        f"StorageClass {class_name} ({provisioner}) cannot clone: PersistentVolume {volume.metadata.name} is of driver {driver}, "
        f"and a driver copies its own volumes only. Set {fields.storage_class} to a class of that driver, or {fields.method}: Direct",
        waits=False,
    )


def check_clone(
    clone: PersistentVolumeClaim, volumes: tuple[PersistentVolume, ...], *, fields: Fields
) -> Obstacle | None:
    """Return why a bound clone is no copy: a volume that no CSI driver made holds none of the source's data."""
    bound_to = clone.spec.volume_name if clone.spec else None
    volume = next((each for each in volumes if each.metadata.name == bound_to), None)
    if volume is None or not is_foreign(volume):
        return None
    advice = fields.choose("Direct")
    return Obstacle(
        reasons.CLASS_CANNOT_CLONE,
        f"clone {clone.metadata.name} is not of a CSI driver, so it is no copy but an empty volume. "
        f"{advice[0].upper()}{advice[1:]}",
        waits=False,
    )


def is_foreign(volume: PersistentVolume) -> bool:
    """Tell whether no CSI driver made a volume. A flexVolume without a vendor's name does not count: virtual clusters show their host's volumes so."""
    spec = volume.spec
    if spec is None or spec.csi is not None:
        return False
    return spec.flex_volume is None or "/" in spec.flex_volume.driver


def choose_snapshot_class(
    classes: tuple[VolumeSnapshotClass, ...], *, wanted: str | None, driver: str, fields: Fields
) -> VolumeSnapshotClass | Obstacle:
    """Return the class to take the snapshot with: the wanted one, else the driver's default, else its only one.

    When the default class retains snapshots and exactly one other class does not, that one is used: our snapshots are temporary, and what they
    leave on the storage would belong to nobody (law L5).
    """
    if wanted is not None:
        for candidate in classes:
            if candidate.metadata.name == wanted:
                return _of_other_driver(candidate, driver, fields) or candidate
        return Obstacle(
            reasons.SNAPSHOT_CLASS_NOT_FOUND,
            f"VolumeSnapshotClass {wanted} does not exist: create it or correct {fields.snapshot_class}",
            waits=True,
        )
    own = sorted((c for c in classes if c.driver == driver), key=lambda c: c.metadata.name)
    defaults = [c for c in own if c.metadata.annotation(IS_DEFAULT_CLASS) == "true"]
    passing = [c for c in own if not retains(c)]
    if len(defaults) == 1 and not (retains(defaults[0]) and len(passing) == 1):
        return defaults[0]
    for few in (own, passing):
        if len(few) == 1:
            return few[0]
    several = ", ".join(c.metadata.name for c in own)
    return Obstacle(
        reasons.SNAPSHOT_CLASS_NOT_FOUND,
        f"driver {driver} has several VolumeSnapshotClasses ({several}): name one in {fields.snapshot_class}"
        if own
        else f"driver {driver} has no VolumeSnapshotClass: create one, or set {fields.method}: {fields.without_snapshots}",
        waits=True,
    )


def retains(snapshot_class: VolumeSnapshotClass) -> bool:
    """Tell whether a snapshot of this class leaves something on the storage when it is deleted."""
    return snapshot_class.deletion_policy == RETAIN


def _of_other_driver(candidate: VolumeSnapshotClass, driver: str, fields: Fields) -> Obstacle | None:
    """Return why a class of another driver cannot be used: drivers snapshot only their own volumes, and not every snapshot controller says so.

    Nothing is said of in-tree drivers: with CSI migration their volumes have a driver of another name.
    """
    if not driver or driver.startswith("kubernetes.io/") or candidate.driver == driver:
        return None
    return Obstacle(
        reasons.SNAPSHOT_CLASS_NOT_FOUND,
        f"VolumeSnapshotClass {candidate.metadata.name} is of driver {candidate.driver}, and the volume is of driver {driver}: "
        f"name one of that driver in {fields.snapshot_class}, or leave it out",
        waits=True,
    )


def binds_on_use(storage_class: StorageClass | None) -> bool:
    """Tell whether a claim of this class binds only when a Pod uses it, so that waiting for it first would never end."""
    return storage_class is not None and storage_class.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER


def is_lost(claim: PersistentVolumeClaim) -> bool:
    """Tell whether the claim has lost its volume, and its data with it."""
    return claim.status is not None and claim.status.phase == "Lost"


def is_read_only(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim can be mounted for reading only: ReadOnlyMany is its one access mode."""
    return claim.spec is not None and claim.spec.access_modes == ("ReadOnlyMany",)


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Tell whether the claim has its volume."""
    return claim.status is not None and claim.status.phase == "Bound"


def is_snapshot_ready(snapshot: VolumeSnapshot) -> bool:
    """Tell whether a snapshot holds its data. One that is bound and says nothing of it counts: not every snapshotter does."""
    status = snapshot.status
    if status is None:
        return False
    unsaid = status.ready_to_use is None and bool(status.bound_volume_snapshot_content_name) and status.error is None
    return bool(status.ready_to_use) or unsaid
