"""How one claim becomes the copy of another: by the driver, by way of a snapshot, or byte by byte; and what keeps it from being copied now. Pure.

What a driver copies is complete when the new claim is bound. It can do so within itself only: for a volume of its own, of the same mode, and not
into a smaller one. Everything else a worker copies, which mounts both.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.volumes.binding import binds_on_use, is_bound, is_foreign, is_lost, why_not_copied
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import OwnerReference
from kubekit.words.quantity import larger, parse_quantity
from kubekit.words.snapshot import IS_DEFAULT_CLASS, VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass

FILESYSTEM: Final = "Filesystem"
BLOCK: Final = "Block"
CLONE_STRATEGY: Final = f"{names.GROUP}/clone-strategy"
"""On a StorageClass: how its volumes are cloned, where its StorageProfile does not say (documents)."""

_CLONING_DRIVERS: Final = frozenset(
    {
        "local.datamover.a-cup-of.coffee",
        "hostpath.csi.k8s.io",
        "cinder.csi.openstack.org",
        "disk.csi.azure.com",
        "driver.longhorn.io",
        "csi.trident.netapp.io",
        "nfs.csi.k8s.io",
        "pd.csi.storage.gke.io",
        "topolvm.io",
    }
)
"""Drivers that are known to clone, for whose classes nobody has said how. No API tells whether a driver can, and a claim of one that cannot waits for ever."""
_CLONING_ENDINGS: Final = (".rbd.csi.ceph.com", ".cephfs.csi.ceph.com")


class Method(StrEnum):
    """How a claim is copied; the words are those of a StorageProfile's cloneStrategy."""

    CSI_CLONE = "csi-clone"
    SNAPSHOT = "snapshot"
    COPY = "copy"


class CloneReason(StrEnum):
    """Why a claim is not made from another one now."""

    SOURCE_MISSING = "CloneSourceNotFound"
    SOURCE_TERMINATING = "CloneSourceTerminating"
    SOURCE_LOST = "CloneSourceLost"
    SOURCE_UNBOUND = "CloneSourceNotBound"
    SOURCE_UNPOPULATED = "CloneSourceNotPopulated"
    SOURCE_IN_USE = "CloneSourceInUse"
    SOURCE_FAILED = "CloneSourceFailed"
    MODES_DIFFER = "CloneVolumeModesDiffer"
    TOO_SMALL = "CloneTargetTooSmall"
    ACROSS_NAMESPACES = "CloneAcrossNamespaces"
    NEEDS_DRIVER = "CloneNeedsDriver"
    SOURCE_REPLACED = "CloneSourceReplaced"
    DRIVERS_DIFFER = "CloneDriversDiffer"
    SNAPSHOT_NOT_READY = "CloneSnapshotNotReady"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why it is not copied now. What is told is always waited for: the source may come, and a DataVolume's spec never changes."""

    reason: CloneReason
    message: str


@dataclass(frozen=True, slots=True)
class Target:
    """The claim that is to become the copy. `size` is in bytes, None where nobody asked for one; `storage_class` is None where nobody makes volumes.

    `immediate`: it is to be filled before anybody uses it.
    """

    namespace: str
    volume_mode: str
    size: int | None
    storage_class: StorageClass | None
    archive: bool = False
    immediate: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """How it is copied. `size` is what the new claim asks for at first, as a quantity, and `grow_to` what it asks for afterwards, if anything: a
    driver's copy is as large as its source.
    """

    method: Method
    size: str
    grow_to: str | None = None
    snapshot_class: str | None = None


# May the source be read?


