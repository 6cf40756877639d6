"""Following the mover's Job to its end. Pure.

Only the Job's conditions tell success and failure: a failed Pod is an attempt, and there are three (documents).
"""

from datetime import datetime

from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.outside import known
from datamover.api.transfer import (
    REASON_OUT_OF_MEMORY,
    REASON_SUCCEEDED,
    REASON_VERIFICATION_FAILED,
    SAMPLE,
    Outcome,
    tell_verification,
)
from datamover.api.v1alpha1.datamover import DataMoverStatus, Run
from datamover.movers.outcomes import (
    KNOWN_REASONS,
    describe_end,
    find_flaw,
    find_hindrance,
    has_ended,
    is_running,
    newest,
    ran_out_of_memory,
    read_outcome,
)
from datamover.movers.rclone import CONTAINER
from datamover.plans.conditions import Said, State
from datamover.plans.steps import REST, Delete, Emit, ProvePods, SuspendJob, WriteStatus
from datamover.reconcilers.datamover.absence import confirm_copy_gone
from datamover.reconcilers.datamover.blocking import age_of, block, look_into, say_refusal
from datamover.reconcilers.datamover.cleaning import begin_clean_up
from datamover.reconcilers.datamover.conditions import compose
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.failing import fail, fail_without_clone
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.reconcilers.datamover.progressing import follow_progress, is_told
from datamover.reconcilers.datamover.removal import await_removal, describe_lost, find_lost
from datamover.volumes.binding import check_clone, is_bound, is_lost
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import Pod


def follow_job(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan:
    """Return what the Job's state asks for."""
    job, mover = facts.job, facts.mover
    if job is None:
        return REST
    if job.metadata.terminating:
        return await_removal(
            facts,
            JOBS,
            job,
            reason=reasons.MOVER_REMOVAL_WAITING,
            purpose="Another Job is made when it is gone",
            action="Synchronize",
            now=now,
            settings=settings,
        )
    if not job.metadata.owned_by(mover.metadata.uid):
        message = f"Job {job.metadata.name} exists and is not this DataMover's: delete or rename it"
        told = block(facts, reasons.NAME_TAKEN, message, action="Synchronize", now=now)
        return Plan(told, wake_after=settings.inquire_interval)  # its end is told to its owner, not to us
    if mover.status is None or mover.status.phase != Phase.CREATING_POD:
        return _enter(facts, run, job, now=now)
    if job.condition("Complete") is not None:
        return _succeed(facts, run, job, now=now, settings=settings)
    if job.condition("Failed") is not None:
        return _fail(facts, run, job, now=now, settings=settings)
    if job.spec is not None and job.spec.suspend:
        return _go_on(facts, job, now=now)
    lost, due = find_lost(facts.pods, now=now)
    if lost:
        return Plan(block(facts, reasons.MOVER_NODE_LOST, describe_lost(facts, lost), action="Synchronize", now=now))
    plan = _watch(facts, run, job, now=now, settings=settings)
    return plan if due is None else Plan(plan.steps, wake_after=min(due, plan.wake_after or due))


def _enter(facts: Facts, run: Run, job: Job, *, now: datetime) -> Plan:
    """The Job is there but not recorded yet: a crash, or another replica, came in between."""
    entered = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reasons.JOB_CREATED,
        message=f"Job {job.metadata.name} moves the data",
        phase=Phase.CREATING_POD,
        run=replace(run, job_name=job.metadata.name),
    )
    return Plan((WriteStatus(entered),)) if entered else REST


def _go_on(facts: Facts, job: Job, *, now: datetime) -> Plan:
    """The run is no longer suspended: let the Job go on, and say so."""
    refusal = facts.refused(patch=True)
    if refusal is not None:
        return say_refusal(facts, refusal, action="Resume", now=now)
    message = f"Job {job.metadata.name} goes on"
    going = compose(facts.mover, now=now, state=State.WORKING, reason=reasons.JOB_CREATED, message=message)
    resumed = SuspendJob(job.metadata, suspend=False)
    return Plan((resumed, WriteStatus(going)) if going else (resumed,))


