"""Of restores into one claim, whose turn it is; and what keeps others from copying that claim. Pure.

Two movers never write one claim (law L7), and nobody copies what is half there (law L1).
"""

from enum import IntEnum

from datamover.api.names import RestorePhase
from datamover.api.restore import ROLLED_BACK, UNTOUCHED, WHOLE
from datamover.api.v1alpha1.restore import DataMoverRestore


class Place(IntEnum):
    """Where a restore stands before its claim."""

    AWAY = 0
    """It has not begun, is held before its mover was started, or is over."""
    PREPARES = 1
    WRITES = 2
    """Its mover may write, also while it is suspended: its Job is there."""


def place_of(restore: DataMoverRestore) -> Place:
    """Return where a restore stands, as far as its status says so."""
    status = restore.status
    if status is None or status.run is None:
        return Place.AWAY
    if status.phase in (RestorePhase.RESTORING, RestorePhase.CLEANING_UP):
        return Place.WRITES
    held = restore.metadata.terminating or (restore.spec is not None and restore.spec.suspend)
    return Place.PREPARES if status.phase == RestorePhase.PREPARING and not held else Place.AWAY


def comes_before(other: DataMoverRestore, restore: DataMoverRestore) -> bool:
    """Tell whether another restore into the same claim comes first: the one whose mover was started, then the older one of those that have begun."""
    at, own = place_of(other), place_of(restore)
    return at is not Place.AWAY and (-at, _age(other)) < (-own, _age(restore))


def has_left_half(restore: DataMoverRestore, *, claim_uid: str | None) -> bool:
    """Tell whether a mover was started that is not known to have left the claim with this UID as it was or whole.

    One that was killed, or evicted, has said nothing: what it was at may be half there. A claim that has another UID has nothing of it.
    """
    run = restore.status.run if restore.status is not None else None
    if run is None or run.claim_uid is None or run.claim_uid != claim_uid or run.temporary_claim is not None:
        return False  # one that is filled by a temporary claim has all of it, or no volume
    over = restore.status is not None and restore.status.phase == RestorePhase.COMPLETED
    return not over and run.target not in (UNTOUCHED, WHOLE, ROLLED_BACK)


def _age(restore: DataMoverRestore) -> tuple[str, str]:
    return restore.metadata.creation_timestamp or "", restore.metadata.uid
