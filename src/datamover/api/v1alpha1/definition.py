"""What the definitions (CRDs) of DataMover and DataMoverRestore say beyond their types: rules, columns, names. Pure."""

from typing import Any

from datamover.api import pods
from datamover.api.crd import Rules, crd, generated_once
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMoverSpec, Verify
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestoreSpec, NewClaim, RestoreSource
from kubekit.words.meta import Manifest

RULES: Rules = {
    DataMoverSpec: (
        (
            "self.copyMethod == 'Snapshot' || !has(self.volumeSnapshotClassName)",
            "volumeSnapshotClassName is used with copyMethod Snapshot only: set copyMethod: Snapshot or remove volumeSnapshotClassName",
        ),
        (
            "self.copyMethod != 'Direct' || !has(self.storageClassName)",
            "copyMethod Direct makes no clone, so storageClassName has no effect: remove it, or choose Clone or Snapshot",
        ),
        (
            "self.copyMethod != 'Direct' || !self.deletePvcAfterBackup",
            "copyMethod Direct makes no clone, so there is none to delete: set deletePvcAfterBackup: false",
        ),
    ),
    Verify: (
        (
            "(has(self.method) && self.method == 'Sample') == has(self.samplePercent)",
            "samplePercent belongs to method Sample, which needs it: set both, or remove samplePercent",
        ),
        (
            "!has(self.every) || !has(self.method) || self.method != 'None'",
            "every asks for verifications, and method None compares nothing: choose another method, or remove every",
        ),
    ),
    **pods.RULES,
}

# The phase is the original operator's first column: scripts read it by position. What tells a stuck run from one that works, its reason, is
# within the first 80 columns of a terminal. What `-o wide` adds follows the age, as with Pods. Of a run that has not begun the documented phase is empty, and the reason says what it waits for.
PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "name": "Phase",
        "type": "string",
        "jsonPath": ".status.phase",
        "description": "Where the run is; empty before it begins.",
    },
    {
        "name": "Reason",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        "description": "What is going on, what is waited for, or why it failed.",
    },
    {
        "name": "Progress",
        "type": "string",
        "jsonPath": ".status.run.progress",
        "description": "Share moved and time left.",
    },
    {"name": "Source", "type": "string", "jsonPath": ".spec.sourcePvc", "description": "The volume that is backed up."},
    {
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": "Since the object was created.",
    },
    {"name": "Destination", "type": "string", "priority": 1, "jsonPath": ".status.run.destination"},
    {"name": "Files", "type": "integer", "priority": 1, "jsonPath": ".status.run.files"},
    {"name": "Bytes", "type": "integer", "format": "int64", "priority": 1, "jsonPath": ".status.run.bytes"},
    {"name": "Clone", "type": "string", "priority": 1, "jsonPath": ".status.restoredPvcName"},
    {
        "name": "Verified",
        "type": "date",
        "priority": 1,
        "jsonPath": ".status.lastVerified",
        "description": "Since the destination was last compared and found as it should be.",
    },
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.message"},
)

SELECTABLE_FIELDS: tuple[str, ...] = (".status.phase",)


@generated_once
def data_mover_crd() -> Manifest:
    """Return the CustomResourceDefinition of DataMover."""
    return crd(
        DATA_MOVERS,
        rules=RULES,
        columns=PRINTER_COLUMNS,
        selectable_fields=SELECTABLE_FIELDS,
        short_names=("dm",),
        categories=("datamover", "backup"),
    )


RESTORE_RULES: Rules = {
    RestoreSource: (
        (
            "has(self.dataMover) != has(self.bucket)",
            "source names exactly one of dataMover and bucket: remove the other one, or name one",
        ),
    ),
    NewClaim: (
        (
            "!has(self.accessModes) || self.accessModes.all(mode, mode in ['ReadWriteOnce', 'ReadWriteMany', 'ReadWriteOncePod'])",
            "accessModes are ReadWriteOnce, ReadWriteMany or ReadWriteOncePod: into a claim that can only be read nothing is restored",
        ),
    ),
    DataMoverRestoreSpec: (
        (
            "!has(self.path) || !(self.path.startsWith('/') || self.path.matches('(^|/)[.][.](/|$)'))",
            "path is a path within the volume, without a slash at its beginning and without ..: write it as `datamover ls` shows it",
        ),
        (
            "!self.inPlace || !has(self.target.create)",
            "inPlace restores into a claim that is there, and target.create makes one: remove one of them",
        ),
    ),
    **pods.RULES,
}

RESTORE_COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "name": "Phase",
        "type": "string",
        "jsonPath": ".status.phase",
        "description": "Where the restore is; empty before it begins.",
    },
    {
        "name": "Reason",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        "description": "What is going on, what is waited for, or why it failed.",
    },
    {
        "name": "Progress",
        "type": "string",
        "jsonPath": ".status.run.progress",
        "description": "Share restored and time left.",
    },
    {
        "name": "Point",
        "type": "string",
        "jsonPath": ".status.run.copied",
        "description": "Moment of the copy that is restored.",
    },
    {
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": "Since the object was created.",
    },
    {"name": "Claim", "type": "string", "priority": 1, "jsonPath": ".spec.target.claimName"},
    {"name": "Target", "type": "string", "priority": 1, "jsonPath": ".status.run.target"},
    {"name": "Files", "type": "integer", "priority": 1, "jsonPath": ".status.run.files"},
    {"name": "Bytes", "type": "integer", "format": "int64", "priority": 1, "jsonPath": ".status.run.bytes"},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.message"},
)


@generated_once
def data_mover_restore_crd() -> Manifest:
    """Return the CustomResourceDefinition of DataMoverRestore."""
    return crd(
        DATA_MOVER_RESTORES,
        rules=RESTORE_RULES,
        columns=RESTORE_COLUMNS,
        selectable_fields=SELECTABLE_FIELDS,
        short_names=("dmr",),
        # not `datamover`: with two kinds in that category, `kubectl get datamover NAME` would no longer mean the kind
        categories=("backup",),
    )
