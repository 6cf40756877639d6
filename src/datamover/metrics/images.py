"""Metrics of images that are kept up to date. Every series is of one DataImportCron, of which there are few, and goes with it."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry

from datamover.metrics.objects import ObjectCounter, ObjectGauge


class CronName(NamedTuple):
    """Labels of the series of one DataImportCron."""

    namespace: str
    name: str


class ImageMetrics:
    """Tells how old images are, and counts what happens to them. All moments are in seconds since 1970."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def count(name: str, text: str) -> ObjectCounter[CronName]:
            return ObjectCounter(f"datamover_image_{name}", text, key=CronName, registry=registry)

        def show(name: str, text: str) -> ObjectGauge[CronName]:
            return ObjectGauge(f"datamover_image_{name}", text, key=CronName, registry=registry)

        self._imports = count("imports", "Imports that came to their end.")
        self._abandoned = count("imports_abandoned", "Imports that were deleted before they came to their end.")
        self._pruned = count("imports_pruned", "Outdated imports that were deleted.")
        self._failed_polls = count("polls_failed", "How often the server could not be asked.")
        self._up_to_date = show("up_to_date", "1 where the newest image is there, as far as is known; else 0.")
        self._failing = show("poll_failing", "1 where the server could not be asked the last time; else 0.")
        self._imported = show("last_import_timestamp_seconds", "When an image was imported last.")
        self._polled = show(
            "last_poll_timestamp_seconds",
            "When the server answered last; where it fails since, when that began.",
        )

    def standing(
        self,
        namespace: str,
        name: str,
        *,
        up_to_date: bool,
        failing: bool,
        imported: float | None,
        polled: float | None,
    ) -> None:
        """Show how a DataImportCron stands; `failing`: its server could not be asked the last time."""
        key = CronName(namespace, name)
        for counter in (self._imports, self._abandoned, self._pruned, self._failed_polls):
            counter.add(key, 0)
        self._up_to_date.set(key, 1.0 if up_to_date else 0.0)
        self._failing.set(key, 1.0 if failing else 0.0)
        for gauge, moment in ((self._imported, imported), (self._polled, polled)):
            if moment is None:
                gauge.forget(key)
            else:
                gauge.set(key, moment)

    def imported(self, namespace: str, name: str) -> None:
        """An import has come to its end."""
        self._imports.add(CronName(namespace, name), 1)

    def deleted(self, namespace: str, name: str, *, finished: bool) -> None:
        """An import was deleted."""
        (self._pruned if finished else self._abandoned).add(CronName(namespace, name), 1)

    def poll_failed(self, namespace: str, name: str) -> None:
        """The server could not be asked."""
        self._failed_polls.add(CronName(namespace, name), 1)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a DataImportCron that is gone."""
        key = CronName(namespace, name)
        for family in (
            self._imports,
            self._abandoned,
            self._pruned,
            self._failed_polls,
            self._up_to_date,
            self._failing,
            self._imported,
            self._polled,
        ):
            family.forget(key)
