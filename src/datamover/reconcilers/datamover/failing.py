"""Ending a run in failure: the reason, what was kept, and how to try again. Pure."""

from datetime import datetime

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.outside import clean
from datamover.api.transfer import REASON_NEWER_BACKUP_EXISTS
from datamover.api.v1alpha1.datamover import Run
from datamover.plans.conditions import State
from datamover.plans.steps import REST, Emit, WriteStatus
from datamover.reconcilers.datamover.conditions import compose
from datamover.reconcilers.datamover.facts import Facts
from datamover.reconcilers.datamover.plan import Plan
from datamover.volumes.binding import is_lost
from kubekit.words.text import MESSAGE_LIMIT
from kubekit.words.timestamps import seconds

CLONE_LOST_MESSAGE = "the clone was deleted before its data were moved, and another copy would be of another moment"


def fail_without_clone(facts: Facts, run: Run, *, now: datetime, also: str = "") -> Plan:
    """Return the end of a run whose clone is gone, or has lost the volume that its data were on. `also` follows the reason."""
    clone = facts.clone
    if clone is None or clone.metadata.terminating or not is_lost(clone):
        return fail(facts, run, reason=reasons.CLONE_LOST, message=CLONE_LOST_MESSAGE + also, now=now)
    volume = clone.spec and clone.spec.volume_name
    label = f"{names.CREATED_BY_LABEL}={names.CREATED_BY_VALUE}"
    after = (
        "A retry makes another clone"
        if facts.owns(clone)
        else f"It does not carry the label {label}, so it is not touched: delete it before a retry"
    )
    message = (
        f"clone {clone.metadata.name} has lost its volume{f' {volume}' if volume else ''}, so what was copied cannot be read any more; "
        f"the source is intact. {after}"
    )
    return fail(facts, run, reason=reasons.CLONE_VOLUME_LOST, message=message + also, now=now)


def fail(facts: Facts, run: Run, *, reason: str, message: str, now: datetime) -> Plan:
    """Return the end of the run. Nothing is deleted: the clone stays for whoever looks into it (documents)."""
    mover = facts.mover
    kept = ""
    clone = facts.clone
    lost = clone is not None and is_lost(clone)
    if run.copy_method != CopyMethod.DIRECT and facts.owns(clone) and not clone.metadata.terminating and not lost:
        kept = f" The clone {clone.metadata.name} is kept."
    # the same copy would be refused again, and the message says what helps
    again = (
        ""
        if reason == REASON_NEWER_BACKUP_EXISTS
        else f'{names.RETRY_ADVICE}kubectl -n {mover.metadata.namespace} annotate datamover {mover.metadata.name} {names.RETRY_ANNOTATION}="$(date +%s)" --overwrite'
    )
    hint = f".{kept}{again}"
    full = clean(message.rstrip("."), limit=MESSAGE_LIMIT - len(hint)) + hint
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
