"""Reasons: CamelCase constants of conditions and events (law L10). Stable; documented in `docs/reasons.md`."""

from typing import Final

# Waiting: something is missing that may still appear. The run goes on by itself when it does.
SOURCE_NOT_FOUND: Final = "SourceNotFound"
SOURCE_TERMINATING: Final = "SourceTerminating"
SOURCE_LOST: Final = "SourceLost"
SOURCE_NOT_BOUND: Final = "SourceNotBound"
SECRET_NOT_FOUND: Final = "SecretNotFound"  # noqa: S105 - a reason, not a secret
SECRET_KEY_REFUSED: Final = "SecretKeyRefused"  # noqa: S105 - a reason, not a secret
SECRET_KEY_MISSING: Final = "SecretKeyMissing"  # noqa: S105 - a reason, not a secret
STORAGE_CLASS_NOT_FOUND: Final = "StorageClassNotFound"
SNAPSHOTS_NOT_SUPPORTED: Final = "SnapshotsNotSupported"
SNAPSHOT_CLASS_NOT_FOUND: Final = "VolumeSnapshotClassNotFound"
SNAPSHOT_FAILED: Final = "SnapshotFailed"
CLONE_FORBIDDEN: Final = "CloneForbidden"
CHILD_REFUSED: Final = "ChildRefused"
PERMISSION_MISSING: Final = "PermissionMissing"
STATUS_FORBIDDEN: Final = "StatusForbidden"
SUSPENDED: Final = "Suspended"

COPY_TRIGGER_WAITING: Final = "SrcPVCWaitingForCopyTrigger"
COPY_TRIGGER_TIMED_OUT: Final = "SrcPVCTimeoutWaitingForCopyTrigger"

# Only a change by a person helps.
INVALID_SPEC: Final = "InvalidSpec"
INVALID_IMAGE: Final = "InvalidImage"
INVALID_ENVIRONMENT: Final = "InvalidEnvironment"
CLASS_CANNOT_CLONE: Final = "StorageClassCannotClone"
BLOCK_NOT_SUPPORTED: Final = "BlockVolumeNotSupported"
NAME_TAKEN: Final = "NameTaken"

# Progress.
RUN_RECORDED: Final = "RunRecorded"
SNAPSHOTTING: Final = "CreatingSnapshot"
CLONING: Final = "CreatingClone"
CLONE_PROVISIONING_FAILED: Final = "CloneProvisioningFailed"
COPY_TRIGGER_RECEIVED: Final = "SrcPVCCopyTriggerReceived"
COPY_TRIGGER_COMPLETED: Final = "SrcPVCCopyUsingCopyTriggerCompleted"
COPY_TRIGGER_NOT_USED: Final = "CopyTriggerNotUsed"
CLONE_BOUND: Final = "CloneBound"
CLONE_WAITS_FOR_CONSUMER: Final = "CloneWaitsForFirstConsumer"
NO_CLONE_NEEDED: Final = "NoCloneNeeded"
CLONE_LOST: Final = "CloneLost"
CLONE_VOLUME_LOST: Final = "CloneVolumeLost"
JOB_CREATED: Final = "JobCreated"
MOVER_CANNOT_START: Final = "MoverCannotStart"
MOVER_UNSCHEDULABLE: Final = "MoverUnschedulable"
IMAGE_PULL_FAILED: Final = "ImagePullFailed"
SYNCHRONIZING: Final = "Synchronizing"
NO_PROGRESS: Final = "NoProgress"
PROGRESS_UNKNOWN: Final = "ProgressUnknown"
MOVER_NODE_LOST: Final = "MoverNodeLost"
RETRYING: Final = "Retrying"
JOB_LOST: Final = "JobLost"
CLEANING_UP: Final = "CleaningUp"
CLEANUP_WAITING: Final = "WaitingForCloneRemoval"
MOVER_REMOVAL_WAITING: Final = "WaitingForMoverRemoval"
CLEANUP_FAILED: Final = "CleanupFailed"

# Ends.
COMPLETED: Final = "Completed"
SYNCHRONIZED: Final = "Synchronized"
VERIFIED: Final = "Verified"
SAMPLE_VERIFIED: Final = "SampleVerified"
NOTHING_VERIFIED: Final = "NothingVerified"
NOT_REQUESTED: Final = "NotRequested"
OUTCOME_MISSING: Final = "OutcomeMissing"
CLEANED_UP: Final = "CleanedUp"
CLONE_KEPT: Final = "CloneKept"
VOLUME_RETAINED: Final = "VolumeRetained"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
BACKOFF_LIMIT_EXCEEDED: Final = "BackoffLimitExceeded"
MOVER_FAILED: Final = "MoverFailed"

# What a mover may say of itself, by the class of its outcome, is in `datamover.api.transfer`.
