"""What to do next for one DataMover. Pure: facts and the time in, a plan out.

The state is derived from facts: the recorded run, the children that exist, and what they say. `status.phase` follows for people.

    no run ──► record it ──► copy (copying.py) ──► Job (syncing.py) ──► clean up (cleaning.py) ──► Completed
       │                        any of these may end in ──► Failed ──► retry annotation ──► the same run again
       └─ something missing: a condition says what; goes on when it appears
"""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.transfer import REASON_INTERNAL_ERROR
from datamover.api.v1alpha1.datamover import DataMover, DataMoverSpec, DataMoverStatus, Run
from datamover.plans.conditions import State
from datamover.plans.steps import REST, Delete, Emit, SuspendJob, WriteStatus
from datamover.reconcilers.datamover.absence import confirm_copy_gone
from datamover.reconcilers.datamover.blocking import block, say_refusal
from datamover.reconcilers.datamover.cleaning import clean_up, collect_strays
from datamover.reconcilers.datamover.conditions import compose
from datamover.reconcilers.datamover.copying import advance_copy
from datamover.reconcilers.datamover.facts import Facts, Settings, Unread
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.reconcilers.datamover.preflight import find_obstacle
from datamover.reconcilers.datamover.removal import await_removal
from datamover.reconcilers.datamover.syncing import follow_job
from datamover.volumes.binding import Obstacle, is_lost
from datamover.volumes.naming import clone_name, job_name
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.timestamps import compact, folder, parse, seconds

_GOING_ON: Final = {
    Phase.CREATING_CLONE: reasons.CLONING,
    Phase.CLONE_READY: reasons.CLONE_BOUND,
    Phase.CREATING_POD: reasons.JOB_CREATED,
    Phase.CLEANING_UP: reasons.CLEANING_UP,
}
"""What a run in this phase is doing, when nothing else is known of it."""


def decide(facts: Facts, *, now: datetime, settings: Settings) -> Plan:
    """Return the next steps. Called again after each change; deciding twice on the same facts asks for nothing twice (law L7)."""
    plan = _decide(facts, now=now, settings=settings)
    healed = None if any(isinstance(step, WriteStatus) for step in plan.steps) else _recover(facts.mover, now=now)
    return plan if healed is None else Plan((WriteStatus(healed), *plan.steps), plan.wake_after)


def _recover(mover: DataMover, *, now: datetime) -> DataMoverStatus | None:
    """Return a status that no longer says that the operator fails at this DataMover: it has just decided."""
    status = mover.status
    stalled = status.condition(ConditionType.STALLED) if status is not None else None
    if status is None or stalled is None or stalled.status != "True" or stalled.reason != REASON_INTERNAL_ERROR:
        return None
    reason = _GOING_ON.get(status.phase or Phase.NONE)
    if reason is None or mover.metadata.terminating:
        return None  # before the run the preflight has the word, and at its end the reason is the mover's own
    return compose(mover, now=now, state=State.WORKING, reason=reason, message="the operator goes on with this run")


def _decide(facts: Facts, *, now: datetime, settings: Settings) -> Plan:
    mover, spec = facts.mover, facts.mover.spec
    if mover.metadata.terminating or spec is None:
        # Children go by their owner references; nothing new is begun for an object that is going.
        return REST
    status = mover.status or DataMoverStatus()
    if status.phase == Phase.COMPLETED:
        collected = collect_strays(facts, status, now=now)
        told = any(isinstance(step, WriteStatus) for step in collected.steps)
        return collected if told else Plan((*collected.steps, *_acknowledge(mover, status).steps), collected.wake_after)
    if status.phase == Phase.FAILED:
        return _retry(facts, status, now=now, settings=settings)
    if spec.suspend:
        return _suspend(facts, now=now)
    if status.run is None:
        return _begin(facts, spec, now=now)
    if status.phase == Phase.CLEANING_UP:
        return clean_up(facts, status.run, now=now, settings=settings)
    if facts.job is not None and not _is_of_twin(facts, facts.job):
        return follow_job(facts, status.run, now=now, settings=settings)
    return advance_copy(facts, status.run, now=now, settings=settings)