def _succeed(facts: Facts, run: Run, job: Job, *, now: datetime, settings: Settings) -> Plan:
    outcome = _final_outcome(facts.pods, succeeded=True)
    if outcome is None and (wait := _outcome_wait(job, facts.pods, now=now, settings=settings)) > 0:
        return Plan(wake_after=wait)
    done = record_outcome(run, outcome, attempts=_attempts(job, facts.pods))
    denied = _denial(outcome)
    if denied is not None:
        return fail(facts, done, reason=denied[0], message=denied[1], now=now)
    # A claim that waits for its first consumer is bound only now: what was moved must have been the source's (law L4).
    empty = check_clone(facts.clone, facts.volumes) if facts.clone is not None else None
    if empty is not None:
        return fail(facts, done, reason=empty.reason, message=empty.message, now=now)
    said: dict[str, Said] = {
        ConditionType.SYNCHRONIZED: (
            "True",
            reasons.SYNCHRONIZED,
            outcome.message if outcome else "the mover's Job is complete",
        ),
        ConditionType.VERIFIED: _judge_verification(outcome, find_flaw(_ended(facts.pods, "Succeeded"), CONTAINER)),
    }
    return _recounted(facts, begin_clean_up(facts, done, said=said, now=now), job, outcome, now=now)


def _denial(outcome: Outcome | None) -> tuple[str, str] | None:
    """Return reason and sentence when the mover itself denies the success that its exit code claims (law L4)."""
    if outcome is None or (outcome.succeeded and outcome.verified is not False):
        return None
    if outcome.succeeded:
        return REASON_VERIFICATION_FAILED, "the mover compared source and destination, and found differences: run again"
    advice = "the mover's exit code is 0, but its outcome says that it failed: let what starts it pass its exit code on"
    said = outcome.message.rstrip(". ")
    return _known_reason(outcome), f"{said}. ({advice})" if said else advice


def _known_reason(outcome: Outcome) -> str:
    """Return the outcome's reason; `MoverFailed` for one that our own agent does not give for a failure."""
    return known(outcome.reason, KNOWN_REASONS - {REASON_SUCCEEDED}, otherwise=reasons.MOVER_FAILED)


def _judge_verification(outcome: Outcome | None, flaw: str | None) -> Said:
    """Only the mover knows: what it does not say is not claimed in either way (law L4). `flaw` is why what it said cannot be read."""
    if outcome is None:
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
        return "False", reasons.NOT_REQUESTED, 'not asked for: set VERIFY_BACKUP to "true" in spec.additionalEnv'
    sample = outcome.verification.startswith(SAMPLE)
    return "True", reasons.SAMPLE_VERIFIED if sample else reasons.VERIFIED, told


def _fail(facts: Facts, run: Run, job: Job, *, now: datetime, settings: Settings) -> Plan:
    condition = job.condition("Failed")
    cause = condition.reason if condition else None
    if cause != "DeadlineExceeded" and (wait := _outcome_wait(job, facts.pods, now=now, settings=settings)) > 0:
        return Plan(wake_after=wait)
    outcome = _final_outcome(facts.pods, succeeded=False)
    # The words of an earlier attempt are not the last ones: only every Pod that the Job counts makes them final.
    return _recounted(facts, _end_failed(facts, run, job, outcome, cause=cause, now=now), job, None, now=now)


def _recounted(facts: Facts, plan: Plan, job: Job, outcome: Outcome | None, *, now: datetime) -> Plan:
    """Without the mover's last words, and with Pods that were counted but not seen, the server is asked before the run ends."""
    if outcome is not None or _all_ended(job, facts.pods):
        return plan
    refusal = facts.refused()
    if refusal is not None:
        return say_refusal(facts, refusal, action="Synchronize", now=now)
    return Plan((ProvePods(), *plan.steps), wake_after=plan.wake_after)


def _end_failed(facts: Facts, run: Run, job: Job, outcome: Outcome | None, *, cause: str | None, now: datetime) -> Plan:
    condition = job.condition("Failed")
    ended = record_outcome(run, outcome, attempts=_attempts(job, facts.pods))
    if cause == "DeadlineExceeded":
        limit = facts.mover.spec and facts.mover.spec.deadline_seconds
        before = f"; the last attempt said: {outcome.message}" if outcome is not None and outcome.message else ""
        message = f"the mover took longer than spec.deadlineSeconds ({limit} s){before}"
        return fail(facts, ended, reason=reasons.DEADLINE_EXCEEDED, message=message, now=now)
    if outcome is not None and outcome.reason:
        return fail(facts, ended, reason=_known_reason(outcome), message=outcome.message or "the mover failed", now=now)
    pod = newest(facts.pods)
    if pod is not None and ran_out_of_memory(pod, CONTAINER):
        message = (
            f"{describe_end(pod, CONTAINER)}: it reached its memory limit. Raise spec.mover.resources.limits.memory"
        )
        return fail(facts, ended, reason=REASON_OUT_OF_MEMORY, message=message, now=now)
    message = (
        describe_end(pod, CONTAINER)
        if pod is not None
        else (condition.message if condition and condition.message else "the mover's Job failed")
    )
    return fail(
        facts,
        ended,
        reason=reasons.BACKOFF_LIMIT_EXCEEDED if cause == "BackoffLimitExceeded" else reasons.MOVER_FAILED,
        message=f"{message}; see kubectl logs job/{job.metadata.name}",
        now=now,
    )


