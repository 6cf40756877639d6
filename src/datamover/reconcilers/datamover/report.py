"""What a written status means for the metrics (law L10)."""

from datetime import datetime
from typing import Protocol

from datamover.api import reasons
from datamover.api.names import ConditionType, Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from datamover.api.waits import WISHED
from datamover.plans.learned import Failed
from datamover.plans.steps import Delete, ProveStatus, WriteStatus
from datamover.reconcilers.datamover.standing import Standings, report_standing
from datamover.reconcilers.summary import is_cancelled
from kubekit.client.errors import ApiError, Forbidden
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import moment_of

_CLONE_GONE = (reasons.CLEANED_UP, reasons.VOLUME_RETAINED)
_REMARKABLE = (reasons.PROGRESS_UNKNOWN, reasons.OUTCOME_MISSING, reasons.VOLUME_RETAINED)
"""Reasons of conditions other than `Stalled` that somebody has to look into."""


class Meter(Standings, Protocol):
    """What is needed of `datamover.metrics`. Durations in seconds."""

    def phase_started(self, *, phase: str, namespace: str) -> None:
        """A phase began."""
        ...

    def phase_ended(self, *, phase: str, namespace: str, seconds: float, status: str) -> None:
        """A phase ended: success, failure, or cancelled."""
        ...

    def phase_now(self, *, name: str, namespace: str, phase: str) -> None:
        """The phase that a DataMover is in."""
        ...

    def forget(self, *, name: str, namespace: str) -> None:
        """A DataMover is gone."""
        ...

    def clone(self, *, status: str, namespace: str) -> None:
        """A clone was started, or became ready, or failed, or was cancelled."""
        ...

    def pod(self, *, status: str, namespace: str) -> None:
        """A mover was started, succeeded, failed or was cancelled."""
        ...

    def synced(self, *, status: str, namespace: str) -> None:
        """A sync ended."""
        ...

    def cleaned(self, *, status: str, namespace: str) -> None:
        """A clone was deleted, or could not be."""
        ...

    def error(self, *, error_type: str, phase: str, namespace: str) -> None:
        """Something stands in the way."""
        ...

    def moved(self, *, namespace: str, size: int, files: int, attempts: int, deleted: int) -> None:
        """A sync succeeded; `size` in bytes."""
        ...

    def succeeded(self, *, name: str, namespace: str, at: float) -> None:
        """The moment of the last success, in seconds since 1970."""
        ...

    def source_succeeded(self, *, source: str, namespace: str, at: float) -> None:
        """A moment at which a claim was backed up, in seconds since 1970. The latest one counts."""
        ...

    def verified(self, *, name: str, namespace: str, at: float) -> None:
        """The moment at which what a DataMover has left was last found as it should be, in seconds since 1970."""
        ...

    def verification(self, *, status: str, namespace: str) -> None:
        """What a DataMover has left is verified again: started, or ended with success, damaged, failure (no result) or cancelled."""
        ...

    def source_verified(self, *, source: str, namespace: str, at: float) -> None:
        """A moment at which a backup of a claim was found as it should be, in seconds since 1970. The latest one counts."""
        ...

    def forget_source(self, *, source: str, namespace: str) -> None:
        """A claim is gone."""
        ...


def report_status(
    mover: DataMover, new: DataMoverStatus, *, meter: Meter, now: datetime, cause: str | None = None
) -> None:
    """Count what has changed between the status that was there and the one that was written. `cause` is what went wrong when the
    status itself only tells how it goes on.
    """
    old = mover.status or DataMoverStatus()
    namespace = mover.metadata.namespace or ""
    before, after = old.phase or Phase.NONE, new.phase or Phase.NONE
    if before != after:
        _report_phase(mover, old, new, meter=meter, now=now)
    _report_obstacle(old, new, namespace=namespace, meter=meter, cause=cause)
    _report_verification(old, new, namespace=namespace, meter=meter)


def report_present(mover: DataMover, *, meter: Meter, source_exists: bool = True) -> None:
    """Set the gauges of a DataMover as it is: after a restart they stand without a write.

    That of its source outlives the DataMover, but not the claim: of one that is gone nothing is said.
    """
    status = mover.status or DataMoverStatus()
    namespace = mover.metadata.namespace or ""
    meter.phase_now(name=mover.metadata.name, namespace=namespace, phase=status.phase or Phase.NONE)
    at = moment_of(status.run.finished, default=None) if status.run is not None else None
    if status.phase == Phase.COMPLETED and status.run is not None and at is not None:
        meter.succeeded(name=mover.metadata.name, namespace=namespace, at=at)
        if status.run.source and source_exists:
            meter.source_succeeded(source=status.run.source, namespace=namespace, at=at)
    _report_verified(mover, status, meter=meter, source_exists=source_exists)
    report_standing(mover, meter=meter, source_exists=source_exists)


