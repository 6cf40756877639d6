"""Verifying again what a run has left, as often as `spec.verify.every` asks for it. Pure.

    complete ──► due ──► recorded (id, moment, method, name of the Job) ──► the Job compares ──► its outcome is recorded ──► the Job goes ──► due again
                  │                        └─ suspended, cancelled, no longer asked for: recorded, and the Job goes
                  └─ a backup of the claim is at work: it waits for its end

Guarantees: one at a time, because all of them have one name; nothing is made before it is recorded (law L6); whatever is found of an earlier one goes first
(L5); while nothing is due nothing is written, and one timer is all (L9). Damage is what the mover has proved, and nothing else is called so (L11): whatever keeps it
from comparing is told, and tried again, the later the more often it happened.

A backup goes first: while one of the same claim is at work no verification begins. One that begins while a verification is at work is not held up, and the verification
is not stopped: it only reads, the backup is what people wait for, and a mirror that changes meanwhile is a result of its own (`ComparisonDisturbed`), which is no
damage and is tried again.
"""

from collections.abc import Mapping
from dataclasses import replace as replace_plan
from typing import Final

from msgspec.structs import replace

from datamover.api import amounts, reasons, transfer
from datamover.api.names import ConditionType
from datamover.api.outside import clean
from datamover.api.ownership import Owner, labels_of
from datamover.api.signed import redact_signed
from datamover.api.transfer import Outcome, show_verification
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMoverSpec, DataMoverStatus, Reverification, Run
from datamover.api.v1alpha1.validation import check_verify
from datamover.api.verification import DAMAGE
from datamover.plans.conditions import Said, State, merge
from datamover.plans.steps import REST, Create, Delete, Emit, ProveStatus, WriteStatus
from datamover.reconcilers import summary
from datamover.reconcilers.datamover.comparison import AT_WORK, DAY, order_of, period_of, run_facts
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.order import FIELDS
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.runs.facts import RunFacts
from datamover.runs.job import follow
from datamover.runs.order import Order, Readable
from datamover.runs.verdict import Facet, Rest, Verdict
from datamover.runs.wait import LITTLE, share_of
from datamover.volumes.naming import verification_name
from kubekit.words.batch import JOBS
from kubekit.words.timestamps import compact, moment_of, seconds

ACTION: Final = "Verify"
_FIRST_PAUSE: Final = 600.0
"""Seconds until a verification that came to no result is made again, the first time; each time in a row after it twice as long."""
_EARLY: Final = 0.1
_EARLIEST: Final = 43_200.0
"""How much earlier than `every` says one may begin: a share of it, and seconds at the most. Each object has its own part of that, because many that a schedule backs up
at one moment would be read back at one moment as well. Never later: `every` is a promise.
"""
_LOOK_AGAIN: Final = 60.0
"""Seconds after which is looked again whether a name that somebody else holds is free: nobody tells us."""
_NOTES: Final = frozenset({reasons.VERIFICATION_WAITING, reasons.INVALID_SPEC, reasons.NAME_TAKEN})
"""What is told while none is at work."""


def verify_again(facts: Facts, spec: DataMoverSpec, *, settings: Settings) -> Plan:
    """Return what a complete run asks for next."""
    mover = facts.mover
    status = mover.status or DataMoverStatus()
    record, run = status.verification, status.run
    if run is None:
        return REST
    unwanted = _why_unwanted(spec)
    if unwanted is not None:
        return _end(facts, status, *unwanted)
    if record is not None and record.at_work:
        return _go_on(facts, spec, status, run, record, settings)
    return _remove_left(facts, status) or _begin(facts, spec, status, run)


