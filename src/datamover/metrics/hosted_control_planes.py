"""Metrics of the backups of hosted control planes (document, "Monitoring"): durations, completion, errors by platform, timeouts.

Labels are bounded: a platform that HyperShift's API does not know is `other`. Only a backup that is not over yet has series of its own.
"""

from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from datamover.api.hypershift import PLATFORM_TYPES
from datamover.metrics.buckets import PHASE_BUCKETS
from datamover.metrics.objects import ObjectGauge

OTHER: Final = "other"


class BackupName(NamedTuple):
    """Labels of the series of a backup that is not over: of which control plane, and its name."""

    namespace: str
    backup: str


class Ended(NamedTuple):
    """What of one kind came to its end in a backup."""

    kind: str
    completed: int
    failed: int


class HostedControlPlaneMetrics:
    """Counts how verdicts end, and shows how far those are that have not ended. Durations are in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def count(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"datamover_hosted_control_plane_{name}", text, labels, registry=registry)

        def show(name: str, text: str) -> ObjectGauge[BackupName]:
            return ObjectGauge(f"datamover_hosted_control_plane_{name}", text, key=BackupName, registry=registry)

        self._durations = Histogram(
            "datamover_hosted_control_plane_reconciliation_duration_seconds",
            "From the beginning of a backup until its verdict was final, by platform and result.",
            ("platform", "result"),
            registry=registry,
            buckets=PHASE_BUCKETS,
        )
        self._resources = count(
            "resources", "Objects of backups that came to their end, by kind and result.", "platform", "kind", "result"
        )
        self._errors = count("errors", "Backups whose verdict is an error, by platform.", "platform", "reason")
        self._timeouts = count("timeouts", "Backups of which something was not finished in time, by platform.", "platform")  # fmt: skip
        self._hindrances = count("hindrances", "What keeps backups from being followed as they should: refused writes, names that are taken, numbers that are none.", "reason")  # fmt: skip
        self._moved = show("volumes_moved", "Volumes that are moved, of a backup that is not over.")
        self._expected = show("volumes_expected", "Volumes that are to be moved, of a backup that is not over.")
        self._stalled = show("volumes_stalled", "Volumes of a backup that is not over of which nothing goes on although it is their turn.")  # fmt: skip

    def stands(self, namespace: str, backup: str, *, moved: int, expected: int, stalled: int) -> None:
        """A backup of the control plane in `namespace` is not over; so far it is."""
        key = BackupName(namespace, backup)
        self._moved.set(key, moved)
        self._expected.set(key, expected)
        self._stalled.set(key, stalled)

    def forget(self, namespace: str, backup: str) -> None:
        """It is over, or gone."""
        key = BackupName(namespace, backup)
        self._moved.forget(key)
        self._expected.forget(key)
        self._stalled.forget(key)

    def hindered(self, reason: str) -> None:
        """Something keeps a backup from being followed as it should; `reason` is that of its event."""
        self._hindrances.labels(reason).inc()

    def ended(
        self,
        platform: str,
        *,
        result: str,
        seconds: float | None,
        resources: tuple[Ended, ...] = (),
        error: str = "",
        timed_out: bool = False,
    ) -> None:
        """A verdict is final. `result` is its state; `error` the reason of what went wrong, empty where nothing did."""
        where = platform if platform in PLATFORM_TYPES else OTHER
        self._timeouts.labels(where).inc(1 if timed_out else 0)
        if seconds is not None:
            self._durations.labels(where, result).observe(max(seconds, 0.0))
        for kind, completed, failed in resources:
            self._resources.labels(where, kind, "completed").inc(max(completed, 0))
            self._resources.labels(where, kind, "failed").inc(max(failed, 0))
        if error:
            self._errors.labels(where, error).inc()
