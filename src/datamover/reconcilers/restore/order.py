"""A DataMoverRestore as an order: a run that reads no copy, because its mover writes the claim itself. Pure."""

from dataclasses import fields as dataclass_fields
from typing import Final

from datamover.api import reasons
from datamover.api.fields import Fields
from datamover.api.names import RESTORE_PREFIX, ConditionType, CopyMethod, RestorePhase
from datamover.api.ownership import Owner, labels_of
from datamover.api.v1alpha1.restore import (
    DATA_MOVER_RESTORES,
    DataMoverRestore,
    DataMoverRestoreSpec,
    DataMoverRestoreStatus,
    RestoreRun,
    SafetyCopy,
)
from datamover.movers.restore import CONTAINER, Restore, build_job
from datamover.reconcilers.restore.facts import Settings
from datamover.reconcilers.summary import cancelled_since
from datamover.runs.order import Copy, Order, Readable, Transfer
from datamover.runs.record import Amounts, Record, Stage
from datamover.volumes.naming import JOB_NAME_LIMIT, shorten
from kubekit.words.meta import Manifest
from kubekit.words.timestamps import folder, moment_of, parse

FIELDS: Final = Fields(
    kind=DATA_MOVER_RESTORES.kind,
    source="spec.target.claimName",
    storage_class="spec.target.create.storageClassName",
    snapshot_class="nothing",
    method="nothing",
    image="spec.image",
    pull_secrets="spec.mover.imagePullSecrets",
    memory="spec.mover.resources.limits.memory",
    deadline="spec.deadlineSeconds",
    suspend="spec.suspend",
    keeps="it is the user's",
    verify="nothing: a restore always compares",
)


class _InPlace(Fields):
    """What helps where no safety copy can be made."""

    def choose(self, method: str) -> str:
        """Return what to do where nothing is copied, whatever the method."""
        del method
        return f"create the {self.kind} anew with spec.overwrite instead of spec.inPlace, which cannot be rolled back, or restore into a new claim"


IN_PLACE: Final = _InPlace(**{field.name: getattr(FIELDS, field.name) for field in dataclass_fields(FIELDS)})
PHASES: Final = {
    Stage.COPYING: RestorePhase.PREPARING,
    Stage.COPIED: RestorePhase.PREPARING,
    Stage.MOVING: RestorePhase.RESTORING,
    Stage.CLEANING: RestorePhase.CLEANING_UP,
    Stage.DONE: RestorePhase.COMPLETED,
}
"""The phase of each stage. A restore that failed is at none of them."""
_STAGES: Final = {phase: stage for stage, phase in PHASES.items() if stage is not Stage.COPIED}
"""The stage of each phase. There is no copy, so none is ready."""


def job_name(claim: str) -> str:
    """Return `restore-<claim>`, at most 63 characters: of two restores into one claim only one can have its Job (law L7)."""
    return shorten(f"{RESTORE_PREFIX}{claim}", JOB_NAME_LIMIT)


def copy_of(claim: str, safety: SafetyCopy | None = None) -> Copy:
    """Return that there is no copy, because the mover uses the claim itself; in place it does so as well, and there is one to roll back from."""
    if safety is None:
        return Copy(CopyMethod.DIRECT, claim, None, temporary=False)
    return Copy(safety.method, claim, safety.claim_name, snapshot=safety.snapshot_name, temporary=True)


def order_of(restore: DataMoverRestore, spec: DataMoverRestoreSpec, run: RestoreRun, *, settings: Settings) -> Order:
    """Return what is asked for. What the run has recorded counts, not what the spec says now (law L6)."""
    name = run.job_name or job_name(run.claim)
    owner = owner_of(restore, run)

    def build(readable: Readable) -> Manifest:
        return build_job(
            owner,
            _asked(restore, spec, run),
            name=name,
            claim=readable.claim if run.safety is None else run.claim,
            safety=readable.claim if run.safety is not None else None,
            image=settings.mover_image,
            pull_policy=settings.mover_pull_policy,
            defaults=settings.mover_defaults,
        )

    return Order(
        owner,
        copy_of(run.temporary_claim or run.claim, run.safety),
        (Transfer(name, CONTAINER, build, deadline=spec.deadline_seconds, temporary=True),),
        _record_of(restore.status or DataMoverRestoreStatus(), run),
        FIELDS if run.safety is None else IN_PLACE,
    )


def owner_of(restore: DataMoverRestore, run: RestoreRun) -> Owner:
    """Return whose the Job is."""
    return Owner(DATA_MOVER_RESTORES, restore.metadata, labels_of(restore.metadata, run_id=run.id))


def _asked(restore: DataMoverRestore, spec: DataMoverRestoreSpec, run: RestoreRun) -> Restore:
    return Restore(
        run_id=run.id,
        namespace=restore.metadata.namespace or "",
        object_name=restore.metadata.name,
        secret_name=run.secret_name,
        point=run.wanted,
        source=run.source or "",
        path=run.path or "",
        # a version before has recorded none of these
        overwrite=spec.overwrite if run.overwrite is None else run.overwrite,
        on_missing=spec.on_missing if run.on_missing is None else run.on_missing,
        disturbed=spec.disturbed if run.disturbed is None else run.disturbed,
        privileges=spec.privileges if run.privileges is None else run.privileges,
        special=spec.special if run.special is None else run.special,
        environment=(*(run.environment or ()), *(spec.additional_env or ())),
        deadline_seconds=spec.deadline_seconds,
        image=spec.image,
        mover=spec.mover,
    )


def _record_of(status: DataMoverRestoreStatus, run: RestoreRun) -> Record:
    ready, going = status.condition(ConditionType.READY), status.condition(ConditionType.RECONCILING)
    reason = ready.reason if ready is not None else ""
    begun = moment_of(run.started, default=None)
    return Record(
        stage=_STAGES.get(status.phase or RestorePhase.NONE, Stage.COPYING),
        begun=folder(parse(run.started)) if run.started and begun is not None else "",
        # what runs calls it
        reason=reasons.RUN_RECORDED if reason == reasons.PREPARING else reason,
        halted=going is not None and going.status != "True",
        since=status.phase_started,
        cancelled=cancelled_since(status),
        attempts=run.attempts,
        amounts=Amounts(run.bytes, run.total_bytes, run.files, run.total_files),
    )
