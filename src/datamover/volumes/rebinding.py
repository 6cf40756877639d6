"""Handing the volume of a temporary claim over to the claim that it was filled for: whose a volume is, and what keeps it from being handed over. Pure."""

from enum import Enum
from typing import Final

from kubekit.words.core import BOUND_BY_CONTROLLER, PROVISIONED_BY, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Manifest, ObjectMeta
from kubekit.words.storage import StorageClass
from kubekit.words.timestamps import moment_of

KEEP: Final[Manifest] = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
"""The change of a volume that lets it outlive its claim."""
_GOING: Final = ("Released", "Failed")
_CLOCKS: Final = 60.0
"""Seconds by which the clocks of two API servers may differ."""


def holder_of(volume: PersistentVolume) -> str | None:
    """Return the UID of the claim that a volume names."""
    reference = volume.spec.claim_ref if volume.spec is not None else None
    return reference.uid if reference is not None else None


def is_going(volume: PersistentVolume) -> bool:
    """Tell whether a volume is lost to whoever wants it: it is deleted, or its claim was."""
    phase = volume.status.phase if volume.status is not None else None
    return volume.metadata.terminating or phase in _GOING


class Standing(Enum):
    """Where a volume is on its way from a temporary claim to the one that it was filled for."""

    READY = "it is the temporary claim's, and can be handed over"
    GIVEN = "it is handed over; Kubernetes binds it, or has bound it"
    GOING = "it is lost to both: it is deleted, or its claim was"
    TAKEN = "it names another claim"


def standing_of(volume: PersistentVolume, prime: PersistentVolumeClaim, *, target: PersistentVolumeClaim) -> Standing:
    """Return how far the volume of a temporary claim is handed over. Claims are told by their UIDs: a successor of the same name counts as another one."""
    holder = holder_of(volume)
    if holder == target.metadata.uid:
        return Standing.GIVEN
    if is_going(volume):
        return Standing.GOING
    return Standing.READY if holder == prime.metadata.uid else Standing.TAKEN


def is_older(volume: PersistentVolume, other: HasMeta) -> bool:
    """Tell whether a volume was there before another object. Before its claim: nobody has made it for that, and Kubernetes has found it to fit."""
    made, asked = (moment_of(each.metadata.creation_timestamp, default=0.0) for each in (volume, other))
    return bool(made and asked) and made < asked - _CLOCKS


def is_found(volume: ObjectMeta) -> bool:
    """Tell whether Kubernetes has found a volume that was there and fits its claim: no provisioner has made and reserved it."""
    return volume.annotation(BOUND_BY_CONTROLLER) is not None and volume.annotation(PROVISIONED_BY) is None


def is_ready_made(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Tell whether nobody has made a volume for its claim, so that it is no copy, and what is in it may be somebody's."""
    return is_found(volume.metadata) or is_older(volume, claim)


def would_take_along(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    """Tell whether a volume that was not made for its claim goes when that is deleted."""
    policy = volume.spec.persistent_volume_reclaim_policy if volume.spec is not None else None
    return holder_of(volume) == claim.metadata.uid and policy != "Retain" and is_ready_made(volume, claim)


def is_of_another_driver(volume: PersistentVolume, storage_class: StorageClass | None) -> bool:
    """Tell whether a volume is of another CSI driver than its class names. Of a class that is gone nobody knows."""
    csi = volume.spec.csi if volume.spec is not None else None
    return csi is not None and storage_class is not None and csi.driver != storage_class.provisioner


def may_go(prime: PersistentVolumeClaim, volume: object, *, target: PersistentVolumeClaim) -> bool:
    """Tell whether the temporary claim can be deleted without the volume that the target is bound to.

    As long as the caches say that the target's volume is still the temporary claim's, it would go with it.
    """
    had = prime.spec.volume_name if prime.spec is not None else None
    shared = bool(had) and target.spec is not None and target.spec.volume_name == had
    if not shared:
        return True
    return isinstance(volume, PersistentVolume) and holder_of(volume) == target.metadata.uid
