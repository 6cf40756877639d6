"""Metrics of DataVolumes: what is collected, what is not and why, and how many stand where."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

RESULTS: Final = ("Collected", "GivenBack", "RequestRefused")


class CollectionMetrics:
    """Counts collections of completed DataVolumes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._collections = Counter(
            "datamover_datavolume_collections",
            "Collections of completed DataVolumes, by result: Collected; GivenBack, when nobody asked any more in the last moment; RequestRefused, each step "
            "of a handover that the API server refuses.",
            ("result",),
            registry=registry,
        )
        self._skipped = Counter(
            "datamover_datavolume_collections_skipped",
            "How often it was told on a DataVolume why it is not collected, by reason.",
            ("reason",),
            registry=registry,
        )
        self._standing = Gauge(
            "datamover_datavolume_collections_pending",
            "DataVolumes that asked for their collection and are still there, by the reason that is told on them; UnderWay: their claim is being "
            "handed over.",
            ("reason",),
            registry=registry,
        )
        for result in RESULTS:
            self._collections.labels(result)

    def collected(self, result: str) -> None:
        """A collection has come to an end, or to a step that the API server refuses."""
        self._collections.labels(result).inc()

    def skipped(self, reason: str) -> None:
        """It was told why a DataVolume stays."""
        self._skipped.labels(reason).inc()

    def stand(self, reason: str, count: int) -> None:
        """So many DataVolumes stay for a reason."""
        self._standing.labels(reason).set(count)


class ModeMetrics:
    """Shows whether a CDI is beside us."""

    def __init__(self, registry: CollectorRegistry, modes: Iterable[str]) -> None:
        self._modes = tuple(modes)
        self._mode = Gauge(
            "datamover_datavolume_mode",
            "1 for what is done about DataVolumes: Companion of a CDI, Standalone, Refused, or None.",
            ("mode",),
            registry=registry,
        )

    def show(self, mode: str) -> None:
        """Show the present mode."""
        for each in self._modes:
            self._mode.labels(each).set(1 if each == mode else 0)
