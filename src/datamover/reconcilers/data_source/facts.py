"""Everything that one decision about a DataSource may know, frozen."""

from dataclasses import dataclass
from datetime import datetime

from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume
from datamover.plans.known import UNKNOWN, Known
from datamover.reconcilers.data_source.resolve import Resolved, Unresolved
from datamover.runs.facts import Unread
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.snapshot import VolumeSnapshot


@dataclass(frozen=True, slots=True)
class Facts:
    """A DataSource, what it comes to, and what has that name: a claim with its DataVolume, or a snapshot."""

    now: datetime
    source: DataSource
    resolved: Resolved | Unresolved
    volume: DataVolume | None = None
    claim: PersistentVolumeClaim | None = None
    snapshot: VolumeSnapshot | Unread = Unread.MISSING
    known: Known = UNKNOWN
