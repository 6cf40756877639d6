"""What stays on the storage after everything of a run has been deleted, because somebody's policy says Retain. Pure.

A PersistentVolume or a snapshot's content that is retained is never deleted here: the policy is its owner's word. But a run that leaves
a whole volume behind each night must say so (laws L4, L5, L10).
"""

from typing import Final

from datamover.api.names import CopyMethod
from datamover.api.v1alpha1.datamover import Run
from datamover.reconcilers.datamover.facts import Facts
from datamover.volumes.binding import RETAIN, Obstacle, choose_snapshot_class, retains
from kubekit.words.core import PersistentVolume
from kubekit.words.snapshot import VolumeSnapshotClass

_CONTENTS: Final = "volumesnapshotcontents.snapshot.storage.k8s.io"
_SHOWN: Final = 3


def describe_retained(facts: Facts, run: Run, *, clone_deleted: bool) -> str | None:
    """Return what is left on the storage, how to free it and how to prevent it; None when nothing is."""
    kept = (_describe_volumes(facts) if clone_deleted else None, _describe_content(facts, run))
    return ". ".join(each for each in kept if each is not None) or None


def _describe_volumes(facts: Facts) -> str | None:
    names = [volume.metadata.name for volume in facts.volumes if _is_kept(volume)]
    told = facts.seen.volume
    storage = facts.clone_class
    hidden = told is not None and ("PersistentVolume", told) not in facts.seen.children  # the caches may lack the right
    if not names and hidden and told is not None and storage is not None and storage.reclaim_policy == RETAIN:
        names = [told]
    if not names:
        return None
    listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    free = f"""kubectl patch pv {names[0]} -p '{{"spec":{{"persistentVolumeReclaimPolicy":"Delete"}}}}'"""
    return (
        f"PersistentVolume {listed} of the clone stays with its storage, because its reclaim policy is Retain. To free it: {free}. To "
        "prevent it: name a StorageClass with reclaimPolicy Delete in spec.storageClassName"
    )


def _is_kept(volume: PersistentVolume) -> bool:
    return volume.spec is not None and volume.spec.persistent_volume_reclaim_policy == RETAIN


def _describe_content(facts: Facts, run: Run) -> str | None:
    if run.copy_method != CopyMethod.SNAPSHOT or facts.owns(facts.snapshot):
        return None
    used = _snapshot_class(facts)
    if used is None or not retains(used):
        return None
    content = facts.seen.content
    which = f"VolumeSnapshotContent {content}" if content else f"the VolumeSnapshotContent of {run.snapshot_name}"
    name = content or "NAME"
    find = "" if content else f"kubectl get {_CONTENTS} shows its NAME; "
    free = f"""kubectl patch {_CONTENTS} {name} --type merge -p '{{"spec":{{"deletionPolicy":"Delete"}}}}'"""
    return (
        f"{which} stays with its storage, because VolumeSnapshotClass {used.metadata.name} has deletionPolicy Retain. To free it: {find}"
        f"{free} && kubectl delete {_CONTENTS} {name}. To prevent it: name a class with deletionPolicy Delete in "
        "spec.volumeSnapshotClassName"
    )


def _snapshot_class(facts: Facts) -> VolumeSnapshotClass | None:
    """The class that the snapshot was taken with; after a restart of the operator, the one that it would be taken with."""
    classes, seen = facts.snapshot_classes or (), facts.seen.snapshot_class
    if seen is not None:
        return next((candidate for candidate in classes if candidate.metadata.name == seen), None)
    driver = facts.source_class.provisioner if facts.source_class else ""
    wanted = facts.mover.spec.volume_snapshot_class_name if facts.mover.spec else None
    chosen = choose_snapshot_class(classes, wanted=wanted, driver=driver)
    return None if isinstance(chosen, Obstacle) else chosen
