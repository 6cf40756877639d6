"""The exposition: published names and labels, bounded series, alerts that can fire."""

import re

import pytest

from datamover.api.names import Phase
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.exposition import CONTENT_TYPE, expose, new_registry


@pytest.fixture
def registry():
    return new_registry(process=False)


@pytest.fixture
def metrics(registry) -> DataMoverMetrics:
    return DataMoverMetrics(registry)


def lived(metrics: DataMoverMetrics) -> None:
    """Everything that is ever counted, once."""
    metrics.phase_now(name="nightly", namespace="default", phase=Phase.CLEANING_UP)
    metrics.phase_started(phase="CleaningUp", namespace="default")
    metrics.phase_ended(phase="CleaningUp", namespace="default", seconds=3, status="success")
    metrics.phase_ended(phase="CreatingPod", namespace="default", seconds=3, status="failure")
    metrics.clone(status="success", namespace="default")
    metrics.pod(status="success", namespace="default")
    metrics.synced(status="success", namespace="default")
    metrics.cleaned(status="success", namespace="default")
    metrics.error(error_type="SourceNotFound", phase="", namespace="default")
    metrics.moved(namespace="default", size=10, files=2, attempts=1, deleted=3)
    metrics.succeeded(name="nightly", namespace="default", at=1722954652.0)
    metrics.source_succeeded(source="app-data", namespace="default", at=1722954652.0)
    metrics.verified(name="nightly", namespace="default", at=1722954652.0)
    metrics.source_verified(source="app-data", namespace="default", at=1722954652.0)
    metrics.source_verified(source="app-data", namespace="default", at=1722950000.0)


PUBLISHED = [
    'datamover_cleanup_operations_total{namespace="default",status="success"} 1.0',
    'datamover_cleanup_operations_total{namespace="default",status="failure"} 0.0',
    'datamover_pvc_cleanup_operations_total{namespace="default",status="success"} 1.0',
    'datamover_data_sync_operations_total{namespace="default",status="success"} 1.0',
    'datamover_data_sync_operations_total{namespace="default",status="failure"} 0.0',
    'datamover_phase_duration_seconds_count{namespace="default",phase="CleaningUp"} 1.0',
    'datamover_phase_duration_seconds_bucket{le="0.1",namespace="default",phase="CleaningUp"} 0.0',
    'datamover_phase_duration_seconds_bucket{le="1200.0",namespace="default",phase="CleaningUp"} 1.0',
    'datamover_operations_total{namespace="default",phase="CleaningUp",status="started"} 1.0',
    'datamover_operations_total{namespace="default",phase="CleaningUp",status="success"} 1.0',
    'datamover_operations_total{namespace="default",phase="CreatingPod",status="failure"} 1.0',
    'datamover_current_phase{name="nightly",namespace="default"} 4.0',
    'datamover_pvc_clone_operations_total{namespace="default",status="success"} 1.0',
    'datamover_pod_creation_operations_total{namespace="default",status="success"} 1.0',
    'datamover_errors_total{error_type="SourceNotFound",namespace="default",phase=""} 1.0',
    'datamover_transferred_bytes_total{namespace="default"} 10.0',
    'datamover_transferred_files_total{namespace="default"} 2.0',
    'datamover_deleted_objects_total{namespace="default"} 3.0',
    'datamover_sync_attempts_total{namespace="default"} 1.0',
    'datamover_last_success_timestamp_seconds{name="nightly",namespace="default"} 1.722954652e+09',
    'datamover_source_last_success_timestamp_seconds{namespace="default",source="app-data"} 1.722954652e+09',
    'datamover_last_verified_timestamp_seconds{name="nightly",namespace="default"} 1.722954652e+09',
    'datamover_source_last_verified_timestamp_seconds{namespace="default",source="app-data"} 1.722954652e+09',
]