def check_source(
    name: str, source: PersistentVolumeClaim | None, *, maker: DataVolume | None, users: str | None
) -> Hindrance | None:
    """Return why a source claim must not be copied now, or None.

    `maker` is the DataVolume that controls it, None where there is none of that UID; `users` are the Pods that may write it, empty when there are
    none and None while nobody has looked.
    """
    if source is None:
        return Hindrance(
            CloneReason.SOURCE_MISSING,
            f"waiting for PersistentVolumeClaim {name}, which does not exist; create it, or correct spec.source.pvc",
        )
    if source.metadata.terminating:
        return Hindrance(
            CloneReason.SOURCE_TERMINATING,
            f"waiting, for PersistentVolumeClaim {name} is being deleted; it begins when there is a new one of that name",
        )
    if is_lost(source):
        return Hindrance(
            CloneReason.SOURCE_LOST,
            f"PersistentVolumeClaim {name} has lost its volume, so there is nothing to copy; bring it back, or copy another one",
        )
    unfinished = _find_unfinished(source, maker)
    if unfinished is not None:
        return unfinished
    if not is_bound(source):
        return Hindrance(
            CloneReason.SOURCE_UNBOUND,
            f"waiting for PersistentVolumeClaim {name}, which has no volume yet; one of a class that binds on first use gets it with its first Pod",
        )
    if users:
        return Hindrance(
            CloneReason.SOURCE_IN_USE,
            f"waiting, for PersistentVolumeClaim {name} is used by {users}, which may write while it is copied; stop it, or copy a VolumeSnapshot of it",
        )
    return None


def maker_of(source: PersistentVolumeClaim) -> OwnerReference | None:
    """Return the DataVolume that controls a claim: it fills the claim, or has filled it. A claim without one counts as full (documents)."""
    for owner in source.metadata.owner_references or ():
        if owner.controller and owner.kind == DATA_VOLUMES.kind and owner.api_version.partition("/")[0] == names.GROUP:
            return owner
    return None


def _find_unfinished(source: PersistentVolumeClaim, maker: DataVolume | None) -> Hindrance | None:
    """Return why a claim is not full yet. One that was collected has no such controller, and counts as full."""
    owner, name = maker_of(source), source.metadata.name
    if owner is None:
        return None
    if maker is None or maker.metadata.uid != owner.uid:
        return Hindrance(
            CloneReason.SOURCE_UNPOPULATED,
            f"PersistentVolumeClaim {name} is controlled by DataVolume {owner.name}, which is gone, so nobody knows whether it is full; "
            f"if it is, remove that ownerReference from it",
        )
    phase = (maker.status.phase if maker.status is not None else None) or "not looked at yet"
    if phase == names.Phase.FAILED:
        return Hindrance(
            CloneReason.SOURCE_FAILED,
            f"PersistentVolumeClaim {name} was not filled: DataVolume {owner.name} has failed; make it anew",
        )
    if phase != names.Phase.SUCCEEDED:
        return Hindrance(
            CloneReason.SOURCE_UNPOPULATED,
            f"waiting for PersistentVolumeClaim {name}, which DataVolume {owner.name} still fills ({phase})",
        )
    return None


# How is it copied?


def choose(
    source: PersistentVolumeClaim,
    target: Target,
    *,
    volume: PersistentVolume | None,
    strategy: str | None,
    snapshot_classes: tuple[VolumeSnapshotClass, ...],
    wanted_snapshot_class: str | None = None,
) -> Choice | Hindrance:
    """Return how a claim is copied, or why it cannot be.

    `volume` is the source's, None where it may not be read; `strategy` is what the StorageProfile or StorageClass of the target says; of
    `snapshot_classes` the wanted one is taken where it fits.
    """
    mode = mode_of(source)
    if target.archive and BLOCK in (mode, target.volume_mode):
        return Hindrance(
            CloneReason.MODES_DIFFER,
            f"PersistentVolumeClaim {source.metadata.name} is of volumeMode {mode} and the new one of {target.volume_mode}, and contentType archive "
            f"means files: set contentType kubevirt to copy a disk",
        )
    needed = size_of(source)
    asked = target.size if target.size is not None else bytes_of(needed)
    if asked is None or needed is None:
        return Hindrance(
            CloneReason.SOURCE_UNBOUND,
            f"waiting for PersistentVolumeClaim {source.metadata.name}, which says no size yet",
        )
    least = bytes_of(_requested(source)) or 0
    if mode == target.volume_mode and asked < least:
        return Hindrance(
            CloneReason.TOO_SMALL,
            f"PersistentVolumeClaim {source.metadata.name} has {_requested(source)}, and what it holds may not fit into {asked} bytes; make the "
            f"DataVolume anew with at least that, or without a size",
        )
    full = bytes_of(needed) or 0
    byte_by_byte = Choice(Method.COPY, str(asked) if target.size is not None else needed)
    if not _is_for_driver(target, volume=volume, mode=mode):
        return byte_by_byte
    grow = str(asked) if asked > full else None
    if grow is not None and not (target.storage_class and target.storage_class.allow_volume_expansion):
        return byte_by_byte  # a driver's copy is as large as its source, and stays so
    driver = volume.spec.csi.driver if volume is not None and volume.spec is not None and volume.spec.csi else ""
    snapshot_class = choose_snapshot_class(snapshot_classes, driver=driver, wanted=wanted_snapshot_class)
    method = choose_method(strategy, driver=driver, snapshot_class=snapshot_class)
    if method is Method.COPY:
        return byte_by_byte
    return Choice(method, needed, grow_to=grow, snapshot_class=snapshot_class if method is Method.SNAPSHOT else None)


