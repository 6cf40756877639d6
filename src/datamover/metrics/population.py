"""Metrics of DataVolumes that are populated. No series is of one object: there may be thousands, and each is soon collected."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from datamover.metrics.buckets import PHASE_BUCKETS

_SOURCE: Final = ("source",)


class PopulationMetrics:
    """Counts what was written, how long it took, and what went wrong. `source` is the kind of source, such as `http`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Histogram(
            "datamover_datavolume_population_duration_seconds",
            "From the creation of a DataVolume until its data were there.",
            _SOURCE,
            registry=registry,
            buckets=PHASE_BUCKETS,
        )
        self._bytes = Counter(
            "datamover_datavolume_population_bytes",
            "Bytes that workers have written into the claims of DataVolumes.",
            _SOURCE,
            registry=registry,
        )
        self._failures = Counter(
            "datamover_datavolume_population_failures",
            "Workers of DataVolumes that failed, by their reason.",
            ("source", "reason"),
            registry=registry,
        )

    def populated(self, source: str, *, seconds: float, size: int) -> None:
        """A DataVolume has its data."""
        self._durations.labels(source).observe(seconds)
        self._bytes.labels(source).inc(size)

    def failed(self, source: str, *, reason: str) -> None:
        """A worker has failed."""
        self._failures.labels(source, reason).inc()
