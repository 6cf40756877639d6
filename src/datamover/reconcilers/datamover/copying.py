"""From the recorded run to a copy that a mover can read, and to the Job. Pure."""

from datetime import datetime

from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DataMoverStatus, Run
from datamover.movers.outcomes import has_ended
from datamover.movers.rclone import build_job
from datamover.plans.conditions import State
from datamover.plans.steps import REST, Create, Emit, ProvePods, ProveStatus, WriteStatus
from datamover.reconcilers.datamover.absence import confirm_copy_gone
from datamover.reconcilers.datamover.blocking import block, look_into, say_refusal
from datamover.reconcilers.datamover.conditions import compose
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.failing import CLONE_LOST_MESSAGE, fail, fail_without_clone
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.reconcilers.datamover.preflight import check_copyable
from datamover.reconcilers.datamover.progressing import is_told
from datamover.reconcilers.datamover.removal import await_pods, await_removal
from datamover.reconcilers.datamover.transfer import owner_of, sync_of
from datamover.volumes.binding import (
    Obstacle,
    binds_on_use,
    check_clone,
    check_source,
    choose_snapshot_class,
    is_bound,
    is_lost,
    is_read_only,
)
from datamover.volumes.copies import build_clone, build_snapshot
from datamover.volumes.naming import clone_name, job_name
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, Pod
from kubekit.words.meta import HasMeta, ObjectMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import folder, parse

_LOOK_AGAIN = 60.0
"""Seconds after which a name that somebody else holds is looked at again: nothing tells us when a foreign snapshot goes."""

_ANEW = ". This run keeps its copyMethod: for another one delete the DataMover and create it anew"

_CLONING_ADVICE = ". The driver goes on trying; if it cannot clone at all, create the DataMover anew with copyMethod: Snapshot or Direct"


