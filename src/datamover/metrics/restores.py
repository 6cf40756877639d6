"""Metrics of DataMoverRestores. Labels are bounded: phases, results, reasons and namespaces."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from datamover.metrics.buckets import PHASE_BUCKETS


class RestoreMetrics:
    """Implements the meter of `datamover.reconcilers.restore.report`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._restores = Counter(
            "datamover_restores",
            "Restores started, and ended with success or failure.",
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

    def started(self, *, namespace: str) -> None:
        """A restore was recorded, or is tried again."""
        self._restores.labels("started", namespace).inc()

    def ended(self, *, namespace: str, succeeded: bool, seconds: float) -> None:
        """A restore ended."""
        status = "success" if succeeded else "failure"
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