def choose_snapshot_class(classes: tuple[VolumeSnapshotClass, ...], *, driver: str, wanted: str | None) -> str | None:
    """Return the class for a snapshot that is there for the time of a copy: the wanted one, else the driver's default, else its first; None when the
    driver has none. One that keeps what it takes is taken last: what it leaves on the storage would belong to nobody (law L5).
    """
    own = [each for each in classes if each.driver == driver]
    if any(each.metadata.name == wanted for each in own):
        return wanted
    ranked = sorted(
        own,
        key=lambda each: (
            each.deletion_policy == "Retain",
            each.metadata.annotation(IS_DEFAULT_CLASS) != "true",
            each.metadata.name,
        ),
    )
    return ranked[0].metadata.name if ranked else None


def choose_method(strategy: str | None, *, driver: str, snapshot_class: str | None) -> Method:
    """What is wished counts, as far as it can be had; where nobody wishes, what is known of the driver."""
    match strategy:
        case Method.COPY:
            return Method.COPY
        case Method.CSI_CLONE:
            return Method.CSI_CLONE
        case Method.SNAPSHOT:
            return Method.SNAPSHOT if snapshot_class is not None else Method.COPY
        case _:
            if driver in _CLONING_DRIVERS or f".{driver}".endswith(_CLONING_ENDINGS):
                return Method.CSI_CLONE
            return Method.SNAPSHOT if snapshot_class is not None else Method.COPY


def _is_for_driver(target: Target, *, volume: PersistentVolume | None, mode: str) -> bool:
    """Tell whether a driver can copy at all: its own volume, of the same mode. A class that binds on first use makes a copy where the first Pod runs;
    who wants it before that needs a worker.
    """
    wanted = target.storage_class
    if volume is None or volume.spec is None or volume.spec.csi is None or is_foreign(volume) or wanted is None:
        return False
    if target.immediate and binds_on_use(wanted):
        return False
    return mode == target.volume_mode and volume.spec.csi.driver == wanted.provisioner


# From a snapshot.


def check_snapshot(name: str, snapshot: VolumeSnapshot | None) -> Hindrance | None:
    """Return why nothing is made from a VolumeSnapshot now, or None."""
    if snapshot is None:
        return Hindrance(
            CloneReason.SOURCE_MISSING,
            f"waiting for VolumeSnapshot {name}, which does not exist; create it, or correct spec.source.snapshot",
        )
    if snapshot.metadata.terminating:
        return Hindrance(
            CloneReason.SOURCE_TERMINATING,
            f"waiting, for VolumeSnapshot {name} is being deleted; it begins when there is a new one of that name",
        )
    status = snapshot.status
    # one that says nothing of it is not believed here: a disk that is made from half a snapshot looks whole
    if status is not None and status.ready_to_use:
        return None
    said = status.error.message if status is not None and status.error is not None else None
    return Hindrance(
        CloneReason.SNAPSHOT_NOT_READY,
        f"waiting for VolumeSnapshot {name}, which is not readyToUse" + (f"; its driver says: {said}" if said else ""),
    )


