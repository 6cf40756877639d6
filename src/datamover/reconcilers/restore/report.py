"""What a written status of a DataMoverRestore means for the metrics (law L10)."""

from datetime import datetime
from typing import Protocol

from datamover.api import reasons
from datamover.api.names import ConditionType, RestorePhase
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreStatus
from datamover.api.waits import WISHED, find_hold, find_wait
from datamover.plans.learned import Failed
from datamover.plans.steps import ProveStatus, WriteStatus
from datamover.reconcilers.restore.turn import has_left_half
from datamover.reconcilers.summary import is_cancelled
from kubekit.client.errors import Forbidden
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import moment_of


class Meter(Protocol):
    """What is needed of `datamover.metrics`. Durations in seconds, sizes in bytes."""

    def started(self, *, namespace: str) -> None:
        """A restore was recorded, or is tried again."""
        ...

    def ended(self, *, namespace: str, status: str, seconds: float) -> None:
        """A restore ended so long after it was recorded: success, failure, or cancelled."""
        ...

    def restored(self, *, namespace: str, size: int, files: int, attempts: int) -> None:
        """A restore brought back so much."""
        ...

    def error(self, *, error_type: str, phase: str, namespace: str) -> None:
        """Something stands in the way."""
        ...

    def phase_now(self, *, name: str, namespace: str, phase: str) -> None:
        """The phase that a restore is in."""
        ...

    def failed(self, *, name: str, namespace: str, claim: str, reason: str, at: float, half: bool) -> None:
        """A restore has failed at this moment, in seconds since 1970; `half`: its claim may be neither what it was nor whole."""
        ...

    def cancelled(self, *, name: str, namespace: str, claim: str, at: float, half: bool) -> None:
        """A restore was cancelled at this moment, which is no failure; `half` as of one that has failed."""
        ...

    def recovered(self, *, name: str, namespace: str) -> None:
        """A restore has no failure that stands."""
        ...

    def waits(self, *, name: str, namespace: str, reason: str, severity: str, since: float) -> None:
        """A restore that has not ended stands still since this moment."""
        ...

    def goes_on(self, *, name: str, namespace: str) -> None:
        """A restore does not wait."""
        ...

    def forget(self, *, name: str, namespace: str) -> None:
        """A restore is gone."""
        ...


def report_status(
    restore: DataMoverRestore, new: DataMoverRestoreStatus, *, meter: Meter, now: datetime, cause: str | None = None
) -> None:
    """Count what has changed between the status that was there and the one that was written."""
    old = restore.status or DataMoverRestoreStatus()
    namespace = restore.metadata.namespace or ""
    before, after = old.phase or RestorePhase.NONE, new.phase or RestorePhase.NONE
    if after == RestorePhase.PREPARING and before != after:
        meter.started(namespace=namespace)
    if after in RestorePhase.TERMINAL and before not in RestorePhase.TERMINAL:
        began = moment_of(new.run.started if new.run is not None else None, default=now.timestamp())
        took = max(0.0, now.timestamp() - began)
        failed = "cancelled" if is_cancelled(new) else "failure"
        status = "success" if after == RestorePhase.COMPLETED else failed
        meter.ended(namespace=namespace, status=status, seconds=took)
    if after == RestorePhase.COMPLETED != before and new.run is not None:
        run = new.run
        meter.restored(namespace=namespace, size=run.bytes or 0, files=run.files or 0, attempts=run.attempts)
    _report_obstacle(old, new, namespace=namespace, meter=meter, cause=cause)


def report_present(restore: DataMoverRestore, *, meter: Meter, claim_uid: str | None) -> None:
    """Set the gauges of a restore as it is: after a restart they stand without a write. `claim_uid` is that of the claim as it is now."""
    status = restore.status or DataMoverRestoreStatus()
    name, namespace, run = restore.metadata.name, restore.metadata.namespace or "", status.run
    created = moment_of(restore.metadata.creation_timestamp, default=0.0)
    meter.phase_now(name=name, namespace=namespace, phase=status.phase or RestorePhase.NONE)
    claim, half = run.claim if run is not None else "", has_left_half(restore, claim_uid=claim_uid)
    at = moment_of((run.finished if run is not None else None) or status.phase_started, default=created)
    if is_cancelled(status):
        meter.cancelled(name=name, namespace=namespace, claim=claim, at=at, half=half)
    elif status.phase == RestorePhase.FAILED:
        ready = status.condition(ConditionType.READY)
        reason = ready.reason if ready is not None else reasons.MOVER_FAILED
        meter.failed(name=name, namespace=namespace, claim=claim, reason=reason, at=at, half=half)
    else:
        meter.recovered(name=name, namespace=namespace)
    held = find_hold(status)
    if held is None or status.phase == RestorePhase.FAILED:
        meter.goes_on(name=name, namespace=namespace)
        return
    severity, since = find_wait(held.reason).severity.value, moment_of(held.last_transition_time, default=created)
    meter.waits(name=name, namespace=namespace, reason=held.reason, severity=severity, since=since)


def report_failure(
    meta: ObjectMeta,
    status: DataMoverRestoreStatus | None,
    failed: Failed[DataMoverRestoreStatus],
    *,
    meter: Meter,
) -> None:
    """Count a step that did not go through, where the status does not tell it."""
    if isinstance(failed.step, WriteStatus | ProveStatus) and isinstance(failed.error, Forbidden):
        phase = (status.phase if status else None) or RestorePhase.NONE
        meter.error(error_type=reasons.STATUS_FORBIDDEN, phase=phase, namespace=meta.namespace or "")


def _report_obstacle(
    old: DataMoverRestoreStatus, new: DataMoverRestoreStatus, *, namespace: str, meter: Meter, cause: str | None
) -> None:
    phase = new.phase or RestorePhase.NONE
    if cause is not None:
        meter.error(error_type=cause, phase=phase, namespace=namespace)
    stalled, was = new.condition(ConditionType.STALLED), old.condition(ConditionType.STALLED)
    if stalled is None or stalled.status != "True" or stalled.reason in WISHED:
        return
    if was is None or was.status != "True" or was.reason != stalled.reason:
        meter.error(error_type=stalled.reason, phase=phase, namespace=namespace)
