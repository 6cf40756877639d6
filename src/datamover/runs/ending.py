"""How a Job ended: what was moved and compared, or why it failed. Pure."""

from dataclasses import replace

from datamover.api import reasons
from datamover.api.transfer import (
    REASON_OUT_OF_MEMORY,
    REASON_VERIFICATION_FAILED,
    SAMPLE,
    SIZE,
    Outcome,
    show_verification,
    tell_verification,
)
from datamover.movers.outcomes import describe_end, find_flaw, newest, ran_out_of_memory, read_outcome
from datamover.plans.conditions import Said
from datamover.plans.steps import ProvePods
from datamover.runs.attempts import count_attempts, ended_so, have_all_ended, name_failure, time_for_last_words
from datamover.runs.cleanup import begin_clean_up
from datamover.runs.facts import RunFacts
from datamover.runs.failure import failed
from datamover.runs.order import Order
from datamover.runs.verdict import Answer, Facet, Rest, Tally, Verdict, refused
from datamover.volumes.binding import check_clone
from kubekit.words.batch import Job

_DEADLINE = "DeadlineExceeded"
_PROVED = {SAMPLE: reasons.SAMPLE_VERIFIED, SIZE: reasons.SIZES_COMPARED}
"""What a comparison that looks at less than all contents is called."""


def end(order: Order, facts: RunFacts, job: Job) -> Answer | None:
    """Return what follows from the Job's end; None while it has none."""
    if job.condition("Complete") is not None:
        return succeed(order, facts, job)
    if job.condition("Failed") is not None:
        return _fail(order, facts, job)
    return None


def succeed(order: Order, facts: RunFacts, job: Job) -> Answer:
    """Return what follows when a mover of this Job has ended with success."""
    outcome = _last_words(order, facts, "Succeeded")
    if outcome is None and (wait := time_for_last_words(facts, job)) > 0:
        return Rest(wake_after=wait)
    tally = Tally(count_attempts(job, facts.pods), outcome=outcome)
    denied = _denial(outcome)
    if denied is not None:
        return failed(order, facts, denied[0], denied[1], tally=tally)
    # A claim that waits for its first consumer is bound only now: what was moved must have been the source's (law L4).
    empty = check_clone(facts.claim, facts.volumes, fields=order.fields) if facts.claim is not None else None
    if empty is not None:
        return failed(order, facts, empty.reason, empty.message, tally=tally)
    message = outcome.message if outcome else "the mover's Job is complete"
    facets: dict[Facet, Said] = {
        Facet.MOVE: ("True", reasons.SYNCHRONIZED, message),
        Facet.CHECK: _judge_verification(order, facts, outcome),
    }
    return _recounted(order, facts, job, outcome, begin_clean_up(order, facts, facets=facets, tally=tally))


def _denial(outcome: Outcome | None) -> tuple[str, str] | None:
    """Return reason and sentence when the mover itself denies the success that its exit code claims (law L4)."""
    if outcome is None or (outcome.succeeded and outcome.verified is not False):
        return None
    if outcome.succeeded:
        return REASON_VERIFICATION_FAILED, "the mover compared source and destination, and found differences: run again"
    advice = "the mover's exit code is 0, but its outcome says that it failed: let what starts it pass its exit code on"
    said = outcome.message.rstrip(". ")
    return name_failure(outcome), f"{said}. ({advice})" if said else advice


def _judge_verification(order: Order, facts: RunFacts, outcome: Outcome | None) -> Said:
    """Only the mover knows: what it does not say is not claimed in either way (law L4)."""
    if outcome is None:
        flaw = find_flaw(ended_so(facts.pods, "Succeeded"), order.transfer.container)
        left = f"left an outcome that cannot be used: {flaw}," if flaw else "left no outcome,"
        message = (
            f"the mover {left} so it is not known whether anything was compared: use an image with datamover-agent "
            "(docs/mover.md), or compare by hand"
        )
        return "Unknown", reasons.OUTCOME_MISSING, message
    told = tell_verification(
        method=outcome.verification, checked=outcome.checked_files, read=outcome.read_files, files=outcome.files
    )
    if outcome.verified is None:
        if outcome.verification:
            return "False", reasons.NOTHING_VERIFIED, told
        if (
            order.transfer.verification
        ):  # a mover of before knows no such variable: that nothing was compared must not pass in silence
            message = (
                f"the method {order.transfer.verification} was asked for, and the mover says nothing of it: use an image of this version "
                "(docs/mover.md), or compare by hand"
            )
            return "Unknown", reasons.OUTCOME_MISSING, message
        return "False", reasons.NOT_REQUESTED, f"not asked for: set {order.fields.verify}"
    method = show_verification(outcome.verification)
    named = f"{method}: {told}" if method else told
    name = outcome.verification.partition(":")[0]
    return "True", _PROVED.get(name, reasons.VERIFIED), named


def _fail(order: Order, facts: RunFacts, job: Job) -> Answer:
    condition = job.condition("Failed")
    late = condition is not None and condition.reason == _DEADLINE
    if not late and (wait := time_for_last_words(facts, job)) > 0:
        return Rest(wake_after=wait)
    # The words of an earlier attempt are not the last ones: only every Pod that the Job counts makes them final.
    return _recounted(order, facts, job, None, _describe_failure(order, facts, job))


def _recounted(order: Order, facts: RunFacts, job: Job, outcome: Outcome | None, verdict: Verdict) -> Answer:
    """Without the mover's last words, and with Pods that were counted but not seen, the server is asked before the run ends."""
    if outcome is not None or have_all_ended(job, facts.pods):
        return verdict
    refusal = facts.refused()
    if refusal is not None:
        return refused(refusal, action="Synchronize")
    return replace(verdict, before=(ProvePods(order.owner.uid), *verdict.before))


def _describe_failure(order: Order, facts: RunFacts, job: Job) -> Verdict:
    condition, container = job.condition("Failed"), order.transfer.container
    cause = condition.reason if condition is not None else None
    outcome = _last_words(order, facts, "Failed")
    tally = Tally(count_attempts(job, facts.pods), outcome=outcome)
    if cause == _DEADLINE:
        before = f"; the last attempt said: {outcome.message}" if outcome is not None and outcome.message else ""
        limit = f"{order.fields.deadline} ({order.transfer.deadline} s)"
        message = f"the mover took longer than {limit}{before}"
        return failed(order, facts, reasons.DEADLINE_EXCEEDED, message, tally=tally)
    if outcome is not None and outcome.reason:
        message = outcome.message or "the mover failed"
        return failed(order, facts, name_failure(outcome), message, tally=tally)
    pod = newest(facts.pods)
    if pod is not None and ran_out_of_memory(pod, container):
        message = f"{describe_end(pod, container)}: it reached its memory limit. Raise {order.fields.memory}"
        return failed(order, facts, REASON_OUT_OF_MEMORY, message, tally=tally)
    if pod is not None:
        message = describe_end(pod, container)
    else:
        message = (condition.message if condition is not None else None) or "the mover's Job failed"
    known = cause == reasons.BACKOFF_LIMIT_EXCEEDED
    reason = reasons.BACKOFF_LIMIT_EXCEEDED if known else reasons.MOVER_FAILED
    return failed(order, facts, reason, f"{message}; see kubectl logs job/{job.metadata.name}", tally=tally)


def _last_words(order: Order, facts: RunFacts, phase: str) -> Outcome | None:
    """Return the outcome of the Pod that decided: the one that succeeded, else the last one that failed."""
    said = (read_outcome(pod, order.transfer.container) for pod in ended_so(facts.pods, phase))
    return next((outcome for outcome in said if outcome is not None), None)
