"""How long what may take, and when it began: moments and durations of other people's objects, read as far as they make sense. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import COLLECTED
from datamover.verdicts.configuration import Configuration
from kubekit.words.durations import nanoseconds_of
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import parse

SNAPSHOT_TIMEOUT: Final = timedelta(minutes=10)
"""Velero's default of `csiSnapshotTimeout`."""
OPERATION_TIMEOUT: Final = timedelta(hours=4)
"""Velero's default of `itemOperationTimeout`."""
SKEW: Final = timedelta(minutes=5)
"""How far a clock may be ahead of ours. A moment beyond that is no moment."""
_LONGEST: Final = 64
"""Characters of a timestamp."""


def stamp(text: str | None) -> datetime | None:
    """Return the moment that a timestamp says; None for none and for garbage. For comparing stamps with each other: no clock of ours is in it."""
    if not text or len(text) > _LONGEST:
        return None
    try:
        return parse(text)
    except (ValueError, OverflowError):
        return None


def moment_at(text: str | None, *, now: datetime) -> datetime | None:
    """Return the moment that a timestamp says, at the latest `now`; None for none, for garbage and for the future."""
    found = stamp(text)
    return min(found, now) if found is not None and found <= now + SKEW else None


def span_of(text: str | None, *, default: timedelta) -> timedelta:
    """Return the positive duration that a text of Go says; the default for all else."""
    try:
        found = timedelta(microseconds=nanoseconds_of(text) // 1_000) if text else default
    except (ValueError, OverflowError):
        return default
    return found if found > timedelta(0) else default


def later(moment: datetime | None, span: timedelta) -> datetime | None:
    """Return the moment so much later; None where there is none, or where it is beyond all calendars."""
    try:
        return None if moment is None else moment + span
    except OverflowError:
        return None


def operation_timeout(backup: Backup) -> timedelta:
    """Return how long Velero waits for an operation of a backup before it calls it failed."""
    return span_of(backup.spec.item_operation_timeout if backup.spec is not None else None, default=OPERATION_TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The moment of the look, and the limits that hold for this backup.

    `collected` tells that Velero has processed all items, so that what is there is all that there will be. `move` is how long a snapshot or an upload may
    take from its creation on; `snapshot` is how long a complaint of the storage driver is borne.
    """

    now: datetime
    collected: bool
    move: timedelta
    snapshot: timedelta
    began: datetime | None

    @classmethod
    def of(cls, backup: Backup, *, configuration: Configuration, now: datetime) -> "Limits":
        """Return the limits of a backup. A limit that nobody has set is Velero's own: what it would still wait for is not given up before."""
        moment = now.replace(tzinfo=UTC) if now.tzinfo is None else now
        spec, status = backup.spec, backup.status
        own = operation_timeout(backup)
        asked = configuration.data_upload_timeout
        return cls(
            now=moment,
            collected=backup.phase in COLLECTED,
            move=asked if configuration.timeout_set else max(asked, own),
            snapshot=span_of(spec.csi_snapshot_timeout if spec is not None else None, default=SNAPSHOT_TIMEOUT),
            began=moment_at(status.start_timestamp if status is not None else None, now=moment)
            or moment_at(backup.metadata.creation_timestamp, now=moment),
        )

    def created(self, meta: ObjectMeta) -> datetime | None:
        """Return when an object was made; when the backup began where it does not say so."""
        return moment_at(meta.creation_timestamp, now=self.now) or self.began

    def passed(self, deadline: datetime | None) -> bool:
        """Tell whether a deadline is over. Without one nothing is given up."""
        return deadline is not None and self.now >= deadline
