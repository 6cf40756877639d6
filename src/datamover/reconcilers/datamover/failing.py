"""Ending a run in failure: the reason, what was kept, and how to try again. Pure."""

from datetime import datetime

from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.timestamps import seconds
from datamover.api.v1alpha1.datamover import Run
from datamover.reconcilers.datamover.conditions import State, compose
from datamover.reconcilers.datamover.facts import Facts
from datamover.reconcilers.datamover.plan import REST, Emit, Plan, WriteStatus

CLONE_LOST_MESSAGE = "the clone was deleted before its data were moved, and another copy would be of another moment"


def fail(facts: Facts, run: Run, *, reason: str, message: str, now: datetime) -> Plan:
    """Return the end of the run. Nothing is deleted: the clone stays for whoever looks into it (documents)."""
    mover = facts.mover
    kept = ""
    if run.copy_method != CopyMethod.DIRECT and facts.clone is not None and mover.status is not None:
        kept = f" The clone {mover.status.restored_pvc_name} is kept."
    again = f' To try again: kubectl annotate datamover {mover.metadata.name} {names.RETRY_ANNOTATION}="$(date +%s)" --overwrite'
    full = f"{message.rstrip('.')}.{kept}{again}"
    status = compose(
        mover,
        now=now,
        state=State.FAILED,
        reason=reason,
        message=full,
        phase=Phase.FAILED,
        run=replace(run, finished=seconds(now), progress=None),
        said={ConditionType.SYNCHRONIZED: ("False", reason, message)},
    )
    if status is None:
        return REST
    return Plan((WriteStatus(status), Emit("Warning", reason, full, "Synchronize")))
