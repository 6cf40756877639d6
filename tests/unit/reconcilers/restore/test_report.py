"""What written statuses of restores count."""

from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from datamover.api.names import RestorePhase as Phase
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.metrics.restores import RestoreMetrics
from datamover.reconcilers.restore.report import report_present, report_status
from support.builders import CREATED, NOW
from support.restores import CLAIM, restore, run, status

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


HERE_IT_IS = f"uid-of-{CLAIM}"
NAMED = {"name": "back", "namespace": "default"}
GAUGES = "datamover_restore_{}_timestamp_seconds"


def shown(obj: DataMoverRestore, *, claim_uid: str | None = HERE_IT_IS, meter: RestoreMetrics | None = None) -> None:
    report_present(obj, meter=meter or RestoreMetrics(CollectorRegistry()), claim_uid=claim_uid)


PHASES = {None: 0, Phase.PREPARING: 1, Phase.RESTORING: 2, Phase.CLEANING_UP: 3, Phase.COMPLETED: 4, Phase.FAILED: 5}


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_has_its_number(phase: str | None) -> None:
    registry = CollectorRegistry()
    shown(restore(status=status(phase) if phase else None), meter=RestoreMetrics(registry))
    assert registry.get_sample_value("datamover_restore_current_phase", NAMED) == PHASES[phase]


LEFT = {
    "marked": ("marked", HERE_IT_IS, True),
    "without a word": (None, HERE_IT_IS, True),
    "untouched": ("untouched", HERE_IT_IS, False),
    "whole": ("whole", HERE_IT_IS, False),
    "marked, and the claim is another one by now": ("marked", "another", False),
    "marked, and the claim is gone": ("marked", None, False),
}


@pytest.mark.parametrize("case", LEFT)
def test_a_failed_restore_is_named_and_so_is_a_claim_that_it_may_have_left_half_there(case: str) -> None:
    target, uid, half = LEFT[case]
    registry = CollectorRegistry()
    meter = RestoreMetrics(registry)
    recorded = run(target=target, claim_uid=HERE_IT_IS, finished=CREATED)
    failed = restore(status=status(Phase.FAILED, reason="TargetTooSmall", run=recorded))
    at = datetime.fromisoformat(CREATED).timestamp()

    def series() -> tuple[float | None, float | None]:
        return (
            registry.get_sample_value(GAUGES.format("failed"), {**NAMED, "claim": CLAIM, "reason": "TargetTooSmall"}),
            registry.get_sample_value(GAUGES.format("half_restored"), {**NAMED, "claim": CLAIM}),
        )

    shown(failed, claim_uid=uid, meter=meter)
    assert series() == (at, at if half else None)
    shown(failed, claim_uid=None, meter=meter)
    assert series() == (at, None), "it goes with the claim"
    shown(failed, meter=meter)
    shown(restore(status=status(Phase.PREPARING)), meter=meter)
    assert series() == (None, None), "it goes with the retry"
    shown(failed, meter=meter)
    meter.forget(**NAMED)
    assert series() == (None, None), "it goes with the restore"
    assert registry.get_sample_value("datamover_restore_current_phase", NAMED) is None


def test_a_restore_that_waits_is_named_with_what_for_and_how_urgent_it_is() -> None:
    registry = CollectorRegistry()
    meter = RestoreMetrics(registry)
    labels = {**NAMED, "reason": "TargetInUse", "severity": "warning"}
    blocked = {"reason": "TargetInUse", "conditions": {"Stalled": "True", "Reconciling": "False"}}
    shown(restore(status=status(Phase.PREPARING, **blocked)), meter=meter)  # type: ignore[arg-type]
    since = registry.get_sample_value(GAUGES.format("waiting_since"), labels)
    assert since == datetime.fromisoformat(CREATED).timestamp()
    shown(restore(status=status(Phase.PREPARING)), meter=meter)
    assert registry.get_sample_value(GAUGES.format("waiting_since"), labels) is None


def test_a_restore_that_was_cancelled_counts_as_no_failure() -> None:
    told = {"Restored": "False", "Failed": "True", "Stalled": "True"}
    registry = counted(Phase.RESTORING, Phase.FAILED, reason="Cancelled", conditions=told)
    assert registry.get_sample_value("datamover_restores_total", {"status": "cancelled", **HERE}) == 1
    assert registry.get_sample_value("datamover_restores_total", {"status": "failure", **HERE}) is None
    assert not [each for each in registry.collect() if each.name == "datamover_restore_errors" and each.samples]


def test_a_claim_that_a_cancelled_restore_has_left_half_is_named_and_no_failure_is() -> None:
    registry = CollectorRegistry()
    recorded = run(target="marked", claim_uid=HERE_IT_IS, finished=CREATED)
    told = status(Phase.FAILED, reason="Cancelled", conditions={"Restored": "False"}, run=recorded)
    shown(restore(status=told), meter=RestoreMetrics(registry))
    labels = {**NAMED, "claim": CLAIM}
    assert registry.get_sample_value(GAUGES.format("half_restored"), labels) is not None
    assert registry.get_sample_value(GAUGES.format("failed"), {**labels, "reason": "Cancelled"}) is None


def test_what_stands_in_the_way_is_counted_once() -> None:
    blocked = {"reason": "TargetInUse", "conditions": {"Stalled": "True", "Reconciling": "False"}}
    labels = {"error_type": "TargetInUse", "phase": Phase.PREPARING, **HERE}
    first = counted(Phase.PREPARING, Phase.PREPARING, **blocked)
    assert first.get_sample_value("datamover_restore_errors_total", labels) == 1
    registry = CollectorRegistry()
    told = status(Phase.PREPARING, **blocked)  # type: ignore[arg-type]
    report_status(restore(status=told), told, meter=RestoreMetrics(registry), now=NOW)
    assert registry.get_sample_value("datamover_restore_errors_total", labels) is None
