"""Everything that one decision may know, frozen."""

from dataclasses import dataclass
from enum import Enum

from datamover.api.batch import Job
from datamover.api.core import PersistentVolume, PersistentVolumeClaim, Pod, SecretKeys
from datamover.api.snapshot import VolumeSnapshot, VolumeSnapshotClass
from datamover.api.storage import StorageClass
from datamover.api.transfer import Progress
from datamover.api.v1alpha1.datamover import DataMover


class Unread(Enum):
    """Why nothing is known of a Secret."""

    MISSING = "missing"
    NOT_SYNCED = "not synced"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server's refusal of a create or delete, kept until it goes through.

    While `fresh` it is to be told and waited out for `retry_after` seconds; after that the step is due again.
    """

    reason: str
    message: str
    retry_after: float = 5.0
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """One DataMover and what belongs to it.

    `clone` and `job` are the objects of the recorded (or next) names, whoever owns them. `snapshot_classes` is None when the
    cluster has no snapshot API. `volumes` are the PersistentVolumes whose claim is the clone.
    """

    mover: DataMover
    source: PersistentVolumeClaim | None = None
    source_class: StorageClass | None = None
    clone_class: StorageClass | None = None
    secret: SecretKeys | Unread = Unread.NOT_SYNCED
    clone: PersistentVolumeClaim | None = None
    clone_name: str | None = None
    snapshot: VolumeSnapshot | None = None
    snapshot_classes: tuple[VolumeSnapshotClass, ...] | None = None
    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    volumes: tuple[PersistentVolume, ...] = ()
    refusal: Refusal | None = None
    diagnosis: str | None = None
    progress: Progress | None = None
    progress_age: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with. Durations in seconds.

    `cluster` is the UID of the cluster. `mover_image` replaces the documented default image.
    """

    cluster: str
    mover_image: str | None = None
    progress_interval: float = 10.0
    inquire_after: float = 10.0
    inquire_interval: float = 60.0
    outcome_patience: float = 10.0
