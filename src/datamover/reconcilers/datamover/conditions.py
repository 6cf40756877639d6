"""Composing a status. Pure.

`Ready`, `Reconciling`, `Stalled`, `Complete` and `Failed` follow from one state; the conditions of single steps are set when their step
is decided and stay. A condition keeps its transition time while its status stays the same, so an unchanged state is an unchanged status
and nothing is written (law L9). Whatever a message quotes (a mover, a node, a driver, a name), a status holds clean text only (law L11).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from datamover.api.names import ConditionType
from datamover.api.outside import clean
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverStatus, Run
from datamover.plans.conditions import Said, State, merge
from kubekit.words.timestamps import seconds

_SUMMARY: Final[Mapping[State, Mapping[str, str]]] = {
    State.WORKING: {ConditionType.READY: "False", ConditionType.RECONCILING: "True", ConditionType.STALLED: "False"},
    State.BLOCKED: {ConditionType.READY: "False", ConditionType.RECONCILING: "False", ConditionType.STALLED: "True"},
    State.SUSPENDED: {ConditionType.READY: "False", ConditionType.RECONCILING: "False", ConditionType.STALLED: "False"},
    State.DONE: {ConditionType.READY: "True", ConditionType.RECONCILING: "False", ConditionType.STALLED: "False"},
    State.FAILED: {ConditionType.READY: "False", ConditionType.RECONCILING: "False", ConditionType.STALLED: "True"},
}


def compose(
    mover: DataMover,
    *,
    now: datetime,
    state: State,
    reason: str,
    message: str,
    phase: str | None = None,
    run: Run | None = None,
    restored: str | None = None,
    said: Mapping[str, Said] | None = None,
) -> DataMoverStatus | None:
    """Return the status to write, or None when it is the one that is there.

    `phase`, `run` and `restored` keep their present value when None. `said` are conditions of single steps. How far a mover is, and when
    it will be done, is said only as long as it works.
    """
    current = mover.status or DataMoverStatus()
    generation = mover.metadata.generation
    message = clean(message)
    summary = dict(_SUMMARY[state])
    summary[ConditionType.COMPLETE] = "True" if state is State.DONE else "False"
    summary[ConditionType.FAILED] = "True" if state is State.FAILED else "False"
    wanted: dict[str, Said] = {type_: (status, reason, message) for type_, status in summary.items()}
    wanted.update(said or {})
    new_phase = current.phase if phase is None else phase
    run = current.run if run is None else run
    if run is not None and run.progress is not None and state is not State.WORKING:
        run = replace(run, progress=None)
    composed = DataMoverStatus(
        phase=new_phase,
        restored_pvc_name=current.restored_pvc_name if restored is None else (restored or None),
        message=message,
        observed_generation=generation,
        phase_started=current.phase_started if new_phase == current.phase and current.phase_started else seconds(now),
        run=run,
        conditions=merge(current.conditions or (), wanted, order=ORDER, now=now, generation=generation),
    )
    return None if composed == current else composed


def says_same(one: DataMoverStatus, other: DataMoverStatus) -> bool:
    """Tell whether two statuses differ in nothing but times."""
    return _timeless(one) == _timeless(other)


def _timeless(status: DataMoverStatus) -> DataMoverStatus:
    run = status.run
    return replace(
        status,
        phase_started=None,
        run=replace(run, finished=None if run.finished is None else "") if run is not None else None,
        conditions=tuple(replace(condition, last_transition_time=None) for condition in status.conditions or ()),
    )


def to_manifest(mover: DataMover, status: DataMoverStatus) -> dict[str, object]:
    """Return the object to apply at the status subresource. It carries the version that the decision was made on."""
    return {
        "apiVersion": DATA_MOVERS.api_version,
        "kind": DATA_MOVERS.kind,
        "metadata": {
            "name": mover.metadata.name,
            "namespace": mover.metadata.namespace,
            "uid": mover.metadata.uid,
            "resourceVersion": mover.metadata.resource_version,
        },
        "status": msgspec.to_builtins(status),
    }


ORDER: Final = (
    ConditionType.READY,
    ConditionType.RECONCILING,
    ConditionType.STALLED,
    ConditionType.CLONE_READY,
    ConditionType.SYNCHRONIZED,
    ConditionType.VERIFIED,
    ConditionType.CLEANED_UP,
    ConditionType.COMPLETE,
    ConditionType.FAILED,
)
