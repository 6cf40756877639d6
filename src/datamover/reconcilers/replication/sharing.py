"""What an object tells the others that use the same claim: a source of its copy trigger, a destination of its writing. Pure."""

from collections.abc import Iterable
from datetime import datetime

from datamover.api.names import CopyMethod
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import ConditionType, Method
from datamover.api.waits import WAITS
from datamover.movers.outcomes import has_ended
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.failures import pause_left
from datamover.reconcilers.replication.order import is_halted, is_of_this_round, status_of, told_of
from datamover.reconcilers.replication.turns import Writer
from datamover.runs.trigger import WAITING_REASONS
from datamover.volumes.copy_trigger import Sharer, made_of
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VolumeSnapshot


def sharer_of(ask: Ask, *, claim: PersistentVolumeClaim | None, snapshot: VolumeSnapshot | None) -> Sharer | None:
    """Return its part in the triggers of its source; None while it neither has a copy nor is about to take one.

    `claim` and `snapshot` are what has the copy's name, whoever owns it.
    """
    obj, status = ask.obj, status_of(ask.obj)
    if not status.last_sync_start_time or ask.copy_method == CopyMethod.DIRECT or obj.metadata.terminating:
        return None

    def ours(child: HasMeta | None) -> bool:
        if child is None or child.metadata.terminating:
            return False
        return child.metadata.owned_by(obj.metadata.uid) and is_of_this_round(child, obj)

    copy = made_of(
        snapshot=snapshot if ours(snapshot) else None,
        claim=claim if ours(claim) else None,
        by_snapshot=ask.copy_method == CopyMethod.SNAPSHOT,
    )
    stalled = status.condition(ConditionType.STALLED)
    stuck = stalled is not None and stalled.status == "True" and stalled.reason not in WAITING_REASONS
    return None if copy is None and stuck else Sharer(told_of(obj), copy)


TAKES_TURNS = frozenset({Method.RESTIC, Method.RCLONE})
"""Methods whose destinations fetch. One that listens may do so for ever: it waits for nobody, and nobody for it."""
_ALMOST = 5.0
"""Seconds before its next mover from which on one whose mover failed is waited for again."""


def writer_of(ask: Ask, job: Job | None, pods: Iterable[Pod], *, now: datetime) -> Writer | None:
    """Return a destination as those see it that write the same claim; None while it writes nothing.

    `job` is what has its Job's name, `pods` are all that carry its UID: one that is paused writes until its Pod has ended.
    """
    obj, status = ask.obj, status_of(ask.obj)
    if ask.is_source or ask.method not in TAKES_TURNS or not status.last_sync_start_time or obj.metadata.terminating:
        return None
    mine = job if job is not None and job.metadata.owned_by(obj.metadata.uid) and is_of_this_round(job, obj) else None
    failed = mine is not None and mine.condition("Failed") is not None
    started = mine is not None and not failed and (mine.spec is None or mine.spec.parallelism != 0)
    held = ask.paused or is_blocked(status) or (mine is not None and failed and pause_left(mine, now) > _ALMOST)
    # When the mover has ended, what it wrote is still to be made an image of, unless that is what fails.
    stuck = held and mine is not None and mine.condition("Complete") is not None
    writes = any(not has_ended(pod) for pod in pods) or (started and not stuck)
    return Writer(obj.metadata.name, obj.metadata.uid, ticket_of(status), writes=writes, held=held)


def ticket_of(status: CommonStatus) -> str:
    """Return since when a synchronisation is under way and nothing holds it up, as its status says."""
    stalled = status.condition(ConditionType.STALLED)
    freed = stalled.last_transition_time if stalled is not None and stalled.status == "False" else None
    return max(status.last_sync_start_time or "", freed or "")


def is_blocked(status: CommonStatus) -> bool:
    """Tell whether the last that was told is that something stands in the way: not that a mover failed, for the next one comes by itself."""
    stalled = status.condition(ConditionType.STALLED)
    return stalled is not None and is_halted(status) and stalled.reason in WAITS
