"""What is counted of hosted control planes' backups: the document's monitoring list."""

import pytest
from prometheus_client import CollectorRegistry

from datamover.metrics.hosted_control_planes import Ended, HostedControlPlaneMetrics

PREFIX = "datamover_hosted_control_plane_"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_backup_that_is_over_is_counted_by_platform(registry: CollectorRegistry) -> None:
    meter = HostedControlPlaneMetrics(registry)
    meter.ended("AWS", result="MOVED", seconds=90.0, resources=(Ended("DataUpload", 3, 0),))
    meter.ended(
        "AWS",
        result="FAILED",
        seconds=None,
        resources=(Ended("DataUpload", 2, 1),),
        error="DeadlineExceeded",
        timed_out=True,
    )

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(PREFIX + name, {"platform": "AWS", **labels})

    assert value("reconciliation_duration_seconds_count", result="MOVED") == 1
    assert value("reconciliation_duration_seconds_sum", result="MOVED") == 90
    assert value("reconciliation_duration_seconds_count", result="FAILED") is None
    assert value("resources_total", kind="DataUpload", result="completed") == 5
    assert value("resources_total", kind="DataUpload", result="failed") == 1
    assert value("errors_total", reason="DeadlineExceeded") == 1
    assert value("timeouts_total") == 1


def test_the_first_backup_of_a_platform_begins_its_timeouts_with_none(registry: CollectorRegistry) -> None:
    HostedControlPlaneMetrics(registry).ended("Azure", result="MOVED", seconds=1.0)
    assert registry.get_sample_value(f"{PREFIX}timeouts_total", {"platform": "Azure"}) == 0


def test_platforms_that_somebody_makes_up_are_one(registry: CollectorRegistry) -> None:
    meter = HostedControlPlaneMetrics(registry)
    for platform in ("", "aws", "x" * 1_000_000, "AWS\n"):
        meter.ended(platform, result="UNSUPPORTED", seconds=None, error="UnsupportedPlatform")
    labels = {"platform": "other", "reason": "UnsupportedPlatform"}
    assert registry.get_sample_value(f"{PREFIX}errors_total", labels) == 4


def test_a_backup_that_is_not_over_is_shown_until_it_is(registry: CollectorRegistry) -> None:
    meter = HostedControlPlaneMetrics(registry)
    labels = {"namespace": "clusters-a", "backup": "nightly"}
    meter.stands("clusters-a", "nightly", moved=1, expected=3, stalled=2)
    assert registry.get_sample_value(f"{PREFIX}volumes_moved", labels) == 1
    assert registry.get_sample_value(f"{PREFIX}volumes_expected", labels) == 3
    assert registry.get_sample_value(f"{PREFIX}volumes_stalled", labels) == 2
    meter.forget("clusters-a", "nightly")
    assert registry.get_sample_value(f"{PREFIX}volumes_moved", labels) is None
    meter.forget("clusters-a", "nightly")


def test_a_clock_that_went_back_is_no_negative_duration(registry: CollectorRegistry) -> None:
    HostedControlPlaneMetrics(registry).ended("AWS", result="MOVED", seconds=-5.0)
    assert (
        registry.get_sample_value(
            f"{PREFIX}reconciliation_duration_seconds_sum", {"platform": "AWS", "result": "MOVED"}
        )
        == 0
    )
