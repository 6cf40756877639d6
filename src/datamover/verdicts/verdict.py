"""The verdict as data, and what it is given to look at. Pure.

Everything that is shown of other people's objects is clean and limited: names to `NAME_LIMIT` characters, sentences to `MESSAGE_LIMIT`, lists to
`SHOWN_LIMIT` entries (their counts are of all).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from datamover.api.velero.uploads import DataUpload, PodVolumeBackup
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotContent

NAME_LIMIT: Final = 253
"""Characters of a name that is shown: the longest that Kubernetes takes."""
SHOWN_LIMIT: Final = 256
"""Entries of `waits` and of `rows`. What is unfinished comes first, so that it is what is seen."""

UNITS: Final = "volumes"
_VALIDATING: Final = "error validating DataMover: "


class Kind:
    """Kinds that a verdict is about, by their Kubernetes names."""

    CONTENT: Final = "VolumeSnapshotContent"
    SNAPSHOT: Final = "VolumeSnapshot"
    UPLOAD: Final = "DataUpload"
    POD_VOLUME_BACKUP: Final = "PodVolumeBackup"
    CLAIM: Final = "PersistentVolumeClaim"
    POD: Final = "Pod"
    BACKUP: Final = "Backup"


class State(Enum):
    """The answer."""

    WAITING = "it is not moved yet"
    MOVED = "all of it is moved"
    NOTHING_TO_MOVE = "the backup has left nothing of it to be moved"
    FAILED = "a part of it cannot be moved any more, or was not in time"
    UNSUPPORTED = "no rule is known for its platform"
    UNKNOWN = "what decides cannot be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The document's four flags. They are read from the cluster anew each time, and stored nowhere."""

    pv_backup_started: bool = False
    pv_backup_finished: bool = False
    du_started: bool = False
    du_finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing that is waited for, or that failed. `kind` is one of `Kind`, `claim` the PVC that it is about; unknown texts are empty.

    `node` is where it is worked on and `pod` the mover's Pod. `deadline` is when it would be given up.
    """

    kind: str
    name: str
    claim: str = ""
    phase: str = ""
    since: datetime | None = None
    deadline: datetime | None = None
    sentence: str = ""
    node: str = ""
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A claim, for a table: what moves it, and how far that is. Fields are those of `Wait`; bytes are 0 where nobody tells them."""

    claim: str
    kind: str
    name: str
    phase: str
    finished: bool
    since: datetime | None = None
    deadline: datetime | None = None
    sentence: str = ""
    node: str = ""
    pod: str = ""
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is the case.

    `completed` of `total` claims are moved (`units`); `total` counts those that are expected while Velero still collects. `error` is what
    `ValidateDataMover` answers with, in the document's words: empty unless FAILED or UNSUPPORTED; `timed_out` tells that a limit was the
    cause. `description` is one sentence of at most 1,024 characters. `warnings` do not fail anything. `log` has the documented lines that hold
    now. `started` is when the first of it began, `updated` when something of it last changed, as far as anything says so.
    """

    state: State
    flags: Flags = Flags()
    platform: str = ""
    completed: int = 0
    total: int = 0
    units: str = UNITS
    bytes_done: int = 0
    bytes_total: int = 0
    error: str = ""
    timed_out: bool = False
    description: str = ""
    warnings: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    rows: tuple[Row, ...] = ()
    log: tuple[str, ...] = ()
    started: datetime | None = None
    updated: datetime | None = None

    @property
    def item_error(self) -> str:
        """The error as it is seen on the backup's item, in the document's wrapping; empty where there is none."""
        return _VALIDATING + self.error if self.error else ""

    @property
    def over(self) -> bool:
        """Tell whether nothing is waited for any more."""
        return self.state is not State.WAITING


class Unread(NamedTuple):
    """A kind (one of `Kind`) that could not be read, and why. It is never taken for none of that kind."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSnapshot:
    """What was read, already decoded. Objects of other backups and namespaces do no harm.

    Needed are: of the control plane's namespace its VolumeSnapshots and claims; of Velero's namespace the DataUploads, PodVolumeBackups and the movers'
    Pods; the VolumeSnapshotContents to which the VolumeSnapshots are bound.
    """

    snapshots: tuple[VolumeSnapshot, ...] = ()
    contents: tuple[VolumeSnapshotContent, ...] = ()
    data_uploads: tuple[DataUpload, ...] = ()
    pod_volume_backups: tuple[PodVolumeBackup, ...] = ()
    claims: tuple[PersistentVolumeClaim, ...] = ()
    pods: tuple[Pod, ...] = ()
    unread: tuple[Unread, ...] = ()