def next_due(spec: DataMoverSpec, status: DataMoverStatus, *, uid: str) -> float | None:
    """Return when the next verification of the object `uid` is due, in seconds since 1970; None for never. `every` is valid, and none is at work."""
    verify, run, record = spec.verify, status.run, status.verification
    verified = status.condition(ConditionType.VERIFIED)
    if verify is None or run is None or (verified is not None and verified.reason == transfer.REASON_POINT_SUPERSEDED):
        return None
    every = period_of(verify)
    early = min(every * _EARLY, _EARLIEST) * share_of(uid)
    due = moment_of(status.last_verified or run.finished, default=0.0) + every - early
    ended = moment_of(record.finished, default=None) if record is not None else None
    if record is None or ended is None:
        return due
    if record.failures:
        return max(due, ended + pause_after(record.failures, every=every))
    found = verified is not None and verified.reason in DAMAGE
    return max(due, ended + every) if found else due


def pause_after(failures: int, *, every: float) -> float:
    """Return the seconds until one is made again after so many in a row that came to no result."""
    return min(_FIRST_PAUSE * 2 ** min(max(failures, 1) - 1, 16), every, DAY)


def _why_unwanted(spec: DataMoverSpec) -> tuple[str, str] | None:
    """Return reason and sentence where none is to be made, None where they are."""
    if spec.verify is None or spec.verify.every is None:
        return reasons.NOT_REQUESTED, "no verification is asked for: set spec.verify.every"
    finding = check_verify(spec)
    if finding is not None:
        return finding.reason, finding.message
    for wished, reason, field in (
        (spec.cancel, reasons.CANCELLED, FIELDS.cancel),
        (spec.suspend, reasons.SUSPENDED, FIELDS.suspend),
    ):
        if wished:
            return reason, f"no verification is made, because {field} is true: set it to false"
    return None


def _end(facts: Facts, status: DataMoverStatus, reason: str, message: str) -> Plan:
    """End one that is at work, and let its Job go. Without one only what nobody would learn otherwise is told."""
    record = status.verification
    left = _remove_left(facts, status)
    if record is None:
        record = Reverification() if reason == reasons.INVALID_SPEC else None
    elif not (record.at_work or record.reason in _NOTES or reason == reasons.INVALID_SPEC):
        record = None
    if record is None or record.reason == reason:
        return left or REST
    finished = seconds(facts.run.now) if record.at_work else record.finished
    told = replace(record, finished=finished, reason=reason, message=message)
    warned = (Emit("Warning", reason, message, ACTION),) if reason == reasons.INVALID_SPEC else ()
    return Plan((WriteStatus(replace(status, verification=told)), *(left.steps if left is not None else ()), *warned))


def _remove_left(facts: Facts, status: DataMoverStatus) -> Plan | None:
    """Return how the Job of a verification that is over goes; None when it is gone, or is not ours to delete (law L2)."""
    job, refusal, metadata = facts.comparison.job, facts.run.refused(), facts.mover.metadata
    if job is None or not Owner(DATA_MOVERS, metadata, labels_of(metadata, run_id="")).owns(job):
        return None
    if job.metadata.terminating:
        return REST  # its end wakes us
    if refusal is not None:
        told = _note(status, reasons.CLEANUP_FAILED, f"{refusal.message}; trying again", warn=True)
        return replace_plan(told, wake_after=refusal.retry_after)
    return Plan((Delete(JOBS, job.metadata),))


