"""Metrics of DataMoverRestores. Labels are bounded: phases, results, reasons and namespaces. Only gauges carry an object's name, at most one series of each
family for an object; they go with the object.
"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from datamover.api.names import RestorePhase
from datamover.metrics.buckets import PHASE_BUCKETS
from datamover.metrics.failures import OneSeries
from datamover.metrics.objects import ObjectGauge, ObjectName


class RestoreFailure(NamedTuple):
    """Labels of a failed restore's series."""

    namespace: str
    name: str
    claim: str
    reason: str


class RestoreWait(NamedTuple):
    """Labels of a waiting restore's series."""

    namespace: str
    name: str
    reason: str
    severity: str


class HalfRestored(NamedTuple):
    """Labels of the series of a claim that is neither what it was nor whole."""

    namespace: str
    name: str
    claim: str


class RestoreMetrics:
    """Implements the meter of `datamover.reconcilers.restore.report`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._restores = Counter(
            "datamover_restores",
            "Restores started, and ended with success or failure, or cancelled.",
            ("status", "namespace"),
            registry=registry,
        )
        self._durations = Histogram(
            "datamover_restore_duration_seconds",
            "How long a restore took from when it was recorded, by its result.",
            ("status", "namespace"),
            buckets=PHASE_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter(
            "datamover_restored_bytes", "Bytes of the files of successful restores.", ("namespace",), registry=registry
        )
        self._files = Counter(
            "datamover_restored_files", "Files of successful restores.", ("namespace",), registry=registry
        )
        self._attempts = Counter(
            "datamover_restore_attempts", "Pods started by successful restores.", ("namespace",), registry=registry
        )
        self._errors = Counter(
            "datamover_restore_errors",
            "Times that something stood in the way of a restore, by reason.",
            ("error_type", "phase", "namespace"),
            registry=registry,
        )

        self._phase = ObjectGauge(
            "datamover_restore_current_phase",
            "Phase of a restore: 0 not begun, 1 Preparing, 2 Restoring, 3 CleaningUp, 4 Completed, 5 Failed.",
            key=ObjectName,
            registry=registry,
        )
        self._failures: OneSeries[ObjectName, RestoreFailure] = OneSeries(
            ObjectGauge(
                "datamover_restore_failed_timestamp_seconds",
                "When a restore failed that was not tried again since.",
                key=RestoreFailure,
                registry=registry,
            )
        )
        self._waits: OneSeries[ObjectName, RestoreWait] = OneSeries(
            ObjectGauge(
                "datamover_restore_waiting_since_timestamp_seconds",
                "Since when a restore that has not ended waits, in seconds since 1970, and what for.",
                key=RestoreWait,
                registry=registry,
            )
        )
        self._halves: OneSeries[ObjectName, HalfRestored] = OneSeries(
            ObjectGauge(
                "datamover_restore_half_restored_timestamp_seconds",
                "When a restore failed whose claim may be neither what it was nor whole since.",
                key=HalfRestored,
                registry=registry,
            )
        )

    def phase_now(self, *, name: str, namespace: str, phase: str) -> None:
        """The phase that a restore is in."""
        order = RestorePhase.ORDER
        self._phase.set(ObjectName(name, namespace), order.index(phase) if phase in order else -1)

    def failed(self, *, name: str, namespace: str, claim: str, reason: str, at: float, half: bool) -> None:
        """A restore has failed at this moment, in seconds since 1970; `half`: its claim may be neither what it was nor whole."""
        owner = ObjectName(name, namespace)
        self._failures.put(owner, RestoreFailure(namespace, name, claim, reason), at)
        self._leave(owner, claim, at=at, half=half)

    def cancelled(self, *, name: str, namespace: str, claim: str, at: float, half: bool) -> None:
        """A restore was cancelled at this moment, which is no failure; `half` as of one that has failed."""
        owner = ObjectName(name, namespace)
        self._failures.drop(owner)
        self._leave(owner, claim, at=at, half=half)

    def _leave(self, owner: ObjectName, claim: str, *, at: float, half: bool) -> None:
        if half:
            self._halves.put(owner, HalfRestored(owner.namespace, owner.name, claim), at)
        else:
            self._halves.drop(owner)

    def recovered(self, *, name: str, namespace: str) -> None:
        """A restore has not failed, or not since it was tried again."""
        for family in (self._failures, self._halves):
            family.drop(ObjectName(name, namespace))

    def waits(self, *, name: str, namespace: str, reason: str, severity: str, since: float) -> None:
        """A restore stands still before its end, since this moment."""
        self._waits.put(ObjectName(name, namespace), RestoreWait(namespace, name, reason, severity), since)

    def goes_on(self, *, name: str, namespace: str) -> None:
        """A restore does not wait any more."""
        self._waits.drop(ObjectName(name, namespace))

    def forget(self, *, name: str, namespace: str) -> None:
        """Drop the series of a restore that is gone."""
        self._phase.forget(ObjectName(name, namespace))
        self.recovered(name=name, namespace=namespace)
        self.goes_on(name=name, namespace=namespace)

    def started(self, *, namespace: str) -> None:
        """A restore was recorded, or is tried again."""
        self._restores.labels("started", namespace).inc()

    def ended(self, *, namespace: str, status: str, seconds: float) -> None:
        """A restore ended: success, failure, or cancelled."""
        self._restores.labels(status, namespace).inc()
        self._durations.labels(status, namespace).observe(seconds)

    def restored(self, *, namespace: str, size: int, files: int, attempts: int) -> None:
        """A restore brought back so much."""
        self._bytes.labels(namespace).inc(size)
        self._files.labels(namespace).inc(files)
        self._attempts.labels(namespace).inc(attempts)

    def error(self, *, error_type: str, phase: str, namespace: str) -> None:
        """Something stands in the way."""
        self._errors.labels(error_type, phase, namespace).inc()
