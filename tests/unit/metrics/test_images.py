"""What is counted of DataImportCrons: by what was written, and what goes with them."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from datamover.api.cdi.data_import_cron import DataImportCron
from datamover.metrics.images import ImageMetrics
from datamover.plans.learned import Learned, Written
from datamover.plans.steps import Emit
from datamover.reconcilers.import_cron.report import report, show
from kubekit.runtime.store import Key

NAMED = {"namespace": "images", "name": "cron"}


def cron(*, last: str = "os-1", asked: str = "2026-11-30T12:00:00Z", answers: str = "True") -> DataImportCron:
    times = {"lastTransitionTime": "2026-11-30T06:00:00Z", "lastHeartbeatTime": "2026-11-30T12:00:00Z"}
    status = {
        "lastImportedPVC": {"name": last},
        "lastImportTimestamp": "2026-11-30T00:00:00Z",
        "lastExecutionTimestamp": asked,
        "conditions": [{"type": "UpToDate", "status": "True"}, {"type": "Polled", "status": answers, **times}],
    }
    return msgspec.convert({"metadata": NAMED, "status": status}, DataImportCron)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_how_old_an_image_is_and_what_is_known_of_it_is_shown_until_it_goes(registry: CollectorRegistry) -> None:
    meter = ImageMetrics(registry)

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"datamover_image_{name}", NAMED)

    show(Key("images", "cron"), cron().status, meter=meter)
    assert (value("up_to_date"), value("poll_failing"), value("imports_total")) == (1, 0, 0)
    imported, polled = value("last_import_timestamp_seconds"), value("last_poll_timestamp_seconds")
    assert imported is not None
    assert polled == imported + 12 * 3600
    show(Key("images", "cron"), cron(answers="False").status, meter=meter)
    assert (value("poll_failing"), value("last_poll_timestamp_seconds")) == (1, imported + 6 * 3600)
    show(Key("images", "cron"), None, meter=meter)
    assert (value("up_to_date"), value("last_import_timestamp_seconds")) == (0, None)
    meter.forget("images", "cron")
    assert value("up_to_date") is None


@pytest.mark.parametrize(
    ("before", "after", "told", "counted"),
    [
        (cron(last="os-1"), cron(last="os-2"), "", "imports_total"),
        (cron(), cron(asked="2026-11-30T13:00:00Z", answers="False"), "", "polls_failed_total"),
        (cron(), None, "ImportDeleted", "imports_pruned_total"),
        (cron(), None, "ImportAbandoned", "imports_abandoned_total"),
        (cron(), cron(asked="2026-11-30T13:00:00Z"), "UpToDate", ""),
    ],
)
def test_what_happens_is_counted_once(
    registry: CollectorRegistry, before: DataImportCron, after: DataImportCron | None, told: str, counted: str
) -> None:
    written = (Written(before, after.status),) if after is not None and after.status is not None else ()
    emitted = Emit("Normal", told, "words", "Prune") if told else None
    learned = Learned(written=written, deleted=("uid",) if after is None else (), told=emitted)
    report(learned, before, meter=ImageMetrics(registry))
    samples = [each for family in registry.collect() for each in family.samples]
    assert {each.name: each.value for each in samples} == ({f"datamover_image_{counted}": 1} if counted else {})
