"""Metrics of replication, as Prometheus reads them: names that users have alerts for, and series that end with their object."""

import math
import random
import subprocess
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from datamover.metrics.exposition import expose, new_registry
from datamover.metrics.replication import ReplicaName, ReplicationMetrics, Role
from datamover.metrics.summaries import KEPT
from support.prometheus import find_prometheus

DAY = 86400.0
NIGHTLY = ReplicaName("nightly", "shop", Role.SOURCE, "restic")
LABELS = {"obj_name": "nightly", "obj_namespace": "shop", "role": "source", "method": "restic"}
DURATION = "volsync_sync_duration_seconds"


class Time:
    def __init__(self) -> None:
        self.now = 1722954652.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry(process=False)


@pytest.fixture
def metrics(registry: CollectorRegistry, time: Time) -> ReplicationMetrics:
    return ReplicationMetrics(registry, now=time)


def lived(metrics: ReplicationMetrics, replica: ReplicaName = NIGHTLY) -> None:
    """Everything that is ever counted, once."""
    metrics.waits_for_trigger(replica, since=1722954000.0)
    metrics.waits(replica, reason="SecretNotFound", severity="warning", since=1722954001.0)
    metrics.failed(replica, reason="RepositoryLocked", consecutive=1)
    metrics.failed(replica, reason="AccessDenied", consecutive=2)
    metrics.synced(replica, seconds=62.5, size=4096, missed=True)
    metrics.in_sync(replica, last=1722954652.0, until=None)
    metrics.failed(replica, reason="AccessDenied", consecutive=1)


def read(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample that the official parser finds."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(expose(registry).decode())
        for sample in family.samples
    }


def value(registry: CollectorRegistry, name: str, more: Mapping[str, str] | None = None) -> float | None:
    return read(registry).get((name, frozenset({**LABELS, **(more or {})}.items())))


def quantiles(registry: CollectorRegistry) -> list[float | None]:
    return [value(registry, DURATION, {"quantile": quantile}) for quantile in ("0.5", "0.9", "0.99")]


def test_names_types_and_labels_are_those_that_users_have_alerts_for(
    registry: CollectorRegistry, metrics: ReplicationMetrics
) -> None:
    lived(metrics)
    families = {family.name: family for family in text_string_to_metric_families(expose(registry).decode())}
    assert {name: family.type for name, family in families.items()} == {
        "volsync_missed_intervals": "counter",
        "volsync_volume_out_of_sync": "gauge",
        DURATION: "summary",
        "datamover_replication_transferred_bytes": "counter",
        "datamover_replication_last_sync_timestamp_seconds": "gauge",
        "datamover_replication_copy_trigger_waiting_since_timestamp_seconds": "gauge",
        "datamover_replication_waiting_since_timestamp_seconds": "gauge",
        "datamover_replication_failures": "counter",
        "datamover_replication_consecutive_failures": "gauge",
    }
    assert value(registry, "volsync_missed_intervals_total") == 1
    assert value(registry, "volsync_volume_out_of_sync") == 0
    assert quantiles(registry) == [62.5, 62.5, 62.5]
    assert (value(registry, f"{DURATION}_sum"), value(registry, f"{DURATION}_count")) == (62.5, 1)
    assert value(registry, "datamover_replication_transferred_bytes_total") == 4096
    assert value(registry, "datamover_replication_last_sync_timestamp_seconds") == 1722954652
    assert value(registry, "datamover_replication_copy_trigger_waiting_since_timestamp_seconds") == 1722954000
    waited = {"reason": "SecretNotFound", "severity": "warning"}
    assert value(registry, "datamover_replication_waiting_since_timestamp_seconds", waited) == 1722954001
    assert value(registry, "datamover_replication_failures_total", {"reason": "RepositoryLocked"}) == 1
    assert value(registry, "datamover_replication_failures_total", {"reason": "AccessDenied"}) == 2
    assert value(registry, "datamover_replication_consecutive_failures", {"reason": "AccessDenied"}) == 1


