"""From the recorded run to a copy that a mover can read, and to the Job. Pure."""

from datetime import datetime

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.batch import JOBS
from datamover.api.core import PERSISTENT_VOLUME_CLAIMS
from datamover.api.meta import ObjectMeta
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.snapshot import VOLUME_SNAPSHOTS
from datamover.api.timestamps import parse
from datamover.api.v1alpha1.datamover import DataMoverStatus, Run
from datamover.movers.rclone import build_job
from datamover.reconcilers.datamover.conditions import State, compose
from datamover.reconcilers.datamover.facts import Facts, Refusal, Settings
from datamover.reconcilers.datamover.failing import CLONE_LOST_MESSAGE, fail
from datamover.reconcilers.datamover.plan import REST, Create, Emit, Inquire, Plan, Step, WriteStatus
from datamover.volumes.binding import Obstacle, binds_on_use, check_source, choose_snapshot_class, is_bound
from datamover.volumes.copies import build_clone, build_snapshot, child_labels
from datamover.volumes.naming import clone_name, job_name


def advance_copy(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan:
    """Bring the copy one step on; when it can be read, create the Job."""
    if facts.refusal is not None and facts.refusal.fresh:
        return _say_refusal(facts, facts.refusal, now=now)
    if run.copy_method == CopyMethod.DIRECT:
        return _start_mover(facts, run, claim=run.source or "", now=now, settings=settings)
    clone = facts.clone
    if clone is not None and not clone.metadata.owned_by(facts.mover.metadata.uid):
        return _take_other_name(facts, run, now=now)
    if clone is None or clone.metadata.terminating:
        return _make_copy(facts, run, now=now, settings=settings)
    if is_bound(clone):
        reason, message = reasons.CLONE_BOUND, f"clone {clone.metadata.name} is bound"
    elif binds_on_use(facts.clone_class):
        reason = reasons.CLONE_WAITS_FOR_CONSUMER
        message = f"clone {clone.metadata.name} binds when the mover starts (WaitForFirstConsumer)"
    else:
        return _wait_for_clone(facts, now=now, settings=settings)
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
    if facts.clone is not None:
        return _working(
            facts,
            reasons.CLONE_LOST,
            f"clone {facts.clone.metadata.name} is being deleted by somebody; waiting to take it again",
            now=now,
        )
    if mover.status is not None and mover.status.phase == Phase.CREATING_POD:
        return fail(facts, run, reason=reasons.CLONE_LOST, message=CLONE_LOST_MESSAGE, now=now)
    obstacle = check_source(
        run.source or spec.source_pvc, facts.source, method=spec.copy_method, storage_class=facts.source_class
    )
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
        mover,
        name=name,
        run_id=run.id,
        source=facts.source,
        storage_class=wanted,
        snapshot=facts.snapshot if run.copy_method == CopyMethod.SNAPSHOT else None,
    )
    return Plan(
        (
            Create(PERSISTENT_VOLUME_CLAIMS, manifest),
            Emit("Normal", reasons.CLONING, f"created clone {name} of {run.source}", "Clone"),
        )
    )