def _is_of_twin(facts: Facts, job: Job) -> bool:
    """Tell whether the Job belongs to whoever holds the name of our clone: both names are then given up together."""
    uid = facts.mover.metadata.uid
    return facts.clone is not None and not facts.clone.metadata.owned_by(uid) and not job.metadata.owned_by(uid)


def _begin(facts: Facts, spec: DataMoverSpec, *, now: datetime) -> Plan:
    """Check, then record the run before its first effect (law L6)."""
    mover = facts.mover
    if facts.secret is Unread.NOT_SYNCED:
        return REST
    obstacle = find_obstacle(facts, spec)
    if obstacle is not None:
        return blocked(facts, obstacle, now=now)
    source = spec.source_pvc
    method = spec.copy_method
    copied = method != CopyMethod.DIRECT
    name = facts.clone_name or clone_name(source, created=_created(mover, now))
    run = new_run(mover, spec, now=now, copy=name, method=method)
    status = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.CLONING if copied else reasons.RUN_RECORDED,
        message=f"copying {source}" if copied else f"{source} is read directly, without a copy",
        phase=Phase.CREATING_CLONE if copied else Phase.CREATING_POD,
        run=run,
        restored=name if copied else None,
        said={}
        if copied
        else {ConditionType.CLONE_READY: ("True", reasons.NO_CLONE_NEEDED, "copyMethod Direct makes no clone")},
    )
    return Plan((WriteStatus(status),)) if status else REST


def new_run(
    mover: DataMover, spec: DataMoverSpec, *, now: datetime, copy: str, method: str, retry: str | None = None
) -> Run:
    """Return the record of a run. Its id is made of the second and the DataMover's UID: nothing random, nothing that repeats."""
    # Without a clone nothing else tells two runs of the same second apart.
    stem = (
        copy if method != CopyMethod.DIRECT else clone_name(spec.source_pvc, created=now, taken_for=mover.metadata.uid)
    )
    return Run(
        id=f"{compact(now)}-{mover.metadata.uid.replace('-', '')[:12]}",
        timestamp=folder(now),
        job_name=job_name(stem),
        snapshot_name=copy if method == CopyMethod.SNAPSHOT else None,
        copy_method=method,
        source=spec.source_pvc,
        retry=retry or mover.metadata.annotation(names.RETRY_ANNOTATION),
        started=seconds(now),
    )


def blocked(facts: Facts, obstacle: Obstacle, *, now: datetime) -> Plan:
    """Say what is missing, once; go on when it appears (law L10)."""
    return Plan(block(facts, obstacle.reason, obstacle.message, action="Preflight", now=now))


def _suspend(facts: Facts, *, now: datetime) -> Plan:
    steps: list[Step] = []
    job = facts.job
    if job is not None and job.metadata.owned_by(facts.mover.metadata.uid) and _is_active(job):
        refusal = facts.refused(patch=True)
        if refusal is not None:
            return say_refusal(facts, refusal, action="Suspend", now=now)
        steps.append(SuspendJob(job.metadata, suspend=True))
    status = compose(
        facts.mover,
        now=now,
        state=State.SUSPENDED,
        reason=reasons.SUSPENDED,
        message="suspended: set spec.suspend to false to go on",
    )
    if status is not None:
        steps += [WriteStatus(status), Emit("Normal", reasons.SUSPENDED, "suspended by spec.suspend", "Suspend")]
    return Plan(tuple(steps))


def _is_active(job: Job) -> bool:
    return not (job.spec and job.spec.suspend) and not job.condition("Complete") and not job.condition("Failed")


