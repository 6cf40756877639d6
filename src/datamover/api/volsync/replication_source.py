"""ReplicationSource: copies a claim to somewhere else, again and again. Field by field as its users have it. Pure."""

from typing import Annotated, Any

from msgspec import field

from datamover.api.pods import doc
from datamover.api.volsync import names
from datamover.api.volsync.common import (
    ACCESS_MODES,
    CACHE_ACCESS_MODES,
    CommonStatus,
    CustomCA,
    External,
    MoverConfig,
    MoverResources,
    MoverSecurityContext,
    MoverVolume,
    SmallMover,
    Trigger,
)
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown


class RsyncSource(SmallMover, frozen=True):
    """Sends the volume with rsync over SSH. The mover is root."""

    ssh_keys: Annotated[str | None, doc("Secret with the keys; generated when unset.")] = None
    service_type: Annotated[str | None, doc("Type of the Service, where the destination connects to the source.")] = (
        None
    )
    address: Annotated[
        str | None, doc("Address of the destination: its status.rsync.address. Needed before a mover is started.")
    ] = None
    port: Annotated[
        int | None, doc("SSH port of the destination; 22 when unset.", format="int32", minimum=0, maximum=65535)
    ] = None
    path: Annotated[str | None, doc("Has no effect: the volume's root is sent.")] = None
    ssh_user: Annotated[str | None, doc("Has no effect: the user is root.")] = None


class RsyncTLSSource(MoverConfig, frozen=True):
    """Sends the volume with rsync through TLS with a pre-shared key."""

    key_secret: Annotated[str | None, doc("Secret with the key psk.txt; generated when unset.")] = None
    address: Annotated[str | None, doc("Address of the destination: its status.rsyncTLS.address. Needed.")] = None
    port: Annotated[
        int | None, doc("Port of the destination; 8000 when unset.", format="int32", minimum=0, maximum=65535)
    ] = None


class RcloneSource(MoverConfig, frozen=True):
    """Mirrors the volume to a remote with rclone."""

    rclone_config_section: Annotated[str | None, doc("Section of rclone.conf that describes the remote.")] = None
    rclone_dest_path: Annotated[str | None, doc("Path at the remote, such as BUCKET/FOLDER.")] = None
    rclone_config: Annotated[str | None, doc("Secret with the key rclone.conf.")] = None
    custom_ca: Annotated[CustomCA | None, doc("Certificates to trust.")] = field(default=None, name="customCA")


class Retain(Model, frozen=True):
    """Which snapshots stay in the repository. Without any of these only the last one does."""

    hourly: Annotated[int | None, doc("How many hourly ones.", format="int32")] = None
    daily: Annotated[int | None, doc("How many daily ones.", format="int32")] = None
    weekly: Annotated[int | None, doc("How many weekly ones.", format="int32")] = None
    monthly: Annotated[int | None, doc("How many monthly ones.", format="int32")] = None
    yearly: Annotated[int | None, doc("How many yearly ones.", format="int32")] = None
    within: Annotated[str | None, doc("All within this time before the last one, such as 3d12h.")] = None
    last: Annotated[str | None, doc("How many of the last ones.")] = None


class ResticSource(MoverConfig, frozen=True):
    """Backs the volume up into a restic repository."""

    prune_interval_days: Annotated[
        int | None, doc("Days between two prunes of the repository; 7 when unset.", format="int32")
    ] = None
    repository: Annotated[
        str | None, doc("Secret with RESTIC_REPOSITORY, RESTIC_PASSWORD and what the backend needs.")
    ] = None
    custom_ca: Annotated[CustomCA | None, doc("Certificates to trust.")] = field(default=None, name="customCA")
    retain: Annotated[Retain | None, doc("Which snapshots stay; the last one when unset.")] = None
    cache_capacity: Annotated[str | int | None, doc("Size of the cache volume; 1Gi when unset.")] = None
    cache_storage_class_name: Annotated[str | None, doc("Class of the cache volume.")] = None
    cache_access_modes: Annotated[tuple[str, ...] | None, CACHE_ACCESS_MODES] = None
    unlock: Annotated[
        str | None, doc("Any text. Each new one has stale locks removed once, before the next backup.")
    ] = None


class SyncthingPeer(Model, frozen=True, kw_only=True):
    """A peer of syncthing."""

    address: Annotated[str, doc("Address of the peer.")]
    id: Annotated[str, doc("Device ID of the peer.")] = field(name="ID")
    introducer: Annotated[bool | None, doc("Whether the peer may introduce others.")] = None


