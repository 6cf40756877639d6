"""Metrics of DataMovers. Names and labels of the first group are the documents' and the original operator's.

Labels are bounded: phases, outcomes, reasons and namespaces. Only gauges carry an object's name, at most one series of each family for an
object: `datamover_current_phase` (as published), those of the last success and verification, and those of current failures, waits and damage. Their series are removed with the
object: the DataMover, or the claim that is backed up.
"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from datamover.api.names import Phase
from datamover.api.reasons import RETRYING
from datamover.metrics.buckets import PHASE_BUCKETS
from datamover.metrics.failures import Failures, OneSeries, WaitName
from datamover.metrics.objects import ObjectGauge, ObjectName, SourceName


class DamageName(NamedTuple):
    """Labels of the series of a backup that is damaged."""

    namespace: str
    name: str
    reason: str


class DataMoverMetrics:
    """Implements the meter of `datamover.reconcilers.datamover.report`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "datamover_operations",
            "Phases started, and ended with success or failure, or cancelled.",
            ("phase", "status", "namespace"),
            registry=registry,
        )
        self._durations = Histogram(
            "datamover_phase_duration_seconds",
            "How long a phase took.",
            ("phase", "namespace"),
            buckets=PHASE_BUCKETS,
            registry=registry,
        )
        self._phase = ObjectGauge(
            "datamover_current_phase",
            "Phase of a DataMover: 0 not started, 1 CreatingClonedPVC, 2 ClonedPVCReady, 3 CreatingPod, 4 CleaningUp, "
            "5 Completed, 6 Failed.",
            key=ObjectName,
            registry=registry,
        )
        self._clones = Counter(
            "datamover_pvc_clone_operations",
            "Clones started, ready, failed and cancelled.",
            ("status", "namespace"),
            registry=registry,
        )
        self._pods = Counter(
            "datamover_pod_creation_operations",
            "Movers started, succeeded, failed and cancelled.",
            ("status", "namespace"),
            registry=registry,
        )
        self._syncs = Counter(
            "datamover_data_sync_operations",
            "Syncs that succeeded, failed and were cancelled.",
            ("status", "namespace"),
            registry=registry,
        )
        self._cleanups = Counter(
            "datamover_cleanup_operations",
            "Deletions of clones that succeeded and failed.",
            ("status", "namespace"),
            registry=registry,
        )
        self._cleanup_alias = Counter(
            "datamover_pvc_cleanup_operations",
            "The same as datamover_cleanup_operations_total, under the original operator's name.",
            ("status", "namespace"),
            registry=registry,
        )
        self._errors = Counter(
            "datamover_errors",
            "Times that something stood in the way, by reason.",
            ("error_type", "phase", "namespace"),
            registry=registry,
        )
        self._success = ObjectGauge(
            "datamover_last_success_timestamp_seconds",
            "When the last run of a DataMover completed, in seconds since 1970.",
            key=ObjectName,
            registry=registry,
        )
        self._source_success = ObjectGauge(
            "datamover_source_last_success_timestamp_seconds",
            "When a claim was last backed up by a run that completed, in seconds since 1970.",
            key=SourceName,
            registry=registry,
        )
        self._first_attempt = ObjectGauge(
            "datamover_source_first_attempt_timestamp_seconds",
            "When the first backup of a claim was asked for of which none is known to have completed, in seconds since 1970.",
            key=SourceName,
            registry=registry,
        )
        self._verified = ObjectGauge(
            "datamover_last_verified_timestamp_seconds",
            "When what a DataMover has left at its destination was last compared and found as it should be, in seconds since 1970.",
            key=ObjectName,
            registry=registry,
        )
        self._source_verified = ObjectGauge(
            "datamover_source_last_verified_timestamp_seconds",
            "When a backup of a claim was last compared and found as it should be, in seconds since 1970.",
            key=SourceName,
            registry=registry,
        )
        self._verifications = Counter(
            "datamover_verifications",
            "Verifications of what complete runs have left: started, and ended with success, damaged, failure (no result) or cancelled.",
            ("status", "namespace"),
            registry=registry,
        )
        self._damage: OneSeries[ObjectName, DamageName] = OneSeries(
            ObjectGauge(
                "datamover_backup_damaged_timestamp_seconds",
                "When what a DataMover has left at its destination was found not to be as it was, in seconds since 1970.",
                key=DamageName,
                registry=registry,
            )
        )
        self._failures = Failures(registry)
        self._waits: OneSeries[ObjectName, WaitName] = OneSeries(
            ObjectGauge(
                "datamover_waiting_since_timestamp_seconds",
                "Since when a DataMover that has not ended waits, in seconds since 1970, and what for.",
                key=WaitName,
                registry=registry,
            )
        )
        self._bytes = Counter(
            "datamover_transferred_bytes", "Bytes moved by successful syncs.", ("namespace",), registry=registry
        )
        self._files = Counter(
            "datamover_transferred_files", "Files moved by successful syncs.", ("namespace",), registry=registry
        )
        self._deleted = Counter(
            "datamover_deleted_objects", "Objects removed from mirrors.", ("namespace",), registry=registry
        )
        self._attempts = Counter(
            "datamover_sync_attempts", "Pods started by successful syncs.", ("namespace",), registry=registry
        )
        self._seen: set[str] = set()

    def phase_started(self, *, phase: str, namespace: str) -> None:
        """A phase began."""
        self._operations.labels(phase, "started", namespace).inc()

    def phase_ended(self, *, phase: str, namespace: str, seconds: float, status: str) -> None:
        """A phase ended: success, failure, or cancelled."""
        self._operations.labels(phase, status, namespace).inc()
        self._durations.labels(phase, namespace).observe(seconds)

    def phase_now(self, *, name: str, namespace: str, phase: str) -> None:
        """The phase that a DataMover is in. Counters of its namespace start at 0, so that their first increase is visible; those by phase or reason do not."""
        if namespace not in self._seen:
            self._begin(namespace)
        self._phase.set(ObjectName(name, namespace), Phase.ORDER.index(phase) if phase in Phase.ORDER else -1)

    def forget(self, *, name: str, namespace: str) -> None:
        """Drop the series of a DataMover that is gone."""
        owner = ObjectName(name, namespace)
        for family in (self._phase, self._success, self._verified, self._failures):
            family.forget(owner)
        self._waits.drop(owner)
        self._damage.drop(owner)

    def clone(self, *, status: str, namespace: str) -> None:
        """A clone was started, became ready, or failed."""
        self._clones.labels(status, namespace).inc()

    def pod(self, *, status: str, namespace: str) -> None:
        """A mover was started, succeeded or failed."""
        self._pods.labels(status, namespace).inc()

    def synced(self, *, status: str, namespace: str) -> None:
        """A sync ended."""
        self._syncs.labels(status, namespace).inc()

    def cleaned(self, *, status: str, namespace: str) -> None:
        """A clone was deleted, or could not be deleted."""
        self._cleanups.labels(status, namespace).inc()
        self._cleanup_alias.labels(status, namespace).inc()

    def error(self, *, error_type: str, phase: str, namespace: str) -> None:
        """Something prevents progress."""
        self._errors.labels(error_type, phase, namespace).inc()

    def moved(self, *, namespace: str, size: int, files: int, attempts: int, deleted: int) -> None:
        """A sync succeeded; `size` in bytes."""
        self._bytes.labels(namespace).inc(size)
        self._files.labels(namespace).inc(files)
        self._attempts.labels(namespace).inc(attempts)
        self._deleted.labels(namespace).inc(deleted)

    def succeeded(self, *, name: str, namespace: str, at: float) -> None:
        """The moment of the last success, in seconds since 1970."""
        self._success.set(ObjectName(name, namespace), at)

    def source_succeeded(self, *, source: str, namespace: str, at: float) -> None:
        """A moment at which a claim was backed up, in seconds since 1970. The latest one counts."""
        name = SourceName(namespace, source)
        self._source_success.raise_to(name, at)
        self._first_attempt.forget(name)

    def verified(self, *, name: str, namespace: str, at: float) -> None:
        """The moment of the last verification, in seconds since 1970."""
        self._verified.set(ObjectName(name, namespace), at)

    def source_verified(self, *, source: str, namespace: str, at: float) -> None:
        """A moment at which a backup of a claim was verified, in seconds since 1970. The latest one counts."""
        self._source_verified.raise_to(SourceName(namespace, source), at)

    def verification(self, *, status: str, namespace: str) -> None:
        """What a DataMover has left is verified again: started, or ended with success, damaged, failure or cancelled."""
        self._verifications.labels(status, namespace).inc()

    def damaged(self, *, name: str, namespace: str, reason: str, at: float) -> None:
        """What a DataMover has left was found not to be as it was, at this moment, in seconds since 1970."""
        self._damage.put(ObjectName(name, namespace), DamageName(namespace, name, reason), at)

    def sound(self, *, name: str, namespace: str) -> None:
        """Nobody has found that, or it is as it was again."""
        self._damage.drop(ObjectName(name, namespace))

    def forget_source(self, *, source: str, namespace: str) -> None:
        """Drop the series of a claim that is gone."""
        name = SourceName(namespace, source)
        for family in (self._source_success, self._source_verified, self._first_attempt):
            family.forget(name)
        self._failures.forget_source(name)

    def tried(self, *, source: str, namespace: str, at: float) -> None:
        """A backup of a claim was asked for at this moment, and has not completed. The first one counts, until one has completed."""
        name = SourceName(namespace, source)
        if name not in self._source_success:
            self._first_attempt.lower_to(name, at)

    def failed(self, *, name: str, namespace: str, source: str, reason: str, at: float, began: float) -> None:
        """A run that began at `began` has failed at `at`."""
        self._failures.fail(
            ObjectName(name, namespace), SourceName(namespace, source), reason=reason, at=at, began=began
        )

    def retrying(self, *, name: str, namespace: str, source: str, at: float, began: float) -> None:
        """A failed DataMover is being retried: its failure remains until the retry has succeeded."""
        self._failures.retry(
            ObjectName(name, namespace), SourceName(namespace, source), reason=RETRYING, at=at, began=began
        )

    def recovered(self, *, name: str, namespace: str) -> None:
        """A DataMover has no unresolved failure."""
        self._failures.recover(ObjectName(name, namespace))

    def settle(self, *, name: str, namespace: str, source: str, began: float, exists: bool) -> None:
        """A run of a claim that began at this moment has completed: failures of earlier runs are resolved. `exists`: whether the claim still exists."""
        self._failures.settle(ObjectName(name, namespace), SourceName(namespace, source), began=began, exists=exists)

    def waits(self, *, name: str, namespace: str, reason: str, safe: bool, severity: str, since: float) -> None:
        """A DataMover waits before its end; `safe`: whether its data are at the destination."""
        labels = WaitName(namespace, name, reason, "true" if safe else "false", severity)
        self._waits.put(ObjectName(name, namespace), labels, since)

    def goes_on(self, *, name: str, namespace: str) -> None:
        """A DataMover does not wait any more."""
        self._waits.drop(ObjectName(name, namespace))

    def _begin(self, namespace: str) -> None:
        self._seen.add(namespace)
        for family in (self._syncs, self._cleanups, self._cleanup_alias):
            for status in ("success", "failure"):
                family.labels(status, namespace)
        for family in (self._clones, self._pods):
            for status in ("started", "success", "failure"):
                family.labels(status, namespace)
        for family in (self._bytes, self._files, self._attempts, self._deleted):
            family.labels(namespace)
