"""Everything that a decision about one run may know, frozen. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from datamover.plans.known import UNKNOWN, Known, Refusal
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim, Pod
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass


class Unread(Enum):
    """Why nothing is known of an object that is watched apart, or need not be readable."""

    MISSING = "missing"
    NOT_SYNCED = "not synced"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited before somebody is asked or told. Seconds.

    A child that is not ready is asked about (its events, its users) after `inquire_after`, and again each `inquire_interval`. A removal
    may take `removal`, a node be silent `node`, a mover's last words be late `outcome`. A log is read each `sample`; one that cannot be
    read is told after `log`. Progress that stays the same is told as that after `still`, and stalls the run after `stall`.
    """

    inquire_after: float = 10.0
    inquire_interval: float = 60.0
    removal: float = 30.0
    node: float = 60.0
    outcome: float = 10.0
    sample: float = 10.0
    still: float = 60.0
    stall: float = 600.0
    log: float = 60.0


PATIENT: Final = Patience()
"""What is waited for unless somebody wants it otherwise."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The source, the copy, the Job, and what was learnt from answers.

    `claim`, `snapshot` and `job` are the objects of the recorded (or next) names, whoever owns them. `claim_class` is the class that the
    copy is of, or is to be. `snapshot_classes` is None when the cluster has no snapshot API. `volumes` are the PersistentVolumes whose
    claim is the copy. `strays` are the owner's Pods whose Job is gone: they may still move data. `restorers` are what writes the source now, or has
    left it half restored, in words.
    """

    now: datetime
    source: PersistentVolumeClaim | None = None
    source_class: StorageClass | None = None
    source_volume: PersistentVolume | Unread = Unread.FORBIDDEN
    claim: PersistentVolumeClaim | None = None
    claim_class: StorageClass | None = None
    volumes: tuple[PersistentVolume, ...] = ()
    snapshot: VolumeSnapshot | None = None
    snapshot_classes: tuple[VolumeSnapshotClass, ...] | None = None
    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    strays: tuple[Pod, ...] = ()
    restorers: tuple[str, ...] = ()
    known: Known = UNKNOWN
    patience: Patience = PATIENT

    @property
    def driver(self) -> str:
        """The driver of the source's volume; empty where nobody knows it."""
        volume = self.source_volume
        if not isinstance(volume, Unread) and volume.spec and volume.spec.csi:
            return volume.spec.csi.driver
        return self.source_class.provisioner if self.source_class else ""

    def refused(self, *, patch: bool = False) -> Refusal | None:
        """Return the refusal that is to be waited out: that of changing the Job with `patch`, else that of any other step."""
        found = self.known.refusal
        return found if found is not None and found.fresh and (found.verb == "patch") is patch else None
