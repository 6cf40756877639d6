"""Phases of backups, uploads and pod volume backups. A word that is not here is one of a newer Velero: it has not come to its end, as far as is known."""

from typing import Final


class BackupPhase:
    """`status.phase` of a Backup. One that nobody has looked at has none."""

    NEW: Final = "New"
    QUEUED: Final = "Queued"
    READY_TO_START: Final = "ReadyToStart"
    FAILED_VALIDATION: Final = "FailedValidation"
    IN_PROGRESS: Final = "InProgress"
    WAITING: Final = "WaitingForPluginOperations"
    WAITING_PARTIALLY_FAILED: Final = "WaitingForPluginOperationsPartiallyFailed"
    FINALIZING: Final = "Finalizing"
    FINALIZING_PARTIALLY_FAILED: Final = "FinalizingPartiallyFailed"
    COMPLETED: Final = "Completed"
    PARTIALLY_FAILED: Final = "PartiallyFailed"
    FAILED: Final = "Failed"
    DELETING: Final = "Deleting"


NOT_BEGUN: Final = frozenset({"", BackupPhase.NEW, BackupPhase.QUEUED, BackupPhase.READY_TO_START})
"""Velero has not begun with it."""
COLLECTED: Final = frozenset(
    {
        BackupPhase.WAITING,
        BackupPhase.WAITING_PARTIALLY_FAILED,
        BackupPhase.FINALIZING,
        BackupPhase.FINALIZING_PARTIALLY_FAILED,
        BackupPhase.COMPLETED,
        BackupPhase.PARTIALLY_FAILED,
        BackupPhase.DELETING,
    }
)
"""All items were processed: no further snapshot is taken, no further upload is made."""
FINALIZING: Final = frozenset({BackupPhase.FINALIZING, BackupPhase.FINALIZING_PARTIALLY_FAILED})
"""Velero refuses new operations now."""
WITH_ERRORS: Final = frozenset(
    {
        BackupPhase.WAITING_PARTIALLY_FAILED,
        BackupPhase.FINALIZING_PARTIALLY_FAILED,
        BackupPhase.PARTIALLY_FAILED,
    }
)
"""All items were processed, and there were errors: then, or in the operations that follow."""
BROKEN: Final = frozenset({BackupPhase.FAILED, BackupPhase.FAILED_VALIDATION})
"""It came to its end before all items were processed, for instance because Velero was restarted: nobody can restore from it."""

OVER: Final = BROKEN | frozenset({BackupPhase.COMPLETED, BackupPhase.PARTIALLY_FAILED, BackupPhase.DELETING})
"""Velero is done with it."""


class UploadPhase:
    """`status.phase` of a DataUpload and of a PodVolumeBackup."""

    NEW: Final = "New"
    ACCEPTED: Final = "Accepted"
    PREPARED: Final = "Prepared"
    IN_PROGRESS: Final = "InProgress"
    CANCELING: Final = "Canceling"
    CANCELED: Final = "Canceled"
    COMPLETED: Final = "Completed"
    FAILED: Final = "Failed"


ENDED: Final = frozenset({UploadPhase.CANCELED, UploadPhase.COMPLETED, UploadPhase.FAILED})
"""What is in one of these stays in it."""
UNSUCCESSFUL: Final = frozenset({UploadPhase.CANCELED, UploadPhase.FAILED})
