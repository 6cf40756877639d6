"""DataUpload, which moves a snapshot, and PodVolumeBackup, which moves a volume out of a running Pod. Pure."""

from typing import Final

from msgspec import field

from datamover.api.velero import names
from kubekit.words.core import ObjectReference
from kubekit.words.meta import Model, ObjectMeta, Resource


class UploadProgress(Model, frozen=True):
    """Bytes, as the mover tells them: not always true, and not always there."""

    total_bytes: int | float | None = None
    bytes_done: int | float | None = None


class CSISnapshot(Model, frozen=True):
    """The snapshot that is moved: a VolumeSnapshot of the source namespace, which Velero removes there once the upload is accepted."""

    volume_snapshot: str | None = None
    storage_class: str | None = None
    snapshot_class: str | None = None
    driver: str | None = None


class DataUploadSpec(Model, frozen=True):
    """What is moved."""

    csi_snapshot: CSISnapshot | None = None
    source_claim: str | None = field(default=None, name="sourcePVC")
    source_namespace: str | None = None
    datamover: str | None = None
    backup_storage_location: str | None = None
    cancel: bool | None = None
    operation_timeout: str | None = None


class UploadStatus(Model, frozen=True):
    """How far an upload or a pod volume backup is. `accepted_by_node` prepares it, `node` moves it."""

    phase: str | None = None
    message: str | None = None
    snapshot_id: str | None = field(default=None, name="snapshotID")
    start_timestamp: str | None = None
    completion_timestamp: str | None = None
    accepted_timestamp: str | None = None
    accepted_by_node: str | None = None
    node: str | None = None
    progress: UploadProgress | None = None


class DataUpload(Model, frozen=True):
    """The move of a snapshot, in Velero's namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataUploadSpec | None = None
    status: UploadStatus | None = None

    @property
    def phase(self) -> str:
        """The phase; empty where nobody has looked at it."""
        return (self.status.phase if self.status is not None else None) or ""


class PodVolumeBackupSpec(Model, frozen=True):
    """What is moved: a volume of a Pod."""

    node: str | None = None
    pod: ObjectReference | None = None
    volume: str | None = None
    cancel: bool | None = None


class PodVolumeBackup(Model, frozen=True):
    """The move of a Pod's volume, in Velero's namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodVolumeBackupSpec | None = None
    status: UploadStatus | None = None

    @property
    def phase(self) -> str:
        """The phase; empty where nobody has looked at it."""
        return (self.status.phase if self.status is not None else None) or ""


DATA_UPLOADS: Final = Resource(names.GROUP, "v2alpha1", "datauploads", "DataUpload", DataUpload)
POD_VOLUME_BACKUPS: Final = Resource(names.GROUP, "v1", "podvolumebackups", "PodVolumeBackup", PodVolumeBackup)
