"""What a written status means for the metrics."""

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from datamover.api import reasons
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMoverStatus
from datamover.metrics.datamover import DataMoverMetrics
from datamover.plans.learned import Failed
from datamover.plans.steps import Delete
from datamover.reconcilers.datamover.report import report_failure, report_present, report_status
from datamover.runs.wait import age_of
from kubekit.client.errors import Forbidden
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support import builders


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, metric: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(metric, {"namespace": "default", **labels})


def test_what_somebody_else_has_cleaned_up_is_not_ours_to_count(registry: CollectorRegistry) -> None:
    """The run was complete without a clean-up of ours."""
    running = builders.data_mover(status=builders.status(Phase.CREATING_POD))
    gone = builders.status(Phase.COMPLETED, conditions={"CleanedUp": "True"}, reason=reasons.CLEANED_UP)
    report_status(running, gone, meter=DataMoverMetrics(registry), now=builders.NOW)
    assert value(registry, "datamover_data_sync_operations_total", status="success") == 1
    assert not value(registry, "datamover_cleanup_operations_total", status="success")


def test_a_refused_delete_counts_as_a_failed_cleanup(registry: CollectorRegistry) -> None:
    refused = Failed(Delete(PERSISTENT_VOLUME_CLAIMS, builders.clone().metadata), Forbidden("no"))
    report_failure(builders.data_mover().metadata, None, refused, meter=DataMoverMetrics(registry))
    assert value(registry, "datamover_cleanup_operations_total", status="failure") == 1
    assert value(registry, "datamover_pvc_cleanup_operations_total", status="failure") == 1


def test_when_a_backup_was_last_verified_stands_again_after_a_restart(registry: CollectorRegistry) -> None:
    verified = replace(builders.status(Phase.COMPLETED), last_verified="2024-08-06T15:00:00Z")
    meter = DataMoverMetrics(registry)
    report_present(builders.data_mover(status=verified), meter=meter)
    report_present(builders.data_mover(name="unverified", status=builders.status(Phase.COMPLETED)), meter=meter)
    family = "datamover_last_verified_timestamp_seconds"
    assert value(registry, family, name="nightly") == 1722956400
    assert value(registry, family, name="unverified") is None
    source = "datamover_source_last_verified_timestamp_seconds"
    assert value(registry, source, source="app-data") == 1722956400
    meter.forget(name="nightly", namespace=builders.data_mover().metadata.namespace)
    assert value(registry, family, name="nightly") is None
    meter.forget_source(source="app-data", namespace=builders.data_mover().metadata.namespace)
    assert value(registry, source, source="app-data") is None


def test_of_a_claim_that_is_gone_no_verification_is_told(registry: CollectorRegistry) -> None:
    verified = replace(builders.status(Phase.COMPLETED), last_verified="2024-08-06T15:00:00Z")
    report_present(builders.data_mover(status=verified), meter=DataMoverMetrics(registry), source_exists=False)
    assert value(registry, "datamover_source_last_verified_timestamp_seconds", source="app-data") is None


# --- what stands until somebody deals with it -----------------------------------------------------------------------

FAILED = {"source": "app-data", "reason": "WrongCredentials"}


def failed_at(registry: CollectorRegistry, name: str = "nightly", **labels: str) -> float | None:
    return value(registry, "datamover_failed_timestamp_seconds", name=name, **{**FAILED, **labels})


def waits(registry: CollectorRegistry) -> dict[str, tuple[str, str]]:
    """Return whether the data are safe, and the severity, of each wait by its reason."""
    family = "datamover_waiting_since_timestamp_seconds"
    samples = [sample for each in registry.collect() if each.name == family for sample in each.samples]
    return {sample.labels["reason"]: (sample.labels["data_safe"], sample.labels["severity"]) for sample in samples}


def test_a_later_run_of_the_same_claim_settles_a_failure_in_any_order(registry: CollectorRegistry) -> None:
    finished = {"started": "2024-08-06T15:00:00Z", "finished": "2024-08-06T15:01:00Z"}
    failed = builders.data_mover(name="first", status=builders.status("Failed", reason="WrongCredentials"))
    later = builders.data_mover(name="second", status=builders.status("Completed", run=builders.run(**finished)))
    twin = builders.data_mover(name="twin", status=builders.status("Completed", run=builders.run()))
    for order in ((failed, later), (later, failed)):
        fresh = CollectorRegistry()
        meter = DataMoverMetrics(fresh)
        for mover in order:
            report_present(mover, meter=meter)
        assert failed_at(fresh, "first") is None
    meter = DataMoverMetrics(registry)
    for mover in (failed, twin):
        report_present(mover, meter=meter)
    assert failed_at(registry, "first") is not None, "one that began in the same second is no later one"