def _make_snapshot(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan | None:
    """Return what to do until the snapshot is ready; None when it is."""
    mover, spec = facts.mover, facts.mover.spec
    name = run.snapshot_name
    if spec is None or name is None:
        return REST
    snapshot = facts.snapshot
    if snapshot is None:
        driver = facts.source_class.provisioner if facts.source_class else ""
        chosen = choose_snapshot_class(
            facts.snapshot_classes or (), wanted=spec.volume_snapshot_class_name, driver=driver
        )
        if isinstance(chosen, Obstacle):
            return _blocked(facts, chosen, now=now)
        manifest = build_snapshot(
            mover, name=name, run_id=run.id, source=run.source or spec.source_pvc, snapshot_class=chosen.metadata.name
        )
        return Plan((Create(VOLUME_SNAPSHOTS, manifest),))
    if not snapshot.metadata.owned_by(mover.metadata.uid):
        return _blocked(
            facts,
            Obstacle(
                reasons.NAME_TAKEN,
                f"VolumeSnapshot {name} exists and is not this DataMover's: delete or rename it",
                waits=True,
            ),
            now=now,
        )
    if snapshot.status is not None and snapshot.status.ready_to_use:
        return None
    error = snapshot.status and snapshot.status.error
    if error is not None:
        message = f"snapshot {name} is not ready, the driver says: {error.message or 'nothing'}"
        return _working(facts, reasons.SNAPSHOT_FAILED, message, now=now, warn=True)
    return _stuck(
        facts,
        "VolumeSnapshot",
        snapshot.metadata,
        reasons.SNAPSHOTTING,
        f"snapshot {name} is being taken",
        now=now,
        settings=settings,
    )


def _wait_for_clone(facts: Facts, *, now: datetime, settings: Settings) -> Plan:
    clone = facts.clone
    if clone is None:
        return REST
    name = clone.metadata.name
    return _stuck(
        facts,
        "PersistentVolumeClaim",
        clone.metadata,
        reasons.CLONING,
        f"clone {name} is being made",
        now=now,
        settings=settings,
    )


def _stuck(
    facts: Facts, kind: str, target: ObjectMeta, reason: str, message: str, *, now: datetime, settings: Settings
) -> Plan:
    """Wait for a child; when it takes long, ask the cluster's events why, and say so."""
    age = (now - parse(target.creation_timestamp)).total_seconds() if target.creation_timestamp else 0.0
    if facts.diagnosis is not None:
        told = _working(
            facts,
            reasons.CLONE_PROVISIONING_FAILED,
            f"{kind} {target.name} does not get ready: {facts.diagnosis}",
            now=now,
            warn=True,
        )
        return Plan((*told.steps, Inquire(kind, target)), wake_after=settings.inquire_interval)
    if age < settings.inquire_after:
        told = _working(facts, reason, message, now=now)
        return Plan(told.steps, wake_after=settings.inquire_after - age + 0.1)
    return Plan((Inquire(kind, target),), wake_after=settings.inquire_interval)


def _start_mover(facts: Facts, run: Run, *, claim: str, now: datetime, settings: Settings) -> Plan:
    mover = facts.mover
    name = run.job_name or job_name(claim)
    manifest = build_job(
        mover,
        name=name,
        run=run,
        claim=claim,
        cluster=settings.cluster,
        labels=child_labels(mover, run_id=run.id, component=names.COMPONENT_MOVER),
        image=settings.mover_image,
    )
    steps: list[Step] = [Create(JOBS, manifest)]
    status = compose(
        mover,
        now=now,
        state=State.WORKING,
        reason=reasons.JOB_CREATED,
        message=f"Job {name} moves the data",
        phase=Phase.CREATING_POD,
        run=replace(run, job_name=name),
    )
    if status is not None:
        steps.append(WriteStatus(status))
    steps.append(Emit("Normal", reasons.JOB_CREATED, f"created Job {name}", "Synchronize"))
    return Plan(tuple(steps))


def _take_other_name(facts: Facts, run: Run, *, now: datetime) -> Plan:
    """Two DataMovers of one source in the same second want the same name; the other one has it (never adopted)."""
    mover = facts.mover
    status = mover.status or DataMoverStatus()
    spec = mover.spec
    taken = status.restored_pvc_name or ""
    created = parse(mover.metadata.creation_timestamp) if mover.metadata.creation_timestamp else now
    other = clone_name(run.source or (spec.source_pvc if spec else ""), created=created, taken_for=mover.metadata.uid)
    if other == taken:
        return _blocked(
            facts,
            Obstacle(
                reasons.NAME_TAKEN,
                f"PersistentVolumeClaim {taken} exists and is not this DataMover's: delete or rename it",
                waits=True,
            ),
            now=now,
        )
    snapshot = other if run.copy_method == CopyMethod.SNAPSHOT else None
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


def _say_refusal(facts: Facts, refusal: Refusal, *, now: datetime) -> Plan:
    """Tell a refusal, once, and wait before the step is tried again."""
    status = compose(facts.mover, now=now, state=State.BLOCKED, reason=refusal.reason, message=refusal.message)
    if status is None:
        return Plan(wake_after=refusal.retry_after)
    steps = (WriteStatus(status), Emit("Warning", refusal.reason, refusal.message, "Create"))
    return Plan(steps, wake_after=refusal.retry_after)


def _working(facts: Facts, reason: str, message: str, *, now: datetime, warn: bool = False) -> Plan:
    status = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reason,
        message=message,
        said={ConditionType.CLONE_READY: ("False", reason, message)} if warn else None,
    )
    if status is None or (not warn and _says(facts, ConditionType.RECONCILING, "True")):
        return REST
    steps: list[Step] = [WriteStatus(status)]
    if warn:
        steps.append(Emit("Warning", reason, message, "Clone"))
    return Plan(tuple(steps))


def _says(facts: Facts, type_: str, value: str) -> bool:
    """A plain wait that is already described as work in progress needs no further write."""
    condition = facts.mover.status and facts.mover.status.condition(type_)
    return condition is not None and condition.status == value


def _blocked(facts: Facts, obstacle: Obstacle | None, *, now: datetime) -> Plan:
    if obstacle is None:
        return REST
    status = compose(facts.mover, now=now, state=State.BLOCKED, reason=obstacle.reason, message=obstacle.message)
    if status is None:
        return REST
    return Plan((WriteStatus(status), Emit("Warning", obstacle.reason, obstacle.message, "Clone")))
