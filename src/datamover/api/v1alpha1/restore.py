"""The kind DataMoverRestore. The field descriptions become the CRD's, so they are written for `kubectl explain`."""

from typing import Annotated

from datamover.api import names, restore
from datamover.api.pods import DNS_SUBDOMAIN, EnvVar, Image, Mover, doc
from datamover.api.points import LATEST, PATTERN
from kubekit.words.meta import Condition, Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown

VOLUME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
"""`NAMESPACE/PVC`."""
ACCESS_MODES = ("ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod")
"""What a claim that is made here may have: into one that can only be read nothing can be restored."""


class Bucket(Model, frozen=True):
    """A backup in a bucket, whoever made it: nothing else of its cluster is needed."""

    secret_name: Annotated[
        str,
        doc(
            "Secret in the same namespace with the keys of the backup's: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, BUCKET_HOST, BUCKET_NAME "
            "and what else it has. A key that may only read is enough.",
            minLength=1,
            maxLength=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]
    prefix: Annotated[
        str | None, doc("CUSTOM_PATH_PREFIX of the backup; the Secret's own when unset.", maxLength=1024)
    ] = None
    source: Annotated[
        str | None,
        doc(
            "Which volume's backup, as NAMESPACE/PVC. Needed where the bucket has backups of several.",
            minLength=3,
            maxLength=317,
            pattern=VOLUME,
        ),
    ] = None


class RestoreSource(Model, frozen=True):
    """What to restore from: exactly one of these."""

    data_mover: Annotated[
        str | None,
        doc(
            "DataMover in the same namespace: its Secret, its additionalEnv and the claim that it backs up are taken.",
            minLength=1,
            maxLength=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ] = None
    bucket: Annotated[Bucket | None, doc("A bucket, without any DataMover.")] = None


class NewClaim(Model, frozen=True):
    """A claim that is to be made."""

    storage: Annotated[str | int, doc("Size of the claim, such as 10Gi: at least what comes back.")]
    storage_class_name: Annotated[
        str | None, doc("StorageClass of the claim; the cluster's default when unset.", minLength=1, maxLength=253)
    ] = None
    access_modes: Annotated[
        tuple[str, ...] | None,
        doc("Access modes of the claim: ReadWriteOnce (when unset), ReadWriteMany or ReadWriteOncePod.", maxItems=3),
    ] = None


class RestoreTarget(Model, frozen=True):
    """Where to."""

    claim_name: Annotated[
        str,
        doc(
            "PersistentVolumeClaim in the same namespace that is restored into. It never belongs to the restore. One that names this restore in its "
            "dataSourceRef, and has no volume yet, gets its volume when all is there.",
            minLength=1,
            maxLength=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]
    create: Annotated[
        NewClaim | None, doc("Make the claim, which must not exist yet. It stays when the restore is deleted.")
    ] = None


class DataMoverRestoreSpec(Model, frozen=True):
    """What to restore, and where to. When the restore has begun, source, target, point and path are decided; overwrite, onMissing, disturbed, privileges
    and special as well, until a retry is asked for. additionalEnv, image, deadlineSeconds and mover are read when a mover is made, suspend and cancel at any
    time.
    """

    source: Annotated[RestoreSource, doc("What to restore from.")]
    target: Annotated[RestoreTarget, doc("The claim that is restored into.")]
    point: Annotated[
        str,
        doc(
            "Which point: latest (the newest complete one), YYYY-MM-DD-HHMMSS, a run's id, or as-of:TIME (the newest whose copy is not later; "
            "RFC 3339, a date, or an age such as 2h).",
            minLength=1,
            maxLength=128,
            pattern=PATTERN,
        ),
    ] = LATEST
    path: Annotated[
        str | None,
        doc(
            "File or folder of the point that is restored, such as etc/app.conf; all of it when unset.", maxLength=4096
        ),
    ] = None
    overwrite: Annotated[
        bool,
        doc(
            "Restore into a claim that is not empty: what the point has replaces what is there, everything else stays."
        ),
    ] = False
    in_place: Annotated[
        bool,
        doc(
            "Restore into a claim that is in use otherwise: as overwrite, what the point has replaces what is there and everything else stays, and besides a "
            "copy of the claim is taken first (a clone or a snapshot, whatever its class can). A restore that fails is rolled back from it, and then the claim is "
            "as it was before. Not with target.create."
        ),
    ] = False
    disturbed: Annotated[
        bool,
        doc(
            "Let latest and as-of choose a mirror's last complete run also when a later one has begun: each file is compared with the manifest, and what is "
            "another one by now is told."
        ),
    ] = False
    privileges: Annotated[
        bool, doc("Bring back set-ID bits and attributes that begin with security. or trusted. as well. Needs root.")
    ] = False
    special: Annotated[bool, doc("Bring back pipes and device nodes as well. Devices need root.")] = False
    on_missing: Annotated[
        str,
        doc(
            "When the bucket can be read and has no backup of the source: Fail, or Empty (the claim stays as it is and the restore is complete). "
            "A bucket that cannot be reached is never missing.",
            enum=[restore.FAIL, restore.EMPTY],
        ),
    ] = restore.FAIL
    additional_env: Annotated[
        tuple[EnvVar, ...] | None,
        doc("Further environment of the mover; beats the Secret and the DataMover's.", maxItems=256),
    ] = None
    image: Annotated[Image | None, doc("Image of the mover.")] = None
    deadline_seconds: Annotated[
        int | None,
        doc("Seconds that the mover may take in all attempts together; no limit when unset.", minimum=1),
    ] = None
    suspend: Annotated[
        bool,
        doc(
            "Hold the restore where it is: nothing new is started, a running mover is stopped. Goes on when false again."
        ),
    ] = False
    cancel: Annotated[
        bool,
        doc(
            "End the restore: the mover is stopped, its Job is removed, and the phase is Failed with the reason Cancelled. What came back stays, and the claim "
            "is marked where it is not whole. A restore that has ended stays as it is."
        ),
    ] = False
    mover: Annotated[
        Mover | None,
        doc("How the mover's Pod runs. With securityContext.runAsUser 0 owners and modes come back as they were."),
    ] = None


class SafetyCopy(Model, frozen=True):
    """The copy of the claim from before a restore in place. Its names are recorded before it is made."""

    claim_name: Annotated[str, doc("The claim that holds the copy; temporary.")]
    method: Annotated[str, doc("How it is made: Clone or Snapshot.")]
    snapshot_name: Annotated[str | None, doc("The snapshot that it is made from, if any; temporary.")] = None
    uid: Annotated[str | None, doc("UID of the copy when the mover was started.")] = None
    kept: Annotated[
        bool,
        doc(
            "The restore failed, and it is not known that the claim is as it was before: the copy stays until a later attempt has ended well or has "
            "rolled back, or the DataMoverRestore is deleted."
        ),
    ] = False


class RestoreRun(Model, frozen=True):
    """One restore, decided once and used again by every retry (law L6)."""

    id: Annotated[str, doc("Identity of the restore.")]
    claim: Annotated[str, doc("The claim that is restored into.")]
    secret_name: Annotated[str, doc("The Secret that the mover is given.")]
    wanted: Annotated[str, doc("The point that is asked for; an age has become a moment.")]
    source: Annotated[str | None, doc("Whose backup it is, as NAMESPACE/PVC.")] = None
    path: Annotated[str | None, doc("The part of the point that is wanted.")] = None
    environment: Annotated[tuple[EnvVar, ...] | None, doc("What of the source goes into the mover's environment.")] = (
        None
    )
    overwrite: Annotated[bool | None, doc("Whether a claim that is not empty may be restored into.")] = None
    on_missing: Annotated[str | None, doc("What it means that the bucket has no backup of the source.")] = None
    disturbed: Annotated[bool | None, doc("Whether the point may be one that a later run has begun to replace.")] = None
    privileges: Annotated[bool | None, doc("Whether set-ID bits and privileged attributes come back.")] = None
    special: Annotated[bool | None, doc("Whether pipes and device nodes come back.")] = None
    claim_uid: Annotated[
        str | None,
        doc("UID of the claim when the mover was started; of one that waits to be filled, when that was decided."),
    ] = None
    temporary_claim: Annotated[
        str | None,
        doc(
            "The temporary claim that the mover writes, whose volume becomes the claim's when all is there. Only where the claim names this restore in its "
            "dataSourceRef."
        ),
    ] = None
    temporary_claim_uid: Annotated[str | None, doc("UID of the temporary claim when the mover was started.")] = None
    job_name: Annotated[str | None, doc("The mover's Job.")] = None
    point: Annotated[str | None, doc("The run that was restored.")] = None
    copied: Annotated[str | None, doc("Moment of that run's copy, YYYY-MM-DD-HHMMSS in UTC.")] = None
    destination: Annotated[str | None, doc("Where the backup is, as rclone names it.")] = None
    attempts: Annotated[int, doc("Pods that have been started for the restore.", format="int32")] = 0
    bytes: Annotated[int | None, doc("Bytes of the files that are restored; while running, those so far.")] = None
    total_bytes: Annotated[int | None, doc("Bytes of all files that are wanted.")] = None
    files: Annotated[int | None, doc("Files that are restored; while running, those so far.")] = None
    total_files: Annotated[int | None, doc("Files that are wanted.")] = None
    transferred_bytes: Annotated[int | None, doc("Bytes that had to be fetched.")] = None
    transferred_files: Annotated[int | None, doc("Files that had to be fetched.")] = None
    target: Annotated[
        str | None,
        doc(
            "What the claim is: untouched (as it was before), marked (neither that nor whole: .datamover-restore is in it), whole, or rolled-back (as it "
            "was before once more). Unset where nobody knows."
        ),
    ] = None
    safety: Annotated[SafetyCopy | None, doc("Of a restore in place, the copy from before.")] = None
    progress: Annotated[str | None, doc("Share of the bytes restored, with the time left, while the mover runs.")] = (
        None
    )
    retry: Annotated[str | None, doc("Value of the retry annotation that was last honoured.")] = None
    started: Annotated[str | None, doc("When the restore was recorded.")] = None
    finished: Annotated[str | None, doc("When it ended.")] = None


class DataMoverRestoreStatus(Model, frozen=True):
    """What has become of it. Written by the operator only."""

    phase: Annotated[
        str | None,
        doc("Preparing, Restoring, CleaningUp, Completed or Failed. For people; automation reads the conditions."),
    ] = None
    message: Annotated[str | None, doc("What is going on, or what to do, in a sentence.")] = None
    observed_generation: Annotated[int | None, doc("Generation of the spec that this status speaks of.")] = None
    phase_started: Annotated[str | None, doc("When the phase began.")] = None
    run: Annotated[RestoreRun | None, doc("The restore.")] = None
    conditions: Annotated[
        tuple[Condition, ...] | None,
        doc("Conditions: Ready, Reconciling, Stalled, Complete, Failed, Restored, Verified, CleanedUp."),
    ] = None

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of this type, or None."""
        for condition in self.conditions or ():
            if condition.type == type_:
                return condition
        return None


class DataMoverRestore(KeepsUnknown, frozen=True):
    """Restores a point of a backup into a PersistentVolumeClaim, compares every file with the backup's manifest, and says what came back."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataMoverRestoreSpec | None = None
    status: DataMoverRestoreStatus | None = None


DATA_MOVER_RESTORES = Resource(names.GROUP, "v1alpha1", "datamoverrestores", "DataMoverRestore", DataMoverRestore)
