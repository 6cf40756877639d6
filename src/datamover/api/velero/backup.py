"""Backup, as far as it says what is to be moved and how far Velero is; and Restore, as far as it names its backup. Pure."""

from typing import Final

from datamover.api.velero import names
from kubekit.words.meta import Model, ObjectMeta, Resource


class BackupSpec(Model, frozen=True):
    """What is backed up. Durations are texts of Go: `10m0s`."""

    included_namespaces: tuple[str, ...] | None = None
    excluded_namespaces: tuple[str, ...] | None = None
    included_resources: tuple[str, ...] | None = None
    excluded_resources: tuple[str, ...] | None = None
    storage_location: str | None = None
    snapshot_volumes: bool | None = None
    snapshot_move_data: bool | None = None
    default_volumes_to_fs_backup: bool | None = None
    datamover: str | None = None
    csi_snapshot_timeout: str | None = None
    item_operation_timeout: str | None = None


class BackupStatus(Model, frozen=True):
    """How far Velero is. The counters are of all namespaces of the backup."""

    phase: str | None = None
    start_timestamp: str | None = None
    completion_timestamp: str | None = None
    failure_reason: str | None = None
    validation_errors: tuple[str, ...] | None = None
    csi_volume_snapshots_attempted: int | None = None
    csi_volume_snapshots_completed: int | None = None
    backup_item_operations_attempted: int | None = None
    backup_item_operations_completed: int | None = None
    backup_item_operations_failed: int | None = None
    errors: int | None = None
    warnings: int | None = None


class Backup(Model, frozen=True):
    """A backup of Velero, in Velero's namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: BackupSpec | None = None
    status: BackupStatus | None = None

    @property
    def phase(self) -> str:
        """The phase; empty where nobody has looked at it."""
        return (self.status.phase if self.status is not None else None) or ""


class RestoreSpec(Model, frozen=True):
    """What is restored."""

    backup_name: str | None = None
    included_namespaces: tuple[str, ...] | None = None
    excluded_namespaces: tuple[str, ...] | None = None
    namespace_mapping: dict[str, str] | None = None


class RestoreStatus(Model, frozen=True):
    """How far it is."""

    phase: str | None = None
    start_timestamp: str | None = None


class Restore(Model, frozen=True):
    """A restore of Velero, in Velero's namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: RestoreSpec | None = None
    status: RestoreStatus | None = None


BACKUPS: Final = Resource(names.GROUP, "v1", "backups", "Backup", Backup)
RESTORES: Final = Resource(names.GROUP, "v1", "restores", "Restore", Restore)
