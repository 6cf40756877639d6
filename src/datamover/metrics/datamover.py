"""Metrics of DataMovers. Names and labels of the first group are the documents' and the original operator's.

Labels are bounded: phases, outcomes, reasons and namespaces. Only `datamover_current_phase` (as published),
`datamover_last_success_timestamp_seconds` and `datamover_source_last_success_timestamp_seconds` carry an object's name, and their
series go with the object: the DataMover, or the claim that was backed up.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

from datamover.api.names import Phase
from datamover.metrics.buckets import PHASE_BUCKETS
from datamover.metrics.objects import ObjectGauge, ObjectName, SourceName


class DataMoverMetrics:
    """Implements the meter of `datamover.reconcilers.datamover.report`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "datamover_operations",
            "Phases started, and ended with success or failure.",
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
            "Clones started, ready and failed.",
            ("status", "namespace"),
            registry=registry,
        )
        self._pods = Counter(
            "datamover_pod_creation_operations",
            "Movers started, succeeded and failed.",
            ("status", "namespace"),
            registry=registry,
        )
        self._syncs = Counter(
            "datamover_data_sync_operations",
            "Syncs that succeeded and failed.",
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

    def phase_ended(self, *, phase: str, namespace: str, seconds: float, succeeded: bool) -> None:
        """A phase ended."""
        self._operations.labels(phase, "success" if succeeded else "failure", namespace).inc()
        self._durations.labels(phase, namespace).observe(seconds)

    def phase_now(self, *, name: str, namespace: str, phase: str) -> None:
        """The phase that a DataMover is in. Counters of its namespace begin at 0, but for those by phase or reason: what is counted first shows as an increase."""
        if namespace not in self._seen:
            self._begin(namespace)
        self._phase.set(ObjectName(name, namespace), Phase.ORDER.index(phase) if phase in Phase.ORDER else -1)

    def forget(self, *, name: str, namespace: str) -> None:
        """Drop the series of a DataMover that is gone."""
        for family in (self._phase, self._success):
            family.forget(ObjectName(name, namespace))

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
        """A clone was deleted, or could not be."""
        self._cleanups.labels(status, namespace).inc()
        self._cleanup_alias.labels(status, namespace).inc()

    def error(self, *, error_type: str, phase: str, namespace: str) -> None:
        """Something stands in the way."""
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
        self._source_success.raise_to(SourceName(namespace, source), at)

    def forget_source(self, *, source: str, namespace: str) -> None:
        """Drop the series of a claim that is gone."""
        self._source_success.forget(SourceName(namespace, source))

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