def _acknowledge(mover: DataMover, status: DataMoverStatus) -> Plan:
    """A change of the spec after the end changes nothing, and says so (re-run: create the object anew)."""
    if status.observed_generation in {None, mover.metadata.generation}:  # None: written by the original operator
        return REST
    conditions = tuple(replace(c, observed_generation=mover.metadata.generation) for c in status.conditions or ())
    noted = replace(
        status,
        observed_generation=mover.metadata.generation,
        conditions=conditions,
        message="the run is over, so the change of the spec has no effect: delete the DataMover and create it anew to run again",
    )
    return Plan((WriteStatus(noted),))


def _retry(facts: Facts, status: DataMoverStatus, *, now: datetime, settings: Settings) -> Plan:
    """A new value of the retry annotation runs the same run again: same id, same folder, same copy (law L6).

    Only when the copy is gone, or lost with its volume, and the snapshot that it was made of, is there another one to take, and with
    it another run.
    """
    mover, spec, run = facts.mover, facts.mover.spec, status.run
    wish = mover.metadata.annotation(names.RETRY_ANNOTATION)
    if spec is None or not wish or (run is not None and run.retry == wish):
        return _acknowledge_failed(mover, status)
    job = facts.job
    refused = facts.refused()
    if job is not None and facts.owns(job):
        # The old Job goes first: its name is needed again. Its disappearance brings us back here.
        if job.metadata.terminating:
            return await_removal(
                facts,
                JOBS,
                job,
                reason=reasons.MOVER_REMOVAL_WAITING,
                purpose="The retry begins when it is gone",
                action="Retry",
                now=now,
                settings=settings,
                state=State.FAILED,
            )
        if refused is not None:
            return say_refusal(facts, refused, state=State.FAILED, action="Retry", now=now)
        return Plan((Delete(JOBS, job.metadata),))
    method = (run and run.copy_method) or spec.copy_method
    clone = facts.clone if facts.clone is not None and not is_lost(facts.clone) else None
    if clone is None and facts.clone is not None and facts.owns(facts.clone) and not facts.clone.metadata.terminating:
        # What has lost its volume holds nothing that anybody could look into, and its name is needed.
        if refused is not None:
            return say_refusal(facts, refused, state=State.FAILED, action="Retry", now=now)
        return Plan((Delete(PERSISTENT_VOLUME_CLAIMS, facts.clone.metadata),))
    copies = (clone, facts.snapshot if method == CopyMethod.SNAPSHOT else None)
    kept = any(
        copy is not None and copy.metadata.owned_by(mover.metadata.uid) and not copy.metadata.terminating
        for copy in copies
    )
    gone: tuple[Step, ...] = ()
    if run is not None and (kept or method == CopyMethod.DIRECT):
        again = replace(run, retry=wish, finished=None, progress=None, attempts=0)
        name = None
    else:
        gone = confirm_copy_gone(facts, run) if run is not None else ()
        name = facts.clone_name or clone_name(spec.source_pvc, created=_created(mover, now))
        again = new_run(mover, spec, now=now, copy=name, method=spec.copy_method, retry=wish)
        method = spec.copy_method
        if method == CopyMethod.DIRECT:
            name = ""
    composed = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.RETRYING,
        message="trying again, as the retry annotation asks",
        phase=Phase.CREATING_POD if method == CopyMethod.DIRECT else Phase.CREATING_CLONE,
        run=again,
        restored=name,
        said={ConditionType.SYNCHRONIZED: ("Unknown", reasons.RETRYING, "trying again")},
    )
    if composed is None:
        return REST
    return Plan(
        (
            *gone,
            WriteStatus(composed),
            Emit("Normal", reasons.RETRYING, "trying again, as the retry annotation asks", "Retry"),
        )
    )


def _acknowledge_failed(mover: DataMover, status: DataMoverStatus) -> Plan:
    if status.observed_generation in {None, mover.metadata.generation}:
        return REST
    conditions = tuple(replace(c, observed_generation=mover.metadata.generation) for c in status.conditions or ())
    return Plan((WriteStatus(replace(status, observed_generation=mover.metadata.generation, conditions=conditions)),))


def _created(mover: DataMover, now: datetime) -> datetime:
    stamp = mover.metadata.creation_timestamp
    return parse(stamp) if stamp else now
