"""Narrow view of snapshot.storage.k8s.io/v1."""

from kubekit.words.core import ObjectReference
from kubekit.words.meta import Model, ObjectMeta, Resource


class VolumeSnapshotSource(Model, frozen=True):
    """What a snapshot is taken of."""

    persistent_volume_claim_name: str | None = None
    volume_snapshot_content_name: str | None = None


class VolumeSnapshotSpec(Model, frozen=True):
    """A request for a snapshot."""

    source: VolumeSnapshotSource | None = None
    volume_snapshot_class_name: str | None = None


class VolumeSnapshotError(Model, frozen=True):
    """What the driver last complained of."""

    message: str | None = None
    time: str | None = None


class VolumeSnapshotStatus(Model, frozen=True):
    """How far a snapshot is. `restore_size` is a quantity."""

    bound_volume_snapshot_content_name: str | None = None
    ready_to_use: bool | None = None
    restore_size: str | int | None = None
    creation_time: str | None = None
    error: VolumeSnapshotError | None = None


class VolumeSnapshot(Model, frozen=True):
    """A snapshot of a claim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSnapshotSpec | None = None
    status: VolumeSnapshotStatus | None = None


class VolumeSnapshotClass(Model, frozen=True):
    """A class of snapshots."""

    metadata: ObjectMeta = ObjectMeta()
    driver: str = ""
    deletion_policy: str = ""
    parameters: dict[str, str] | None = None


class VolumeSnapshotContentSource(Model, frozen=True):
    """A volume or snapshot handle of the driver."""

    volume_handle: str | None = None
    snapshot_handle: str | None = None


class VolumeSnapshotContentSpec(Model, frozen=True):
    """The driver's side of a snapshot. `volume_snapshot_ref` is the VolumeSnapshot that it belongs to, or is kept for."""

    driver: str = ""
    deletion_policy: str = ""
    source: VolumeSnapshotContentSource | None = None
    volume_snapshot_class_name: str | None = None
    volume_snapshot_ref: ObjectReference | None = None


class VolumeSnapshotContentStatus(Model, frozen=True):
    """How far the driver is."""

    snapshot_handle: str | None = None
    ready_to_use: bool | None = None
    error: VolumeSnapshotError | None = None


class VolumeSnapshotContent(Model, frozen=True):
    """The driver's side of a snapshot."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSnapshotContentSpec | None = None
    status: VolumeSnapshotContentStatus | None = None


GROUP = "snapshot.storage.k8s.io"
VOLUME_SNAPSHOTS = Resource(GROUP, "v1", "volumesnapshots", "VolumeSnapshot", VolumeSnapshot)
VOLUME_SNAPSHOT_CLASSES = Resource(
    GROUP, "v1", "volumesnapshotclasses", "VolumeSnapshotClass", VolumeSnapshotClass, namespaced=False
)
VOLUME_SNAPSHOT_CONTENTS = Resource(
    GROUP, "v1", "volumesnapshotcontents", "VolumeSnapshotContent", VolumeSnapshotContent, namespaced=False
)
IS_DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
