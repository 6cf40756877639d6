"""What is said of a DataMoverRestore: the only module that composes its status. Pure.

`tell` turns the verdict of a run into a plan, and decides whether people would learn anything from writing it (law L9). Of what came back, and of
what was compared, the mover's own account is told: a restore is not the mirror image of a backup in that (law L4).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace as replace_verdict
from datetime import datetime
from typing import Final

from datamover.api import amounts, reasons
from datamover.api.names import ConditionType, RestorePhase
from datamover.api.restore import MARKED, UNTOUCHED, Restored, tell_comparison, tell_losses
from datamover.api.transfer import Outcome
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreStatus, RestoreRun
from datamover.plans.conditions import Said, State
from datamover.plans.steps import Emit, WriteStatus
from datamover.reconcilers import summary
from datamover.reconcilers.restore.order import FIELDS, PHASES
from datamover.reconcilers.restore.plan import Plan, Step
from datamover.reconcilers.restore.record import update_run
from datamover.reconcilers.summary import advise, advise_retry, arrange, is_broken, is_news, say_work, state_of
from datamover.runs.verdict import Answer, Facet, Rest, Verdict

_CONDITIONS: Final[Mapping[Facet, str]] = {
    Facet.MOVE: ConditionType.RESTORED,
    Facet.CHECK: ConditionType.VERIFIED,
    Facet.CLEAN: ConditionType.CLEANED_UP,
}
_REASONS: Final = {
    reasons.SYNCHRONIZING: reasons.RESTORING,
    reasons.SYNCHRONIZED: reasons.RESTORED,
    reasons.CLONE_FORBIDDEN: reasons.TARGET_REFUSED,  # the one claim that a restore makes is no clone
}
"""What a restore calls what runs of every kind do."""
_GOING_ON: Final = {
    RestorePhase.PREPARING: reasons.PREPARING,
    RestorePhase.RESTORING: reasons.JOB_CREATED,
    RestorePhase.CLEANING_UP: reasons.CLEANING_UP,
}
"""What a restore in this phase is doing, when nothing else is known of it."""

_OVER: Final = "the restore is over, so the change of the spec has no effect: create another DataMoverRestore"

Amend = Callable[[RestoreRun, Verdict], RestoreRun]
"""Returns a run with more recorded of a verdict."""


def as_it_is(run: RestoreRun, verdict: Verdict) -> RestoreRun:
    """Record nothing more."""
    del verdict
    return run


# What a run answers.


def tell(
    restore: DataMoverRestore, answer: Answer, *, now: datetime, claim: str | None = None, amend: Amend = as_it_is
) -> Plan:
    """Return the plan: what the run does next, with the status that says so where that is news. `claim` is the UID of the claim, `amend` records what else
    there is to record with a verdict.
    """
    if isinstance(answer, Rest):
        return Plan((*_heal(restore, now=now), *answer.steps), answer.wake_after)
    verdict = replace_verdict(answer, reason=_REASONS.get(answer.reason, answer.reason))
    current = restore.status or DataMoverRestoreStatus()
    run = update_run(current.run, verdict, claim=claim, now=now) if current.run is not None else None
    run = amend(run, verdict) if run is not None else None
    message = _say(restore, run, verdict)
    status = compose(
        restore,
        now=now,
        state=state_of(current, verdict),
        reason=verdict.reason,
        message=message,
        phase=RestorePhase.FAILED
        if verdict.state is State.FAILED
        else PHASES[verdict.stage]
        if verdict.stage
        else None,
        run=run,
        said={_CONDITIONS[facet]: said for facet, said in _parts_of(verdict).items() if facet in _CONDITIONS},
    )
    return arrange(verdict, status, message, news=status is not None and is_news(current, status, verdict))


def _parts_of(verdict: Verdict) -> Mapping[Facet, Said]:
    """Return what is said of single parts: of what the mover has told, in its words."""
    outcome = verdict.tally.outcome if verdict.tally is not None else None
    found = outcome.restoration if outcome is not None else None
    parts = {
        facet: (status, _REASONS.get(reason, reason), message)
        for facet, (status, reason, message) in verdict.facets.items()
    }
    if outcome is None or found is None or Facet.MOVE not in parts or parts[Facet.MOVE][0] != "True":
        return parts
    return {**parts, Facet.MOVE: _judge_restoration(outcome, found), Facet.CHECK: _judge_comparison(found)}


def _judge_restoration(outcome: Outcome, found: Restored) -> Said:
    if found.empty:
        return "True", reasons.NOTHING_TO_RESTORE, outcome.message or "the bucket has no backup of the source"
    if found.losses:
        return "True", reasons.RESTORED_WITH_LOSSES, f"what comes back is there, but {tell_losses(found.losses)}"
    return "True", reasons.RESTORED, outcome.message or "the point is restored"


def _judge_comparison(found: Restored) -> Said:
    told = tell_comparison(by_checksum=found.by_checksum, by_size=found.by_size)
    if found.by_size:
        return "False", reasons.SIZES_COMPARED, told
    return ("True", reasons.VERIFIED, told) if found.by_checksum else ("False", reasons.NOTHING_VERIFIED, told)


def _say(restore: DataMoverRestore, run: RestoreRun | None, verdict: Verdict) -> str:
    if verdict.state is State.FAILED and verdict.reason == reasons.CANCELLED:
        return advise(f"{verdict.message}: {_describe_target(restore, run)}", f".{_advise_cancelled(restore)}")
    if verdict.state is State.FAILED:
        return _with_advice(restore, verdict)
    return _describe_success(restore, run) if verdict.state is State.DONE and run is not None else say_work(verdict)


def _with_advice(restore: DataMoverRestore, verdict: Verdict) -> str:
    """Nothing is deleted after a failure: say how to try again."""
    return advise(verdict.message, f".{advise_retry('datamoverrestore', restore.metadata)}")


def _describe_target(restore: DataMoverRestore, run: RestoreRun | None) -> str:
    """Return what the claim is after a restore that was cancelled, as far as that is known: by the mover's last words, or because there was none."""
    if run is None:
        return "nothing was begun, so the claim is as it was"
    name, status = f"PersistentVolumeClaim {run.claim}", restore.status or DataMoverRestoreStatus()
    if run.temporary_claim is not None:
        return f"{name} is as it was, for what came back went into a temporary claim, which is removed"
    if run.target == MARKED:
        return f"{name} is neither what it was nor whole, and marked so: .datamover-restore is in it, and the same restore goes on from what is there"
    if run.target == UNTOUCHED or (run.target is None and status.phase == RestorePhase.PREPARING):
        return f"{name} is as it was, for nothing was written"
    return (
        f"what has come back into {name} is not known, because the mover left no word: with .datamover-restore in it, it is neither what it was nor whole, "
        "and the same restore goes on from what is there"
    )


