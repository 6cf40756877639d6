"""What ReplicationSource and ReplicationDestination have in common. No defaults are in the schema: unset says something of its own. Pure."""

from typing import Annotated, Any

from msgspec import field

from datamover.api.pods import PodSecurityContext, doc
from kubekit.words.meta import Condition, Model

SCHEDULE_PATTERN = (
    r"^(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)*\d+|(\d+(\/|-)\d+)|\*(\/\d+)?)\s?){5})$"
)
"""The form of a schedule. It is not anchored at the left of its second branch, so that a time zone may stand before the five fields."""


class Trigger(Model, frozen=True):
    """When to synchronise. Without a schedule and without manual it is done again and again."""

    schedule: Annotated[
        str | None,
        doc(
            "Cron expression of five fields, or @hourly, @daily, @weekly, @monthly, @yearly, @annually; in UTC unless CRON_TZ=ZONE stands before it.",
            pattern=SCHEDULE_PATTERN,
        ),
    ] = None
    manual: Annotated[
        str | None,
        doc("Any text. Each new one asks for one synchronisation; it is then shown in status.lastManualSync."),
    ] = None


class CustomCA(Model, frozen=True):
    """Certificates of the authorities that the server's certificate may be of."""

    secret_name: Annotated[str | None, doc("Secret that holds them.")] = None
    config_map_name: Annotated[str | None, doc("ConfigMap that holds them.")] = None
    key: Annotated[str | None, doc("Key in it.")] = None


class KeyToPath(Model, frozen=True):
    """A key and the file that it becomes."""

    key: Annotated[str, doc("Key to project.")]
    path: Annotated[str, doc("Relative path of the file.")]
    mode: Annotated[int | None, doc("Mode bits of the file.", format="int32")] = None


class SecretSource(Model, frozen=True):
    """A Secret as files."""

    secret_name: Annotated[str | None, doc("Name of the Secret.")] = None
    items: Annotated[tuple[KeyToPath, ...] | None, doc("Keys to project; all when unset.")] = None
    default_mode: Annotated[int | None, doc("Mode bits of the files.", format="int32")] = None
    optional: Annotated[bool | None, doc("Whether the Secret may be missing.")] = None


class ClaimSource(Model, frozen=True):
    """A claim of the same namespace."""

    claim_name: Annotated[str, doc("Name of the claim.")]
    read_only: Annotated[bool | None, doc("Mount it for reading only.")] = None


class NFSSource(Model, frozen=True):
    """A directory of an NFS server."""

    server: Annotated[str, doc("Host name or address of the server.")]
    path: Annotated[str, doc("Path that the server exports.")]
    read_only: Annotated[bool | None, doc("Mount it for reading only.")] = None


class MoverVolumeSource(Model, frozen=True):
    """What is mounted. Exactly one is set."""

    secret: Annotated[SecretSource | None, doc("A Secret.")] = None
    persistent_volume_claim: Annotated[ClaimSource | None, doc("A claim.")] = None
    nfs: Annotated[NFSSource | None, doc("A directory of an NFS server.")] = None


