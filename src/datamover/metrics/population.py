"""Metrics of DataVolumes that are populated. Only one that waits has a series of its own, as long as it does: there may be thousands."""

from collections import Counter as Tally
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from datamover.metrics.buckets import PHASE_BUCKETS
from datamover.metrics.failures import OneSeries
from datamover.metrics.objects import ObjectGauge

_SOURCE: Final = ("source",)
_Owner = tuple[str, str]


class DiskWait(NamedTuple):
    """Labels of the series of a DataVolume that waits."""

    namespace: str
    name: str
    reason: str
    severity: str


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
        self._count = Gauge(
            "datamover_datavolumes",
            "DataVolumes that are populated here, by phase.",
            ("phase",),
            registry=registry,
        )
        self._waits: OneSeries[_Owner, DiskWait] = OneSeries(
            ObjectGauge(
                "datamover_datavolume_waiting_since_timestamp_seconds",
                "Since when a DataVolume is not populated for this reason, in seconds since 1970.",
                key=DiskWait,
                registry=registry,
            )
        )
        self._phases: dict[_Owner, str] = {}
        self._in_phase: Tally[str] = Tally()

    def stands(self, namespace: str, name: str, *, phase: str) -> None:
        """A DataVolume is in a phase."""
        owner, before = (namespace, name), self._phases.get((namespace, name))
        if before == phase:
            return
        if before is not None:
            self._move(before, -1)
        self._phases[owner] = phase
        self._move(phase, 1)

    def waits(self, namespace: str, name: str, *, reason: str, severity: str, since: float) -> None:
        """Something stands in its way. It is since the earliest moment that was said with this reason."""
        self._waits.keep((namespace, name), DiskWait(namespace, name, reason, severity), since)

    def goes_on(self, namespace: str, name: str) -> None:
        """Nothing stands in its way."""
        self._waits.drop((namespace, name))

    def forget(self, namespace: str, name: str) -> None:
        """It is gone, or is not ours to populate any more."""
        self.goes_on(namespace, name)
        phase = self._phases.pop((namespace, name), None)
        if phase is not None:
            self._move(phase, -1)

    def _move(self, phase: str, by: int) -> None:
        self._in_phase[phase] += by
        self._count.labels(phase).set(self._in_phase[phase])

    def populated(self, source: str, *, seconds: float, size: int) -> None:
        """A DataVolume has its data."""
        self._durations.labels(source).observe(seconds)
        self._bytes.labels(source).inc(size)

    def failed(self, source: str, *, reason: str) -> None:
        """A worker has failed."""
        self._failures.labels(source, reason).inc()