def _begin(facts: Facts, spec: DataMoverSpec, status: DataMoverStatus, run: Run) -> Plan:
    """Record the next one when it is due and nothing is in its way (law L6)."""
    mover, now = facts.mover, facts.run.now
    due = next_due(spec, status, uid=mover.metadata.uid)
    if due is None or spec.verify is None:
        return REST
    before = status.verification or Reverification()
    left = min(due - now.timestamp(), period_of(spec.verify))  # a moment of the future was written by another clock
    if left > 0:
        healed = replace(status, verification=replace(before, reason=None, message=None))
        wrong = before.reason == reasons.INVALID_SPEC
        return Plan((WriteStatus(healed),) if wrong else (), left + LITTLE)
    job = facts.comparison.job
    if job is not None:
        message = f"Job {job.metadata.name} exists and is not this {FIELDS.kind}'s: delete or rename it"
        return replace_plan(_note(status, reasons.NAME_TAKEN, message, warn=True), wake_after=_LOOK_AGAIN)
    if facts.backups:
        message = f"a verification is due, and waits until the backup of {run.source} by DataMover {facts.backups[0]} has ended: a backup goes first"
        return _note(status, reasons.VERIFICATION_WAITING, message)
    record = Reverification(
        id=f"{compact(now)}-{mover.metadata.uid.replace('-', '')[:12]}",
        job_name=verification_name(mover.metadata.name, mover.metadata.uid),
        method=show_verification(str(spec.verify.again)),
        started=seconds(now),
        failures=before.failures,
        reason=reasons.VERIFYING,
        message=f"the run {run.id} is compared with its manifest",
    )
    return Plan((WriteStatus(replace(status, verification=record)),))


def _go_on(
    facts: Facts, spec: DataMoverSpec, status: DataMoverStatus, run: Run, record: Reverification, settings: Settings
) -> Plan:
    """Take one that is recorded a step on, from what is there (law L7)."""
    if spec.verify is None:
        return REST
    order, known = order_of(facts.mover, spec, run, record, spec.verify, settings), run_facts(facts)
    job, refusal = known.job, known.refused()
    if job is None:
        if refusal is not None:
            told = _note(status, refusal.reason, f"{refusal.message}; trying again", warn=True)
            return replace_plan(told, wake_after=refusal.retry_after)
        manifest = order.transfer.build(Readable(claim="", copied=None, read_only=True))
        return Plan((ProveStatus(), Create(JOBS, manifest)))  # who decided on a stale record is refused (law L7)
    if order.owner.owns(job) and order.is_left_over(job):
        return _remove_left(facts, status) or REST
    answer = follow(order, known)
    if isinstance(answer, Rest):
        return Plan(answer.steps, answer.wake_after)
    moved = answer.facets.get(Facet.MOVE)
    if moved is not None and moved[0] == "True":
        return _conclude(facts, status, record, _judge_success(run, answer), order, known, answer)
    if answer.state is State.FAILED:
        return _conclude(facts, status, record, _judge_failure(run, answer), order, known, answer)
    return _tell_on(status, record, answer)


def _tell_on(status: DataMoverStatus, record: Reverification, answer: Verdict) -> Plan:
    """Tell how one that is at work gets on, where that is another reason than before, or another attempt: how far it is nobody waits for."""
    attempts = (
        answer.tally.attempts if answer.tally is not None and answer.tally.attempts is not None else record.attempts
    )
    on = answer.state is State.WORKING and answer.reason not in AT_WORK
    reason = reasons.VERIFYING if on else answer.reason
    message = f"Job {record.job_name} compares what the run has left with its manifest" if on else answer.message
    changed = replace(status, verification=replace(record, attempts=attempts))
    noted = _note(changed, reason, message, warn=answer.state is State.BLOCKED, before=status)
    return Plan((*answer.before, *noted.steps, *answer.after), answer.wake_after)


def _note(
    status: DataMoverStatus, reason: str, message: str, *, warn: bool = False, before: DataMoverStatus | None = None
) -> Plan:
    """Return the status that says what a verification waits for, or is at, where it does not yet."""
    record = status.verification or Reverification()
    same = record.reason == reason
    told = record if same else replace(record, reason=reason, message=_text(message))
    written = replace(status, verification=told)
    if written == (before or status):
        return Plan()
    warned = (Emit("Warning", reason, _text(message), ACTION),) if warn and not same else ()
    return Plan((WriteStatus(written), *warned))


# What came of it.

_Judgement = tuple[str | None, str, str, str]
"""What `Verified` says, None for what it says now; reason and sentence; and the method that was proved, empty for none."""
_PROVED: Final[Mapping[str, str]] = {transfer.SAMPLE: reasons.SAMPLE_VERIFIED, transfer.SIZE: reasons.SIZES_COMPARED}


