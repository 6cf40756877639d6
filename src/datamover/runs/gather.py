"""From the caches to what is known of a run. Reads nothing but caches, so that a decision costs the API server no read. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from datamover.plans.known import Known, Refusal, Seen
from datamover.plans.refusals import ANNOTATE
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.runs.order import Copy
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
)
from kubekit.words.meta import HasMeta, ObjectMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass

Children = Mapping[tuple[str, str | None], HasMeta | None]
"""What a run follows, by kind and name. Without a name it follows none of that kind."""


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

    def pods_of_mover(self, namespace: str, mover_uid: str) -> tuple[Pod, ...]:
        """The Pods of the object's namespace that carry its UID as a label, whatever has become of their Jobs. Elsewhere a label is anybody's word."""
        ...

    def volumes_of(self, namespace: str, claim: str) -> tuple[PersistentVolume, ...]:
        """The PersistentVolumes bound to a claim of this name, whether or not the claim still exists."""
        ...


def gather_run(
    owner: ObjectMeta,
    copy: Copy,
    job_name: str | None,
    *,
    view: View,
    known: Known,
    now: datetime,
    patience: Patience = PATIENT,
    restorers: tuple[str, ...] = (),
) -> RunFacts:
    """Return what there is to know about the run of an object. `job_name` is None before there is a run. `restorers` are told of a source alone: a
    restore writes it itself.
    """
    namespace = owner.namespace or ""
    source = view.claim(namespace, copy.source)
    source_class = _class_of(source, view)
    claim = view.claim(namespace, copy.claim) if copy.claim else None
    snapshot = view.snapshot(namespace, copy.snapshot) if copy.snapshot else None
    job = view.job(namespace, job_name) if job_name else None
    # Anybody can write a UID on a Pod of his: a mover, and what it says at its end, is of the same namespace (law L11).
    found = view.pods_of(job.metadata.uid) if job else ()
    pods = tuple(pod for pod in found if (pod.metadata.namespace or "") == namespace)
    volumes = view.volumes_of(namespace, copy.claim) if copy.claim else ()
    wanted = copy.storage_class
    children: Children = {
        (PERSISTENT_VOLUME_CLAIMS.kind, copy.claim): claim,
        (VOLUME_SNAPSHOTS.kind, copy.snapshot): snapshot,
        (JOBS.kind, job_name): job,
    }
    return RunFacts(
        now=now,
        source=source,
        source_class=source_class,
        source_volume=_volume_of(source, view),
        claim=claim,
        claim_class=view.storage_class(wanted) if wanted else _class_of(claim, view) or source_class,
        volumes=volumes,
        snapshot=snapshot,
        snapshot_classes=view.snapshot_classes() if copy.by_snapshot else None,
        job=job,
        pods=pods,
        strays=tuple(pod for pod in view.pods_of_mover(namespace, owner.uid) if pod not in pods),
        restorers=restorers,
        known=replace(
            known,
            refusal=_standing(known.refusal, children, uid=owner.uid),
            seen=_sight(known.seen, claim=claim, snapshot=snapshot, job=job, volumes=volumes),
        ),
        patience=patience,
    )


def _standing(refusal: Refusal | None, children: Children, *, uid: str) -> Refusal | None:
    """Return the refusal unless what was refused has been done since, by another replica or by somebody else."""
    if refusal is None or refusal.target is None or refusal.verb == ANNOTATE:
        return refusal
    if refusal.target not in children:
        return refusal  # the run knows nothing of that object, so it stands until the step is due again
    child = children[refusal.target]
    ours = child is not None and child.metadata.owned_by(uid)
    if refusal.verb == "create":
        return None if ours else refusal
    return refusal if ours and child is not None and not child.metadata.terminating else None


def _sight(
    before: Seen,
    *,
    claim: PersistentVolumeClaim | None,
    snapshot: VolumeSnapshot | None,
    job: Job | None,
    volumes: tuple[PersistentVolume, ...],
) -> Seen:
    now = {(PERSISTENT_VOLUMES.kind, volume.metadata.name) for volume in volumes}
    for resource, child in ((PERSISTENT_VOLUME_CLAIMS, claim), (VOLUME_SNAPSHOTS, snapshot), (JOBS, job)):
        if child is not None:
            now.add((resource.kind, child.metadata.name))
    volume = claim.spec.volume_name if claim is not None and claim.spec is not None else None
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
