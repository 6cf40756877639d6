"""Snapshots and their contents as the node reads them."""

from typing import Any

from kubekit.words.core import ObjectReference
from kubekit.words.meta import Model, ObjectMeta, Resource


class SnapshotSource(Model, frozen=True):
    """What a snapshot is of."""

    persistent_volume_claim_name: str | None = None
    volume_snapshot_content_name: str | None = None


class SnapshotSpec(Model, frozen=True):
    """A request for a snapshot."""

    source: SnapshotSource = SnapshotSource()
    volume_snapshot_class_name: str | None = None


class SnapshotStatus(Model, frozen=True):
    """How far it is."""

    bound_volume_snapshot_content_name: str | None = None
    ready_to_use: bool | None = None
    restore_size: str | int | None = None
    creation_time: str | None = None
    error: dict[str, Any] | None = None


class VolumeSnapshot(Model, frozen=True):
    """A snapshot of a claim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: SnapshotSpec = SnapshotSpec()
    status: SnapshotStatus = SnapshotStatus()


class ContentSource(Model, frozen=True):
    """A volume to take a snapshot of, or a snapshot that exists."""

    volume_handle: str | None = None
    snapshot_handle: str | None = None


class ContentSpec(Model, frozen=True):
    """The driver's side."""

    driver: str = ""
    deletion_policy: str = ""
    source: ContentSource = ContentSource()
    volume_snapshot_class_name: str | None = None
    volume_snapshot_ref: ObjectReference = ObjectReference()


class ContentStatus(Model, frozen=True):
    """What the driver made. `restore_size` in bytes, `creation_time` in nanoseconds since 1970."""

    snapshot_handle: str | None = None
    ready_to_use: bool | None = None
    restore_size: int | None = None
    creation_time: int | None = None
    error: dict[str, Any] | None = None


class VolumeSnapshotContent(Model, frozen=True):
    """The driver's side of a snapshot."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ContentSpec = ContentSpec()
    status: ContentStatus = ContentStatus()


_API = "snapshot.storage.k8s.io"
SNAPSHOTS = Resource(_API, "v1", "volumesnapshots", "VolumeSnapshot", VolumeSnapshot)
CONTENTS = Resource(
    _API, "v1", "volumesnapshotcontents", "VolumeSnapshotContent", VolumeSnapshotContent, namespaced=False
)
