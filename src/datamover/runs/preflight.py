"""Preflight checks of the copy: what must be true before one is taken. Pure.

What is missing becomes a condition with a reason, not a crash loop and not a silent wait; it heals by itself when the missing thing
appears.
"""

from collections.abc import Callable
from typing import Final

from datamover.api import reasons
from datamover.api.fields import Fields
from datamover.runs.facts import RunFacts, Unread
from datamover.runs.order import Copy
from datamover.runs.verdict import Verdict, blocked
from datamover.volumes.binding import Obstacle, check_class, choose_snapshot_class
from datamover.volumes.binding import check_source as judge_source
from kubekit.words.snapshot import VolumeSnapshotClass

_LOOK_AGAIN: Final = 15.0
"""Seconds after which it is looked again whether a restore into the source is over."""

Check = Callable[[Copy, Fields, RunFacts], Obstacle | None]


def find_obstacle(copy: Copy, fields: Fields, facts: RunFacts) -> Obstacle | None:
    """Return the first thing that stands against taking the copy, or None."""
    return next((found for check in CHECKS if (found := check(copy, fields, facts)) is not None), None)


def check_source(copy: Copy, fields: Fields, facts: RunFacts) -> Obstacle | None:
    """Return why the source cannot be read, or not yet."""
    return judge_source(
        copy.source,
        facts.source,
        method=copy.method,
        storage_class=facts.source_class,
        fields=fields,
        blocks=copy.blocks,
    )


def check_copyable(copy: Copy, fields: Fields, facts: RunFacts) -> Obstacle | None:
    """Return why no driver can copy the source, or not yet. Where PersistentVolumes may not be read, only the class is judged."""
    source, volume = facts.source, facts.source_volume
    if source is None or copy.direct:
        return None
    if volume is Unread.NOT_SYNCED:
        name = source.spec.volume_name if source.spec else ""
        return Obstacle(
            reasons.SOURCE_NOT_BOUND,
            f"PersistentVolumeClaim {source.metadata.name} is bound to PersistentVolume {name}, which the operator has not seen yet; the "
            "run begins when it has",
            waits=True,
        )
    return check_class(
        source,
        wanted=copy.storage_class,
        storage_class=facts.claim_class,
        volume=None if isinstance(volume, Unread) else volume,
        fields=fields,
    )


def check_restored(copy: Copy, fields: Fields, facts: RunFacts) -> Obstacle | None:
    """Return who writes the source now: a copy would be half of one thing and half of another, and replace a whole backup (law L1)."""
    del fields
    if not facts.restorers:
        return None
    return Obstacle(
        reasons.SOURCE_BEING_RESTORED,
        f"PersistentVolumeClaim {copy.source} is restored into by {facts.restorers[0]}; it is not read until that is complete, or deleted",
        waits=True,
    )


def tell(obstacle: Obstacle, *, action: str) -> Verdict:
    """Return that this is waited for. A restore is another controller's: nothing tells us when it is over."""
    wake = _LOOK_AGAIN if obstacle.reason == reasons.SOURCE_BEING_RESTORED else None
    return blocked(obstacle.reason, obstacle.message, action=action, wake_after=wake)


def check_snapshots(copy: Copy, fields: Fields, facts: RunFacts) -> Obstacle | None:
    """Return why no snapshot of the source can be taken, or not yet."""
    chosen = find_snapshot_class(copy, fields, facts) if copy.by_snapshot else None
    return chosen if isinstance(chosen, Obstacle) else None


def find_snapshot_class(copy: Copy, fields: Fields, facts: RunFacts) -> VolumeSnapshotClass | Obstacle:
    """Return what a snapshot is taken with, or why none can be."""
    if facts.snapshot_classes is None:
        return Obstacle(
            reasons.SNAPSHOTS_NOT_SUPPORTED,
            f"this cluster has no snapshot.storage.k8s.io/v1 API: install the snapshot controller and its CRDs, or set {fields.method}: {fields.without_snapshots}",
            waits=True,
        )
    return choose_snapshot_class(facts.snapshot_classes, wanted=copy.snapshot_class, driver=facts.driver, fields=fields)


CHECKS: Final[tuple[Check, ...]] = (
    check_source,  # the claim is there, has its volume, and holds files
    check_copyable,  # the driver of its class copies volumes, and made this one
    check_snapshots,  # the cluster has snapshots, and a class to take one with
    check_restored,  # nobody is writing it
)
