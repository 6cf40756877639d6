"""What a written status means for the metrics."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from datamover.api import names, reasons, transfer
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
from support.pure_cluster import PureCluster


class Watched(PureCluster):
    """Reports each status that is written, as the reconciler does."""

    def _carry_out(self, step, version):
        before = self.mover
        version = super()._carry_out(step, version)
        if self.mover.status != before.status:
            report_status(before, self.mover.status, meter=self.meter, now=self.now)
            report_present(self.mover, meter=self.meter)
        return version


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def world(registry: CollectorRegistry, *, script=None, **spec) -> Watched:
    made = Watched(builders.data_mover(**spec), **({"script": script} if script else {}))
    made.meter = DataMoverMetrics(registry)
    return made


def value(registry: CollectorRegistry, metric: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(metric, {"namespace": "default", **labels})


def test_a_whole_run_is_counted_once_in_every_documented_metric(registry: CollectorRegistry) -> None:
    lived = world(registry, delete_pvc_after_backup=True)
    lived.run()
    for phase in ("CreatingClonedPVC", "ClonedPVCReady", "CreatingPod", "CleaningUp"):
        assert value(registry, "datamover_operations_total", phase=phase, status="started") == 1
        assert value(registry, "datamover_operations_total", phase=phase, status="success") == 1
        assert value(registry, "datamover_phase_duration_seconds_count", phase=phase) == 1
    assert value(registry, "datamover_data_sync_operations_total", status="success") == 1
    assert value(registry, "datamover_data_sync_operations_total", status="failure") == 0
    assert value(registry, "datamover_cleanup_operations_total", status="success") == 1
    assert value(registry, "datamover_cleanup_operations_total", status="failure") == 0
    assert value(registry, "datamover_pvc_clone_operations_total", status="started") == 1
    assert value(registry, "datamover_pvc_clone_operations_total", status="success") == 1
    assert value(registry, "datamover_pod_creation_operations_total", status="success") == 1
    assert value(registry, "datamover_current_phase", name="nightly") == Phase.ORDER.index("Completed")
    assert value(registry, "datamover_transferred_bytes_total") == 512
    assert value(registry, "datamover_transferred_files_total") == 2
    assert value(registry, "datamover_last_success_timestamp_seconds", name="nightly") == lived.now.timestamp()


def test_a_failed_run_is_counted_as_failed_with_its_reason(registry: CollectorRegistry) -> None:
    world(registry, script=[builders.outcome(failure_class=transfer.CREDENTIALS)]).run()
    assert value(registry, "datamover_operations_total", phase="CreatingPod", status="failure") == 1
    assert value(registry, "datamover_data_sync_operations_total", status="failure") == 1
    assert value(registry, "datamover_pod_creation_operations_total", status="failure") == 1
    assert value(registry, "datamover_errors_total", error_type="WrongCredentials", phase="Failed") == 1
    assert value(registry, "datamover_last_success_timestamp_seconds", name="nightly") is None


def test_every_failed_attempt_counts_as_an_error(registry: CollectorRegistry) -> None:
    network = builders.outcome(failure_class=transfer.NETWORK, retryable=True)
    world(registry, script=[network, network, builders.outcome()]).run()
    assert value(registry, "datamover_errors_total", error_type=reasons.RETRYING, phase="CreatingPod") == 2


def test_an_obstacle_counts_once_however_long_it_lasts(registry: CollectorRegistry) -> None:
    blocked = world(registry)
    del blocked.claims["app-data"]
    blocked.run()
    blocked.now += timedelta(hours=5)
    blocked.run()
    assert value(registry, "datamover_errors_total", error_type=reasons.SOURCE_NOT_FOUND, phase="") == 1


def test_a_kept_clone_is_no_cleanup(registry: CollectorRegistry) -> None:
    world(registry).run()
    assert value(registry, "datamover_cleanup_operations_total", status="success") == 0


def test_what_somebody_else_has_cleaned_up_is_not_ours_to_count(registry: CollectorRegistry) -> None:
    gone = world(registry, delete_pvc_after_backup=True)
    while not (gone.jobs and all(job.condition("Complete") for job in gone.jobs.values())):
        gone.reconcile()
        gone.step()
    gone.claims.pop(builders.CLONE)
    gone.jobs = {name: replace(job, metadata=replace(job.metadata, labels=None)) for name, job in gone.jobs.items()}
    gone.run()
    assert gone.phases[-2:] == ["CreatingPod", "Completed"]
    assert value(registry, "datamover_cleanup_operations_total", status="success") == 0


def test_a_removed_snapshot_is_no_cleanup_of_a_clone(registry: CollectorRegistry) -> None:
    world(registry, copy_method="Snapshot").run()
    assert value(registry, "datamover_cleanup_operations_total", status="success") == 0


def test_a_volume_that_stays_on_the_storage_is_an_error_although_its_clone_is_gone(registry: CollectorRegistry) -> None:
    kept = world(registry, delete_pvc_after_backup=True)
    while not kept.volumes:
        kept.reconcile()
        kept.step()
    name = f"pv-{builders.CLONE}"
    kept.volumes[name] = builders.persistent_volume(name=name, persistent_volume_reclaim_policy="Retain")
    kept.run()
    assert kept.phases[-1] == "Completed"
    assert value(registry, "datamover_cleanup_operations_total", status="success") == 1
    assert value(registry, "datamover_errors_total", error_type=reasons.VOLUME_RETAINED, phase="Completed") == 1


def test_a_restart_counts_nothing_again_but_shows_what_is(registry: CollectorRegistry) -> None:
    lived = world(registry)
    lived.run()
    fresh = CollectorRegistry()
    report_present(lived.mover, meter=DataMoverMetrics(fresh))
    assert value(fresh, "datamover_current_phase", name="nightly") == 5
    assert value(fresh, "datamover_last_success_timestamp_seconds", name="nightly") is not None
    assert value(fresh, "datamover_data_sync_operations_total", status="success") == 0


def test_a_refused_delete_counts_as_a_failed_cleanup(registry: CollectorRegistry) -> None:
    refused = Failed(Delete(PERSISTENT_VOLUME_CLAIMS, builders.clone().metadata), Forbidden("no"))
    report_failure(builders.data_mover().metadata, None, refused, meter=DataMoverMetrics(registry))
    assert value(registry, "datamover_cleanup_operations_total", status="failure") == 1
    assert value(registry, "datamover_pvc_cleanup_operations_total", status="failure") == 1


# --- what stands until somebody deals with it -----------------------------------------------------------------------

REFUSED = [builders.outcome(failure_class=transfer.CREDENTIALS)]
FAILED = {"source": "app-data", "reason": "WrongCredentials"}


def failed_at(registry: CollectorRegistry, name: str = "nightly", **labels: str) -> float | None:
    return value(registry, "datamover_failed_timestamp_seconds", name=name, **{**FAILED, **labels})


def waits(registry: CollectorRegistry) -> dict[str, tuple[str, str]]:
    """Return whether the data are safe, and the severity, of each wait by its reason."""
    family = "datamover_waiting_since_timestamp_seconds"
    samples = [sample for each in registry.collect() if each.name == family for sample in each.samples]
    return {sample.labels["reason"]: (sample.labels["data_safe"], sample.labels["severity"]) for sample in samples}


def test_a_failure_stands_until_its_retry_has_succeeded(registry: CollectorRegistry) -> None:
    lived = world(registry, script=[*REFUSED, builders.outcome()])
    lived.run()
    failed = lived.now.timestamp()
    assert failed_at(registry) == failed
    lived.now += timedelta(hours=3)
    lived.mover = replace(
        lived.mover, metadata=replace(lived.mover.metadata, annotations={names.RETRY_ANNOTATION: "1"})
    )
    while lived.mover.status.phase == Phase.FAILED:
        lived.reconcile()
        lived.step()
    assert failed_at(registry) == failed, "the retry is under way, and may fail"
    lived.run()
    assert lived.mover.status.phase == Phase.COMPLETED
    assert failed_at(registry) is None


def test_a_retry_that_was_under_way_before_a_restart_still_stands(registry: CollectorRegistry) -> None:
    lived = world(CollectorRegistry(), script=[*REFUSED, builders.outcome()])
    lived.run()
    lived.mover = replace(
        lived.mover, metadata=replace(lived.mover.metadata, annotations={names.RETRY_ANNOTATION: "1"})
    )
    while lived.mover.status.phase == Phase.FAILED:
        lived.reconcile()
        lived.step()
    report_present(lived.mover, meter=DataMoverMetrics(registry))
    assert failed_at(registry, reason="Retrying") == lived.now.timestamp()


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


def test_a_wait_is_named_with_its_urgency_and_goes_with_it(registry: CollectorRegistry) -> None:
    blocked = world(registry)
    claim = blocked.claims.pop("app-data")
    blocked.run()
    assert waits(registry) == {reasons.SOURCE_NOT_FOUND: ("false", "warning")}
    blocked.claims["app-data"] = claim
    blocked.run()
    assert blocked.mover.status.phase == Phase.COMPLETED
    assert waits(registry) == {}


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


def test_a_claim_without_any_backup_is_told_from_its_first_try_on(registry: CollectorRegistry) -> None:
    tried = world(registry, script=[*REFUSED, builders.outcome()])
    tried.run()
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") == (
        builders.NOW.timestamp()
    )
    tried.mover = replace(
        tried.mover, metadata=replace(tried.mover.metadata, annotations={names.RETRY_ANNOTATION: "1"})
    )
    tried.run()
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") is None


def test_of_a_claim_that_does_not_exist_nothing_is_said(registry: CollectorRegistry) -> None:
    report_present(builders.data_mover(), meter=DataMoverMetrics(registry), source_exists=False)
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") is None


def test_one_that_was_created_suspended_is_no_try(registry: CollectorRegistry) -> None:
    report_present(builders.data_mover(suspend=True), meter=DataMoverMetrics(registry))
    assert value(registry, "datamover_source_first_attempt_timestamp_seconds", source="app-data") is None
