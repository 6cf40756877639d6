"""The user of a volume says when it is copied: each mover with each kind of copy through each turn that this can take."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from datamover.metrics.replication import ReplicationMetrics
from datamover.reconcilers.replication.report import report_present
from kubekit.words.timestamps import seconds
from support.theatre import METHODS, Theatre, settle

COPIES = ("Snapshot", "Clone")
EACH = [(method, copy) for method in METHODS for copy in COPIES]
WAITING = "Waiting on copy trigger on src PVC PersistentVolumeClaim/data before creating snapshot or clone"
TIMED_OUT = "waiting on copy trigger on src PVC PersistentVolumeClaim/data before creating snapshot or clone; check PVC annotations"
RECEIVED = "Received updated copy trigger on src PVC PersistentVolumeClaim/data, proceeding to create snapshot or clone"
COMPLETED = "snapshot or clone complete for src PVC PersistentVolumeClaim/data using copy trigger"
LOG = "Timed out waiting for copy-trigger to be modified for pvc data"

each = pytest.mark.parametrize(("method", "copy"), EACH)


def waiting(method: str = "restic", copy: str = "Clone", **more: Any) -> Theatre:
    """Return a source that waits for a trigger."""
    it = Theatre.source(method, copy, claim={"use_copy_trigger": ""}, **more)
    it.act()
    return it


def tell(it: Theatre, **annotations: str | None) -> None:
    """Change annotations of the claim, and let it react."""
    it.annotate("PersistentVolumeClaim", "data", **annotations)
    it.act()


def ready(it: Theatre, name: str = "db") -> None:
    """Let the copy be ready that was asked for."""
    copy = f"volsync-{name}-src"
    if ("VolumeSnapshot", copy) in it.objects:
        it.ready(copy)
    else:
        it.bind(copy)
    it.act()


def finish(it: Theatre) -> None:
    """Let the mover succeed."""
    it.bind_all()
    it.act()
    it.later(5)
    it.succeed()
    it.act()


def copies(it: Theatre) -> set[str]:
    """Return the names of all copies that there are."""
    return it.there("VolumeSnapshot") | {name for name in it.there("PersistentVolumeClaim") if name.endswith("-src")}


def back_date(it: Theatre, amount: float = 900) -> None:
    tell(it, latest_copy_trigger_waiting_since=seconds(it.now - timedelta(seconds=amount)))


# The matrix: movers and copies


@each
def test_it_waits_makes_nothing_and_says_so_once(method: str, copy: str) -> None:
    it = waiting(method, copy)
    begun = seconds(it.now)
    assert it.annotations("data") == {
        "use-copy-trigger": "",
        "latest-copy-status": "WaitingForTrigger",
        "latest-copy-trigger-waiting-since": begun,
    }
    assert copies(it) == set()
    assert not it.there("Job")
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert it.status["latestMoverStatus"] == {}
    assert [(event.type, event.reason, event.message) for event in it.events] == [
        ("Normal", "SrcPVCWaitingForCopyTrigger", WAITING)
    ]
    [event] = it.events
    assert event.action == "CreateSrcCopyUsingCopyTrigger"
    assert event.related is not None
    assert event.related.metadata.name == "data"
    assert it.condition("CopyTriggered")[:2] == ("False", "SrcPVCWaitingForCopyTrigger")
    it.later(590)
    plan = it.plan()
    assert not plan.steps
    assert plan.wake_after is not None
    assert 10 < plan.wake_after < 13
    assert len(it.annotated) == 1


@each
def test_a_back_dated_stamp_times_out_and_it_waits_on(method: str, copy: str) -> None:
    it = waiting(method, copy)
    writes = len(it.annotated)
    back_date(it)
    assert it.status["latestMoverStatus"] == {"result": "Failed", "logs": LOG}
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert it.events[-1].message == TIMED_OUT
    assert (it.events[-1].type, it.events[-1].reason) == ("Warning", "SrcPVCTimeoutWaitingForCopyTrigger")
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    assert copies(it) == set()
    it.later(3600)
    assert not it.act().steps
    assert len(it.annotated) == writes


@each
def test_a_trigger_is_taken_up_at_once_and_told_when_the_copy_is_there(method: str, copy: str) -> None:
    it = waiting(method, copy)
    back_date(it)
    tell(it, copy_trigger="go1")
    assert it.annotations("data") == {
        "use-copy-trigger": "",
        "copy-trigger": "go1",
        "latest-copy-status": "InProgress",
    }
    assert copies(it) == {"volsync-db-src"}
    assert it.status["latestMoverStatus"] == {"result": "Failed", "logs": LOG}
    ready(it)
    done = {
        "use-copy-trigger": "",
        "copy-trigger": "go1",
        "latest-copy-status": "Completed",
        "latest-copy-trigger": "go1",
    }
    assert it.annotations("data") == done
    assert it.status["latestMoverStatus"] == {"result": "Failed", "logs": LOG}
    notes = [(event.reason, event.message) for event in it.events if event.reason.startswith("SrcPVC")]
    assert notes[-2:] == [("SrcPVCCopyTriggerReceived", RECEIVED), ("SrcPVCCopyUsingCopyTriggerCompleted", COMPLETED)]
    finish(it)
    assert it.annotations("data") == done
    assert it.status["latestMoverStatus"] == {"result": "Successful"}
    assert it.synced
    assert len(it.annotated) == 3
    assert copies(it) == set()


@each
def test_the_next_round_waits_for_another_value(method: str, copy: str) -> None:
    it = waiting(method, copy)
    tell(it, copy_trigger="go1")
    ready(it)
    finish(it)
    it.later(60)
    it.trigger(manual="t2")
    it.act()
    assert it.annotations("data") == {
        "use-copy-trigger": "",
        "copy-trigger": "go1",
        "latest-copy-trigger": "go1",
        "latest-copy-status": "WaitingForTrigger",
        "latest-copy-trigger-waiting-since": seconds(it.now),
    }
    tell(it, copy_trigger="go1")
    assert copies(it) == set()
    tell(it, copy_trigger="go2")
    assert it.annotations("data")["latest-copy-status"] == "InProgress"
    assert it.annotations("data")["latest-copy-trigger"] == "go1"
    ready(it)
    assert it.annotations("data")["latest-copy-trigger"] == "go2"
    finish(it)
    assert (it.synced, it.status["lastManualSync"]) == (True, "t2")


@each
def test_who_takes_the_wish_away_while_it_waits_gets_the_copy_at_once_and_no_litter(method: str, copy: str) -> None:
    it = waiting(method, copy)
    tell(it, use_copy_trigger=None)
    assert it.annotations("data") == {}
    assert copies(it) == {"volsync-db-src"}
    ready(it)
    finish(it)
    assert it.synced
    assert it.annotations("data") == {}


@each
def test_a_trigger_that_is_changed_while_the_mover_runs_is_for_the_next_round(method: str, copy: str) -> None:
    it = waiting(method, copy)
    tell(it, copy_trigger="go1")
    ready(it)
    it.bind_all()
    it.act()
    tell(it, copy_trigger="go2")
    assert it.annotations("data")["latest-copy-trigger"] == "go1"
    finish(it)
    assert it.annotations("data")["latest-copy-trigger"] == "go1"
    it.later(60)
    it.trigger(manual="t2")
    it.act()
    assert it.annotations("data")["latest-copy-status"] == "InProgress"
    ready(it)
    assert it.annotations("data")["latest-copy-trigger"] == "go2"


@each
def test_two_sources_on_one_claim_take_one_copy_each_for_one_trigger(method: str, copy: str) -> None:
    one = waiting(method, copy)
    two = Theatre.source(method, copy, name="second", beside=one)
    settle(one, two)
    assert copies(one) == set()
    assert len(one.annotated + two.annotated) == 1  # one of them speaks for both
    one.annotate("PersistentVolumeClaim", "data", copy_trigger="go1")
    settle(one, two)
    assert copies(one) == {"volsync-db-src", "volsync-second-src"}
    ready(one)
    settle(one, two)
    assert one.annotations("data")["latest-copy-status"] == "InProgress"  # the other one still copies
    ready(two, "second")
    settle(one, two)
    assert one.annotations("data")["latest-copy-status"] == "Completed"
    assert one.annotations("data")["latest-copy-trigger"] == "go1"
    one.bind_all()
    settle(one, two)
    for each_ in (one, two):
        each_.succeed()
        each_.act()
    settle(one, two)
    assert one.synced
    assert two.synced
    assert len(one.annotated + two.annotated) <= 6
    # one that begins while nobody else does waits for a value of its own
    one.later(60)
    two.later(60)
    two.trigger(manual="t2")
    settle(one, two)
    assert one.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    assert copies(one) == set()


@each
def test_one_that_begins_to_wait_while_the_other_ones_mover_runs_makes_no_loop(method: str, copy: str) -> None:
    one = waiting(method, copy)
    one.annotate("PersistentVolumeClaim", "data", copy_trigger="go1")
    one.act()
    ready(one)
    one.bind_all()
    one.act()
    two = Theatre.source(method, copy, name="second", beside=one)
    settle(one, two)
    before = len(one.annotated + two.annotated)
    for _ in range(5):
        one.later(30)
        two.later(30)
        settle(one, two)
    assert len(one.annotated + two.annotated) == before
    assert one.annotations("data")["latest-copy-trigger"] == "go1"
    one.annotate("PersistentVolumeClaim", "data", copy_trigger="go2")
    settle(one, two)
    assert "volsync-second-src" in copies(one)
    ready(two, "second")
    settle(one, two)
    assert one.annotations("data")["latest-copy-trigger"] == "go2"


@each
def test_paused_it_waits_and_copies_as_ever_and_only_the_job_has_no_pods(method: str, copy: str) -> None:
    it = waiting(method, copy, paused=True)
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    tell(it, copy_trigger="go1")
    ready(it)
    assert it.annotations("data")["latest-copy-status"] == "Completed"
    it.bind_all()
    it.act()
    assert it.job["spec"]["parallelism"] == 0
    it.change(paused=None)
    it.act()
    assert it.job["spec"]["parallelism"] == 1
    finish(it)
    assert it.synced


@pytest.mark.parametrize("copy", ["Direct", "None"])
@pytest.mark.parametrize("method", METHODS)
def test_direct_has_nothing_to_do_with_it(method: str, copy: str) -> None:
    it = waiting(method, copy)
    assert it.job
    it.succeed()
    it.act()
    assert it.synced
    assert it.annotations("data") == {"use-copy-trigger": ""}
    assert it.annotated == []


# The corner cases. Movers do not matter here.

both = pytest.mark.parametrize("copy", COPIES)


@both
@pytest.mark.parametrize("trigger", ["go1", " "])
def test_a_trigger_that_is_set_before_is_not_waited_for(copy: str, trigger: str) -> None:
    it = Theatre.source(copy=copy, claim={"use_copy_trigger": "false", "copy_trigger": trigger})
    it.act()
    assert it.annotated[0] == {
        "volsync.backube/latest-copy-status": "InProgress",
        "volsync.backube/latest-copy-trigger-waiting-since": None,
    }
    ready(it)
    assert it.annotations("data")["latest-copy-trigger"] == trigger


@both
def test_an_empty_trigger_is_none(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="")
    assert copies(it) == set()


def test_without_a_copy_method_nothing_is_written_to_the_claim() -> None:
    it = Theatre.source(copy=None, claim={"use_copy_trigger": ""})
    it.act()
    assert it.condition()[1] == "Error"
    assert it.annotated == []


@both
def test_a_stamp_of_an_earlier_wait_does_not_count_for_a_new_one(copy: str) -> None:
    it = Theatre.source(copy=copy, claim={"use_copy_trigger": "", "latest_copy_status": "WaitingForTrigger"})
    it.annotate(
        "PersistentVolumeClaim",
        "data",
        latest_copy_trigger_waiting_since=seconds(it.now - timedelta(seconds=700)),
    )
    it.act()
    assert it.annotations("data")["latest-copy-trigger-waiting-since"] == seconds(it.now)
    assert it.status["latestMoverStatus"] == {}
    assert it.said() == [("Normal", "SrcPVCWaitingForCopyTrigger")]


@both
def test_who_leaves_and_comes_back_while_it_waits_is_waited_for_anew(copy: str) -> None:
    it = waiting(copy=copy)
    it.annotate("PersistentVolumeClaim", "data", use_copy_trigger=None)
    it.annotate("PersistentVolumeClaim", "data", use_copy_trigger="")
    assert not it.act().steps
    tell(it, copy_trigger="go1")
    ready(it)
    assert it.annotations("data")["latest-copy-trigger"] == "go1"


@both
def test_who_leaves_between_the_trigger_and_its_copy_finds_no_litter_and_waits_the_next_time(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="go1")
    tell(it, use_copy_trigger=None)
    ready(it)
    assert it.annotations("data") == {"copy-trigger": "go1", "latest-copy-trigger": "go1"}
    finish(it)
    assert it.synced
    it.later(60)
    it.trigger(manual="t2")
    tell(it, use_copy_trigger="")
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    assert copies(it) == set()


@both
def test_who_asks_when_the_copy_is_there_already_is_asked_in_the_next_round(copy: str) -> None:
    it = Theatre.source(copy=copy).start()
    tell(it, use_copy_trigger="")
    assert it.annotations("data") == {"use-copy-trigger": ""}
    finish(it)
    it.later(60)
    it.trigger(manual="t2")
    it.act()
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"


@both
def test_a_trigger_that_is_changed_before_the_copy_is_ready_is_not_the_one_that_is_told(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="go1")
    tell(it, copy_trigger="go2")
    ready(it)
    assert it.annotations("data")["latest-copy-trigger"] == "go1"


@both
def test_a_trigger_that_is_deleted_while_the_mover_runs_is_not_good_again_later(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="go1")
    ready(it)
    tell(it, copy_trigger=None)
    assert it.annotations("data")["latest-copy-trigger"] == "go1"
    finish(it)
    it.later(60)
    it.trigger(manual="t2")
    tell(it, copy_trigger="go1")
    assert copies(it) == set()


@both
@pytest.mark.parametrize("stamp", ["yesterday", "", None])
def test_a_stamp_that_cannot_be_read_begins_anew_and_is_no_timeout(copy: str, stamp: str | None) -> None:
    it = waiting(copy=copy)
    it.later(5)
    tell(it, latest_copy_trigger_waiting_since=stamp)
    assert it.annotations("data")["latest-copy-trigger-waiting-since"] == seconds(it.now)
    assert it.status["latestMoverStatus"] == {}


@pytest.mark.parametrize(("age", "late"), [(590, False), (601, True)])
def test_it_times_out_after_ten_minutes(age: int, late: bool) -> None:
    it = waiting()
    back_date(it, age)
    assert bool(it.status["latestMoverStatus"]) is late


def test_a_snapshot_that_says_an_error_or_is_not_ready_completes_nothing() -> None:
    it = waiting(copy="Snapshot")
    tell(it, copy_trigger="go1")
    snapshot = it.objects["VolumeSnapshot", "volsync-db-src"]
    for status in (
        {"error": {"message": "no space"}},
        {"boundVolumeSnapshotContentName": "c", "readyToUse": False},
    ):
        snapshot["status"] = status
        it.act()
        assert it.annotations("data")["latest-copy-status"] == "InProgress"
        if "error" in status:
            assert it.condition("Ready")[1] == "SnapshotFailed"
            assert ("Warning", "SnapshotFailed") in it.said()
    snapshot["status"] = {"boundVolumeSnapshotContentName": "c"}
    it.act()
    assert it.annotations("data")["latest-copy-status"] == "Completed"


@both
def test_a_stuck_copy_that_is_deleted_is_made_again_without_another_trigger(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="go1")
    it.delete("VolumeSnapshot" if copy == "Snapshot" else "PersistentVolumeClaim", "volsync-db-src")
    if copy == "Clone" and it.there("Job"):
        it.delete("Job", "volsync-src-db")
    it.act()
    assert copies(it) == {"volsync-db-src"}
    ready(it)
    assert it.annotations("data")["latest-copy-trigger"] == "go1"


@both
def test_a_copy_that_is_lost_while_the_mover_runs_ends_the_round_and_the_next_one_waits(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="go1")
    ready(it)
    it.bind_all()
    it.act()
    first = it.job["metadata"]["uid"]
    it.later(5)
    for kind in ("VolumeSnapshot", "PersistentVolumeClaim"):
        if (kind, "volsync-db-src") in it.objects:
            it.delete(kind, "volsync-db-src")
    it.act()
    assert it.status["latestMoverStatus"]["result"] == "Failed"
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    assert "lastSyncTime" not in it.status
    tell(it, copy_trigger="go2")
    ready(it)
    it.bind_all()
    it.act()
    assert it.job["metadata"]["uid"] != first
    finish(it)
    assert it.synced
    assert it.annotations("data")["latest-copy-trigger"] == "go2"


@both
def test_a_job_that_fails_reads_the_same_copy_and_asks_for_no_trigger(copy: str) -> None:
    it = waiting(copy=copy)
    tell(it, copy_trigger="go1")
    ready(it)
    it.bind_all()
    it.act()
    claim = it.objects["PersistentVolumeClaim", "volsync-db-src"]["metadata"]["uid"]
    writes = len(it.annotated)
    for _ in range(3):
        it.fail()
        it.act()
        it.later(1000)
        it.act()
    assert it.objects["PersistentVolumeClaim", "volsync-db-src"]["metadata"]["uid"] == claim
    assert len(it.annotated) == writes
    finish(it)
    assert it.synced


@both
def test_a_restart_while_it_waits_or_copies_loses_nothing_and_says_nothing_twice(copy: str) -> None:
    it = waiting(copy=copy)
    it.restart()
    assert not it.act().steps
    it.annotate("PersistentVolumeClaim", "data", copy_trigger="go1")
    it.restart()
    it.act()
    it.restart()
    assert not it.act().steps
    ready(it)
    it.restart()
    finish(it)
    assert it.synced
    reasons = [event.reason for event in it.events if event.reason.startswith("SrcPVC")]
    assert reasons == [
        "SrcPVCWaitingForCopyTrigger",
        "SrcPVCCopyTriggerReceived",
        "SrcPVCCopyUsingCopyTriggerCompleted",
    ]


@pytest.mark.parametrize("trigger", [{}, {"schedule": "0 3 * * *"}])
def test_it_waits_with_any_trigger_of_the_object(trigger: dict[str, str]) -> None:
    it = Theatre.source(copy="Snapshot", claim={"use_copy_trigger": ""})
    it.trigger(**trigger)
    it.act()
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    tell(it, copy_trigger="go1")
    ready(it)
    it.bind_all()
    it.act()
    it.later(60)
    it.succeed()
    it.act()
    if trigger:
        assert it.condition()[1] == "WaitingForSchedule"
    else:
        assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"


def test_an_old_snapshot_that_a_cache_still_shows_is_not_this_rounds_copy() -> None:
    it = waiting(copy="Snapshot")
    tell(it, copy_trigger="go1")
    ready(it)
    it.bind_all()
    it.act()
    old = dict(it.objects["VolumeSnapshot", "volsync-db-src"])
    finish(it)
    it.objects["VolumeSnapshot", "volsync-db-src"] = old
    it.later(60)
    it.trigger(manual="t2")
    it.act()
    assert it.annotations("data")["latest-copy-status"] == "WaitingForTrigger"
    assert it.annotations("data")["latest-copy-trigger"] == "go1"
    assert not it.there("Job")


def test_a_clone_that_binds_with_its_first_user_is_complete_when_the_mover_has_come() -> None:
    it = waiting(copy="Clone")
    it.binds_on_use = True
    tell(it, copy_trigger="go1")
    assert it.job
    assert it.annotations("data")["latest-copy-status"] == "InProgress"
    ready(it)
    assert it.annotations("data")["latest-copy-status"] == "Completed"
    finish(it)
    assert it.synced


@pytest.mark.parametrize("copy", COPIES)
def test_a_gauge_says_since_when_a_copy_waits_for_its_trigger_and_goes_when_that_has_come(copy: str) -> None:
    registry = CollectorRegistry()
    meter = ReplicationMetrics(registry, now=lambda: 0.0)
    labels = {"obj_name": "db", "obj_namespace": "golden", "role": "source", "method": "restic"}

    def gauge(it: Theatre) -> float | None:
        report_present(it.obj, meter=meter, now=it.now)
        return registry.get_sample_value("datamover_replication_copy_trigger_waiting_since_timestamp_seconds", labels)

    it = waiting(copy=copy)
    began = it.now.timestamp()
    assert gauge(it) == began
    it.later(700)
    it.act()
    assert it.condition("CopyTriggered")[1] == "SrcPVCTimeoutWaitingForCopyTrigger"
    assert gauge(it) == began
    tell(it, copy_trigger="one")
    assert gauge(it) is None
