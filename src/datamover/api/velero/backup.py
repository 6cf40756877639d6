"""Backup, as far as it says what is to be moved and how far Velero is; and Restore, as far as it names its backup. Pure."""

from typing import Final

from datamover.api.velero import names
from datamover.api.velero.phases import WITH_ERRORS
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.selectors import Selector


class BackupSpec(Model, frozen=True):
    """What is backed up. Durations are texts of Go: `10m0s`."""

    included_namespaces: tuple[str, ...] | None = None
    excluded_namespaces: tuple[str, ...] | None = None
    included_resources: tuple[str, ...] | None = None
    excluded_resources: tuple[str, ...] | None = None
    included_namespace_scoped_resources: tuple[str, ...] | None = None
    excluded_namespace_scoped_resources: tuple[str, ...] | None = None
    label_selector: Selector | None = None
    or_label_selectors: tuple[Selector, ...] | None = None
    storage_location: str | None = None
    snapshot_volumes: bool | None = None
    snapshot_move_data: bool | None = None
    default_volumes_to_fs_backup: bool | None = None
    datamover: str | None = None
    csi_snapshot_timeout: str | None = None
    item_operation_timeout: str | None = None


class BackupStatus(Model, frozen=True):
    """How far Velero is. The counters are of all namespaces of the backup; `volume_snapshots_…` are of volumes that are no CSI volumes."""

    phase: str | None = None
    start_timestamp: str | None = None
    completion_timestamp: str | None = None
    failure_reason: str | None = None
    validation_errors: tuple[str, ...] | None = None
    volume_snapshots_attempted: int | None = None
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

    @property
    def had_errors(self) -> bool:
        """Tell whether Velero had errors while it processed the items. Its phase says so too where an operation has failed afterwards: those are counted apart."""
        status = self.status
        if status is None or self.phase not in WITH_ERRORS:
            return False
        return status.errors is None or status.errors > (status.backup_item_operations_failed or 0)

    @property
    def copies_from_pods(self) -> bool:
        """Tell whether volumes are copied out of running Pods unless something else is said of them."""
        return self.spec is not None and self.spec.default_volumes_to_fs_backup is True


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