def advance_copy(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan:
    """Bring the copy one step on; when it can be read, create the Job."""
    refusal = facts.refused()
    if refusal is not None:
        return say_refusal(facts, refusal, action="Create", now=now)
    if run.copy_method == CopyMethod.DIRECT:
        return _start_mover(facts, run, claim=run.source or "", now=now, settings=settings)
    clone = facts.clone
    if any(
        child is not None and not child.metadata.owned_by(facts.mover.metadata.uid) for child in _copies(facts, run)
    ):
        return _take_other_name(facts, run, now=now)
    if clone is None or clone.metadata.terminating:
        return _make_copy(facts, run, now=now, settings=settings)
    if is_lost(clone):
        return fail_without_clone(facts, run, now=now)
    empty = check_clone(clone, facts.volumes)
    if empty is not None:
        return fail(facts, run, reason=empty.reason, message=empty.message, now=now)
    if is_bound(clone):
        reason, message = reasons.CLONE_BOUND, f"clone {clone.metadata.name} is bound"
    elif binds_on_use(facts.clone_class):
        reason = reasons.CLONE_WAITS_FOR_CONSUMER
        message = f"clone {clone.metadata.name} binds when the mover starts (WaitForFirstConsumer)"
    else:
        message = f"clone {clone.metadata.name} is being made"
        return _wait_for(
            facts,
            "PersistentVolumeClaim",
            clone.metadata,
            reasons.CLONING,
            message,
            advice="" if run.copy_method == CopyMethod.SNAPSHOT else _CLONING_ADVICE,
            now=now,
            settings=settings,
        )
    status = facts.mover.status or DataMoverStatus()
    if status.phase == Phase.CREATING_CLONE:
        ready = compose(
            facts.mover,
            now=now,
            state=State.WORKING,
            reason=reason,
            message=message,
            phase=Phase.CLONE_READY,
            said={ConditionType.CLONE_READY: ("True", reason, message)},
        )
        return Plan((WriteStatus(ready),)) if ready else REST
    return _start_mover(facts, run, claim=clone.metadata.name, now=now, settings=settings)


def _make_copy(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan:
    mover, spec = facts.mover, facts.mover.spec
    if spec is None:
        return REST
    if mover.status is not None and mover.status.phase == Phase.CREATING_POD:
        lost = fail_without_clone(facts, run, now=now)
        return Plan((*confirm_copy_gone(facts, run), *lost.steps))
    if facts.clone is not None:
        message = f"clone {facts.clone.metadata.name} is being deleted; another one is made when it is gone"
        return await_removal(
            facts,
            PERSISTENT_VOLUME_CLAIMS,
            facts.clone,
            reason=reasons.CLEANUP_WAITING,
            purpose="Another clone is made when it is gone",
            action="Clone",
            now=now,
            settings=settings,
            meanwhile=_working(facts, reasons.CLONE_LOST, message, now=now).steps,
        )
    method = run.copy_method or spec.copy_method
    obstacle = check_source(
        run.source or spec.source_pvc, facts.source, method=method, storage_class=facts.source_class
    )
    if obstacle is None and facts.source is not None:
        obstacle = check_copyable(facts, facts.source, spec)
        if obstacle is not None and not obstacle.waits:
            obstacle = Obstacle(obstacle.reason, obstacle.message + _ANEW, waits=False)
    if obstacle is not None or facts.source is None:
        return _blocked(facts, obstacle, now=now)
    if run.copy_method == CopyMethod.SNAPSHOT:
        waiting = _make_snapshot(facts, run, now=now, settings=settings)
        if waiting is not None:
            return waiting
    name = (mover.status and mover.status.restored_pvc_name) or clone_name(spec.source_pvc, created=now)
    wanted = (
        spec.storage_class_name
        if spec.storage_class_name is not None
        else (facts.source.spec and facts.source.spec.storage_class_name)
    )
    manifest = build_clone(
        owner_of(mover, run),
        name=name,
        source=facts.source,
        storage_class=wanted,
        snapshot=facts.snapshot if run.copy_method == CopyMethod.SNAPSHOT else None,
    )
    return Plan((Create(PERSISTENT_VOLUME_CLAIMS, manifest),))


def _make_snapshot(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan | None:
    """Return what to do until the snapshot is ready; None when it is."""
    mover, spec = facts.mover, facts.mover.spec
    name = run.snapshot_name
    if spec is None or name is None:
        return REST
    snapshot = facts.snapshot
    if snapshot is None:
        chosen = choose_snapshot_class(
            facts.snapshot_classes or (), wanted=spec.volume_snapshot_class_name, driver=facts.driver
        )
        if isinstance(chosen, Obstacle):
            return _blocked(facts, chosen, now=now)
        manifest = build_snapshot(
            owner_of(mover, run),
            name=name,
            source=run.source or spec.source_pvc,
            snapshot_class=chosen.metadata.name,
        )
        return Plan((Create(VOLUME_SNAPSHOTS, manifest),))
    if snapshot.metadata.terminating:
        message = f"snapshot {name} is being deleted; another one is taken when it is gone"
        return await_removal(
            facts,
            VOLUME_SNAPSHOTS,
            snapshot,
            reason=reasons.CLEANUP_WAITING,
            purpose="Another snapshot is taken when it is gone",
            action="Clone",
            now=now,
            settings=settings,
            meanwhile=_working(facts, reasons.SNAPSHOTTING, message, now=now).steps,
        )
    if snapshot.status is not None and snapshot.status.ready_to_use:
        return None
    error = snapshot.status and snapshot.status.error
    if error is not None:
        message = f"snapshot {name} is not ready, the driver says: {error.message or 'nothing'}"
        said = {ConditionType.CLONE_READY: ("False", reasons.SNAPSHOT_FAILED, message)}
        return Plan(block(facts, reasons.SNAPSHOT_FAILED, message, action="Clone", now=now, said=said))
    return _wait_for(
        facts,
        "VolumeSnapshot",
        snapshot.metadata,
        reasons.SNAPSHOTTING,
        f"snapshot {name} is being taken",
        now=now,
        settings=settings,
    )


def _wait_for(
    facts: Facts,
    kind: str,
    target: ObjectMeta,
    reason: str,
    message: str,
    *,
    advice: str = "",
    now: datetime,
    settings: Settings,
) -> Plan:
    """Wait for a copy. Work in progress is said again after an obstacle; why it takes long, as soon as that is known, with `advice`."""
    waiting = look_into(
        facts,
        kind,
        target,
        reason=reasons.CLONE_PROVISIONING_FAILED,
        subject=f"{kind} {target.name} does not get ready",
        action="Clone",
        now=now,
        settings=settings,
        said=ConditionType.CLONE_READY,
        advice=advice,
    )
    if waiting.steps or (facts.diagnosis is not None and facts.diagnosis.target == target.uid):
        return waiting
    return Plan(_working(facts, reason, message, now=now).steps, wake_after=waiting.wake_after)


def _start_mover(facts: Facts, run: Run, *, claim: str, now: datetime, settings: Settings) -> Plan:
    mover = facts.mover
    name = run.job_name or job_name(claim)
    alive = tuple(pod for pod in facts.strays if not has_ended(pod))
    if alive:
        return _wait_for_strays(facts, run, alive, job=name, now=now)
    recorded, run = run, replace(run, job_name=name, copied=_moment(facts, run), progress=None)
    manifest = build_job(
        owner_of(mover, run),
        sync_of(mover, run, cluster=settings.cluster),
        name=name,
        claim=claim,
        read_only=run.copy_method != CopyMethod.DIRECT and facts.clone is not None and is_read_only(facts.clone),
        image=settings.mover_image,
        pull_policy=settings.mover_pull_policy,
        defaults=settings.mover_defaults,
    )
    current = mover.status or DataMoverStatus()
    ready = current.condition(ConditionType.READY)
    again = current.phase == Phase.CREATING_POD and ready is not None and ready.reason != reasons.RUN_RECORDED
    status = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.JOB_CREATED,
        message=f"Job {name} moves the data",
        phase=Phase.CREATING_POD,
        run=run,
    )
    gone = again and run.attempts > 0 and ready is not None and ready.reason != reasons.JOB_LOST
    # The status goes first, so that nobody who is behind makes a second Job. After a refusal that is told it stays until the Job is there.
    steps: list[Step] = [ProvePods()] if again else []
    refused = facts.refusal is not None and facts.refusal.target == (JOBS.kind, name) and recorded.job_name == name
    cause = reasons.JOB_LOST if gone and not refused else None  # counted before it was refused
    written = WriteStatus(status, cause=cause) if status is not None else None
    if written is None or (refused and current.phase == Phase.CREATING_POD):
        steps += [ProveStatus(), Create(JOBS, manifest), *([written] if written is not None else [])]
    else:
        steps += [written, Create(JOBS, manifest)]
    if gone:
        lost = f"Job {name} was gone, as when somebody deletes it; it is made again and goes on from what has arrived"
        steps.append(Emit("Warning", reasons.JOB_LOST, lost, "Synchronize"))
    elif run.copy_method != CopyMethod.SNAPSHOT:  # it takes two more writes, and this event is what the budget gives up
        steps.append(Emit("Normal", reasons.JOB_CREATED, f"Job {name} moves {claim}", "Synchronize"))
    return Plan(tuple(steps))


def _moment(facts: Facts, run: Run) -> str | None:
    """Return the moment before which the copy cannot have been made: all attempts of a run are told the same (law L6).

    It is the API server's time for all copies, so that they can be compared. None for a source that is read directly: each attempt reads
    it anew. A snapshot may go once its clone is there, so what was recorded of it counts first.
    """
    if run.copy_method == CopyMethod.DIRECT:
        return None
    if run.copy_method == CopyMethod.SNAPSHOT:
        snapshot = facts.snapshot
        seen = snapshot.metadata.creation_timestamp if facts.owns(snapshot) else None
        return run.copied or (folder(parse(seen)) if seen else run.timestamp)
    made = facts.clone.metadata.creation_timestamp if facts.clone is not None else None
    return folder(parse(made)) if made else run.copied or run.timestamp


def _wait_for_strays(facts: Facts, run: Run, alive: tuple[Pod, ...], *, job: str, now: datetime) -> Plan:
    """Two movers of one run must never write at once."""
    stuck = await_pods(
        facts,
        alive,
        reason=reasons.MOVER_REMOVAL_WAITING,
        purpose=f"Job {job} starts when it has: two movers of one run never write at once",
        action="Synchronize",
        now=now,
    )
    told = facts.mover.status and facts.mover.status.condition(ConditionType.STALLED)
    if stuck.steps or (told is not None and told.status == "True" and told.reason == reasons.MOVER_REMOVAL_WAITING):
        return stuck
    listed = ", ".join(pod.metadata.name for pod in alive)
    message = f"Job {job} is gone; another one starts when Pod {listed} has ended"
    lost = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reasons.JOB_LOST,
        message=message,
        run=replace(run, progress=None),
    )
    if lost is None:
        return Plan(wake_after=stuck.wake_after)
    news = () if is_told(facts, reasons.JOB_LOST) else (Emit("Warning", reasons.JOB_LOST, message, "Synchronize"),)
    return Plan((WriteStatus(lost, cause=reasons.JOB_LOST if news else None), *news), wake_after=stuck.wake_after)


def _take_other_name(facts: Facts, run: Run, *, now: datetime) -> Plan:
    """Two DataMovers of one source in the same second want the same name; the other one has it (never adopted)."""
    mover = facts.mover
    status = mover.status or DataMoverStatus()
    spec = mover.spec
    if status.phase == Phase.CREATING_POD:
        return fail(facts, run, reason=reasons.CLONE_LOST, message=CLONE_LOST_MESSAGE, now=now)
    taken = status.restored_pvc_name or ""
    created = parse(mover.metadata.creation_timestamp) if mover.metadata.creation_timestamp else now
    other = clone_name(run.source or (spec.source_pvc if spec else ""), created=created, taken_for=mover.metadata.uid)
    if other == taken:
        kind = "PersistentVolumeClaim" if facts.clone is not None else "VolumeSnapshot"
        message = f"{kind} {taken} exists and is not this DataMover's: delete or rename it"
        return Plan(block(facts, reasons.NAME_TAKEN, message, action="Clone", now=now), wake_after=_LOOK_AGAIN)
    snapshot = other if run.copy_method == CopyMethod.SNAPSHOT else None
    if facts.snapshot is not None and facts.snapshot.metadata.owned_by(mover.metadata.uid):
        snapshot = run.snapshot_name  # it is taken already, under a name that was free
    renamed = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.CLONING,
        message=f"{taken} belongs to somebody else; the clone is called {other}",
        run=replace(run, job_name=job_name(other), snapshot_name=snapshot),
        restored=other,
    )
    return Plan((WriteStatus(renamed),)) if renamed else REST


def _copies(facts: Facts, run: Run) -> tuple[HasMeta | None, ...]:
    """What holds the names that the run wants. Once there is a clone, nobody needs the snapshot's name any more."""
    return (facts.clone, facts.snapshot if run.copy_method == CopyMethod.SNAPSHOT and facts.clone is None else None)


def _working(facts: Facts, reason: str, message: str, *, now: datetime) -> Plan:
    """Say that a wait is work in progress, unless the status says so already: a plain wait needs no further write."""
    reconciling = facts.mover.status and facts.mover.status.condition(ConditionType.RECONCILING)
    if reconciling is not None and reconciling.status == "True":
        return REST
    status = compose(facts.mover, now=now, state=State.WORKING, reason=reason, message=message)
    return Plan((WriteStatus(status),)) if status is not None else REST


def _blocked(facts: Facts, obstacle: Obstacle | None, *, now: datetime) -> Plan:
    if obstacle is None:
        return REST
    return Plan(block(facts, obstacle.reason, obstacle.message, action="Clone", now=now))
