"""The kind DataMover. The field descriptions become the CRD's, so they are written for `kubectl explain`.

Field names, types and defaults of the documented part (sourcePvc, secretName, additionalEnv, addTimestampPrefix,
deletePvcAfterBackup, image; phase, restoredPvcName) are the original operator's. Everything else is additive.
"""

from typing import Annotated, Any

from msgspec import Meta

from datamover.api import names
from kubekit.words.meta import Condition, Model, ObjectMeta, Resource


def doc(description: str, **schema: Any) -> Meta:
    """Describe a field for the CRD. Bounds are the API server's to enforce: an object that breaks one must still decode, so that
    the operator can say what is wrong with it.
    """
    return Meta(description=description, extra_json_schema=schema or None)


DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class KeySelector(Model, frozen=True):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: Annotated[str, doc("Name of the object.", maxLength=253)]
    key: Annotated[str, doc("Key to read.", minLength=1, maxLength=253)]
    optional: Annotated[bool | None, doc("When true, a missing object or key leaves the variable unset.")] = None


class FieldSelector(Model, frozen=True):
    """A field of the mover's Pod."""

    field_path: Annotated[str, doc("Path of the field, such as metadata.name.", minLength=1)]
    api_version: Annotated[str | None, doc("Version of the schema that the path is written in; v1 when unset.")] = None


class ResourceFieldSelector(Model, frozen=True):
    """A resource of the mover's container."""

    resource: Annotated[str, doc("Resource to read, such as limits.memory.", minLength=1)]
    container_name: Annotated[str | None, doc("Name of the container; the mover's own when unset.")] = None
    divisor: Annotated[str | int | None, doc("Unit of the value; 1 when unset.")] = None


class FileKeySelector(Model, frozen=True):
    """One key of an environment file in a volume of the mover's Pod."""

    volume_name: Annotated[str, doc("Name of the volume.", minLength=1)]
    path: Annotated[str, doc("Path of the file in the volume.", minLength=1)]
    key: Annotated[str, doc("Key to read.", minLength=1)]
    optional: Annotated[bool | None, doc("When true, a missing file or key leaves the variable unset.")] = None


class EnvVarSource(Model, frozen=True):
    """Where the value of a variable comes from. Exactly one is set."""

    config_map_key_ref: Annotated[KeySelector | None, doc("A key of a ConfigMap.")] = None
    secret_key_ref: Annotated[KeySelector | None, doc("A key of a Secret.")] = None
    field_ref: Annotated[FieldSelector | None, doc("A field of the mover's Pod.")] = None
    resource_field_ref: Annotated[ResourceFieldSelector | None, doc("A resource of the mover's container.")] = None
    file_key_ref: Annotated[FileKeySelector | None, doc("Refused: the mover's Pod has no volume for it.")] = None


class EnvVar(Model, frozen=True):
    """An environment variable of the mover."""

    name: Annotated[str, doc("Name of the variable.", minLength=1, maxLength=512)]
    value: Annotated[
        str | None, doc("Value; $(OTHER) refers to variables set earlier. Quote numbers and booleans.")
    ] = None
    value_from: Annotated[EnvVarSource | None, doc("Where the value comes from, instead of value.")] = None


class Image(Model, frozen=True):
    """The mover's image."""

    repository: Annotated[
        str,
        doc("Image without a tag, such as registry.example.com/team/mover.", minLength=1, maxLength=512),
    ] = names.DEFAULT_IMAGE_REPOSITORY
    tag: Annotated[str, doc("Tag, or a digest such as sha256:…, which pins the image.", minLength=1, maxLength=140)] = (
        names.DEFAULT_IMAGE_TAG
    )
    pull_policy: Annotated[str, doc("When the node pulls the image.", enum=["Always", "Never", "IfNotPresent"])] = (
        names.DEFAULT_PULL_POLICY
    )


class LocalObjectReference(Model, frozen=True):
    """An object in the same namespace."""

    name: Annotated[str, doc("Name of the object.", minLength=1, maxLength=253)]


