"""What a written status means for the metrics (law L10)."""

from datetime import datetime
from typing import Protocol

from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import ConditionType, MoverResult
from datamover.api.volsync.replication_source import ReplicationSource
from datamover.api.waits import WAITS, find_hold_of_sync, find_wait
from datamover.metrics.replication import ReplicaName, Role
from datamover.reconcilers.replication.ask import Ask, Replication, ask_of, is_external
from datamover.reconcilers.replication.cadence import cadence_of
from datamover.reconcilers.replication.failures import told_failures
from datamover.reconcilers.replication.order import is_halted, status_of
from datamover.runs.trigger import WAITING_REASONS
from kubekit.words.timestamps import moment_of


class Meter(Protocol):
    """What is needed of `datamover.metrics`. Moments and durations in seconds."""

    def seen(self, replica: ReplicaName) -> None:
        """There is such an object."""
        ...

    def forget(self, *, name: str, namespace: str, role: str) -> None:
        """An object is gone."""
        ...

    def synced(self, replica: ReplicaName, *, seconds: float, size: int, missed: bool) -> None:
        """A synchronisation succeeded."""
        ...

    def in_sync(self, replica: ReplicaName, *, last: float, until: float | None) -> None:
        """An object was last synchronised at a moment, and that is enough until another one."""
        ...

    def failed(self, replica: ReplicaName, *, reason: str, consecutive: int) -> None:
        """A mover failed."""
        ...

    def waits(self, replica: ReplicaName, *, reason: str, severity: str, since: float) -> None:
        """A synchronisation stands still."""
        ...

    def waits_for_trigger(self, replica: ReplicaName, *, since: float) -> None:
        """What it waits for is the copy trigger of its claim."""
        ...

    def goes_on(self, replica: ReplicaName) -> None:
        """Nothing is waited for."""
        ...


def role_of(obj: Replication) -> str:
    """Return the metrics' word for the kind."""
    return Role.SOURCE if isinstance(obj, ReplicationSource) else Role.DESTINATION


def report_present(obj: Replication, *, meter: Meter, now: datetime) -> None:
    """Say what stands of an object: since when it is in sync, until when that is enough, and what it waits for."""
    if is_external(obj):
        meter.forget(name=obj.metadata.name, namespace=obj.metadata.namespace or "", role=role_of(obj))
        return
    replica = replica_of(obj)
    if replica is not None:
        meter.seen(replica)
    _report_wait(obj, replica or _name(obj, method=""), meter=meter)
    if replica is None:
        return
    status = status_of(obj)
    last = moment_of(status.last_sync_time, default=None)
    if last is None:
        return
    trigger = obj.spec.trigger if obj.spec is not None else None
    deadline = cadence_of(trigger, status, now=now, uid=obj.metadata.uid).deadline
    meter.in_sync(replica, last=last, until=deadline.timestamp() if deadline is not None else None)


def _report_wait(obj: Replication, replica: ReplicaName, *, meter: Meter) -> None:
    """What it waits for follows from its status alone: it is the same after a restart. Movers that fail are counted, and are no wait."""
    status = status_of(obj)
    held = find_hold_of_sync(status)
    meter.goes_on(replica)
    if obj.metadata.terminating:
        return
    triggered = _waits_for_trigger_since(status)
    if triggered is not None:
        meter.waits_for_trigger(replica, since=triggered)
    if held is None or held.reason not in WAITS or _goes_on(status):
        return
    since = moment_of(held.last_transition_time, default=moment_of(obj.metadata.creation_timestamp, default=0.0))
    meter.waits(replica, reason=held.reason, severity=find_wait(held.reason).severity.value, since=since)


def _waits_for_trigger_since(status: CommonStatus) -> float | None:
    """Return since when a copy waits for the copy trigger of its claim; None while none does."""
    told = status.condition(ConditionType.COPY_TRIGGERED)
    if not status.last_sync_start_time or told is None or told.reason not in WAITING_REASONS:
        return None
    return moment_of(told.last_transition_time, default=None)


def _goes_on(status: CommonStatus) -> bool:
    """Tell whether a stall that is told is of the mover before: the next one is on its way."""
    stalled = status.condition(ConditionType.STALLED)
    return stalled is not None and stalled.status == "True" and not is_halted(status)


def report_status(before: Replication, after: CommonStatus, *, meter: Meter, now: datetime, size: int) -> None:
    """Count what a status says that was written. `size`: bytes that the mover has moved."""
    replica, old = replica_of(before), status_of(before)
    if replica is None:
        return
    if after.last_sync_time and old.last_sync_start_time and after.last_sync_start_time is None:
        trigger = before.spec.trigger if before.spec is not None else None
        deadline = cadence_of(trigger, old, now=now, uid=before.metadata.uid).deadline
        began = moment_of(old.last_sync_start_time, default=now.timestamp())
        missed = deadline is not None and now > deadline
        meter.synced(replica, seconds=max(0.0, now.timestamp() - began), size=size, missed=missed)
    stalled, failures = after.condition(ConditionType.STALLED), told_failures(after)
    result = after.latest_mover_status.result if after.latest_mover_status is not None else None
    if stalled is not None and failures > told_failures(old) and result == MoverResult.FAILED:
        meter.failed(replica, reason=stalled.reason, consecutive=failures)


def replica_of(obj: Replication) -> ReplicaName | None:
    """Return the labels of an object's series; None for one that asks for nothing that we do."""
    ask = ask_of(obj)
    if not isinstance(ask, Ask):
        return None
    return _name(obj, method=ask.method)


def _name(obj: Replication, *, method: str) -> ReplicaName:
    return ReplicaName(obj.metadata.name, obj.metadata.namespace or "", role_of(obj), method)