class MoverVolume(Model, frozen=True):
    """A further volume of the mover's Pod, below /mnt."""

    mount_path: Annotated[
        str, doc("Name of the directory below /mnt.", maxLength=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ]
    volume_source: Annotated[MoverVolumeSource, doc("What is mounted there.")]


class ResourceClaim(Model, frozen=True):
    """A dynamic resource of the Pod."""

    name: Annotated[str, doc("Name of the claim in the Pod.")]
    request: Annotated[str | None, doc("Request in the claim.")] = None


class MoverResources(Model, frozen=True):
    """Compute resources of the mover's container."""

    requests: Annotated[dict[str, str | int] | None, doc("What the scheduler sets aside, such as cpu: 200m.")] = None
    limits: Annotated[dict[str, str | int] | None, doc("What the container may use at most, such as memory: 2Gi.")] = (
        None
    )
    claims: Annotated[tuple[ResourceClaim, ...] | None, doc("Dynamic resources that the container uses.")] = None


class MoverSecurityContext(PodSecurityContext, frozen=True):
    """Identity of the mover's Pod. What is unset is the container runtime's to choose, as in any Pod."""

    supplemental_groups_policy: Annotated[str | None, doc("How the supplemental groups are found.")] = None
    se_linux_change_policy: Annotated[str | None, doc("How the volume gets the SELinux label.")] = None
    app_armor_profile: Annotated[dict[str, Any] | None, doc("AppArmor profile, as in a Pod.")] = None
    sysctls: Annotated[tuple[dict[str, str], ...] | None, doc("Kernel parameters, as in a Pod.")] = None
    windows_options: Annotated[dict[str, Any] | None, doc("Has no effect: movers run on Linux.")] = None


ACCESS_MODES = doc("How the volume may be mounted.", minItems=1)
CACHE_ACCESS_MODES = doc("How the cache volume may be mounted.", minItems=1)


class VolumeOptions(Model, frozen=True):
    """How a volume is copied or made. `copy_method` has no default: without it nothing is done, and the status says so."""

    copy_method: Annotated[
        str | None,
        doc(
            "How the point-in-time image is made. Needed: there is no default. None is an older word for Direct.",
            enum=["Direct", "None", "Clone", "Snapshot"],
        ),
    ] = None
    capacity: Annotated[str | int | None, doc("Size of the volume that is made.")] = None
    storage_class_name: Annotated[str | None, doc("Class of the volume that is made.")] = None
    access_modes: Annotated[tuple[str, ...] | None, ACCESS_MODES] = None
    volume_snapshot_class_name: Annotated[str | None, doc("Class of the snapshots that are made.")] = None


# Structs cannot have two bases with fields, so what is said of the volume comes first in one line of descent.
class SmallMover(VolumeOptions, frozen=True):
    """The volume, and what can be said of every mover's Pod."""

    mover_service_account: Annotated[
        str | None, doc("ServiceAccount of the mover, instead of one that the operator makes.")
    ] = None
    mover_pod_labels: Annotated[dict[str, str] | None, doc("Further labels of the mover's Pod.")] = None
    mover_resources: Annotated[MoverResources | None, doc("Compute resources of the mover.")] = None


class MoverConfig(SmallMover, frozen=True):
    """The volume, and what can be said of the Pod of a mover that need not be root."""

    mover_security_context: Annotated[MoverSecurityContext | None, doc("Identity of the mover's Pod.")] = None
    mover_affinity: Annotated[dict[str, Any] | None, doc("Affinity of the mover's Pod, as in a Pod.")] = None
    mover_volumes: Annotated[tuple[MoverVolume, ...] | None, doc("Further volumes of the mover's Pod.")] = None


DESTINATION_CLAIM = doc("Claim to write into; one is made when unset.")
CLEANUP_CLAIM = doc("Delete the claim that was made when a synchronisation is over; not with Direct.")


class SmallDestinationMover(SmallMover, frozen=True):
    """The volume that is written, and what can be said of every mover's Pod."""

    destination_pvc: Annotated[str | None, DESTINATION_CLAIM] = field(default=None, name="destinationPVC")
    cleanup_temp_pvc: Annotated[bool | None, CLEANUP_CLAIM] = field(default=None, name="cleanupTempPVC")


class DestinationMoverConfig(MoverConfig, frozen=True):
    """The volume that is written, and what can be said of the Pod of a mover that need not be root."""

    destination_pvc: Annotated[str | None, DESTINATION_CLAIM] = field(default=None, name="destinationPVC")
    cleanup_temp_pvc: Annotated[bool | None, CLEANUP_CLAIM] = field(default=None, name="cleanupTempPVC")


class MoverStatus(Model, frozen=True):
    """How the last mover ended."""

    result: Annotated[str | None, doc("Successful or Failed.")] = None
    logs: Annotated[str | None, doc("The end of its log.")] = None


class SshStatus(Model, frozen=True):
    """Where the rsync daemon over SSH is reached."""

    ssh_keys: Annotated[str | None, doc("Secret with the keys that the other side needs.")] = None
    address: Annotated[str | None, doc("Address to connect to.")] = None
    port: Annotated[int | None, doc("Port to connect to; 22 when unset.", format="int32")] = None


class CommonStatus(Model, frozen=True):
    """What the status of both kinds says."""

    last_sync_time: Annotated[str | None, doc("When the last synchronisation ended.", format="date-time")] = None
    last_sync_start_time: Annotated[
        str | None, doc("When the one that is going on began; unset when none is.", format="date-time")
    ] = None
    last_sync_duration: Annotated[str | None, doc("How long the last one took, such as 1m2.5s.")] = None
    next_sync_time: Annotated[str | None, doc("When the next one is due, with a schedule.", format="date-time")] = None
    last_manual_sync: Annotated[str | None, doc("spec.trigger.manual of the last one that was finished.")] = None
    latest_mover_status: Annotated[MoverStatus | None, doc("How the last mover ended.")] = None
    conditions: Annotated[
        tuple[Condition, ...] | None, doc("Conditions; Synchronizing is the one of the contract.")
    ] = None
    rsync: Annotated[SshStatus | None, doc("The rsync mover over SSH.")] = None
    external: Annotated[dict[str, str] | None, doc("Written by a provider that is not this operator.")] = None

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of this type, or None."""
        return next((each for each in self.conditions or () if each.type == type_), None)


class External(Model, frozen=True):
    """Left to another program: the operator does nothing with an object that has it."""

    provider: Annotated[str | None, doc("Name of the provider.")] = None
    parameters: Annotated[dict[str, str] | None, doc("What the provider is told.")] = None
