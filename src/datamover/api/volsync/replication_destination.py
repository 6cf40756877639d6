"""ReplicationDestination: receives a copy, or brings one back. Field by field as its users have it. Pure."""

from typing import Annotated

from msgspec import field

from datamover.api.pods import doc
from datamover.api.volsync import names
from datamover.api.volsync.common import (
    CACHE_ACCESS_MODES,
    CommonStatus,
    CustomCA,
    DestinationMoverConfig,
    External,
    SmallDestinationMover,
    Trigger,
)
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown

VOLUME_MODE = doc("Filesystem or Block, of the volume that is made; Filesystem when unset.")
SERVICE_ANNOTATIONS = doc(
    "Annotations of the Service, instead of the one that asks a cloud for a network load balancer."
)


class RsyncDestination(SmallDestinationMover, frozen=True):
    """Receives the volume by rsync over SSH. The mover is root."""

    ssh_keys: Annotated[str | None, doc("Secret with the keys; generated when unset.")] = None
    service_type: Annotated[str | None, doc("Type of the Service; ClusterIP when unset.")] = None
    address: Annotated[str | None, doc("Address of the source, where the destination connects to it.")] = None
    port: Annotated[int | None, doc("SSH port; 22 when unset.", format="int32", minimum=0, maximum=65535)] = None
    path: Annotated[str | None, doc("Has no effect: the volume's root is written.")] = None
    ssh_user: Annotated[str | None, doc("Has no effect: the user is root.")] = None
    volume_mode: Annotated[str | None, VOLUME_MODE] = None
    service_annotations: Annotated[dict[str, str] | None, SERVICE_ANNOTATIONS] = None


class RsyncTLSDestination(DestinationMoverConfig, frozen=True):
    """Receives the volume by rsync through TLS with a pre-shared key."""

    key_secret: Annotated[str | None, doc("Secret with the key psk.txt; generated when unset.")] = None
    service_type: Annotated[str | None, doc("Type of the Service; ClusterIP when unset.")] = None
    volume_mode: Annotated[str | None, VOLUME_MODE] = None
    service_annotations: Annotated[dict[str, str] | None, SERVICE_ANNOTATIONS] = None


class RcloneDestination(DestinationMoverConfig, frozen=True):
    """Mirrors a remote into the volume with rclone."""

    rclone_config_section: Annotated[str | None, doc("Section of rclone.conf that describes the remote.")] = None
    rclone_dest_path: Annotated[str | None, doc("Path at the remote.")] = None
    rclone_config: Annotated[str | None, doc("Secret with the key rclone.conf.")] = None
    custom_ca: Annotated[CustomCA | None, doc("Certificates to trust.")] = field(default=None, name="customCA")


class ResticDestination(DestinationMoverConfig, frozen=True):
    """Restores a snapshot of a restic repository into the volume."""

    repository: Annotated[
        str | None, doc("Secret with RESTIC_REPOSITORY, RESTIC_PASSWORD and what the backend needs.")
    ] = None
    custom_ca: Annotated[CustomCA | None, doc("Certificates to trust.")] = field(default=None, name="customCA")
    cache_capacity: Annotated[str | int | None, doc("Size of the cache volume; 1Gi when unset.")] = None
    cache_storage_class_name: Annotated[str | None, doc("Class of the cache volume.")] = None
    cache_access_modes: Annotated[tuple[str, ...] | None, CACHE_ACCESS_MODES] = None
    cleanup_cache_pvc: Annotated[bool | None, doc("Delete the cache volume when a synchronisation is over.")] = field(
        default=None, name="cleanupCachePVC"
    )
    previous: Annotated[
        int | None, doc("How many snapshots to go back from the one that would be taken.", format="int32")
    ] = None
    restore_as_of: Annotated[
        str | None, doc("Take the newest snapshot that is not later than this.", format="date-time")
    ] = None
    enable_file_deletion: Annotated[bool | None, doc("Delete files of the volume that the snapshot does not have.")] = (
        None
    )


class ReplicationDestinationSpec(Model, frozen=True):
    """What is received or brought back, when, and how. One method is set."""

    trigger: Annotated[Trigger | None, doc("When to synchronise.")] = None
    paused: Annotated[bool | None, doc("Run no mover for the time being.")] = None
    rsync: Annotated[RsyncDestination | None, doc("Receive from a ReplicationSource by rsync over SSH.")] = None
    rsync_tls: Annotated[RsyncTLSDestination | None, doc("Receive from a ReplicationSource by rsync through TLS.")] = (
        field(default=None, name="rsyncTLS")
    )
    rclone: Annotated[RcloneDestination | None, doc("Mirror a remote of rclone's to the volume.")] = None
    restic: Annotated[ResticDestination | None, doc("Restore from a restic repository.")] = None
    external: Annotated[External | None, doc("Left to another program.")] = None


class Image(Model, frozen=True, kw_only=True):
    """The last image: a VolumeSnapshot, or the claim itself with copyMethod Direct."""

    api_group: Annotated[str | None, doc("Group of its kind; empty for a claim.")] = None
    kind: Annotated[str, doc("VolumeSnapshot or PersistentVolumeClaim.")]
    name: Annotated[str, doc("Its name.")]


class DestinationTLSStatus(Model, frozen=True):
    """Where the rsync daemon behind TLS is reached."""

    key_secret: Annotated[str | None, doc("Secret with the key that was generated.")] = None
    address: Annotated[str | None, doc("Address to connect to.")] = None
    port: Annotated[int | None, doc("Port to connect to; 8000 when unset.", format="int32")] = None


class ReplicationDestinationStatus(CommonStatus, frozen=True):
    """What has become of it. Written by the operator only."""

    latest_image: Annotated[Image | None, doc("The last image that is whole.")] = None
    rsync_tls: Annotated[DestinationTLSStatus | None, doc("The rsync mover through TLS.")] = field(
        default=None, name="rsyncTLS"
    )


class ReplicationDestination(KeepsUnknown, frozen=True):
    """Receives a copy of a volume, or brings one back, and keeps an image of it that volumes can be made of."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationDestinationSpec | None = None
    status: ReplicationDestinationStatus | None = None


REPLICATION_DESTINATIONS = Resource(
    names.GROUP, "v1alpha1", "replicationdestinations", "ReplicationDestination", ReplicationDestination
)