def _watch(facts: Facts, run: Run, job: Job, *, now: datetime, settings: Settings) -> Plan:
    """The mover is on its way: say why when it does not start, and how far it is when it runs."""
    mover = facts.mover
    status = mover.status or DataMoverStatus()
    pod = newest(facts.pods)
    attempts = _attempts(job, facts.pods)
    copied = run.copy_method != CopyMethod.DIRECT
    if copied and _is_clone_lost(facts) and (pod is None or not (is_running(pod, CONTAINER) or has_ended(pod))):
        return _lose_clone(facts, run, job, now=now)
    if pod is None:
        return _wait_for_pod(facts, job, now=now, settings=settings)
    hindrance = find_hindrance(pod)
    if hindrance is not None:
        age = age_of(pod.metadata.creation_timestamp, now)
        if age < hindrance.patience:
            return Plan(wake_after=hindrance.patience - age + 0.1)
        told = block(
            facts,
            hindrance.reason,
            hindrance.message,
            action="Synchronize",
            now=now,
            run=replace(run, attempts=attempts),
            once=hindrance.reason == reasons.IMAGE_PULL_FAILED,  # the node says it in two ways by turns
        )
        return Plan(told)
    if attempts > max(run.attempts, 1) and not has_ended(pod):
        return _tell_retry(facts, run, attempts=attempts, now=now)
    if has_ended(pod):
        return REST
    if not is_running(pod, CONTAINER):
        return _wait_for_start(facts, pod, copied=copied, now=now, settings=settings)
    stalled = status.condition(ConditionType.RECONCILING)
    if stalled is not None and stalled.status != "True" and not is_told(facts, reasons.NO_PROGRESS):
        going = compose(mover, now=now, state=State.WORKING, reason=reasons.SYNCHRONIZING, message="the mover runs")
        return Plan((WriteStatus(going),)) if going else REST
    return follow_progress(facts, run, pod, attempts=attempts, now=now, settings=settings)


def _is_clone_lost(facts: Facts) -> bool:
    """Tell whether no mover can start with the clone any more. Nobody provisions a volume for a claim that is going."""
    clone = facts.clone
    if clone is None or not clone.metadata.owned_by(facts.mover.metadata.uid):
        return True
    return is_lost(clone) or (clone.metadata.terminating and not is_bound(clone))


def _lose_clone(facts: Facts, run: Run, job: Job, *, now: datetime) -> Plan:
    """The clone, or its volume, went before the mover could start: stop the Job, which would wait for it for ever."""
    refused = facts.refused()
    also = f". Its Job is still there: {refused.message}" if refused is not None else ""
    ended = fail_without_clone(facts, run, now=now, also=also)
    stop: tuple[Step, ...] = (Delete(JOBS, job.metadata),) if facts.owns(job) and refused is None else ()
    return Plan((*confirm_copy_gone(facts, run), *stop, *ended.steps))


def _wait_for_pod(facts: Facts, job: Job, *, now: datetime, settings: Settings) -> Plan:
    if job.status is not None and (job.status.active or job.status.failed):
        return REST
    return look_into(
        facts,
        "Job",
        job.metadata,
        reason=reasons.MOVER_CANNOT_START,
        subject=f"Job {job.metadata.name} has no Pod",
        action="Synchronize",
        now=now,
        settings=settings,
    )


def _wait_for_start(facts: Facts, pod: Pod, *, copied: bool, now: datetime, settings: Settings) -> Plan:
    """Nobody complains, but the mover does not run: a volume that is not made, attached or mounted is told by events only."""
    clone = facts.clone
    unbound = copied and clone is not None and not is_bound(clone)
    return look_into(
        facts,
        "PersistentVolumeClaim" if unbound else "Pod",
        clone.metadata if unbound and clone is not None else pod.metadata,
        reason=reasons.MOVER_CANNOT_START,
        subject=f"Pod {pod.metadata.name} does not start",
        action="Synchronize",
        now=now,
        settings=settings,
    )


