"""What the caches keep of other people's objects, and how these are found by their backup. Pure.

Projecting keeps name, namespace, UID and resourceVersion, and what verdicts read.
"""

from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec.structs import replace

from datamover.api.hosted_control_plane import status_name
from datamover.api.hypershift import RHCOS_LABEL
from datamover.api.velero import names
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import OVER, UploadPhase
from datamover.api.velero.uploads import DataUpload, PodVolumeBackup
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import HasMeta, ObjectMeta
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotContent

T = TypeVar("T", Backup, DataUpload, PodVolumeBackup, VolumeSnapshot, VolumeSnapshotContent)

BY_BACKUP: Final = "backup"
BY_STATUS: Final = "status"
BY_UPLOAD: Final = "upload"
BY_NAMESPACE: Final = "namespace"
MOVING: Final = "moving"
OPEN: Final = "open"
YES: Final = "yes"
"""The one value of indexes that say of an object whether something holds."""

_LABELS: Final = frozenset(
    {
        names.BACKUP_NAME_LABEL,
        names.BACKUP_UID_LABEL,
        names.PVC_UID_LABEL,
        names.DATA_UPLOAD_LABEL,
        names.POD_VOLUME_BACKUP_LABEL,
        RHCOS_LABEL,
    }
)
Upload = DataUpload | PodVolumeBackup


def project(found: T) -> T:
    """Return an object as it is cached."""
    return replace(found, metadata=_narrow(found.metadata))


def project_pod(found: Pod) -> Pod:
    """Return a Pod of Velero's namespace as it is cached: of those that are no movers, such as the node-agents, only that they are there."""
    meta = _narrow(found.metadata)
    runs = found.status is not None and found.status.phase == "Running"
    return replace(found, metadata=meta, spec=None, status=None if runs and not meta.labels else found.status)


def of_backup(found: HasMeta) -> Iterable[str]:
    """Return where an object is found that carries the mark of a backup: by the backup's name as labels have it, and by its UID."""
    return marks_in(found.metadata)


def marks_in(meta: ObjectMeta) -> Iterable[str]:
    """Return the marks of a backup that an object's labels have."""
    for label in (names.BACKUP_NAME_LABEL, names.BACKUP_UID_LABEL):
        value = meta.label(label)
        if value:
            yield value


def marks_of(backup: Backup) -> tuple[str, ...]:
    """Return the values under which what belongs to a backup is found, and the backup itself."""
    meta = backup.metadata
    return tuple(each for each in (names.label_value(meta.name), meta.uid) if each)


def status_of(backup: Backup) -> Iterable[str]:
    """Return what the ConfigMap of a backup is called."""
    return (status_name(backup.metadata.name),)


def of_upload(pod: Pod) -> Iterable[str]:
    """Return where a mover's Pod is found: by the upload that it works for, which it names or is called like."""
    yield pod.metadata.name
    for label in (names.DATA_UPLOAD_LABEL, names.POD_VOLUME_BACKUP_LABEL):
        value = pod.metadata.label(label)
        if value:
            yield value


def of_namespace(found: HasMeta) -> Iterable[str]:
    """Return the namespace of an object."""
    yield found.metadata.namespace or ""


def standing_of(claim: PersistentVolumeClaim | None) -> object:
    """Return what of a claim tells whether a backup takes it in."""
    if claim is None:
        return None
    meta, status = claim.metadata, claim.status
    return (
        meta.labels,
        meta.annotation(names.SKIP_ANNOTATION),
        meta.terminating,
        status.phase if status is not None else None,
    )


def if_moving(upload: Upload) -> Iterable[str]:
    """Find what is moved now."""
    if upload.phase == UploadPhase.IN_PROGRESS:
        yield YES


def if_open(backup: Backup) -> Iterable[str]:
    """Find the backups that Velero is not done with."""
    if backup.phase not in OVER:
        yield YES


def _narrow(meta: ObjectMeta) -> ObjectMeta:
    labels = {key: value for key, value in (meta.labels or {}).items() if key in _LABELS}
    claim = meta.annotation(names.CLAIM_NAME_ANNOTATION)
    return replace(
        meta,
        labels=labels or None,
        annotations={names.CLAIM_NAME_ANNOTATION: claim} if claim else None,
        owner_references=None,
        finalizers=None,
    )
