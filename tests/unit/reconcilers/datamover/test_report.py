"""What a written status means for the metrics."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from datamover.api import reasons, transfer
from datamover.api.names import Phase
from datamover.metrics.datamover import DataMoverMetrics
from datamover.reconcilers.datamover.report import report_cleanup_failure, report_present, report_status
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
    report_cleanup_failure(builders.data_mover().metadata, meter=DataMoverMetrics(registry))
    assert value(registry, "datamover_cleanup_operations_total", status="failure") == 1
    assert value(registry, "datamover_pvc_cleanup_operations_total", status="failure") == 1