def test_promtool_finds_nothing_to_complain_about(registry: CollectorRegistry, metrics: ReplicationMetrics) -> None:
    lived(metrics)
    done = subprocess.run(
        [find_prometheus() / "promtool", "check", "metrics"],
        input=expose(registry),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_an_object_that_is_seen_is_out_of_sync_and_its_counters_begin_at_nothing(
    registry: CollectorRegistry, metrics: ReplicationMetrics
) -> None:
    metrics.seen(NIGHTLY)
    metrics.seen(NIGHTLY)
    assert value(registry, "volsync_volume_out_of_sync") == 1
    assert value(registry, "volsync_missed_intervals_total") == 0
    assert value(registry, "datamover_replication_transferred_bytes_total") == 0
    assert value(registry, f"{DURATION}_count") == 0
    assert all(found is not None and math.isnan(found) for found in quantiles(registry))
    assert len(read(registry)) == 8


def test_it_is_out_of_sync_as_soon_as_the_deadline_has_passed_without_anybody_looking_again(
    registry: CollectorRegistry, metrics: ReplicationMetrics, time: Time
) -> None:
    metrics.in_sync(NIGHTLY, last=time.now, until=time.now + 100)
    time.now += 100
    assert value(registry, "volsync_volume_out_of_sync") == 0
    time.now += 1
    assert value(registry, "volsync_volume_out_of_sync") == 1
    metrics.in_sync(NIGHTLY, last=time.now, until=time.now + 100)
    assert value(registry, "volsync_volume_out_of_sync") == 0


def test_failures_stand_with_their_last_reason_until_one_succeeds(
    registry: CollectorRegistry, metrics: ReplicationMetrics
) -> None:
    failing = "datamover_replication_consecutive_failures"
    metrics.failed(NIGHTLY, reason="RepositoryLocked", consecutive=1)
    metrics.failed(NIGHTLY, reason="AccessDenied", consecutive=2)
    assert value(registry, failing, {"reason": "AccessDenied"}) == 2
    assert value(registry, failing, {"reason": "RepositoryLocked"}) is None
    metrics.synced(NIGHTLY, seconds=1, size=0, missed=False)
    assert not [name for name, _ in read(registry) if name == failing]
    assert value(registry, "datamover_replication_failures_total", {"reason": "AccessDenied"}) == 1


def test_a_wait_for_a_trigger_goes_with_the_trigger(registry: CollectorRegistry, metrics: ReplicationMetrics) -> None:
    waits = "datamover_replication_copy_trigger_waiting_since_timestamp_seconds"
    metrics.waits_for_trigger(NIGHTLY, since=5.0)
    assert value(registry, waits) == 5
    metrics.goes_on(NIGHTLY)
    metrics.goes_on(NIGHTLY)
    assert value(registry, waits) is None


def test_all_series_end_with_their_object_and_those_of_others_stay(
    registry: CollectorRegistry, metrics: ReplicationMetrics
) -> None:
    other = NIGHTLY._replace(role=Role.DESTINATION)
    lived(metrics, other)
    before = read(registry)
    lived(metrics)
    assert len(read(registry)) == 2 * len(before)
    metrics.forget(name="nightly", namespace="shop", role=Role.SOURCE)
    metrics.forget(name="nightly", namespace="shop", role=Role.SOURCE)
    assert read(registry) == before
    metrics.forget(name="nightly", namespace="shop", role=Role.DESTINATION)
    assert read(registry) == {}


def test_an_object_that_is_made_anew_begins_anew(registry: CollectorRegistry, metrics: ReplicationMetrics) -> None:
    lived(metrics)
    metrics.forget(name="nightly", namespace="shop", role=Role.SOURCE)
    metrics.seen(NIGHTLY)
    assert value(registry, "volsync_missed_intervals_total") == 0
    assert value(registry, "datamover_replication_failures_total", {"reason": "AccessDenied"}) is None


def test_another_method_ends_the_series_of_the_former_one(
    registry: CollectorRegistry, metrics: ReplicationMetrics
) -> None:
    lived(metrics)
    metrics.seen(NIGHTLY._replace(method="rclone"))
    assert {dict(labels)["method"] for _, labels in read(registry)} == {"rclone"}


# --- quantiles ------------------------------------------------------------------------------------------------------


def test_quantiles_are_durations_that_were_observed(registry: CollectorRegistry, metrics: ReplicationMetrics) -> None:
    durations = list(range(1, 101))
    random.Random(7).shuffle(durations)
    for seconds in durations:
        metrics.synced(NIGHTLY, seconds=seconds, size=0, missed=False)
    assert quantiles(registry) == [50, 90, 99]


def test_after_a_day_a_duration_counts_for_no_quantile_any_more_but_still_for_sum_and_count(
    registry: CollectorRegistry, metrics: ReplicationMetrics, time: Time
) -> None:
    metrics.synced(NIGHTLY, seconds=100, size=0, missed=False)
    time.now += DAY - 1
    metrics.synced(NIGHTLY, seconds=1, size=0, missed=False)
    assert quantiles(registry) == [1, 100, 100]
    time.now += 1
    assert quantiles(registry) == [1, 1, 1]
    assert (value(registry, f"{DURATION}_sum"), value(registry, f"{DURATION}_count")) == (101, 2)


def test_of_many_the_last_ones_count_in_bounded_memory(
    registry: CollectorRegistry, metrics: ReplicationMetrics
) -> None:
    for seconds in range(10 * KEPT):
        metrics.synced(NIGHTLY, seconds=seconds, size=0, missed=False)
    assert quantiles(registry)[0] == 10 * KEPT - KEPT // 2 - 1
    assert value(registry, f"{DURATION}_count") == 10 * KEPT
