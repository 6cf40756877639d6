"""Everything that one decision may know, frozen."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeGuard

from datamover.api import names
from datamover.api.transfer import Progress
from datamover.api.v1alpha1.datamover import DataMover
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.plans.known import UNSEEN, Diagnosis, Refusal, Seen
from datamover.plans.watch import UNWATCHED, ProgressWatch
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim, Pod, SecretKeys
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass


class Unread(Enum):
    """Why nothing is known of an object that is watched apart, or need not be readable."""

    MISSING = "missing"
    NOT_SYNCED = "not synced"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Facts:
    """One DataMover and what belongs to it.

    `clone` and `job` are the objects of the recorded (or next) names, whoever owns them. `snapshot_classes` is None when the
    cluster has no snapshot API. `volumes` are the PersistentVolumes whose claim is the clone. `strays` are the DataMover's Pods
    whose Job is gone: they may still move data.
    """

    mover: DataMover
    source: PersistentVolumeClaim | None = None
    source_class: StorageClass | None = None
    source_volume: PersistentVolume | Unread = Unread.FORBIDDEN
    clone_class: StorageClass | None = None
    secret: SecretKeys | Unread = Unread.NOT_SYNCED
    clone: PersistentVolumeClaim | None = None
    clone_name: str | None = None
    snapshot: VolumeSnapshot | None = None
    snapshot_classes: tuple[VolumeSnapshotClass, ...] | None = None
    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    strays: tuple[Pod, ...] = ()
    volumes: tuple[PersistentVolume, ...] = ()
    refusal: Refusal | None = None
    diagnosis: Diagnosis | None = None
    progress: Progress | None = None
    progress_age: float | None = None
    watch: ProgressWatch = UNWATCHED
    seen: Seen = UNSEEN

    @property
    def driver(self) -> str:
        """The driver of the source's volume; empty where nobody knows it."""
        volume = self.source_volume
        if not isinstance(volume, Unread) and volume.spec and volume.spec.csi:
            return volume.spec.csi.driver
        return self.source_class.provisioner if self.source_class else ""

    def refused(self, *, patch: bool = False) -> Refusal | None:
        """Return the refusal that is to be waited out: that of changing the Job with `patch`, else that of any other step."""
        found = self.refusal
        return found if found is not None and found.fresh and (found.verb == "patch") is patch else None

    def owns(self, child: HasMeta | None) -> TypeGuard[HasMeta]:
        """Tell whether a child is ours to delete: by owner UID and by label (law L2)."""
        return (
            child is not None
            and child.metadata.owned_by(self.mover.metadata.uid)
            and child.metadata.label(names.CREATED_BY_LABEL) == names.CREATED_BY_VALUE
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with. Durations in seconds.

    `cluster` is the UID of the cluster. `mover_image` replaces the documented default image, and `mover_pull_policy` its policy;
    `mover_defaults` say how movers run whose DataMover does not. A mover whose progress stays the same for `stall_after` is told, and a log that cannot be read for `log_patience`.
    """

    cluster: str
    mover_image: str | None = None
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    progress_interval: float = 10.0
    inquire_after: float = 10.0
    inquire_interval: float = 60.0
    outcome_patience: float = 10.0
    stall_after: float = 600.0
    log_patience: float = 60.0