@pytest.mark.parametrize("sample", PUBLISHED)
def test_a_published_sample(sample: str, metrics, registry) -> None:
    lived(metrics)
    lines = {canonical(line) for line in expose(registry).decode().splitlines() if not line.startswith("#")}
    assert canonical(sample) in lines


def canonical(line: str) -> str:
    """Labels in the order of the alphabet: their order means nothing."""
    return re.sub(r"\{(.*)\}", lambda found: "{" + ",".join(sorted(found[1].split(","))) + "}", line)


def test_the_documented_alert_fires_on_the_first_failure(metrics, registry) -> None:
    """`increase(datamover_cleanup_operations_total{status="failure"}[5m]) > 0` needs a sample at 0 before the one at 1."""

    def sample():
        labels = {"status": "failure", "namespace": "default"}
        return registry.get_sample_value("datamover_cleanup_operations_total", labels)

    metrics.phase_now(name="nightly", namespace="default", phase=Phase.NONE)
    first_scrape = sample()
    metrics.cleaned(status="failure", namespace="default")
    assert (first_scrape, sample()) == (0, 1)


def test_what_is_counted_first_shows_as_an_increase(metrics, registry) -> None:
    """Prometheus takes a counter that is born with a value for one that has not moved."""
    counted = ("transferred_bytes", "transferred_files", "sync_attempts", "deleted_objects")
    metrics.phase_now(name="nightly", namespace="default", phase=Phase.NONE)
    begun = {name: registry.get_sample_value(f"datamover_{name}_total", {"namespace": "default"}) for name in counted}
    assert set(begun.values()) == {0}
    for family in ("pvc_clone", "pod_creation"):
        for status in ("started", "success", "failure"):
            labels = {"namespace": "default", "status": status}
            assert registry.get_sample_value(f"datamover_{family}_operations_total", labels) == 0


def test_the_series_of_an_object_go_with_it(metrics, registry) -> None:
    lived(metrics)
    metrics.phase_now(name="other", namespace="default", phase=Phase.COMPLETED)
    metrics.forget(name="nightly", namespace="default")
    text = expose(registry).decode()
    assert 'name="nightly"' not in text
    assert 'name="other"' in text
    assert 'datamover_data_sync_operations_total{namespace="default",status="success"} 1.0' in text


def test_forgetting_what_never_was_is_no_error(metrics) -> None:
    metrics.forget(name="nobody", namespace="default")


def test_the_latest_success_of_a_source_counts_and_stays_until_the_source_goes(metrics, registry) -> None:
    lived(metrics)
    metrics.source_succeeded(source="app-data", namespace="default", at=5.0)
    metrics.forget(name="nightly", namespace="default")
    labels = {"namespace": "default", "source": "app-data"}

    def sample():
        return registry.get_sample_value("datamover_source_last_success_timestamp_seconds", labels)

    assert sample() == 1722954652.0
    metrics.source_succeeded(source="app-data", namespace="default", at=1722954653.0)
    assert sample() == 1722954653.0
    metrics.forget_source(source="app-data", namespace="default")
    metrics.forget_source(source="nothing", namespace="default")
    assert sample() is None


def test_only_three_families_carry_names_of_objects(metrics, registry) -> None:
    lived(metrics)
    named = {line.partition("{")[0] for line in expose(registry).decode().splitlines() if 'name="nightly"' in line}
    assert named == {
        "datamover_current_phase",
        "datamover_last_success_timestamp_seconds",
        "datamover_last_verified_timestamp_seconds",
    }


@pytest.mark.parametrize(("phase", "number"), [*((phase, n) for n, phase in enumerate(Phase.ORDER)), ("Unheard", -1)])
def test_the_gauge_numbers_the_phases(phase: str, number: int, metrics, registry) -> None:
    metrics.phase_now(name="x", namespace="default", phase=phase)
    assert registry.get_sample_value("datamover_current_phase", {"name": "x", "namespace": "default"}) == number


def test_the_process_reports_itself_when_asked() -> None:
    assert b"process_resident_memory_bytes" in expose(new_registry())
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
