"""The kind DataMover. The field descriptions become the CRD's, so they are written for `kubectl explain`.

Field names, types and defaults of the documented part (sourcePvc, secretName, additionalEnv, addTimestampPrefix,
deletePvcAfterBackup, image; phase, restoredPvcName) are the original operator's. Everything else is additive.
"""

from typing import Annotated

from datamover.api import names, periods, transfer
from datamover.api.pods import DNS_SUBDOMAIN, EnvVar, Image, Mover, doc
from kubekit.words.meta import Condition, Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown


class Guards(Model, frozen=True):
    """What protects the destination of a mirror (a run without timestamp prefix)."""

    adopt_destination: Annotated[
        bool,
        doc(
            "Take over a destination that holds objects which this volume's mirror did not write. "
            "They are then treated as the mirror's own: those that the source does not have are deleted."
        ),
    ] = False
    allow_empty_source: Annotated[bool, doc("Let an empty source empty the destination.")] = False
    max_delete_percent: Annotated[
        int,
        doc(
            "Refuse a run that would lose more than this share of the mirror: ten or more of its objects whose files are gone and not renamed, "
            "or fewer with more than this share of the bytes, unless a file of the same name but for a date or a number follows, "
            "or objects whose files are gone or shrunk to less than a tenth, when the bytes have shrunk by more than the share as well. "
            "100 allows all, 0 no loss at all.",
            format="int32",
            minimum=0,
            maximum=100,
        ),
    ] = 50


class Verify(Model, frozen=True):
    """How the destination is compared with what was to be there."""

    method: Annotated[
        str | None,
        doc(
            "What is compared before the run counts as complete: None (only what the listing brings anyway), Size (names and sizes), "
            "Checksum (with what the store has recorded; what it has no checksum of is read back), Download (everything is read back), or Sample "
            "(so many of a hundred are read back). Unset: VERIFY_BACKUP decides. Both may be set only where they say the same.",
            enum=list(transfer.METHOD_NAMES),
        ),
    ] = None
    sample_percent: Annotated[
        int | None,
        doc("Share of the files that method Sample reads back.", format="int32", minimum=1, maximum=100),
    ] = None
    every: Annotated[
        str | None,
        doc(
            "How long after its last verification what the run has left is compared with its manifest again, such as 7d or 168h: from 1h to 5y. By the same "
            "method; Checksum where none is set, whatever VERIFY_BACKUP says. Unset: never again.",
            maxLength=32,
            pattern=periods.PATTERN,
        ),
    ] = None

    @property
    def chosen(self) -> transfer.Verification | None:
        """What is asked for; None where VERIFY_BACKUP decides, and for a method that is none, which is refused before a run begins."""
        name = transfer.METHOD_NAMES.get(self.method or "")
        if name is None:
            return None
        if name == transfer.SAMPLE:
            return transfer.Verification(name, float(self.sample_percent or 0))
        return transfer.Verification("" if name == transfer.NONE else name)

    @property
    def again(self) -> transfer.Verification:
        """By which method is compared again."""
        return self.chosen or transfer.Verification(transfer.CHECKSUMS)


