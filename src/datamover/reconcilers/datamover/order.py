"""A DataMover as an order: what its spec and its recorded run ask for. Pure."""

from dataclasses import replace as replace_copy
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.fields import Fields
from datamover.api.names import ConditionType, Phase
from datamover.api.ownership import Owner, labels_of
from datamover.api.transfer import show_verification
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverSpec, DataMoverStatus, Guards, Run
from datamover.movers.rclone import CONTAINER, RcloneSync, build_job
from datamover.reconcilers.datamover.facts import Settings
from datamover.reconcilers.summary import cancelled_since
from datamover.runs.order import Copy, Order, Readable, Transfer
from datamover.runs.record import Amounts, Record, Stage
from datamover.runs.trigger import CopyTrigger, told_by
from datamover.volumes.copy_trigger import Sharer, Told
from datamover.volumes.naming import clone_name, job_name
from kubekit.words.meta import Manifest
from kubekit.words.timestamps import parse

FIELDS: Final = Fields(
    kind=DATA_MOVERS.kind,
    source="spec.sourcePvc",
    storage_class="spec.storageClassName",
    snapshot_class="spec.volumeSnapshotClassName",
    method="copyMethod",
    image="spec.image",
    pull_secrets="spec.mover.imagePullSecrets",
    memory="spec.mover.resources.limits.memory",
    deadline="spec.deadlineSeconds",
    suspend="spec.suspend",
    keeps="spec.deletePvcAfterBackup is false",
    verify="spec.verify.method",
)
PHASES: Final = {
    Stage.COPYING: Phase.CREATING_CLONE,
    Stage.COPIED: Phase.CLONE_READY,
    Stage.MOVING: Phase.CREATING_POD,
    Stage.CLEANING: Phase.CLEANING_UP,
    Stage.DONE: Phase.COMPLETED,
}
"""The phase of each stage. A run that failed is at none of them."""
_STAGES: Final = {phase: stage for stage, phase in PHASES.items()}
_GONE: Final = frozenset({reasons.CLEANED_UP, reasons.VOLUME_RETAINED})
"""Reasons of `CleanedUp` that say that the clone was to go, and went."""


def order_of(
    mover: DataMover,
    spec: DataMoverSpec,
    run: Run,
    *,
    claim: str | None,
    now: datetime,
    settings: Settings,
    sharers: tuple[Sharer, ...] = (),
) -> Order:
    """Return what is asked for. What the run has recorded counts, not what the spec says now (law L6).

    `claim` is the name of the clone before one is recorded.
    """
    status = mover.status or DataMoverStatus()
    recorded = status.restored_pvc_name or claim
    name = run.job_name or job_name(recorded or spec.source_pvc)
    owner = owner_of(mover, run)

    def build(readable: Readable) -> Manifest:
        return build_job(
            owner,
            sync_of(mover, replace(run, copied=readable.copied), cluster=settings.cluster),
            name=name,
            claim=readable.claim,
            read_only=readable.read_only,
            image=settings.mover_image,
            pull_policy=settings.mover_pull_policy,
            defaults=settings.mover_defaults,
        )

    copy = copy_of(mover, spec, run, claim=recorded, now=now)
    if not copy.direct:
        begun = parse(run.started) if run.started else now
        copy = replace_copy(copy, gate=CopyTrigger(begun, told_of(status), sharers))
    return Order(
        owner,
        copy,
        (Transfer(name, CONTAINER, build, deadline=spec.deadline_seconds, verification=_verification(spec)),),
        _record_of(status, run),
        FIELDS,
    )


def _verification(spec: DataMoverSpec) -> str:
    """Return the method that the mover is told to compare by; empty where the spec has none, or nothing is to be compared."""
    chosen = spec.verify.chosen if spec.verify is not None else None
    return show_verification(str(chosen)) if chosen is not None else ""


def copy_of(mover: DataMover, spec: DataMoverSpec, run: Run | None, *, claim: str | None, now: datetime) -> Copy:
    """Return the copy that the recorded run asks for, or the one that the spec does."""
    source = (run.source if run else None) or spec.source_pvc
    spare = clone_name(source, created=created_at(mover, now), taken_for=mover.metadata.uid)
    return Copy(
        method=(run.copy_method if run else None) or spec.copy_method,
        source=source,
        claim=claim,
        snapshot=run.snapshot_name if run else None,
        spare=spare,
        storage_class=spec.storage_class_name,
        snapshot_class=spec.volume_snapshot_class_name,
        temporary=_is_temporary(spec, mover.status),
    )


def told_of(status: DataMoverStatus) -> Told:
    """Return what the status says of the run's copy trigger."""
    condition = status.condition(ConditionType.COPY_TRIGGERED)
    return told_by(condition.reason if condition is not None else None)


def created_at(mover: DataMover, now: datetime) -> datetime:
    """Return when the DataMover was created: the second in the clone's name (documents)."""
    stamp = mover.metadata.creation_timestamp
    return parse(stamp) if stamp else now


def _is_temporary(spec: DataMoverSpec, status: DataMoverStatus | None) -> bool:
    """Tell whether the clone is to go when its data are moved. Afterwards what was told counts: a clone that was kept stays kept."""
    if status is None or status.phase != Phase.COMPLETED:
        return spec.delete_pvc_after_backup
    cleaned = status.condition(ConditionType.CLEANED_UP)
    return cleaned is not None and cleaned.reason in _GONE


def _record_of(status: DataMoverStatus, run: Run) -> Record:
    ready, going = status.condition(ConditionType.READY), status.condition(ConditionType.RECONCILING)
    return Record(
        stage=_STAGES.get(status.phase or Phase.NONE, Stage.COPYING),
        begun=run.timestamp,
        copied=run.copied,
        reason=ready.reason if ready is not None else "",
        halted=going is not None and going.status != "True",
        since=status.phase_started,
        cancelled=cancelled_since(status),
        attempts=run.attempts,
        amounts=Amounts(run.bytes, run.total_bytes, run.files, run.total_files),
    )


def owner_of(mover: DataMover, run: Run) -> Owner:
    """Return whose the children of a run are."""
    return Owner(DATA_MOVERS, mover.metadata, labels_of(mover.metadata, run_id=run.id))


def sync_of(mover: DataMover, run: Run, *, cluster: str) -> RcloneSync:
    """Return what rclone is asked to do."""
    spec, metadata = mover.spec, mover.metadata
    if spec is None:
        raise ValueError("a DataMover without a spec has no mover")
    guards = spec.guards or Guards()
    return RcloneSync(
        run_id=run.id,
        timestamp=run.timestamp,
        cluster=cluster,
        namespace=metadata.namespace or "",
        source=run.source or spec.source_pvc,
        object_name=metadata.name,
        secret_name=spec.secret_name,
        copy_method=run.copy_method or spec.copy_method,
        copied_at=run.copied,
        environment=spec.additional_env or (),
        add_timestamp_prefix=spec.add_timestamp_prefix,
        adopt_destination=guards.adopt_destination or metadata.annotation(names.ADOPT_ANNOTATION) == "true",
        allow_empty_source=guards.allow_empty_source or metadata.annotation(names.ALLOW_EMPTY_ANNOTATION) == "true",
        max_delete_percent=guards.max_delete_percent,
        verification=spec.verify.chosen if spec.verify is not None else None,
        deadline_seconds=spec.deadline_seconds,
        image=spec.image,
        mover=spec.mover,
    )
