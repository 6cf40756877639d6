"""Everything that one decision about filling a claim may know, frozen."""

from dataclasses import dataclass
from datetime import datetime

from datamover.api.volsync.replication_destination import ReplicationDestination
from datamover.plans.known import UNKNOWN, Known
from datamover.runs.facts import Unread
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.snapshot import VolumeSnapshot
from kubekit.words.storage import StorageClass


@dataclass(frozen=True, slots=True)
class Facts:
    """A user's claim, and what it is filled with.

    `prime` is what has the name of the temporary claim, whoever owns it, and `volume` the volume of that; None when it has none. `image` is
    the snapshot that the temporary claim names, else the destination's latest.
    """

    now: datetime
    claim: PersistentVolumeClaim
    destination: ReplicationDestination | Unread = Unread.NOT_SYNCED
    image: VolumeSnapshot | Unread = Unread.NOT_SYNCED
    prime: PersistentVolumeClaim | None = None
    volume: PersistentVolume | Unread | None = None
    storage_class: StorageClass | None = None
    known: Known = UNKNOWN
