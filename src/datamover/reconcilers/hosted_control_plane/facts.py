"""Everything that a decision about a backup may know, frozen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from datamover.api.hosted_control_plane import StatusMap
from datamover.api.hypershift import HostedControlPlane
from datamover.api.velero.backup import Backup
from datamover.plans.known import UNKNOWN, Known
from datamover.reconcilers.hosted_control_plane.record import Record
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.verdict import ClusterSnapshot


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is written, and when something counts as stalled.

    A state (or a stall) that changes is written at once; a phase `soon` after the last write at the earliest; amounts and words each `interval`.
    What has not gone on for `stall` is stalled. A backup that nobody has seen before it was over is told if that is no longer ago than `recent`.
    """

    soon: timedelta = timedelta(seconds=5)
    interval: timedelta = timedelta(seconds=30)
    stall: timedelta = timedelta(minutes=10)
    recent: timedelta = timedelta(hours=1)


PATIENT: Final = Pace()


@dataclass(frozen=True, slots=True)
class Hosted:
    """A control plane that the backup has in it, and what of the cluster belongs to the two."""

    hcp: HostedControlPlane
    seen: ClusterSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A backup, its control planes in the order of their namespaces, and what was written of them.

    `planes` is None while not all is read that decides. `left_off` counts control planes beyond those. `moved` tells of each node when something was
    moved there last, for whichever backup (`Turns.at`). `status` is the ConfigMap of the backup's name, whosever it is, and
    `record` what it says, if it is this backup's. `told` tells that this process has seen the end of it written.
    """

    now: datetime
    backup: Backup
    planes: tuple[Hosted, ...] | None
    left_off: int = 0
    configuration: Configuration
    notes: tuple[str, ...] = ()
    misconfigured: bool = False
    moved: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    status: StatusMap | None = None
    record: Record | None = None
    told: bool = False
    pace: Pace = PATIENT
    known: Known = UNKNOWN
