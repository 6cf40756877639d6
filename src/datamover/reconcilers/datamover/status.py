"""What is said of a DataMover: the only module that composes its status. Pure.

`tell` turns the verdict of a run into a plan, and decides whether people would learn anything from writing it (law L9). `Ready`,
`Reconciling`, `Stalled`, `Complete` and `Failed` follow from one state; the conditions of single steps are set when their step is decided
and stay. A condition keeps its transition time while its status stays the same, so an unchanged state is an unchanged status. Whatever a
message quotes (a mover, a node, a driver, a name), a status holds clean text only (law L11).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from datamover.api import amounts, reasons
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.transfer import REASON_NEWER_BACKUP_EXISTS, show_verification
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus, Run
from datamover.plans.conditions import Said, State, merge
from datamover.plans.steps import Effect, Emit, WriteStatus
from datamover.reconcilers import summary
from datamover.reconcilers.datamover.order import FIELDS, PHASES
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.reconcilers.datamover.record import update_run
from datamover.reconcilers.summary import advise, advise_retry, arrange, is_broken, is_news, say_work, state_of
from datamover.runs.verdict import Answer, Facet, Rest, Verdict
from kubekit.words.timestamps import seconds

_CONDITIONS: Final[Mapping[Facet, str]] = {
    Facet.TRIGGER: ConditionType.COPY_TRIGGERED,
    Facet.COPY: ConditionType.CLONE_READY,
    Facet.MOVE: ConditionType.SYNCHRONIZED,
    Facet.CHECK: ConditionType.VERIFIED,
    Facet.CLEAN: ConditionType.CLEANED_UP,
}
_GOING_ON: Final = {
    Phase.CREATING_CLONE: reasons.CLONING,
    Phase.CLONE_READY: reasons.CLONE_BOUND,
    Phase.CREATING_POD: reasons.JOB_CREATED,
    Phase.CLEANING_UP: reasons.CLEANING_UP,
}
"""What a run in this phase is doing, when nothing else is known of it."""
_BEFORE_THE_MOVER: Final = frozenset({Phase.CREATING_CLONE, Phase.CLONE_READY})
"""Phases in which no Job was made yet: it is recorded before (law L6)."""

_OVER: Final = (
    "the run is over, so the change of the spec has no effect: delete the DataMover and create it anew to run again"
)
_OVER_BUT_VERIFIED: Final = "the run is over, so the change of the spec has no effect but on how it is verified again: delete the DataMover and create it anew to run again"

# What a run answers.


def tell(mover: DataMover, answer: Answer, *, now: datetime) -> Plan:
    """Return the plan: what the run does next, with the status that says so where that is news."""
    if isinstance(answer, Rest):
        noted = _tell_parts(mover, answer, now=now)
        return Plan((*_heal(mover, now=now), *answer.steps, *noted), answer.wake_after)
    current = mover.status or DataMoverStatus()
    run = update_run(current.run, answer, now=now) if current.run is not None else None
    message = _say(mover, run, answer)
    status = compose(
        mover,
        now=now,
        state=state_of(current, answer),
        reason=answer.reason,
        message=message,
        phase=Phase.FAILED if answer.state is State.FAILED else PHASES[answer.stage] if answer.stage else None,
        run=run,
        restored=answer.renamed.claim if answer.renamed is not None else None,
        said={_CONDITIONS[facet]: said for facet, said in answer.facets.items()},
        verified=_proved_by(answer),
    )
    news = status is not None and is_news(current, status, answer)
    return arrange(answer, status, message, news=news)


def _proved_by(verdict: Verdict) -> str:
    """Return the method by which the mover has found everything as it should be; empty where this verdict tells nothing of that."""
    check, outcome = verdict.facets.get(Facet.CHECK), verdict.tally.outcome if verdict.tally is not None else None
    if check is None or check[0] != "True" or outcome is None:
        return ""
    return show_verification(outcome.verification)


def _tell_parts(mover: DataMover, rest: Rest, *, now: datetime) -> tuple[Step, ...]:
    """Return a status in which nothing but the conditions of some parts is another, and the events that go with it."""
    status = mover.status or DataMoverStatus()
    wanted = {_CONDITIONS[facet]: said for facet, said in rest.facets.items()}
    conditions = merge(
        status.conditions or (), wanted, order=summary.ORDER, now=now, generation=mover.metadata.generation
    )
    if not wanted or conditions == status.conditions:
        return ()
    return (WriteStatus(replace(status, conditions=conditions)), *rest.events)


def _say(mover: DataMover, run: Run | None, verdict: Verdict) -> str:
    if verdict.state is State.FAILED and verdict.reason == reasons.CANCELLED:
        return advise(f"{verdict.message}: {_describe_left(mover, run)}", f".{_advise_cancelled(mover)}")
    if verdict.state is State.FAILED:
        return _with_advice(mover, verdict)
    return _describe_success(run) if verdict.state is State.DONE and run is not None else say_work(verdict)


def _with_advice(mover: DataMover, verdict: Verdict) -> str:
    """Nothing is deleted after a failure: say what is kept, and how to try again (documents)."""
    kept = f" The clone {verdict.kept} is kept." if verdict.kept is not None else ""
    # the same copy would be refused again, and the message says what helps
    again = "" if verdict.reason == REASON_NEWER_BACKUP_EXISTS else advise_retry("datamover", mover.metadata)
    return advise(verdict.message, f".{kept}{again}")


def _describe_left(mover: DataMover, run: Run | None) -> str:
    """Return what a run that was cancelled leaves at the destination. That no mover wrote is said only where none can have been there."""
    status = mover.status or DataMoverStatus()
    if run is None or (status.phase in _BEFORE_THE_MOVER and not run.attempts):
        return "no mover was started, so nothing was written to the destination"
    at = run.destination or "the destination"
    if mover.spec is not None and mover.spec.add_timestamp_prefix:
        return f"the folder {run.timestamp} at {at} is incomplete, and no backup: delete it when nobody needs it"
    return f"the mirror at {at} may be between two backups, because what was moved stays there: the next run goes on from it"


def _advise_cancelled(mover: DataMover) -> str:
    return advise_retry("datamover", mover.metadata, first=f"set {FIELDS.cancel} to false, then ")


def _describe_success(run: Run) -> str:
    where = f" to {run.destination}" if run.destination else ""
    amount = (
        f"{amounts.count(run.files, 'file')}, {amounts.size(run.bytes or 0)}" if run.files is not None else "the data"
    )
    unknown = "" if run.files is not None else ", unverified: the mover left no outcome that can be read"
    left = f"; {amounts.count(run.skipped, 'special file')} (fifo, socket, device) left out" if run.skipped else ""
    return f"{amount} of {run.source}{where}{unknown}{left}"


def _heal(mover: DataMover, *, now: datetime) -> tuple[Step, ...]:
    """Return a status that no longer says that the operator fails at this DataMover: it has just decided."""
    status = mover.status
    if status is None or not is_broken(status):
        return ()
    reason = _GOING_ON.get(status.phase or Phase.NONE)
    if reason is None:
        return ()  # before the run the preflight has the word, and at its end the reason is the mover's own
    message = "the operator goes on with this run"
    healed = compose(mover, now=now, state=State.WORKING, reason=reason, message=message)
    return (WriteStatus(healed),) if healed is not None else ()


# What a DataMover says of itself: that a run begins, and what can still be said when it is over.


def begin(mover: DataMover, run: Run, *, clone: str | None, now: datetime) -> Plan:
    """Record a run before its first effect (law L6). `clone` is None where the source itself is read."""
    copied = clone is not None
    said: dict[str, Said] = {}
    if not copied:
        said[ConditionType.CLONE_READY] = ("True", reasons.NO_CLONE_NEEDED, "copyMethod Direct makes no clone")
    if summary.is_cancelled(mover.status):
        said[ConditionType.SYNCHRONIZED] = ("Unknown", reasons.RETRYING, "trying again")
    status = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.CLONING if copied else reasons.RUN_RECORDED,
        message=f"copying {run.source}" if copied else f"{run.source} is read directly, without a copy",
        phase=Phase.CREATING_CLONE if copied else Phase.CREATING_POD,
        run=run,
        restored=clone,
        said=said,
    )
    return Plan((WriteStatus(status),) if status is not None else ())


def begin_again(
    mover: DataMover, run: Run, *, clone: str | None, now: datetime, before: tuple[Effect, ...] = ()
) -> Plan:
    """Record that a failed run is tried again, or another one in its place. `clone` is its name, empty for none; None keeps the one that is told."""
    message = "trying again, as the retry annotation asks"
    said: dict[str, Said] = {ConditionType.SYNCHRONIZED: ("Unknown", reasons.RETRYING, "trying again")}
    current = mover.status or DataMoverStatus()
    if clone is not None and current.condition(ConditionType.COPY_TRIGGERED) is not None:
        # another copy is taken: what was told of the trigger of the last one is over
        said[ConditionType.COPY_TRIGGERED] = ("Unknown", reasons.RETRYING, "another copy is to be taken")
    status = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.RETRYING,
        message=message,
        phase=Phase.CREATING_POD if run.copy_method == CopyMethod.DIRECT else Phase.CREATING_CLONE,
        run=run,
        restored=clone,
        said=said,
    )
    if status is None:
        return Plan()
    return Plan((*before, WriteStatus(status), Emit("Normal", reasons.RETRYING, message, "Retry")))


def settle(mover: DataMover, answer: Answer, *, now: datetime) -> Plan:
    """One that is complete stays so (`summary.settle`)."""
    current = mover.status or DataMoverStatus()
    verified = mover.spec is not None and mover.spec.verify is not None and mover.spec.verify.every is not None
    over = _OVER_BUT_VERIFIED if verified else _OVER
    return summary.settle(current, answer, generation=mover.metadata.generation, over=over, now=now)


def acknowledge(mover: DataMover) -> Plan:
    """A change of the spec after the end changes nothing, and is seen (`summary.acknowledge`)."""
    return summary.acknowledge(mover.status or DataMoverStatus(), generation=mover.metadata.generation, over=_OVER)


# The status itself.


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
    verified: str = "",
) -> DataMoverStatus | None:
    """Return the status to write, or None when it is the one that is there.

    `phase`, `run` and `restored` keep their present value when None; an empty `restored` takes the clone's name away. `said` are conditions of single steps. `verified` is the
    method by which the destination has just been found as it should be. How far a mover is, and when it will be done, is said only as long as it works.
    """
    current = mover.status or DataMoverStatus()
    if verified:
        current = replace(current, last_verified=seconds(now), last_verified_method=verified)
    if restored is not None:
        current = replace(current, restored_pvc_name=restored or None)
    composed = summary.compose(
        current,
        generation=mover.metadata.generation,
        now=now,
        state=state,
        reason=reason,
        message=message,
        phase=phase,
        run=run,
        said=said,
    )
    return None if composed == (mover.status or DataMoverStatus()) else composed
