"""What a DataMover tells the other owners that copy the same claim: of its copy trigger, and that it is at work. Pure."""

from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from datamover.reconcilers.datamover.order import told_of
from datamover.runs.trigger import WAITING_REASONS
from datamover.volumes.copy_trigger import Made, Sharer, made_of
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VolumeSnapshot


def sharer_of(
    mover: DataMover, *, claim: PersistentVolumeClaim | None, snapshot: VolumeSnapshot | None
) -> Sharer | None:
    """Return its part in the triggers of its source; None while it neither has a copy nor is about to take one.

    `claim` and `snapshot` are what has the recorded names, whoever owns it.
    """
    status = mover.status or DataMoverStatus()
    run = status.run
    if (
        run is None
        or run.copy_method == CopyMethod.DIRECT
        or status.phase in Phase.TERMINAL
        or mover.metadata.terminating
    ):
        return None
    copy: Made | None = made_of(
        snapshot=snapshot if _is_of(mover, snapshot) else None,
        claim=claim if _is_of(mover, claim) else None,
        by_snapshot=run.copy_method == CopyMethod.SNAPSHOT,
    )
    if copy is None and (status.phase != Phase.CREATING_CLONE or _is_stuck(mover, status)):
        return None
    return Sharer(told_of(status), copy)


def is_backing_up(mover: DataMover) -> bool:
    """Tell whether it is at work on a backup, or would be but for what it waits for. One that is held on purpose keeps nobody waiting."""
    status, spec = mover.status, mover.spec
    held = mover.metadata.terminating or spec is None or spec.suspend
    return not held and status is not None and status.run is not None and status.phase not in Phase.TERMINAL


def _is_of(mover: DataMover, child: HasMeta | None) -> bool:
    return child is not None and child.metadata.owned_by(mover.metadata.uid) and not child.metadata.terminating


def _is_stuck(mover: DataMover, status: DataMoverStatus) -> bool:
    """Tell whether it takes no copy although it were triggered: nobody has to wait for it."""
    stalled = status.condition(ConditionType.STALLED)
    waits = stalled is not None and stalled.status == "True" and stalled.reason not in WAITING_REASONS
    return waits or (mover.spec is not None and (mover.spec.suspend or mover.spec.cancel))
