"""What written statuses of restores count."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from datamover.api.names import RestorePhase as Phase
from datamover.metrics.restores import RestoreMetrics
from datamover.reconcilers.restore.report import report_status
from support.builders import NOW
from support.restores import restore, run, status

HERE = {"namespace": "default"}


def counted(before: str | None, after: str, **said: object) -> CollectorRegistry:
    registry = CollectorRegistry()
    obj = restore(status=status(before) if before else None)
    report_status(obj, status(after, **said), meter=RestoreMetrics(registry), now=NOW + timedelta(seconds=90))  # type: ignore[arg-type]
    return registry


def test_a_restore_that_begins_is_counted() -> None:
    registry = counted(None, Phase.PREPARING)
    assert registry.get_sample_value("datamover_restores_total", {"status": "started", **HERE}) == 1


@pytest.mark.parametrize(("phase", "word"), [(Phase.COMPLETED, "success"), (Phase.FAILED, "failure")])
def test_a_restore_that_ends_is_counted_with_its_duration(phase: str, word: str) -> None:
    registry = counted(Phase.CLEANING_UP, phase, run=run(files=3, bytes=1024, attempts=2))
    labels = {"status": word, **HERE}
    assert registry.get_sample_value("datamover_restores_total", labels) == 1
    assert registry.get_sample_value("datamover_restore_duration_seconds_sum", labels) == 90
    restored = registry.get_sample_value("datamover_restored_files_total", HERE)
    assert restored == (3 if phase == Phase.COMPLETED else None)


def test_what_stands_in_the_way_is_counted_once() -> None:
    blocked = {"reason": "TargetInUse", "conditions": {"Stalled": "True", "Reconciling": "False"}}
    labels = {"error_type": "TargetInUse", "phase": Phase.PREPARING, **HERE}
    first = counted(Phase.PREPARING, Phase.PREPARING, **blocked)
    assert first.get_sample_value("datamover_restore_errors_total", labels) == 1
    registry = CollectorRegistry()
    told = status(Phase.PREPARING, **blocked)  # type: ignore[arg-type]
    report_status(restore(status=told), told, meter=RestoreMetrics(registry), now=NOW)
    assert registry.get_sample_value("datamover_restore_errors_total", labels) is None