class Toleration(Model, frozen=True):
    """A taint that the mover tolerates."""

    key: Annotated[str | None, doc("Taint key; empty with operator Exists matches all.")] = None
    operator: Annotated[
        str | None, doc("Relation of key and value; Equal when unset.", enum=["Exists", "Equal", "Lt", "Gt"])
    ] = None
    value: Annotated[str | None, doc("Taint value.")] = None
    effect: Annotated[
        str | None,
        doc("Effect to match; all when unset.", enum=["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ] = None
    toleration_seconds: Annotated[int | None, doc("Seconds that NoExecute is tolerated; for ever when unset.")] = None


class ResourceRequirements(Model, frozen=True):
    """Compute resources of the mover's container."""

    requests: Annotated[dict[str, str | int] | None, doc("What the scheduler sets aside, such as cpu: 200m.")] = None
    limits: Annotated[dict[str, str | int] | None, doc("What the container may use at most, such as memory: 2Gi.")] = (
        None
    )


class SeccompProfile(Model, frozen=True):
    """A seccomp profile."""

    type: Annotated[str, doc("Kind of profile.", enum=["RuntimeDefault", "Localhost", "Unconfined"])]
    localhost_profile: Annotated[str | None, doc("File on the node, with type Localhost.")] = None


class SELinuxOptions(Model, frozen=True):
    """An SELinux label."""

    level: Annotated[str | None, doc("SELinux level that the mover runs with.")] = None
    role: Annotated[str | None, doc("SELinux role that the mover runs with.")] = None
    type: Annotated[str | None, doc("SELinux type that the mover runs with.")] = None
    user: Annotated[str | None, doc("SELinux user that the mover runs with.")] = None


class PodSecurityContext(Model, frozen=True):
    """Identity of the mover. What is unset keeps the default: uid, gid and fsGroup 65534, non-root, RuntimeDefault."""

    run_as_user: Annotated[int | None, doc("Numeric user that reads the volume.", minimum=0)] = None
    run_as_group: Annotated[int | None, doc("Numeric primary group.", minimum=0)] = None
    run_as_non_root: Annotated[
        bool | None, doc("Refuse to start as user 0; true when unset, unless runAsUser is 0.")
    ] = None
    fs_group: Annotated[
        int | None, doc("Group that the copy is made accessible to; 65534 when unset, none for user 0.", minimum=0)
    ] = None
    fs_group_change_policy: Annotated[
        str | None,
        doc("When ownership of the volume is changed; OnRootMismatch when unset.", enum=["OnRootMismatch", "Always"]),
    ] = None
    supplemental_groups: Annotated[tuple[int, ...] | None, doc("Further groups, to read files of theirs.")] = None
    seccomp_profile: Annotated[SeccompProfile | None, doc("Seccomp profile; RuntimeDefault when unset.")] = None
    se_linux_options: Annotated[SELinuxOptions | None, doc("SELinux label.")] = None


class Mover(Model, frozen=True):
    """How the mover's Pod runs."""

    resources: Annotated[ResourceRequirements | None, doc("Compute resources of the mover.")] = None
    node_selector: Annotated[dict[str, str] | None, doc("Labels of nodes that the mover may run on.")] = None
    tolerations: Annotated[tuple[Toleration, ...] | None, doc("Taints that the mover tolerates.")] = None
    affinity: Annotated[dict[str, Any] | None, doc("Affinity of the mover's Pod, as in a Pod.")] = None
    priority_class_name: Annotated[str | None, doc("Priority class of the mover's Pod.")] = None
    service_account_name: Annotated[
        str | None,
        doc(
            "Service account of the mover. One with a role at the cloud (workload identity) takes the place of keys in the Secret. "
            "No token for the API server is mounted."
        ),
    ] = None
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...] | None, doc("Secrets for pulling the image.")] = None
    security_context: Annotated[PodSecurityContext | None, doc("Identity of the mover.")] = None


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
            minimum=0,
            maximum=100,
        ),
    ] = 50


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
    attempts: Annotated[int, doc("Pods that have been started for the run.")] = 0
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


class DataMoverStatus(Model, frozen=True):
    """What has become of it."""

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
    conditions: Annotated[
        tuple[Condition, ...] | None,
        doc(
            "Conditions: Ready, Reconciling, Stalled, Complete, Failed, CloneReady, Synchronized, Verified, CleanedUp."
        ),
    ] = None

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of this type, or None."""
        for condition in self.conditions or ():
            if condition.type == type_:
                return condition
        return None


class DataMover(Model, frozen=True):
    """Backs up a PersistentVolumeClaim: clones it, syncs the clone to object storage with rclone, proves it and cleans up."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataMoverSpec | None = None
    status: DataMoverStatus | None = None


DATA_MOVERS = Resource(names.GROUP, "v1alpha1", "datamovers", "DataMover", DataMover)