def size_from_snapshot(snapshot: VolumeSnapshot, target: Target, *, driver: str | None) -> Choice | Hindrance:
    """Return the sizes of a claim that is made from a VolumeSnapshot, or why it cannot be. `driver` is the snapshot's, None where nobody knows it."""
    name, wanted = snapshot.metadata.name, target.storage_class
    if wanted is None or why_not_copied(wanted.provisioner) or (driver is not None and driver != wanted.provisioner):
        of = f"of driver {driver}" if driver else "of a CSI driver"
        has = f"{wanted.metadata.name} ({wanted.provisioner})" if wanted is not None else "none"
        return Hindrance(
            CloneReason.DRIVERS_DIFFER,
            f"VolumeSnapshot {name} is {of}, which alone restores it, and the StorageClass is {has}: make the DataVolume anew with a class of that driver",
        )
    restored = snapshot.status.restore_size if snapshot.status is not None else None
    needed = str(restored) if restored is not None else None
    full = bytes_of(needed)
    if target.size is None:
        if not full or needed is None:
            return Hindrance(
                CloneReason.TOO_SMALL,
                f"VolumeSnapshot {name} says no restoreSize, so nobody knows how large its volume is; make the DataVolume anew with a size",
            )
        return Choice(Method.SNAPSHOT, needed)
    if full and target.size < full:
        return Hindrance(
            CloneReason.TOO_SMALL,
            f"VolumeSnapshot {name} needs a volume of {needed}, more than the {target.size} bytes that are asked for; make the DataVolume anew with at "
            f"least that, or without a size",
        )
    if full and needed is not None and target.size > full and wanted.allow_volume_expansion:
        return Choice(Method.SNAPSHOT, needed, grow_to=str(target.size))
    return Choice(Method.SNAPSHOT, str(target.size))


# What volumes say of themselves.


def mode_of(claim: PersistentVolumeClaim) -> str:
    """Return a claim's volumeMode."""
    return (claim.spec.volume_mode if claim.spec is not None else None) or FILESYSTEM


def size_of(claim: PersistentVolumeClaim) -> str | None:
    """Return how large a claim is: what it has got, else what it has asked for."""
    status = claim.status
    return larger((status.capacity or {}).get("storage") if status is not None else None, _requested(claim))


def has_grown(claim: PersistentVolumeClaim, wanted: str) -> bool:
    """Tell whether a claim has got what it asks for."""
    got = bytes_of((claim.status.capacity or {}).get("storage")) if claim.status is not None else None
    asked = bytes_of(wanted)
    return got is not None and asked is not None and got >= asked


def asks_for(claim: PersistentVolumeClaim, wanted: str) -> bool:
    """Tell whether a claim asks for so much already."""
    asked, least = bytes_of(_requested(claim)), bytes_of(wanted)
    return asked is not None and least is not None and asked >= least


def volume_has(volume: PersistentVolume, wanted: str) -> bool:
    """Tell whether a volume is as large as wanted."""
    has = bytes_of((volume.spec.capacity or {}).get("storage")) if volume.spec is not None else None
    least = bytes_of(wanted)
    return has is not None and least is not None and has >= least


def _requested(claim: PersistentVolumeClaim) -> str | None:
    resources = claim.spec.resources if claim.spec is not None else None
    found = (resources.requests or {}).get("storage") if resources is not None else None
    return None if found is None else str(found)


def bytes_of(quantity: str | float | None) -> int | None:
    """Return a quantity in bytes, rounded up; None where it is none."""
    if quantity is None:
        return None
    try:
        return int(parse_quantity(quantity).to_integral_value(rounding="ROUND_CEILING"))
    except (ValueError, ArithmeticError):
        return None
