"""Objects of a hosted control plane's backup, as Velero, the snapshot controller and HyperShift write them: for tests of verdicts, plugin and watcher."""

from datetime import UTC, datetime, timedelta
from typing import Any

from datamover.api.hypershift import HIGHLY_AVAILABLE, HostedControlPlane, HostedControlPlaneSpec, HostedPlatform
from datamover.api.velero.backup import Backup, BackupSpec, BackupStatus
from datamover.api.velero.names import (
    BACKUP_NAME_LABEL,
    BACKUP_UID_LABEL,
    CLAIM_NAME_ANNOTATION,
    PVC_UID_LABEL,
    label_value,
)
from datamover.api.velero.uploads import (
    CSISnapshot,
    DataUpload,
    DataUploadSpec,
    PodVolumeBackup,
    PodVolumeBackupSpec,
    UploadProgress,
    UploadStatus,
)
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.validate import validate_data_mover
from datamover.verdicts.verdict import ClusterSnapshot, Verdict
from kubekit.words.core import ObjectReference, PersistentVolumeClaim, PersistentVolumeClaimStatus
from kubekit.words.meta import ObjectMeta
from kubekit.words.snapshot import (
    VolumeSnapshot,
    VolumeSnapshotContent,
    VolumeSnapshotContentSpec,
    VolumeSnapshotContentStatus,
    VolumeSnapshotError,
    VolumeSnapshotSource,
    VolumeSnapshotSpec,
    VolumeSnapshotStatus,
)
from kubekit.words.timestamps import seconds

BEGAN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NOW = BEGAN + timedelta(minutes=2)
VELERO = "openshift-adp"
HOSTED = "clusters-test-hcp"
UID = "11111111-2222-3333-4444-555555555555"
COLLECTED = "WaitingForPluginOperations"
FIFTEEN = Configuration.read({"dataUploadTimeout": "15", "dataUploadCheckPace": "30"})


def at(minutes: float) -> datetime:
    """Return the moment so many minutes after the backup began."""
    return BEGAN + timedelta(minutes=minutes)


def hcp(
    platform: str | None = "AWS", *, ha: bool = False, namespace: str | None = HOSTED, name: str = "test-hcp"
) -> HostedControlPlane:
    """Return a control plane."""
    return HostedControlPlane(
        metadata=ObjectMeta(name=name, namespace=namespace, uid="h-" + name),
        spec=HostedControlPlaneSpec(
            platform=HostedPlatform(type=platform),
            controller_availability_policy=HIGHLY_AVAILABLE if ha else "SingleReplica",
        ),
    )


def backup(
    phase: str | None = COLLECTED,
    *,
    name: str = "test-backup",
    uid: str = UID,
    move: bool | None = True,
    fs: bool | None = False,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> Backup:
    """Return a backup of the control plane; without a phase it has no status."""
    return Backup(
        metadata=ObjectMeta(name=name, namespace=VELERO, uid=uid, creation_timestamp=seconds(BEGAN)),
        spec=BackupSpec(
            included_namespaces=spec.pop("included_namespaces", ("clusters", HOSTED)),
            snapshot_move_data=move,
            default_volumes_to_fs_backup=fs,
            csi_snapshot_timeout=spec.pop("csi_snapshot_timeout", "10m0s"),
            item_operation_timeout=spec.pop("item_operation_timeout", "4h0m0s"),
            **spec,
        ),
        status=None if phase is None else BackupStatus(phase=phase, start_timestamp=seconds(BEGAN), **(status or {})),
    )


def labels_of(of: Backup, claim: str | None = None) -> dict[str, str]:
    """Return the labels that Velero gives to what belongs to a backup."""
    labels = {BACKUP_NAME_LABEL: label_value(of.metadata.name), BACKUP_UID_LABEL: of.metadata.uid}
    return labels if claim is None else {**labels, PVC_UID_LABEL: "uid-" + claim}


def upload(
    claim: str = "data-etcd-0",
    phase: str | None = "Completed",
    *,
    of: Backup | None = None,
    name: str | None = None,
    namespace: str = HOSTED,
    snapshot: str | None = None,
    done: float | None = None,
    total: float | None = None,
    created: datetime = BEGAN,
    cancel: bool | None = None,
    labels: dict[str, str] | None = None,
    **status: Any,
) -> DataUpload:
    """Return the upload of a claim's snapshot; without a phase it has no status."""
    owner = of or backup()
    return DataUpload(
        metadata=ObjectMeta(
            name=name or f"{owner.metadata.name}-{claim}",
            namespace=owner.metadata.namespace,
            labels=labels_of(owner, claim) if labels is None else labels,
            creation_timestamp=seconds(created),
        ),
        spec=DataUploadSpec(
            source_claim=claim,
            source_namespace=namespace,
            csi_snapshot=CSISnapshot(volume_snapshot=snapshot or f"velero-{claim}-x"),
            cancel=cancel,
        ),
        status=None
        if phase is None
        else UploadStatus(phase=phase, progress=UploadProgress(bytes_done=done, total_bytes=total), **status),
    )


def pod_volume_backup(
    pod: str = "etcd-0",
    phase: str | None = "Completed",
    *,
    of: Backup | None = None,
    volume: str = "data",
    namespace: str = HOSTED,
    claim: str | None = None,
    created: datetime = BEGAN,
    **status: Any,
) -> PodVolumeBackup:
    """Return the backup of a volume of a running Pod."""
    owner = of or backup(fs=True)
    return PodVolumeBackup(
        metadata=ObjectMeta(
            name=f"{owner.metadata.name}-{pod}-{volume}",
            namespace=owner.metadata.namespace,
            labels=labels_of(owner),
            annotations={CLAIM_NAME_ANNOTATION: claim} if claim is not None else None,
            creation_timestamp=seconds(created),
        ),
        spec=PodVolumeBackupSpec(pod=ObjectReference(kind="Pod", namespace=namespace, name=pod), volume=volume),
        status=None if phase is None else UploadStatus(phase=phase, **status),
    )


def snapshot(
    claim: str = "data-etcd-0",
    *,
    ready: bool | None = True,
    error: str | None = None,
    of: Backup | None = None,
    namespace: str = HOSTED,
    bound: bool = True,
    created: datetime = BEGAN,
    status: bool = True,
) -> VolumeSnapshot:
    """Return the snapshot that Velero takes of a claim."""
    owner = of or backup()
    name = f"velero-{claim}-x"
    return VolumeSnapshot(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"s-{namespace}-{claim}",
            labels={BACKUP_NAME_LABEL: label_value(owner.metadata.name)},
            creation_timestamp=seconds(created),
        ),
        spec=VolumeSnapshotSpec(source=VolumeSnapshotSource(persistent_volume_claim_name=claim)),
        status=VolumeSnapshotStatus(
            bound_volume_snapshot_content_name=f"snapcontent-{namespace}-{claim}" if bound else None,
            ready_to_use=ready,
            error=VolumeSnapshotError(message=error) if error is not None else None,
        )
        if status
        else None,
    )


