"""What stands of an object in the metrics, by what was really decided: what it waits for, since when, and that the series end with the wait."""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from datamover.metrics.replication import ReplicationMetrics, Role
from datamover.reconcilers.replication.report import report_present
from support.theatre import Theatre

WAITS = "datamover_replication_waiting_since_timestamp_seconds"
TRIGGER = "datamover_replication_copy_trigger_waiting_since_timestamp_seconds"


class Gauges:
    """The metrics of an operator that has seen what was decided of an object."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now = 0.0
        self.metrics = ReplicationMetrics(self.registry, now=lambda: self.now)

    def see(self, it: Theatre) -> None:
        report_present(it.obj, meter=self.metrics, now=it.now)

    def of(self, family: str) -> list[tuple[Mapping[str, str], float]]:
        found = (each for each in self.registry.collect() if each.name == family)
        return [(sample.labels, sample.value) for each in found for sample in each.samples]

    def waits(self) -> list[tuple[str, str, float]]:
        return [(labels["reason"], labels["severity"], since) for labels, since in self.of(WAITS)]


@pytest.fixture
def gauges() -> Gauges:
    return Gauges()


def stamp(moment: datetime) -> float:
    return moment.timestamp()


def test_a_copy_that_waits_for_its_trigger_is_told_until_the_trigger_comes(gauges: Gauges) -> None:
    it = Theatre.source("restic", "Clone", claim={"use_copy_trigger": ""})
    began = stamp(it.now)
    it.act()
    gauges.see(it)
    labels = {"obj_name": "db", "obj_namespace": "golden", "role": "source", "method": "restic"}
    assert gauges.of(TRIGGER) == [(labels, began)]
    assert gauges.waits() == [("SrcPVCWaitingForCopyTrigger", "info", began)]

    it.later(700)
    it.act()  # it times out, and waits on
    gauges.see(it)
    assert gauges.of(TRIGGER) == [(labels, began)]
    assert gauges.waits() == [("SrcPVCTimeoutWaitingForCopyTrigger", "warning", began + 700)]

    it.annotate("PersistentVolumeClaim", "data", copy_trigger="go1")
    it.act()
    gauges.see(it)
    assert (gauges.of(TRIGGER), gauges.waits()) == ([], [])


def end_by_deletion(it: Theatre, gauges: Gauges) -> None:
    gauges.metrics.forget(name="db", namespace="golden", role=Role.SOURCE)


def end_by_going(it: Theatre, gauges: Gauges) -> None:
    it.manifest["metadata"]["deletionTimestamp"] = "2026-11-29T11:12:51Z"
    gauges.see(it)


def end_by_another_provider(it: Theatre, gauges: Gauges) -> None:
    it.change(restic=None, external={"provider": "example.com/other"})
    gauges.see(it)


@pytest.mark.parametrize("end", [end_by_deletion, end_by_going, end_by_another_provider])
def test_the_series_of_a_wait_end_with_the_object(gauges: Gauges, end: Callable[[Theatre, Gauges], None]) -> None:
    it = Theatre.source("restic", "Clone", claim={"use_copy_trigger": ""})
    it.act()
    gauges.see(it)
    assert gauges.of(TRIGGER)
    end(it, gauges)
    assert (gauges.of(TRIGGER), gauges.waits()) == ([], [])


def test_a_mover_of_another_method_takes_the_wait_with_it(gauges: Gauges) -> None:
    it = Theatre.source("restic", "Clone", claim={"use_copy_trigger": ""})
    it.act()
    gauges.see(it)
    it.change(restic=None, rclone={"copyMethod": "Clone", "rcloneConfig": "x"})
    gauges.see(it)
    assert [labels["method"] for labels, _ in gauges.of(WAITS)] == ["rclone"]
    assert [labels["method"] for labels, _ in gauges.of(TRIGGER)] == ["rclone"]


def without_secret() -> Theatre:
    it = Theatre.source("restic", "Direct")
    it.secrets.pop("restic-secret")
    return it


def paused() -> Theatre:
    it = Theatre.source("restic", "Direct")
    it.change(paused=True)
    return it


def without_method() -> Theatre:
    it = Theatre.destination("restic")
    it.manifest["spec"].pop("restic")
    return it


@pytest.mark.parametrize(
    ("made", "reason", "severity", "method"),
    [
        (without_secret, "SecretNotFound", "warning", "restic"),
        (paused, "Suspended", "info", "restic"),
        (without_method, "Error", "warning", ""),
        (lambda: Theatre.source("rclone", moverVolumes=[{"mountPath": "x", "volumeSource": {}}]), "InvalidSpec", "warning", "rclone"),
    ],
    ids=["a Secret", "somebody who paused it", "a method", "a spec that can be carried out"],
)  # fmt: skip
def test_what_is_waited_for_is_told_with_its_reason_and_how_urgent_it_is(
    made: Callable[[], Theatre], reason: str, severity: str, method: str, gauges: Gauges
) -> None:
    it = made()
    began = stamp(it.now)
    it.act()
    it.bind_all()
    it.act()
    gauges.see(it)
    assert gauges.waits() == [(reason, severity, began)]
    assert [labels["method"] for labels, _ in gauges.of(WAITS)] == [method]


def test_what_goes_on_and_what_has_ended_waits_for_nothing(gauges: Gauges) -> None:
    it = without_secret()
    it.act()
    gauges.see(it)
    it.secrets["restic-secret"] = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD")
    it.start()
    gauges.see(it)
    assert gauges.waits() == []
    it.finish()
    gauges.see(it)
    assert gauges.waits() == []


def test_a_mover_that_failed_is_counted_and_is_no_wait(gauges: Gauges) -> None:
    it = Theatre.source("restic", "Direct").start()
    it.fail(log="no route to host")
    it.act()
    assert it.condition("Stalled")[0] == "True"
    gauges.see(it)
    assert gauges.waits() == []


def test_an_operator_that_starts_knows_the_waits_again() -> None:
    it = without_secret()
    it.act()
    first, second = Gauges(), Gauges()
    first.see(it)
    it.later(3600)
    second.see(it)
    assert first.waits() == second.waits() != []
    assert msgspec.to_builtins(it.obj.status)["lastSyncStartTime"]
