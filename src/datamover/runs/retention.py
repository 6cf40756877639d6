"""What stays on the storage after everything of a run has been deleted, because somebody's policy says Retain. Pure.

A PersistentVolume or a snapshot's content that is retained is never deleted here: the policy is its owner's word. But a run that leaves
a whole volume behind each night must say so (laws L4, L5, L10).
"""

from typing import Final

from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.volumes.binding import RETAIN, Obstacle, choose_snapshot_class, retains
from kubekit.words.core import PersistentVolume
from kubekit.words.snapshot import VolumeSnapshotClass

_CONTENTS: Final = "volumesnapshotcontents.snapshot.storage.k8s.io"
_SHOWN: Final = 3


def describe_retained(order: Order, facts: RunFacts, *, copy_deleted: bool) -> str | None:
    """Return what is left on the storage, how to free it and how to prevent it; None when nothing is."""
    kept = (_describe_volumes(order, facts) if copy_deleted else None, _describe_content(order, facts))
    return ". ".join(each for each in kept if each is not None) or None


def _describe_volumes(order: Order, facts: RunFacts) -> str | None:
    names = [volume.metadata.name for volume in facts.volumes if _is_kept(volume)]
    seen = facts.known.seen
    storage = facts.claim_class
    # the caches hold no volumes where the operator may not read them
    hidden = seen.volume if seen.volume and ("PersistentVolume", seen.volume) not in seen.children else None
    if not names and hidden is not None and storage is not None and storage.reclaim_policy == RETAIN:
        names = [hidden]
    if not names:
        return None
    listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    free = f"""kubectl patch pv {names[0]} -p '{{"spec":{{"persistentVolumeReclaimPolicy":"Delete"}}}}'"""
    return (
        f"PersistentVolume {listed} of the clone stays with its storage, because its reclaim policy is Retain. To free it: {free}. To "
        f"prevent it: name a StorageClass with reclaimPolicy Delete in {order.fields.storage_class}"
    )


def _is_kept(volume: PersistentVolume) -> bool:
    return volume.spec is not None and volume.spec.persistent_volume_reclaim_policy == RETAIN


def _describe_content(order: Order, facts: RunFacts) -> str | None:
    if not order.copy.by_snapshot or order.owner.owns(facts.snapshot):
        return None
    used = _snapshot_class(order, facts)
    if used is None or not retains(used):
        return None
    content = facts.known.seen.content
    which = f"VolumeSnapshotContent {content}" if content else f"the VolumeSnapshotContent of {order.copy.snapshot}"
    name = content or "NAME"
    find = "" if content else f"kubectl get {_CONTENTS} shows its NAME; "
    free = f"""kubectl patch {_CONTENTS} {name} --type merge -p '{{"spec":{{"deletionPolicy":"Delete"}}}}'"""
    return (
        f"{which} stays with its storage, because VolumeSnapshotClass {used.metadata.name} has deletionPolicy Retain. To free it: {find}"
        f"{free} && kubectl delete {_CONTENTS} {name}. To prevent it: name a class with deletionPolicy Delete in "
        f"{order.fields.snapshot_class}"
    )


def _snapshot_class(order: Order, facts: RunFacts) -> VolumeSnapshotClass | None:
    """The class that the snapshot was taken with; after a restart of the operator, the one that it would be taken with."""
    classes, seen = facts.snapshot_classes or (), facts.known.seen.snapshot_class
    if seen is not None:
        return next((candidate for candidate in classes if candidate.metadata.name == seen), None)
    driver = facts.source_class.provisioner if facts.source_class else ""
    chosen = choose_snapshot_class(classes, wanted=order.copy.snapshot_class, driver=driver, fields=order.fields)
    return None if isinstance(chosen, Obstacle) else chosen
