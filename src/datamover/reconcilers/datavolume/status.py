"""What is said of a DataVolume: the only module that composes its status. Pure.

Phases and the three conditions are another project's words. The time of a transition and the heartbeat of a condition move
only when there is something to say, so that a status that says the same is not written again (law L9).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from msgspec.structs import replace

from datamover.api.cdi.conditions import Said, merge
from datamover.api.cdi.data_volume import DataVolume, DataVolumeStatus
from datamover.api.cdi.names import ConditionType, Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.outside import clean
from datamover.plans.steps import Effect, Emit, Plan, ProveStatus, Step, WriteStatus
from datamover.volumes.binding import is_bound, is_lost
from kubekit.words.core import PersistentVolumeClaim

ACTION: Final = "Populate"
NO_PROGRESS: Final = "N/A"
ALL: Final = "100.0%"
ORDER: Final = (ConditionType.READY, ConditionType.BOUND, ConditionType.RUNNING)


@dataclass(frozen=True, slots=True)
class Told:
    """What is the case. `running` is the condition of that name; `reason` and `message` say why it is not ready, and are what people read first.

    `progress` and `restarts` None: as before. `kind` is that of the event that is recorded when the reason is another one; None for no event.
    """

    phase: Phase
    reason: str
    message: str
    running: Said | None = None
    progress: str | None = None
    restarts: int | None = None
    kind: Literal["Normal", "Warning"] | None = "Warning"
    cause: str | None = None


def tell(
    volume: DataVolume,
    claim: PersistentVolumeClaim | None,
    told: Told,
    *,
    now: datetime,
    before: tuple[Effect, ...] = (),
    after: tuple[Effect, ...] = (),
    events: tuple[Emit, ...] = (),
    wake_after: float | None = None,
) -> Plan[Any]:
    """Return the plan that says it: `before`, the status where it differs, `after`. What comes after is done under the version that was decided on."""
    status = compose(volume, claim, told, now=now)
    news = not says_same(volume.status, status)
    written: tuple[Step[Any], ...] = ()
    if news:
        written = (WriteStatus(status, cause=told.cause),)
    elif after:
        written = (ProveStatus(),)
    said = events if news or after else ()
    if news and told.kind is not None and _reason_of(volume.status) != told.reason:
        said = (*said, Emit(told.kind, told.reason, clean(told.message), ACTION))
    return Plan((*before, *written, *after, *said), wake_after)


def compose(volume: DataVolume, claim: PersistentVolumeClaim | None, told: Told, *, now: datetime) -> DataVolumeStatus:
    """Return the status that says it."""
    current = volume.status or DataVolumeStatus()
    done = told.phase is Phase.SUCCEEDED
    bound = _judge_bound(claim, volume.metadata.name)
    if done and bound.status == "True":
        ready = Said("True", told.reason, told.message)
    else:
        ready = Said("False", bound.reason, bound.message) if done else Said("False", told.reason, told.message)
    running = told.running or Said("False", told.reason, told.message)
    wanted: dict[str, Said] = {ConditionType.READY: ready, ConditionType.BOUND: bound, ConditionType.RUNNING: running}
    return replace(
        current,
        claim_name=volume.metadata.name,
        phase=told.phase,
        progress=told.progress if told.progress is not None else current.progress or NO_PROGRESS,
        restart_count=current.restart_count if told.restarts is None else told.restarts,
        conditions=merge(current.conditions, wanted, order=ORDER, now=now),
    )


def says_same(one: DataVolumeStatus | None, other: DataVolumeStatus | None) -> bool:
    """Tell whether two statuses differ in nothing but times."""
    return one is not None and other is not None and _timeless(one) == _timeless(other)


def is_halted(status: DataVolumeStatus | None) -> bool:
    """Tell whether the last that was told is that something stands in its way."""
    ready = status.condition(ConditionType.READY) if status is not None else None
    return ready is not None and ready.status == "False" and ready.reason != Reason.TRANSFER_RUNNING


def _judge_bound(claim: PersistentVolumeClaim | None, name: str) -> Said:
    if claim is None:
        return Said("Unknown", Reason.CLAIM_MISSING, f"PersistentVolumeClaim {name} does not exist")
    if is_bound(claim):
        return Said("True", "Bound", f"PersistentVolumeClaim {name} is bound")
    if is_lost(claim):
        return Said("False", Reason.CLAIM_LOST, f"PersistentVolumeClaim {name} has lost its volume")
    return Said("False", Reason.CLAIM_PENDING, f"PersistentVolumeClaim {name} is not bound")


def _timeless(status: DataVolumeStatus) -> DataVolumeStatus:
    conditions = tuple(
        replace(each, last_transition_time=None, last_heartbeat_time=None) for each in status.conditions or ()
    )
    return replace(status, conditions=conditions)


def _reason_of(status: DataVolumeStatus | None) -> str | None:
    ready = status.condition(ConditionType.READY) if status is not None else None
    return ready.reason if ready is not None else None