class DataMoverSpec(Model, frozen=True):
    """What to back up, and where to."""

    source_pvc: Annotated[
        str,
        doc(
            "PersistentVolumeClaim to back up, in the same namespace. It is never written to.",
            minLength=1,
            maxLength=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]
    secret_name: Annotated[
        str,
        doc(
            "Secret in the same namespace, given to the mover as environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "(unless mover.serviceAccountName has a role), BUCKET_HOST, BUCKET_NAME; optionally AWS_REGION, BUCKET_PORT, TLS_HOST, CA_CERT and any RCLONE_ variable.",
            minLength=1,
            maxLength=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]
    additional_env: Annotated[
        tuple[EnvVar, ...] | None,
        doc(
            "Further environment of the mover; beats the Secret. "
            "CUSTOM_PATH_PREFIX, VERIFY_BACKUP and RCLONE_ variables go here.",
            maxItems=256,
        ),
    ] = None
    add_timestamp_prefix: Annotated[
        bool,
        doc("Write each run into a folder YYYY-MM-DD-HHMMSS (UTC) of its own instead of mirroring into the root."),
    ] = False
    delete_pvc_after_backup: Annotated[bool, doc("Delete the clone after a successful run. A failed run keeps it.")] = (
        False
    )
    image: Annotated[Image | None, doc("Image of the mover.")] = None
    copy_method: Annotated[
        str,
        doc(
            "How the copy is taken: Clone (CSI volume cloning), Snapshot (VolumeSnapshot and a volume made of it), "
            "or Direct (the source itself is read; files may change meanwhile).",
            enum=["Clone", "Snapshot", "Direct"],
        ),
    ] = names.CopyMethod.CLONE
    volume_snapshot_class_name: Annotated[
        str | None,
        doc(
            "VolumeSnapshotClass with copyMethod Snapshot; the driver's default class when unset.",
            minLength=1,
            maxLength=253,
        ),
    ] = None
    storage_class_name: Annotated[
        str | None, doc("StorageClass of the clone; the source's own when unset.", minLength=1, maxLength=253)
    ] = None
    deadline_seconds: Annotated[
        int | None,
        doc("Seconds that the mover may take in all attempts together; no limit when unset.", minimum=1),
    ] = None
    suspend: Annotated[
        bool,
        doc("Hold the run where it is: nothing new is started, a running mover is stopped. Goes on when false again."),
    ] = False
    cancel: Annotated[
        bool,
        doc(
            "End the run: the mover is stopped, what was temporary is removed, and the phase is Failed with the reason Cancelled. A run that has ended stays "
            "as it is."
        ),
    ] = False
    verify: Annotated[Verify | None, doc("How the destination is compared.")] = None
    guards: Annotated[Guards | None, doc("Protection of the destination.")] = None
    mover: Annotated[Mover | None, doc("How the mover's Pod runs.")] = None


class Run(Model, frozen=True):
    """One run, decided once and used again by every retry (law L6)."""

    id: Annotated[str, doc("Identity of the run; its records at the destination carry it.")]
    timestamp: Annotated[str, doc("Second of the run in UTC, YYYY-MM-DD-HHMMSS: the folder with addTimestampPrefix.")]
    job_name: Annotated[str | None, doc("The mover's Job.")] = None
    snapshot_name: Annotated[str | None, doc("The VolumeSnapshot, with copyMethod Snapshot.")] = None
    source: Annotated[str | None, doc("The source volume that the run was recorded with.")] = None
    copy_method: Annotated[str | None, doc("The copy method that the run was recorded with.")] = None
    copied: Annotated[
        str | None,
        doc(
            "Moment of the copy, YYYY-MM-DD-HHMMSS in UTC: when the clone, or the snapshot that it is made of, was asked for."
        ),
    ] = None
    destination: Annotated[str | None, doc("Where the data are, as rclone names it.")] = None
    attempts: Annotated[int, doc("Pods that have been started for the run.", format="int32")] = 0
    bytes: Annotated[int | None, doc("Bytes of the files at the destination; while running, bytes moved so far.")] = (
        None
    )
    total_bytes: Annotated[int | None, doc("Bytes of the files of the source.")] = None
    files: Annotated[int | None, doc("Files at the destination; while running, files moved so far.")] = None
    total_files: Annotated[int | None, doc("Files of the source.")] = None
    transferred_bytes: Annotated[int | None, doc("Bytes that this run had to move.")] = None
    transferred_files: Annotated[int | None, doc("Files that this run had to move.")] = None
    deleted: Annotated[int | None, doc("Objects that the mirror no longer has and this run removed.")] = None
    skipped: Annotated[int | None, doc("Special files (sockets, pipes, devices) that cannot be kept.")] = None
    progress: Annotated[str | None, doc("Share of the bytes moved, with the time left, while the mover runs.")] = None
    retry: Annotated[str | None, doc("Value of the retry annotation that was last honoured.")] = None
    started: Annotated[str | None, doc("When the run was recorded.")] = None
    finished: Annotated[str | None, doc("When the run ended.")] = None


class Reverification(Model, frozen=True):
    """The last verification that `verify.every` has asked for, or the one that is at work. Decided once, and recorded before its Job is made (law L6)."""

    id: Annotated[str | None, doc("Identity of the verification; its Job carries it, and it chooses a sample.")] = None
    job_name: Annotated[str | None, doc("Its Job, which goes when it has ended.")] = None
    method: Annotated[str | None, doc("By which method: Size, Checksum, Download, or Sample with its share.")] = None
    started: Annotated[str | None, doc("When it was recorded.")] = None
    finished: Annotated[str | None, doc("When it ended; unset while it is at work.")] = None
    attempts: Annotated[int, doc("Pods that have been started for it.", format="int32")] = 0
    failures: Annotated[
        int,
        doc(
            "Verifications in a row that came to no result. The next one is made the later the more they are.",
            format="int32",
        ),
    ] = 0
    reason: Annotated[str | None, doc("What it is at, what it waits for, or how it ended.")] = None
    message: Annotated[str | None, doc("The same in a sentence, with what to do.")] = None

    @property
    def at_work(self) -> bool:
        """Whether it is recorded and has not ended."""
        return self.id is not None and self.finished is None


class DataMoverStatus(Model, frozen=True):
    """What has become of it. Written by the operator only."""

    phase: Annotated[
        str | None,
        doc(
            "CreatingClonedPVC, ClonedPVCReady, CreatingPod, CleaningUp, Completed or Failed. For people; automation reads the conditions."
        ),
    ] = None
    restored_pvc_name: Annotated[str | None, doc("Name of the clone; stays set after cleanup.")] = None
    message: Annotated[str | None, doc("What is going on, or what to do, in a sentence.")] = None
    observed_generation: Annotated[int | None, doc("Generation of the spec that this status speaks of.")] = None
    phase_started: Annotated[str | None, doc("When the phase began.")] = None
    run: Annotated[Run | None, doc("The run.")] = None
    last_verified: Annotated[
        str | None, doc("When what the run has left at the destination was last compared, and was as it should be.")
    ] = None
    last_verified_method: Annotated[
        str | None, doc("By which method: Size, Checksum, Download, or Sample with its share.")
    ] = None
    verification: Annotated[Reverification | None, doc("What verify.every has asked for last.")] = None
    conditions: Annotated[
        tuple[Condition, ...] | None,
        doc(
            "Conditions: Ready, Reconciling, Stalled, Complete, Failed, CopyTriggered, CloneReady, Synchronized, Verified, CleanedUp."
        ),
    ] = None

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of this type, or None."""
        for condition in self.conditions or ():
            if condition.type == type_:
                return condition
        return None


class DataMover(KeepsUnknown, frozen=True):
    """Backs up a PersistentVolumeClaim: clones it, syncs the clone to object storage with rclone, proves it and cleans up."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataMoverSpec | None = None
    status: DataMoverStatus | None = None


DATA_MOVERS = Resource(names.GROUP, "v1alpha1", "datamovers", "DataMover", DataMover)
