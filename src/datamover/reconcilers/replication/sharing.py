"""What a ReplicationSource tells the other owners that copy the same claim, of its copy trigger. Pure."""

from datamover.api.names import CopyMethod
from datamover.api.volsync.names import ConditionType
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.order import is_of_this_round, status_of, told_of
from datamover.runs.trigger import WAITING_REASONS
from datamover.volumes.copy_trigger import Sharer, made_of
from kubekit.words.core import PersistentVolumeClaim
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
