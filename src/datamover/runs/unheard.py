"""What is told of a copy that does not get on while the cluster says nothing of it (law L10). Pure.

Told once: by its reason the status shows that it was. What a driver has said already is not taken back when it falls silent.
"""

from dataclasses import replace

from datamover.api import reasons
from datamover.plans.steps import Emit
from datamover.runs.order import Order
from datamover.runs.verdict import News, Verdict, blocked, working
from datamover.runs.wait import Unsaid
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta, Reference
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot


def tell_unbound_snapshot(order: Order, snapshot: VolumeSnapshot) -> Unsaid | None:
    """Return what is told of a snapshot that nobody takes up. One that has content is in work, and may take long."""
    meta, found = snapshot.metadata, order.unheard.get(VOLUME_SNAPSHOTS.kind)
    taken_up = snapshot.status is not None and snapshot.status.bound_volume_snapshot_content_name
    if found is None or taken_up or order.record.reason == reasons.CLONE_PROVISIONING_FAILED:
        return None
    message = (
        f"VolumeSnapshot {meta.name} is not bound after {found.after:.0f} seconds, and the cluster does not say why: look whether the snapshot "
        f"controller and the driver's csi-snapshotter run, and whether {order.fields.snapshot_class} names a class of this driver "
        f"(kubectl -n {meta.namespace} describe volumesnapshot {meta.name})"
    )
    verdict = blocked(found.reason, message, action="Clone", news=News.REASON)
    return Unsaid(found.after, _warn(verdict, Reference(VOLUME_SNAPSHOTS, meta)))


def tell_unbound_claim(order: Order, claim: PersistentVolumeClaim) -> Unsaid | None:
    """Return what is told of a copy that nobody binds. It need not stand still: drivers that copy all data say nothing meanwhile."""
    meta, found = claim.metadata, order.unheard.get(PERSISTENT_VOLUME_CLAIMS.kind)
    if found is None or order.record.reason == reasons.CLONE_PROVISIONING_FAILED:
        return None
    storage_class = (claim.spec.storage_class_name if claim.spec is not None else None) or "its StorageClass"
    message = (
        f"PersistentVolumeClaim {meta.name} is not bound after {found.after:.0f} seconds, and the cluster does not say why: a driver that copies a "
        f"large volume may take longer; else look whether the driver of {storage_class} runs (kubectl -n {meta.namespace} describe pvc {meta.name})"
    )
    return Unsaid(found.after, _warn(working(found.reason, message, action="Clone", news=News.REASON), _claim(meta)))


def _claim(meta: ObjectMeta) -> Reference:
    return Reference(PERSISTENT_VOLUME_CLAIMS, meta)


def _warn(verdict: Verdict, related: Reference) -> Verdict:
    event = Emit("Warning", verdict.reason, verdict.message, verdict.action, related=related)
    return replace(verdict, events=(event,), announced=True)