def _advise_cancelled(restore: DataMoverRestore) -> str:
    return advise_retry("datamoverrestore", restore.metadata, first=f"set {FIELDS.cancel} to false, then ")


def _describe_success(restore: DataMoverRestore, run: RestoreRun) -> str:
    told = (restore.status or DataMoverRestoreStatus()).condition(ConditionType.RESTORED)
    if told is not None and told.reason == reasons.NOTHING_TO_RESTORE:
        return f"nothing to restore: {told.message}"
    amount = (
        f"{amounts.count(run.files, 'file')}, {amounts.size(run.bytes or 0)}" if run.files is not None else "the data"
    )
    of = f" of {run.source}" if run.source else ""
    at = f" at {run.copied}" if run.copied else ""
    lost = f"; {told.message}" if told is not None and told.reason == reasons.RESTORED_WITH_LOSSES else ""
    unknown = "" if run.files is not None else ", unverified: the mover left no outcome that can be read"
    return f"{amount}{of}{at} restored into {run.claim}{unknown}{lost}"


def _heal(restore: DataMoverRestore, *, now: datetime) -> tuple[Step, ...]:
    """Return a status that no longer says that the operator fails at this restore: it has just decided."""
    status = restore.status
    if status is None or not is_broken(status):
        return ()
    reason = _GOING_ON.get(status.phase or RestorePhase.NONE)
    if reason is None:
        return ()  # before it begins the preflight has the word, and at its end the reason is the mover's own
    healed = compose(
        restore, now=now, state=State.WORKING, reason=reason, message="the operator goes on with this restore"
    )
    return (WriteStatus(healed),) if healed is not None else ()


# What a restore says of itself: that it begins, and what can still be said when it is over.


def begin(restore: DataMoverRestore, run: RestoreRun, *, now: datetime) -> Plan:
    """Record a restore before its first effect (law L6)."""
    status = compose(
        restore,
        now=now,
        state=State.WORKING,
        reason=reasons.PREPARING,
        message=f"PersistentVolumeClaim {run.claim} is prepared",
        phase=RestorePhase.PREPARING,
        run=run,
        said={ConditionType.RESTORED: ("Unknown", reasons.RETRYING, "trying again")}
        if summary.is_cancelled(restore.status)
        else {},
    )
    return Plan((WriteStatus(status),) if status is not None else ())


def begin_again(restore: DataMoverRestore, run: RestoreRun, *, now: datetime) -> Plan:
    """Record that a failed restore is tried again."""
    message = "trying again, as the retry annotation asks"
    status = compose(
        restore,
        now=now,
        state=State.WORKING,
        reason=reasons.RETRYING,
        message=message,
        phase=RestorePhase.PREPARING,
        run=run,
        said={ConditionType.RESTORED: ("Unknown", reasons.RETRYING, "trying again")},
    )
    if status is None:
        return Plan()
    return Plan((WriteStatus(status), Emit("Normal", reasons.RETRYING, message, "Retry")))


def settle(restore: DataMoverRestore, answer: Answer, *, now: datetime) -> Plan:
    """One that is complete stays so (`summary.settle`)."""
    current = restore.status or DataMoverRestoreStatus()
    return summary.settle(current, answer, generation=restore.metadata.generation, over=_OVER, now=now)


def acknowledge(restore: DataMoverRestore) -> Plan:
    """A change of the spec after the end changes nothing, and is seen (`summary.acknowledge`)."""
    return summary.acknowledge(
        restore.status or DataMoverRestoreStatus(), generation=restore.metadata.generation, over=_OVER
    )


# The status itself.


def compose(
    restore: DataMoverRestore,
    *,
    now: datetime,
    state: State,
    reason: str,
    message: str,
    phase: str | None = None,
    run: RestoreRun | None = None,
    said: Mapping[str, Said] | None = None,
) -> DataMoverRestoreStatus | None:
    """Return the status to write, or None when it is the one that is there. `phase` and `run` keep their present value when None."""
    current = restore.status or DataMoverRestoreStatus()
    composed = summary.compose(
        current,
        generation=restore.metadata.generation,
        now=now,
        state=state,
        reason=reason,
        message=message,
        phase=phase,
        run=run,
        said=said,
    )
    return None if composed == (restore.status or DataMoverRestoreStatus()) else composed