def content(
    claim: str = "data-etcd-0",
    *,
    ready: bool | None = True,
    error: str | None = None,
    namespace: str = HOSTED,
    refers: ObjectReference | None = None,
    created: datetime = BEGAN,
    status: bool = True,
    handle: str | None = None,
) -> VolumeSnapshotContent:
    """Return the driver's side of that snapshot."""
    own = ObjectReference(namespace=namespace, name=f"velero-{claim}-x", uid=f"s-{namespace}-{claim}")
    return VolumeSnapshotContent(
        metadata=ObjectMeta(name=f"snapcontent-{namespace}-{claim}", creation_timestamp=seconds(created)),
        spec=VolumeSnapshotContentSpec(driver="d", volume_snapshot_ref=refers or own),
        status=VolumeSnapshotContentStatus(
            snapshot_handle=handle,
            ready_to_use=ready,
            error=VolumeSnapshotError(message=error) if error is not None else None,
        )
        if status
        else None,
    )


def claim(
    name: str = "data-etcd-0",
    *,
    namespace: str = HOSTED,
    labels: dict[str, str] | None = None,
    created: datetime | None = None,
    annotations: dict[str, str] | None = None,
    deleted: datetime | None = None,
    phase: str | None = None,
) -> PersistentVolumeClaim:
    """Return a claim of the control plane; without a phase it has no status."""
    meta = ObjectMeta(
        name=name,
        namespace=namespace,
        uid="uid-" + name,
        labels=labels,
        annotations=annotations,
        creation_timestamp=seconds(created) if created is not None else None,
        deletion_timestamp=seconds(deleted) if deleted is not None else None,
    )
    return PersistentVolumeClaim(
        metadata=meta, status=PersistentVolumeClaimStatus(phase=phase) if phase is not None else None
    )


def held(name: str = "data-etcd-0", *, created: datetime = BEGAN - timedelta(days=1), **others: Any) -> Any:
    """Return a claim that had its volume when the backup began."""
    return claim(name, created=created, phase="Bound", **others)


def cluster(*objects: Any, **others: Any) -> ClusterSnapshot:
    """Return what was read of a cluster with these objects."""
    kinds = {
        "snapshots": VolumeSnapshot,
        "contents": VolumeSnapshotContent,
        "data_uploads": DataUpload,
        "pod_volume_backups": PodVolumeBackup,
        "claims": PersistentVolumeClaim,
    }
    found = {field: tuple(each for each in objects if isinstance(each, kind)) for field, kind in kinds.items()}
    return ClusterSnapshot(**{**found, **others})


def judge(
    *objects: Any,
    of: Backup | None = None,
    plane: HostedControlPlane | None = None,
    configuration: Configuration = FIFTEEN,
    now: datetime = NOW,
    **others: Any,
) -> Verdict:
    """Return the verdict on the backup in a cluster with these objects."""
    return validate_data_mover(
        hcp=plane or hcp(),
        backup=of or backup(),
        seen=cluster(*objects, **others),
        configuration=configuration,
        now=now,
    )


def three(make: Any, *args: Any, **others: Any) -> tuple[Any, ...]:
    """Return an object for each member of etcd."""
    return tuple(make(f"data-etcd-{member}", *args, **others) for member in range(3))
