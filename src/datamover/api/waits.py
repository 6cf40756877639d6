"""Waits: who can end each of them, whether the data are safe by then, and how urgent it is (law L10).

One table for all who have to know: the command line (when to give up, and in which words), the alerts, and `docs/reasons.md`. A wait is a
reason with which an unfinished run stands still. A run that is `Failed` waits for a person as well, whatever its reason: for a retry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from datamover.api import reasons, transfer
from datamover.api.names import ConditionType, Phase
from datamover.api.v1alpha1.datamover import DataMoverStatus
from datamover.api.v1alpha1.restore import DataMoverRestoreStatus
from datamover.api.volsync import names as volsync
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import EventReason, Synchronizing, WaitReason
from kubekit.words.meta import Condition


class EndedBy(Enum):
    """Who can end a wait. The values are those of `docs/reasons.md`."""

    PERSON = "person"
    """Somebody has to do something: waiting alone never helps."""
    EITHER = "person, time"
    """A driver, a node, a server may end it; when that takes too long a person has to."""
    TIME = "time"
    """Work goes on meanwhile, and ends it."""


class Safe(Enum):
    """Whether the data of the run are at the destination when a wait is told. The values are those of `docs/reasons.md`."""

    NO = "no"
    YES = "yes"
    CLEANING = "in `CleaningUp`"
    """It may be told in any phase: yes once the sync has succeeded."""


class Severity(Enum):
    """How urgent a wait is. The values are those of the alerts' label `severity`."""

    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Wait:
    """What is known of a wait by its reason alone."""

    ended_by: EndedBy
    safe: Safe = Safe.NO
    severity: Severity = Severity.WARNING


_PERSON: Final = Wait(EndedBy.PERSON)
_EITHER: Final = Wait(EndedBy.EITHER)
_QUIET: Final = Wait(EndedBy.EITHER, severity=Severity.INFO)

WAITS: Final[Mapping[str, Wait]] = {
    reasons.SOURCE_NOT_FOUND: _PERSON,
    reasons.SOURCE_TERMINATING: _PERSON,
    reasons.SOURCE_LOST: _PERSON,
    reasons.SOURCE_NOT_BOUND: _QUIET,
    reasons.SECRET_NOT_FOUND: _PERSON,
    reasons.SECRET_KEY_REFUSED: _PERSON,
    reasons.SECRET_KEY_MISSING: _PERSON,
    reasons.STORAGE_CLASS_NOT_FOUND: _PERSON,
    reasons.SNAPSHOTS_NOT_SUPPORTED: _PERSON,
    reasons.SNAPSHOT_CLASS_NOT_FOUND: _PERSON,
    reasons.SNAPSHOT_FAILED: _QUIET,
    reasons.CLONE_FORBIDDEN: _EITHER,  # a quota gets free when another run cleans up
    reasons.CHILD_REFUSED: Wait(EndedBy.EITHER, Safe.CLEANING),  # an admission webhook that is down
    reasons.PERMISSION_MISSING: Wait(EndedBy.PERSON, Safe.CLEANING),
    reasons.STATUS_FORBIDDEN: Wait(EndedBy.PERSON, Safe.CLEANING),
    reasons.SUSPENDED: Wait(EndedBy.PERSON, Safe.CLEANING, Severity.INFO),  # somebody wanted it
    reasons.COPY_TRIGGER_WAITING: _QUIET,  # as a rule a script ends it
    reasons.COPY_TRIGGER_TIMED_OUT: _PERSON,
    reasons.INVALID_SPEC: _PERSON,
    reasons.INVALID_IMAGE: _PERSON,
    reasons.INVALID_ENVIRONMENT: _PERSON,
    reasons.CLASS_CANNOT_CLONE: _PERSON,
    reasons.BLOCK_NOT_SUPPORTED: _PERSON,
    reasons.NAME_TAKEN: _PERSON,
    reasons.DATA_MOVER_NOT_FOUND: _PERSON,
    reasons.SOURCE_BEING_RESTORED: _QUIET,
    reasons.TARGET_NOT_FOUND: _PERSON,
    reasons.TARGET_TERMINATING: _PERSON,
    reasons.TARGET_NOT_BOUND: _QUIET,
    reasons.TARGET_IN_USE: _PERSON,
    reasons.TARGET_EXISTS: _PERSON,
    reasons.TARGET_LOST: _PERSON,
    reasons.TARGET_NOT_WRITABLE: _PERSON,
    reasons.TARGET_BEING_RESTORED: _EITHER,
    reasons.TARGET_REFUSED: _EITHER,  # as with a clone
    reasons.CLONE_PROVISIONING_FAILED: _QUIET,
    reasons.MOVER_CANNOT_START: _EITHER,
    reasons.MOVER_UNSCHEDULABLE: _QUIET,
    reasons.IMAGE_PULL_FAILED: _EITHER,
    reasons.MOVER_NODE_LOST: _EITHER,
    reasons.NO_PROGRESS: Wait(EndedBy.TIME),  # the mover runs: ending it would cost what it has done
    reasons.CLEANUP_WAITING: Wait(EndedBy.EITHER, Safe.CLEANING, Severity.INFO),
    reasons.MOVER_REMOVAL_WAITING: _EITHER,
    reasons.CLEANUP_FAILED: Wait(EndedBy.EITHER, Safe.YES),
    transfer.REASON_INTERNAL_ERROR: Wait(EndedBy.EITHER, Safe.CLEANING),
    Synchronizing.ERROR: _PERSON,
    WaitReason.TURN: _QUIET,
    EventReason.NO_ADDRESS: _EITHER,
    EventReason.SNAPSHOT_NOT_BOUND: _QUIET,
    EventReason.CLAIM_NOT_BOUND: _QUIET,
}
"""Every reason that `Stalled` of an unfinished run may give, `Suspended`, what is waited for without `Stalled`, and what cannot be written into a status."""