def _report_verified(mover: DataMover, status: DataMoverStatus, *, meter: Meter, source_exists: bool) -> None:
    at = moment_of(status.last_verified, default=None)
    if at is None:
        return
    namespace = mover.metadata.namespace or ""
    meter.verified(name=mover.metadata.name, namespace=namespace, at=at)
    if status.run is not None and status.run.source and source_exists:
        meter.source_verified(source=status.run.source, namespace=namespace, at=at)


def report_failure(
    meta: ObjectMeta, status: DataMoverStatus | None, failed: Failed[DataMoverStatus], *, meter: Meter
) -> None:
    """Count a step that did not go through, where the status does not tell it."""
    namespace = meta.namespace or ""
    match failed.step:
        case Delete(resource=resource) if resource is PERSISTENT_VOLUME_CLAIMS and isinstance(failed.error, ApiError):
            # Success is counted when the clone is known to be gone (law L4).
            meter.cleaned(status="failure", namespace=namespace)
        case WriteStatus() | ProveStatus() if isinstance(failed.error, Forbidden):
            # What it would have said is told by nothing else.
            phase = (status.phase if status else None) or Phase.NONE
            meter.error(error_type=reasons.STATUS_FORBIDDEN, phase=phase, namespace=namespace)
        case _:
            pass


def _report_phase(mover: DataMover, old: DataMoverStatus, new: DataMoverStatus, *, meter: Meter, now: datetime) -> None:
    namespace = mover.metadata.namespace or ""
    before, after = old.phase or Phase.NONE, new.phase or Phase.NONE
    failed = after == Phase.FAILED
    outcome = ("cancelled" if is_cancelled(new) else "failure") if failed else "success"
    if before not in (Phase.NONE, *Phase.TERMINAL):
        took = now.timestamp() - moment_of(old.phase_started, default=now.timestamp())
        meter.phase_ended(phase=before, namespace=namespace, seconds=max(0.0, took), status=outcome)
    if after not in Phase.TERMINAL:
        meter.phase_started(phase=after, namespace=namespace)
    if after == Phase.CREATING_CLONE:
        meter.clone(status="started", namespace=namespace)
    if after == Phase.CLONE_READY:
        meter.clone(status="success", namespace=namespace)
    if after == Phase.CREATING_POD:
        meter.pod(status="started", namespace=namespace)
    if before == Phase.CREATING_POD:
        meter.pod(status=outcome, namespace=namespace)
        meter.synced(status=outcome, namespace=namespace)
    if failed and before == Phase.CREATING_CLONE:
        meter.clone(status=outcome, namespace=namespace)
    cleaned = new.condition(ConditionType.CLEANED_UP)
    if before == Phase.CLEANING_UP and cleaned is not None and cleaned.reason in _CLONE_GONE:
        meter.cleaned(status="success", namespace=namespace)
    run = new.run
    if before == Phase.CREATING_POD and not failed and run is not None:
        meter.moved(
            namespace=namespace,
            size=run.transferred_bytes or 0,
            files=run.transferred_files or 0,
            attempts=run.attempts,
            deleted=run.deleted or 0,
        )


def _report_verification(old: DataMoverStatus, new: DataMoverStatus, *, namespace: str, meter: Meter) -> None:
    """Count that what was left is verified again, and what came of it: a result, none, or an end because nobody wants it any longer."""
    was, record = old.verification, new.verification
    if record is None or record == was:
        return
    if record.at_work and (was is None or was.id != record.id):
        meter.verification(status="started", namespace=namespace)
    if record.id is None or record.finished is None or (was is not None and not was.at_work):
        return
    result = _result_of(old, new)
    meter.verification(status=result, namespace=namespace)
    if result in {"damaged", "failure"}:
        meter.error(
            error_type=record.reason or reasons.MOVER_FAILED, phase=new.phase or Phase.NONE, namespace=namespace
        )


def _result_of(old: DataMoverStatus, new: DataMoverStatus) -> str:
    record, verified = new.verification, new.condition(ConditionType.VERIFIED)
    if record is None or verified is None or record.reason != verified.reason:
        failed = record is not None and old.verification is not None and record.failures > old.verification.failures
        return "failure" if failed else "cancelled"
    return "damaged" if verified.status == "False" else "success"


def _report_obstacle(
    old: DataMoverStatus, new: DataMoverStatus, *, namespace: str, meter: Meter, cause: str | None
) -> None:
    if cause is not None:
        meter.error(error_type=cause, phase=new.phase or Phase.NONE, namespace=namespace)
    before = {condition.reason for condition in old.conditions or ()}
    for reason in sorted({condition.reason for condition in new.conditions or ()} - before):
        if reason in _REMARKABLE:
            meter.error(error_type=reason, phase=new.phase or Phase.NONE, namespace=namespace)
    stalled = new.condition(ConditionType.STALLED)
    was = old.condition(ConditionType.STALLED)
    if stalled is None or stalled.status != "True" or stalled.reason in WISHED:
        return
    if was is None or was.status != "True" or was.reason != stalled.reason:
        meter.error(error_type=stalled.reason, phase=new.phase or Phase.NONE, namespace=namespace)