def _judge_success(run: Run, answer: Verdict) -> _Judgement:
    """Nothing is believed on an exit code alone: the outcome must say what was compared, and that it was this run."""
    outcome = answer.tally.outcome if answer.tally is not None else None
    made = outcome.comparison_made if outcome is not None else None
    method = show_verification(outcome.verification) if outcome is not None else ""
    if outcome is None or made is None or made.point != run.id or not outcome.verified or not method:
        message = (
            f"the mover ended well and does not say that it has compared the run {run.id}, so nothing is known of it: use an image with datamover-agent of this "
            "version (docs/mover.md), or datamover verify"
        )
        return None, reasons.OUTCOME_MISSING, message, ""
    reason = _PROVED.get(outcome.verification.partition(":")[0], reasons.VERIFIED)
    return "True", reason, f"{method}: {outcome.message}", method


def _judge_failure(run: Run, answer: Verdict) -> _Judgement:
    outcome = answer.tally.outcome if answer.tally is not None else None
    if outcome is None or answer.reason != outcome.reason:  # nobody but the mover knows
        return None, answer.reason, answer.message, ""
    if answer.reason == transfer.REASON_POINT_SUPERSEDED:
        return "Unknown", answer.reason, f"{answer.message} It is not compared again.", ""
    if answer.reason not in DAMAGE or not _is_same_place(run, outcome):
        return None, answer.reason, answer.message, ""
    advice = (
        ""
        if answer.reason == transfer.REASON_BACKUP_DAMAGED
        else " Take another backup, and keep what is there until that is complete."
    )
    return "False", answer.reason, f"{answer.message.rstrip()}{advice}", ""


def _is_same_place(run: Run, outcome: Outcome) -> bool:
    """Tell whether the mover has looked where the run has written. Where Secret or prefix have been changed since, a run that is not there is not lost."""
    return outcome.reason != transfer.REASON_POINT_NOT_FOUND or (
        bool(outcome.destination) and (run.destination or "").startswith(outcome.destination)
    )


def _conclude(
    facts: Facts,
    status: DataMoverStatus,
    record: Reverification,
    judged: _Judgement,
    order: Order,
    known: RunFacts,
    answer: Verdict,
) -> Plan:
    """Record what came of it, then let its Job go. That one came to no result leaves `Verified` as it is."""
    verified, reason, message, method = judged
    now, job = facts.run.now, known.job
    failures = 0 if verified is not None else record.failures + 1
    message = _text(message if verified is not None else f"{message.rstrip('. ')}. {_say_when(facts, failures)}")
    attempts = (
        answer.tally.attempts if answer.tally is not None and answer.tally.attempts is not None else record.attempts
    )
    ended = replace(record, finished=seconds(now), attempts=attempts, failures=failures, reason=reason, message=message)
    written = replace(status, verification=ended)
    if verified is not None:
        said: dict[str, Said] = {ConditionType.VERIFIED: (verified, reason, message)}
        written = replace(
            written,
            conditions=merge(
                status.conditions or (), said, order=summary.ORDER, now=now, generation=facts.mover.metadata.generation
            ),
        )
    if method:
        written = replace(written, last_verified=seconds(now), last_verified_method=method)
    gone: tuple[Step, ...] = (Delete(JOBS, job.metadata),) if job is not None and order.owner.owns(job) else ()
    good = verified in {"True", "Unknown"}
    event = Emit("Normal" if good else "Warning", reason, message, ACTION)
    return Plan((*answer.before, WriteStatus(written), event, *gone))


def _say_when(facts: Facts, failures: int) -> str:
    verify = facts.mover.spec.verify if facts.mover.spec is not None else None
    pause = pause_after(failures, every=period_of(verify)) if verify is not None else _FIRST_PAUSE
    return f"The backup itself was not found to be damaged; it is compared again in {amounts.duration(int(pause))}"


def _text(message: str) -> str:
    return clean(redact_signed(message))