class SyncthingSource(Model, frozen=True):
    """Not moved by this operator: the status says so."""

    mover_service_account: Annotated[str | None, doc("ServiceAccount of the mover.")] = None
    mover_pod_labels: Annotated[dict[str, str] | None, doc("Further labels of the mover's Pod.")] = None
    mover_resources: Annotated[MoverResources | None, doc("Compute resources of the mover.")] = None
    mover_security_context: Annotated[MoverSecurityContext | None, doc("Identity of the mover's Pod.")] = None
    mover_affinity: Annotated[dict[str, Any] | None, doc("Affinity of the mover's Pod.")] = None
    mover_volumes: Annotated[tuple[MoverVolume, ...] | None, doc("Further volumes of the mover's Pod.")] = None
    peers: Annotated[tuple[SyncthingPeer, ...] | None, doc("Peers.")] = None
    service_type: Annotated[str | None, doc("Type of the Service.")] = None
    config_capacity: Annotated[str | int | None, doc("Size of the configuration's volume.")] = None
    config_storage_class_name: Annotated[str | None, doc("Class of the configuration's volume.")] = None
    config_access_modes: Annotated[tuple[str, ...] | None, ACCESS_MODES] = None


class ReplicationSourceSpec(Model, frozen=True):
    """What is copied, when, and how. One method is set."""

    source_pvc: Annotated[str | None, doc("Claim that is copied, in the same namespace.")] = field(
        default=None, name="sourcePVC"
    )
    trigger: Annotated[Trigger | None, doc("When to synchronise.")] = None
    paused: Annotated[bool | None, doc("Run no mover for the time being.")] = None
    rsync: Annotated[RsyncSource | None, doc("Mirror the volume to a ReplicationDestination by rsync over SSH.")] = None
    rsync_tls: Annotated[
        RsyncTLSSource | None, doc("Mirror the volume to a ReplicationDestination by rsync through TLS.")
    ] = field(default=None, name="rsyncTLS")
    rclone: Annotated[RcloneSource | None, doc("Mirror the volume to a remote of rclone's.")] = None
    restic: Annotated[ResticSource | None, doc("Back the volume up into a restic repository.")] = None
    syncthing: Annotated[SyncthingSource | None, doc("Not moved by this operator.")] = None
    external: Annotated[External | None, doc("Left to another program.")] = None


class SourceTLSStatus(Model, frozen=True):
    """The rsync mover through TLS."""

    key_secret: Annotated[str | None, doc("Secret with the key that was generated.")] = None


class SourceResticStatus(Model, frozen=True):
    """The repository."""

    last_pruned: Annotated[str | None, doc("When it was last pruned.", format="date-time")] = None
    last_unlocked: Annotated[str | None, doc("spec.restic.unlock that was last done.")] = None


class SyncthingPeerStatus(Model, frozen=True, kw_only=True):
    """A peer of syncthing, as it is seen."""

    address: Annotated[str, doc("Address of the peer.")]
    id: Annotated[str, doc("Device ID of the peer.")] = field(name="ID")
    connected: Annotated[bool, doc("Whether it is connected.")]
    name: Annotated[str | None, doc("Name of the peer.")] = None
    introduced_by: Annotated[str | None, doc("Who has introduced it.")] = None


class SyncthingStatus(Model, frozen=True):
    """Syncthing. Never written by this operator."""

    peers: Annotated[tuple[SyncthingPeerStatus, ...] | None, doc("Peers.")] = None
    id: Annotated[str | None, doc("Device ID.")] = field(default=None, name="ID")
    address: Annotated[str | None, doc("Address.")] = None


class ReplicationSourceStatus(CommonStatus, frozen=True):
    """What has become of it. Written by the operator only."""

    rsync_tls: Annotated[SourceTLSStatus | None, doc("The rsync mover through TLS.")] = field(
        default=None, name="rsyncTLS"
    )
    restic: Annotated[SourceResticStatus | None, doc("The restic repository.")] = None
    syncthing: Annotated[SyncthingStatus | None, doc("Never written by this operator.")] = None


class ReplicationSource(KeepsUnknown, frozen=True):
    """Copies a claim to somewhere else, when it is asked to or on a schedule."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationSourceSpec | None = None
    status: ReplicationSourceStatus | None = None


REPLICATION_SOURCES = Resource(names.GROUP, "v1alpha1", "replicationsources", "ReplicationSource", ReplicationSource)
