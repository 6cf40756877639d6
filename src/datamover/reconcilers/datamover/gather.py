"""From the caches to one frozen Facts. Reads nothing but caches, so that a reconcile costs the API server no read."""

from datetime import datetime
from typing import Protocol

from datamover.api.names import CopyMethod
from datamover.api.v1alpha1.datamover import DataMover, DataMoverSpec
from datamover.plans.known import Known, Refusal, Seen
from datamover.reconcilers.datamover.facts import Facts, Unread
from datamover.volumes.naming import clone_name
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim, Pod, SecretKeys
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass
from kubekit.words.timestamps import parse


class View(Protocol):
    """The caches, read by name."""

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim."""
        ...

    def volume(self, name: str) -> PersistentVolume | Unread:
        """A PersistentVolume, or why nothing is known of it."""
        ...

    def storage_class(self, name: str) -> StorageClass | None:
        """A StorageClass."""
        ...

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        ...

    def snapshot(self, namespace: str, name: str) -> VolumeSnapshot | None:
        """A VolumeSnapshot of ours."""
        ...

    def snapshot_classes(self) -> tuple[VolumeSnapshotClass, ...] | None:
        """All VolumeSnapshotClasses; None when the cluster has no snapshot API."""
        ...

    def job(self, namespace: str, name: str) -> Job | None:
        """A Job of ours."""
        ...

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        """The Pods that an owner controls."""
        ...

    def pods_of_mover(self, mover_uid: str) -> tuple[Pod, ...]:
        """The Pods that carry a DataMover's UID as a label, whatever has become of their Jobs."""
        ...

    def volumes_of(self, namespace: str, claim: str) -> tuple[PersistentVolume, ...]:
        """The PersistentVolumes bound to a claim of this name, whether or not the claim still exists."""
        ...

    def clone_holders(self, namespace: str, name: str) -> tuple[DataMover, ...]:
        """The DataMovers whose status names this clone."""
        ...


def gather(mover: DataMover, *, view: View, known: Known, now: datetime) -> Facts:
    """Return what there is to know about one DataMover."""
    spec, status = mover.spec, mover.status
    namespace = mover.metadata.namespace or ""
    if spec is None:
        return Facts(mover=mover)
    run = status.run if status else None
    method = (run and run.copy_method) or spec.copy_method
    source_name = (run and run.source) or spec.source_pvc
    source = view.claim(namespace, source_name)
    source_class = _class_of(source, view)
    name = _clone_name(mover, spec, view=view, now=now)
    clone = view.claim(namespace, name) if name else None
    snapshot = view.snapshot(namespace, run.snapshot_name) if run and run.snapshot_name else None
    job = view.job(namespace, run.job_name) if run and run.job_name else None
    pods = view.pods_of(job.metadata.uid) if job else ()
    volumes = view.volumes_of(namespace, name) if name else ()
    wanted = spec.storage_class_name
    return Facts(
        mover=mover,
        source=source,
        source_class=source_class,
        source_volume=_volume_of(source, view),
        clone_class=(view.storage_class(wanted) if wanted else _class_of(clone, view) or source_class),
        secret=view.secret(namespace, spec.secret_name),
        clone=clone,
        clone_name=name,
        snapshot=snapshot,
        snapshot_classes=view.snapshot_classes() if method == CopyMethod.SNAPSHOT else None,
        job=job,
        pods=pods,
        strays=tuple(pod for pod in view.pods_of_mover(mover.metadata.uid) if pod not in pods) if run else (),
        volumes=volumes,
        refusal=_standing(known.refusal, (clone, snapshot, job), uid=mover.metadata.uid),
        diagnosis=known.diagnosis,
        progress=known.progress,
        progress_age=known.progress_age,
        watch=known.watch,
        seen=_sight(known.seen, clone=clone, snapshot=snapshot, job=job, volumes=volumes),
    )


def _standing(
    refusal: Refusal | None, children: tuple[HasMeta | None, HasMeta | None, HasMeta | None], *, uid: str
) -> Refusal | None:
    """Return the refusal unless what was refused has been done since, by another replica or by somebody else."""
    if refusal is None or refusal.target is None:
        return refusal
    kind, name = refusal.target
    child = children[("PersistentVolumeClaim", "VolumeSnapshot", "Job").index(kind)]
    ours = child is not None and child.metadata.name == name and child.metadata.owned_by(uid)
    if refusal.verb == "create":
        return None if ours else refusal
    return refusal if ours and child is not None and not child.metadata.terminating else None


def _sight(
    before: Seen,
    *,
    clone: PersistentVolumeClaim | None,
    snapshot: VolumeSnapshot | None,
    job: Job | None,
    volumes: tuple[PersistentVolume, ...],
) -> Seen:
    now = {("PersistentVolume", volume.metadata.name) for volume in volumes}
    for kind, child in (("PersistentVolumeClaim", clone), ("VolumeSnapshot", snapshot), ("Job", job)):
        if child is not None:
            now.add((kind, child.metadata.name))
    volume = clone.spec.volume_name if clone is not None and clone.spec is not None else None
    content = snapshot.status.bound_volume_snapshot_content_name if snapshot is not None and snapshot.status else None
    taken_with = snapshot.spec.volume_snapshot_class_name if snapshot is not None and snapshot.spec else None
    return Seen(
        before.children | now,
        volume or before.volume,
        content or before.content,
        taken_with or before.snapshot_class,
    )


def _class_of(claim: PersistentVolumeClaim | None, view: View) -> StorageClass | None:
    name = claim.spec.storage_class_name if claim is not None and claim.spec is not None else None
    return view.storage_class(name) if name else None


def _volume_of(claim: PersistentVolumeClaim | None, view: View) -> PersistentVolume | Unread:
    name = claim.spec.volume_name if claim is not None and claim.spec is not None else None
    return view.volume(name) if name else Unread.MISSING


def _clone_name(mover: DataMover, spec: DataMoverSpec, *, view: View, now: datetime) -> str | None:
    """Return the recorded name, or the one to record: the documented one unless somebody else holds it."""
    status = mover.status
    if status is not None and status.run is not None and status.restored_pvc_name:
        return status.restored_pvc_name
    if spec.copy_method == CopyMethod.DIRECT:
        return None
    namespace, uid = mover.metadata.namespace or "", mover.metadata.uid
    created = parse(mover.metadata.creation_timestamp) if mover.metadata.creation_timestamp else now
    name = clone_name(spec.source_pvc, created=created)
    holder = view.claim(namespace, name)
    others = [other for other in view.clone_holders(namespace, name) if other.metadata.uid != uid]
    if others or (holder is not None and not holder.metadata.owned_by(uid)):
        return clone_name(spec.source_pvc, created=created, taken_for=uid)
    return name
