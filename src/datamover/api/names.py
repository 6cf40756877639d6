"""Every name that is visible outside the operator: labels, annotations, phases, condition types, prefixes. Each is defined once, here.

Names marked (documents) are fixed by the two original documents and never change.
"""

from typing import Final

GROUP: Final = "datamover.a-cup-of.coffee"
FIELD_MANAGER: Final = "datamover-operator"
LEADER_MANAGER: Final = "datamover-leader"
COMPONENT: Final = "datamover-operator"

CREATED_BY_LABEL: Final = "app.kubernetes.io/created-by"  # (documents)
CREATED_BY_VALUE: Final = "datamover-operator"  # (documents)
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
PART_OF_LABEL: Final = "app.kubernetes.io/part-of"
PART_OF_VALUE: Final = "datamover"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
COMPONENT_COPY: Final = "point-in-time-copy"
COMPONENT_MOVER: Final = "mover"
OWNER_UID_LABEL: Final = f"{GROUP}/owner-uid"
RUN_ID_LABEL: Final = f"{GROUP}/run-id"

OPERATOR_DEFECT: Final = "OperatorDefect"
"""The reason of an event that tells of a fault of ours, on an object whose status is another project's."""

RETRY_ANNOTATION: Final = f"{GROUP}/retry"
ADOPT_ANNOTATION: Final = f"{GROUP}/adopt-destination"
ALLOW_EMPTY_ANNOTATION: Final = f"{GROUP}/allow-empty-source"

RETRY_ADVICE: Final = " To try again: "
"""The text in a failure's message after which the advice on retrying follows."""

CLONE_PREFIX: Final = "restored-"  # (documents)
JOB_PREFIX: Final = "verify-"  # (documents)
VERIFICATION_PREFIX: Final = "compare-"
"""Begins the name of the Job by which a DataMover has what it left compared again."""
RESTORE_PREFIX: Final = "restore-"
RESTORED_BY_ANNOTATION: Final = f"{GROUP}/restored-by"
"""On a claim that a DataMoverRestore has made: the UID of that one. The claim belongs to nobody but its user."""

RESTORE_PRIME_PREFIX: Final = "restore-prime-"
"""Begins the name of the temporary claim by which a DataMoverRestore fills another one; the UID of the restore follows."""
FILLS_ANNOTATION: Final = f"{GROUP}/fills"
"""On such a temporary claim: the UID of the claim that it was made for."""
POPULATED_BY_ANNOTATION: Final = f"{GROUP}/populated-by"
"""On a volume that was handed over to the claim that it was filled for: the UID of the DataMoverRestore that has filled it."""
RESTORE_POPULATOR_NAME: Final = "datamover-datamoverrestore"
"""The VolumePopulator that says that claims are filled from DataMoverRestores."""

LEASE_NAME: Final = "190add0e.a-cup-of.coffee"
OPERATOR_NAMESPACE: Final = "datamover-operator-system"

DEFAULT_IMAGE_REPOSITORY: Final = "ghcr.io/qjoly/datamover-rclone"
DEFAULT_IMAGE_TAG: Final = "latest"
DEFAULT_PULL_POLICY: Final = "Always"


class Phase:
    """`status.phase` of a DataMover: for people; automation reads the conditions (documents)."""

    NONE: Final = ""
    CREATING_CLONE: Final = "CreatingClonedPVC"
    CLONE_READY: Final = "ClonedPVCReady"
    CREATING_POD: Final = "CreatingPod"
    CLEANING_UP: Final = "CleaningUp"
    COMPLETED: Final = "Completed"
    FAILED: Final = "Failed"

    ORDER: Final = (NONE, CREATING_CLONE, CLONE_READY, CREATING_POD, CLEANING_UP, COMPLETED, FAILED)
    """Index = value of the gauge `datamover_current_phase`."""
    TERMINAL: Final = frozenset({COMPLETED, FAILED})


class RestorePhase:
    """`status.phase` of a DataMoverRestore: for people; automation reads the conditions."""

    NONE: Final = ""
    PREPARING: Final = "Preparing"
    RESTORING: Final = "Restoring"
    CLEANING_UP: Final = "CleaningUp"
    COMPLETED: Final = Phase.COMPLETED
    FAILED: Final = Phase.FAILED

    ORDER: Final = (NONE, PREPARING, RESTORING, CLEANING_UP, COMPLETED, FAILED)
    """Index = value of the gauge `datamover_restore_current_phase`."""
    TERMINAL: Final = Phase.TERMINAL


class ConditionType:
    """Condition types of a DataMover and of a DataMoverRestore. `Ready`, `Reconciling` and `Stalled` follow kstatus."""

    READY: Final = "Ready"
    RECONCILING: Final = "Reconciling"
    STALLED: Final = "Stalled"
    COMPLETE: Final = "Complete"  # (documents): kubectl wait --for=condition=Complete
    FAILED: Final = "Failed"
    COPY_TRIGGERED: Final = "CopyTriggered"
    CLONE_READY: Final = "CloneReady"
    SYNCHRONIZED: Final = "Synchronized"
    RESTORED: Final = "Restored"
    VERIFIED: Final = "Verified"
    CLEANED_UP: Final = "CleanedUp"


class FillingReason:
    """Reasons of events about a claim that is filled by a DataMoverRestore, beside the restore's own."""

    RESTORE_NOT_FOUND: Final = "DataMoverRestoreNotFound"
    NOT_FOR_CLAIM: Final = "DataMoverRestoreNotForClaim"
    OVER: Final = "DataMoverRestoreIsOver"
    POPULATED: Final = "Populated"


class CopyMethod:
    """How the point-in-time copy is made."""

    CLONE: Final = "Clone"
    SNAPSHOT: Final = "Snapshot"
    DIRECT: Final = "Direct"