PLANNED: Final = frozenset({reasons.COPY_TRIGGER_WAITING, WaitReason.TURN})
"""Waits that somebody has asked for. They stand in the status and in gauges as all others do, and are not counted as errors. Of replication they
are no `Stalled` either.
"""

WISHED: Final = PLANNED | {reasons.CANCELLED}
"""Reasons of `Stalled` that are no errors, for somebody has wished it so."""
_WANTED: Final = PLANNED | {reasons.SUSPENDED}
"""What nobody calls a stall of a synchronisation, for somebody has wanted it."""
_SYNCED: Final = frozenset({Phase.CLEANING_UP, Phase.COMPLETED})


def find_hold(status: DataMoverStatus | DataMoverRestoreStatus) -> Condition | None:
    """Return the condition that holds up a DataMover or a restore, with its reason and since when; None when nothing does. A failed run is held up as well."""
    stalled, ready = status.condition(ConditionType.STALLED), status.condition(ConditionType.READY)
    if stalled is not None and stalled.status == "True":
        return stalled
    if ready is not None and ready.reason == reasons.SUSPENDED:
        return status.condition(ConditionType.RECONCILING) or ready
    return None


def find_hold_of_sync(status: CommonStatus) -> Condition | None:
    """Return the condition that holds up a synchronisation, with its reason and, as far as it says so, since when; None when nothing does.

    `Ready` is `False` from the beginning on: of what is wanted it says the reason, and of the copy trigger another condition says since when.
    """
    told = volsync.ConditionType
    stalled, ready = status.condition(told.STALLED), status.condition(told.READY)
    if stalled is not None and stalled.status == "True":
        return stalled
    if ready is None or ready.reason not in _WANTED:
        return None
    triggered = status.condition(told.COPY_TRIGGERED)
    return triggered if triggered is not None and triggered.reason == ready.reason else ready


def find_wait(reason: str) -> Wait:
    """Return what is known of a wait. One that is not known, of another version, is nobody's to give up quickly."""
    return WAITS.get(reason, Wait(EndedBy.EITHER, Safe.CLEANING))


def are_data_safe(reason: str, phase: str) -> bool:
    """Tell whether the data of a run that waits are at the destination, so that only removing what was temporary is left."""
    return phase in _SYNCED and find_wait(reason).safe is not Safe.NO