@pytest.mark.parametrize("stamp", ["yesterday", "", "9999-12-31T23:59:59-23:59", "20240806T143052Z ", "\u00b2"])
def test_a_moment_that_is_none_breaks_no_metric(registry: CollectorRegistry, stamp: str) -> None:
    """Whoever may write a status may write anything there."""
    meter = DataMoverMetrics(registry)
    run = builders.run(started=stamp, finished=stamp)
    for phase in Phase.ORDER[1:]:
        old = builders.data_mover(status=builders.status(phase, run=run, phase_started=stamp))
        report_present(old, meter=meter)
        report_status(old, builders.status(Phase.FAILED, run=run), meter=meter, now=builders.NOW)
    assert age_of(stamp, builders.NOW) >= 0.0


def test_the_series_of_a_failed_one_go_with_it_and_with_nothing_else(registry: CollectorRegistry) -> None:
    meter = DataMoverMetrics(registry)
    failed = builders.data_mover(status=builders.status("Failed", reason="WrongCredentials"))
    report_present(failed, meter=meter)
    report_present(failed, meter=meter, source_exists=False)
    assert failed_at(registry) is not None, "the claim is gone, but nobody has dealt with the failure"
    meter.forget(name="nightly", namespace="default")
    assert failed_at(registry) is None


def test_one_that_was_made_anew_under_the_same_name_has_not_failed(registry: CollectorRegistry) -> None:
    meter = DataMoverMetrics(registry)
    report_present(builders.data_mover(status=builders.status("Failed", reason="WrongCredentials")), meter=meter)
    report_present(builders.data_mover(uid=builders.OTHER_UID), meter=meter)
    assert failed_at(registry) is None


def test_what_the_original_operator_has_left_is_named_too(registry: CollectorRegistry) -> None:
    status = DataMoverStatus(phase="Failed", phase_started="not a time")
    report_present(builders.data_mover(status=status), meter=DataMoverMetrics(registry))
    assert failed_at(registry, reason=reasons.MOVER_FAILED) == builders.NOW.timestamp()


@pytest.mark.parametrize(
    ("phase", "reason", "conditions", "told"),
    [
        ("CleaningUp", reasons.CLEANUP_WAITING, {"Stalled": "True"}, ("true", "info")),
        ("CreatingClonedPVC", reasons.CLEANUP_WAITING, {"Stalled": "True"}, ("false", "info")),
        ("Completed", reasons.CLEANUP_FAILED, {"Stalled": "True"}, ("true", "warning")),
        ("", reasons.SUSPENDED, {"Reconciling": "False"}, ("false", "info")),
        ("CreatingPod", "SomethingNew", {"Stalled": "True"}, ("false", "warning")),
        ("Failed", "WrongCredentials", {"Stalled": "True"}, None),
        ("CreatingPod", reasons.SYNCHRONIZING, {}, None),
    ],
)
def test_which_waits_are_told_and_whether_the_data_are_safe(
    phase: str, reason: str, conditions: dict[str, str], told: tuple[str, str] | None, registry: CollectorRegistry
) -> None:
    status = builders.status(phase, reason=reason, conditions=conditions)
    report_present(builders.data_mover(status=status), meter=DataMoverMetrics(registry))
    assert waits(registry) == ({reason: told} if told is not None else {})


def test_of_a_claim_that_does_not_exist_nothing_is_said(registry: CollectorRegistry) -> None:
    report_present(builders.data_mover(), meter=DataMoverMetrics(registry), source_exists=False)
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") is None


def test_what_was_cancelled_counts_as_cancelled_and_as_no_failure(registry: CollectorRegistry) -> None:
    running = builders.data_mover(status=builders.status(Phase.CREATING_POD, reason=reasons.CANCELLING))
    told = {"Synchronized": "False", "Failed": "True", "Stalled": "True"}
    ended = builders.status(Phase.FAILED, conditions=told, reason=reasons.CANCELLED)
    meter = DataMoverMetrics(registry)
    report_status(running, ended, meter=meter, now=builders.NOW)
    report_present(builders.data_mover(status=ended, cancel=True), meter=meter)
    phase = {"phase": Phase.CREATING_POD, "status": "cancelled"}
    assert value(registry, "datamover_operations_total", **phase) == 1
    for family in ("datamover_data_sync_operations_total", "datamover_pod_creation_operations_total"):
        assert (value(registry, family, status="cancelled"), value(registry, family, status="failure")) == (1, 0)
    assert failed_at(registry, reason=reasons.CANCELLED) is None
    assert not waits(registry)
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") is None
    errors = [sample for each in registry.collect() if each.name == "datamover_errors" for sample in each.samples]
    assert not errors


def test_one_that_was_created_suspended_is_no_try(registry: CollectorRegistry) -> None:
    report_present(builders.data_mover(suspend=True), meter=DataMoverMetrics(registry))
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") is None
