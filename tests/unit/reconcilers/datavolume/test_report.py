"""What metrics say of DataVolumes: how many stand where, and what one waits for."""

from typing import Any

import pytest

from datamover.api.cdi.data_volume import DataVolume, DataVolumeCondition, DataVolumeStatus
from datamover.api.cdi.names import ConditionType, PopulationReason
from datamover.api.waits import WAITS
from datamover.metrics.exposition import new_registry
from datamover.metrics.population import PopulationMetrics
from datamover.reconcilers.datavolume.report import QUIET, report_present
from datamover.volumes.cloning import CloneReason
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import moment_of

BEGAN, LATER = "2026-11-30T10:00:00Z", "2026-11-30T11:00:00Z"
WAITING = "datamover_datavolume_waiting_since_timestamp_seconds"


def volume(phase: str, reason: str, *, ready: str = "False", said: str = BEGAN, name: str = "disk", **meta: Any) -> DataVolume:  # fmt: skip
    condition = DataVolumeCondition(
        type=ConditionType.READY, status=ready, reason=reason, last_transition_time=BEGAN, last_heartbeat_time=said
    )
    found = ObjectMeta(name=name, namespace="shop", creation_timestamp=BEGAN, **meta)
    return DataVolume(metadata=found, status=DataVolumeStatus(phase=phase, conditions=(condition,)))


class Counted:
    """Metrics, and what is read of them."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self.meter = PopulationMetrics(self.registry)

    def see(self, *volumes: DataVolume) -> None:
        for each in volumes:
            report_present(each, meter=self.meter)

    def waits(self) -> dict[tuple[str, str, str], float]:
        (family,) = [each for each in self.registry.collect() if each.name == WAITING]
        return {
            (each.labels["name"], each.labels["reason"], each.labels["severity"]): each.value for each in family.samples
        }

    def phases(self) -> dict[str, float]:
        (family,) = [each for each in self.registry.collect() if each.name == "datamover_datavolumes"]
        return {each.labels["phase"]: each.value for each in family.samples if each.value}


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.mark.parametrize(
    ("reason", "severity"),
    [
        (PopulationReason.UNSUPPORTED_SOURCE, "warning"),
        (PopulationReason.CLAIM_EXISTS, "warning"),
        ("ChecksumMismatch", "warning"),
        (PopulationReason.CLAIM_PENDING, "info"),
        (PopulationReason.WAITING_FOR_CONSUMER, "info"),
        (CloneReason.SOURCE_IN_USE, "info"),
        ("MoverUnschedulable", "info"),
    ],
)
def test_one_that_waits_has_a_series_with_the_reason_and_how_urgent_it_is(
    reason: str, severity: str, counted: Counted
) -> None:
    counted.see(volume("Pending", reason))
    assert counted.waits() == {("disk", reason, severity): moment_of(BEGAN, default=0.0)}


@pytest.mark.parametrize(
    "going",
    [
        volume("ImportInProgress", PopulationReason.TRANSFER_RUNNING),
        volume("Succeeded", PopulationReason.POPULATED, ready="True"),
        volume("Succeeded", PopulationReason.CLAIM_PENDING),
        volume("Pending", PopulationReason.NO_SOURCE, deletion_timestamp=LATER),
        DataVolume(metadata=ObjectMeta(name="disk", namespace="shop")),
    ],
    ids=["a worker is on its way", "done", "taken over before its first Pod", "it goes", "new"],
)
def test_the_series_goes_when_nothing_stands_in_its_way(going: DataVolume, counted: Counted) -> None:
    counted.see(volume("Pending", PopulationReason.NO_SOURCE), going)
    assert not counted.waits()


def test_a_filled_one_whose_claim_is_gone_waits_for_somebody(counted: Counted) -> None:
    counted.see(volume("Succeeded", PopulationReason.CLAIM_MISSING))
    assert list(counted.waits()) == [("disk", PopulationReason.CLAIM_MISSING, "warning")]


def test_other_words_for_the_same_wait_begin_no_new_one_and_another_reason_does(counted: Counted) -> None:
    pending = PopulationReason.CLAIM_PENDING
    counted.see(volume("Pending", pending), volume("Pending", pending, said=LATER))
    assert counted.waits() == {("disk", pending, "info"): moment_of(BEGAN, default=0.0)}
    counted.see(volume("Pending", PopulationReason.CLAIM_LOST, said=LATER))
    assert counted.waits() == {("disk", PopulationReason.CLAIM_LOST, "warning"): moment_of(LATER, default=0.0)}


@pytest.mark.parametrize("word", ["", "x" * 65, 'a"b', "two words", "\n"])
def test_what_is_no_reason_becomes_no_label(word: str, counted: Counted) -> None:
    counted.see(volume("Pending", word))
    assert list(counted.waits()) == [("disk", "Unknown", "warning")]


def test_they_are_counted_by_phase_and_no_more_when_they_are_gone(counted: Counted) -> None:
    counted.see(
        volume("Pending", "NoSource", name="a"), volume("UploadReady", "TransferRunning", name="b"), volume("odd", "x", name="c")
    )  # fmt: skip
    assert counted.phases() == {"Pending": 1, "UploadReady": 1, "Unknown": 1}
    counted.see(volume("Succeeded", "Populated", ready="True", name="b"))
    counted.meter.forget("shop", "a")
    counted.meter.forget("shop", "never seen")
    assert counted.phases() == {"Succeeded": 1, "Unknown": 1}
    assert [name for name, *_ in counted.waits()] == ["c"]


def test_no_wait_is_judged_in_two_places() -> None:
    assert not QUIET & set(WAITS)