def _tell_retry(facts: Facts, run: Run, *, attempts: int, now: datetime) -> Plan:
    last = next(
        (o for pod in sorted(facts.pods, key=_born, reverse=True) if (o := read_outcome(pod, CONTAINER)) is not None),
        None,
    )
    why = last.message if last is not None and last.message else "the attempt before failed"
    message = f"attempt {attempts}: {why}"
    told = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reasons.RETRYING,
        message=message,
        run=replace(run, attempts=attempts, progress=None),
    )
    if told is None:
        return REST
    written = WriteStatus(told, cause=_cause_of(last, facts.pods))
    return Plan((written, Emit("Warning", reasons.RETRYING, message, "Synchronize")))


def _cause_of(outcome: Outcome | None, pods: tuple[Pod, ...]) -> str:
    """Return the reason of an attempt that failed, of a closed list: it becomes a metric's label."""
    if outcome is not None:
        return known(outcome.reason, KNOWN_REASONS, otherwise=reasons.MOVER_FAILED)
    return REASON_OUT_OF_MEMORY if any(ran_out_of_memory(pod, CONTAINER) for pod in pods) else reasons.MOVER_FAILED


def record_outcome(run: Run, outcome: Outcome | None, *, attempts: int) -> Run:
    """Return the run with what the mover reported. Of a run that failed the source's amounts are what there was to do, not what is done."""
    if outcome is None:
        return replace(run, attempts=attempts, progress=None)
    if outcome.succeeded:
        size, files = outcome.bytes, outcome.files
    else:
        size = max(run.bytes or 0, outcome.transferred_bytes)
        files = max(run.files or 0, outcome.transferred_files)
    return replace(
        run,
        attempts=attempts,
        progress=None,
        destination=outcome.destination or run.destination,
        timestamp=outcome.timestamp or run.timestamp,
        bytes=size,
        files=files,
        total_bytes=outcome.bytes or run.total_bytes or size,
        total_files=outcome.files or run.total_files or files,
        transferred_bytes=outcome.transferred_bytes,
        transferred_files=outcome.transferred_files,
        deleted=outcome.deleted,
        skipped=outcome.skipped_special or None,
    )


def _final_outcome(pods: tuple[Pod, ...], *, succeeded: bool) -> Outcome | None:
    """Return the outcome of the Pod that decided: the one that succeeded, else the last one that failed."""
    deciding = _ended(pods, "Succeeded" if succeeded else "Failed")
    return next((outcome for pod in deciding if (outcome := read_outcome(pod, CONTAINER)) is not None), None)


def _ended(pods: tuple[Pod, ...], phase: str) -> tuple[Pod, ...]:
    """Return the Pods that ended so, the last one first."""
    return tuple(
        pod for pod in sorted(pods, key=_born, reverse=True) if pod.status is not None and pod.status.phase == phase
    )


def _outcome_wait(job: Job, pods: tuple[Pod, ...], *, now: datetime, settings: Settings) -> float:
    """Seconds that the Pods' last words may still take to arrive: Jobs and Pods come by different watches.

    Nothing is waited for when every Pod that the Job counts is seen to have ended.
    """
    if _all_ended(job, pods):
        return 0.0
    status = job.status
    moment = status.completion_time if status else None
    for condition in (status.conditions if status else None) or ():
        moment = moment or condition.last_transition_time
    return settings.outcome_patience - age_of(moment, now) if moment else 0.0


def _all_ended(job: Job, pods: tuple[Pod, ...]) -> bool:
    """Tell whether every Pod that the Job counts is seen to have ended."""
    status = job.status
    counted = (status.failed or 0) + (status.succeeded or 0) if status else 0
    return 0 < counted <= sum(has_ended(pod) for pod in pods)


def _attempts(job: Job, pods: tuple[Pod, ...]) -> int:
    status = job.status
    counted = (status.failed or 0) + (status.succeeded or 0) + (status.active or 0) if status else 0
    return max(counted, len(pods))


def _born(pod: Pod) -> tuple[str, str]:
    return (pod.metadata.creation_timestamp or "", pod.metadata.name)
