"""Movers that fail, copies that are lost, and what somebody else does to the children: each ends in a reason, and old data never count."""

from typing import Any

import pytest

from datamover.metrics.replication import ReplicaName
from datamover.reconcilers.replication.failures import failures_of, pause_left
from datamover.reconcilers.replication.report import report_status
from kubekit.words.timestamps import seconds
from support.theatre import METHODS, Theatre

COPIES = ("Snapshot", "Clone")


class Counting:
    """What the metrics are told."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, int]] = []
        self.synced_: list[tuple[float, int, bool]] = []

    def seen(self, replica: ReplicaName) -> None:
        pass

    def forget(self, *, name: str, namespace: str, role: str) -> None:
        pass

    def in_sync(self, replica: ReplicaName, *, last: float, until: float | None) -> None:
        pass

    def synced(self, replica: ReplicaName, *, seconds: float, size: int, missed: bool) -> None:
        self.synced_.append((seconds, size, missed))

    def failed(self, replica: ReplicaName, *, reason: str, consecutive: int) -> None:
        assert replica == ReplicaName("db", "golden", "source", "restic")
        self.failures.append((reason, consecutive))

    def waits(self, replica: ReplicaName, *, reason: str, severity: str, since: float) -> None:
        pass

    def waits_for_trigger(self, replica: ReplicaName, *, since: float) -> None:
        pass

    def goes_on(self, replica: ReplicaName) -> None:
        pass


def counted(it: Theatre) -> Counting:
    """Return what the metrics were told by all that was written."""
    meter = Counting()
    for before, after in it.writes:
        report_status(before, after, meter=meter, now=it.now, size=7)
    return meter


def uid(it: Theatre, kind: str, name: str) -> str:
    return it.objects[kind, name]["metadata"]["uid"]


# Jobs that fail


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_job_that_failed_is_told_stays_for_a_pause_and_is_tried_again_with_the_same_copy(
    method: str, copy: str
) -> None:
    it = Theatre.source(method, copy).start()
    job, claim = it.job["metadata"], uid(it, "PersistentVolumeClaim", "volsync-db-src")
    it.events.clear()
    it.later(10)
    it.fail(log="no route to host")
    plan = it.act()
    assert it.status["latestMoverStatus"] == {"result": "Failed", "logs": "no route to host"}
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert it.condition("Ready")[1:] == ("ServerUnreachable", "the server does not answer")
    assert it.condition("Stalled") == (
        "True",
        "ServerUnreachable",
        "1 failure in a row: the server does not answer",
    )
    assert it.said() == [("Warning", "TransferFailed")]
    assert it.events[0].message.startswith("mover Job backoff limit reached: the server does not answer")
    assert it.events[0].action == "DeleteMover"
    assert plan.wake_after == pytest.approx(10, abs=0.5)
    it.later(9)
    assert not it.act().steps
    assert it.job["metadata"]["uid"] == job["uid"]
    it.later(1.2)
    it.act()
    assert it.job["metadata"]["uid"] != job["uid"]
    assert uid(it, "PersistentVolumeClaim", "volsync-db-src") == claim
    assert it.condition("Stalled")[0] == "True"
    it.succeed()
    it.act()
    assert it.synced
    assert it.status["latestMoverStatus"] == {"result": "Successful"}
    assert it.condition("Stalled")[0] == "False"
    assert [each for each in it.said() if each[0] == "Warning"] == [("Warning", "TransferFailed")]


def test_the_pause_grows_from_ten_seconds_to_a_quarter_of_an_hour() -> None:
    it = Theatre.source().start()
    pauses = []
    for number in range(1, 11):
        it.fail()
        it.act()
        assert it.condition("Stalled")[2].startswith(f"{number} failure")
        job = it.get_job()
        assert failures_of(job) == number
        pauses.append(pause_left(job, it.now))
        it.later(pauses[-1] + 1)
        it.act()
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 900, 900, 900]
    assert counted(it).failures == [("ServerUnreachable", number) for number in range(1, 11)]


def test_each_failed_job_is_counted_once_also_after_a_restart_of_the_operator() -> None:
    it = Theatre.source().start()
    for number in range(1, 4):
        it.fail()
        it.act()
        it.restart()
        assert not it.act().steps
        it.later(1000)
        it.act()
        it.restart()
        it.act()
        assert it.job["metadata"]["annotations"]["datamover.a-cup-of.coffee/failures-before"] == str(number)
    assert counted(it).failures == [("ServerUnreachable", number) for number in (1, 2, 3)]
    assert (
        it.said("TransferFailed")
        == [("TransferFailed", "mover Job backoff limit reached: the server does not answer")] * 3
    )


def test_a_count_begins_anew_with_the_next_synchronisation() -> None:
    it = Theatre.source().start()
    it.fail()
    it.act()
    it.later(11)
    it.act()
    it.succeed()
    it.act()
    assert counted(it).synced_ == [(11.0, 7, False)]
    it.trigger(manual="t2")
    it.start()
    assert it.job["metadata"]["annotations"]["datamover.a-cup-of.coffee/failures-before"] == "0"
    it.fail()
    it.act()
    assert it.condition("Stalled")[2].startswith("1 failure in a row")


def test_a_mover_that_left_no_words_is_told_by_how_it_ended() -> None:
    it = Theatre.source().start()
    it.fail_late()
    it.act()
    logs = it.status["latestMoverStatus"]["logs"]
    assert "the mover took longer than" in logs


def test_a_synchronisation_that_missed_an_interval_is_counted_so() -> None:
    it = Theatre.source(trigger={"schedule": "0 3 * * *"}).finish()
    it.writes.clear()
    it.later(86_400 * 1.5)
    it.start()
    it.later(86_400)
    it.succeed()
    it.act()
    assert [missed for _, _, missed in counted(it).synced_] == [True]


def test_a_job_that_somebody_deletes_is_made_again_and_told() -> None:
    it = Theatre.source().start()
    first = it.job["metadata"]["uid"]
    it.delete("Job", "volsync-src-db")
    it.act()
    assert it.job["metadata"]["uid"] != first
    assert ("Warning", "JobLost") in it.said()
    it.succeed()
    it.act()
    assert it.synced


def test_while_a_failed_job_is_being_removed_nothing_is_counted_again() -> None:
    it = Theatre.source().start()
    it.slow = {"volsync-src-db"}
    it.fail()
    it.act()
    it.later(11)
    it.act()
    it.later(5)
    assert not it.act().steps
    it.delete("Job", "volsync-src-db")
    it.slow = set()
    it.act()
    assert it.job["metadata"]["annotations"]["datamover.a-cup-of.coffee/failures-before"] == "1"
    assert [each for each in it.said() if each[0] == "Warning"] == [("Warning", "TransferFailed")]


# a status that no Job controller writes


@pytest.mark.parametrize("kind", ["source", "destination"])
def test_a_success_that_is_only_counted_is_one_where_no_pods_are(kind: str) -> None:
    it = (Theatre.source() if kind == "source" else Theatre.destination()).start()
    it.later(30)
    it.job["status"] = {"succeeded": 1}
    it.act()
    it.bind_all()
    it.act()
    assert it.synced
    assert it.status["latestMoverStatus"] == {"result": "Successful"}


def test_failures_that_are_only_counted_make_the_next_job() -> None:
    it = Theatre.source().start()
    first = it.job["metadata"]["uid"]
    it.job["status"] = {"failed": 7}
    it.later(30)
    it.act()
    assert it.status["latestMoverStatus"] == {}
    it.job["status"] = {"failed": 8}
    it.act()
    assert it.status["latestMoverStatus"]["result"] == "Failed"
    assert it.condition("Stalled")[1] == "BackoffLimitExceeded"
    assert it.said("TransferFailed")
    assert it.job["metadata"]["uid"] != first  # the pause has gone by since the Job was made
    it.later(30)
    it.job["status"] = {"succeeded": 1}
    it.act()
    assert it.synced


def test_where_there_are_pods_the_conditions_of_their_controller_are_awaited() -> None:
    it = Theatre.source().start()
    it.succeed()
    it.job["status"] = {"succeeded": 1}
    it.act()
    assert not it.synced


# what must not count


def test_the_success_of_a_job_of_an_earlier_round_counts_for_nothing() -> None:
    it = Theatre.source()
    it.slow = {"volsync-src-db"}
    it.finish()
    it.slow = set()
    del it.job["metadata"]["deletionTimestamp"]  # a cache that is behind, or a delete that was refused
    it.later(5)
    it.trigger(manual="t2")
    it.act()
    it.bind_all()
    it.act()
    assert it.status.get("lastManualSync") == "t1"
    assert "deletionTimestamp" not in it.job["metadata"]
    it.finish()
    assert it.status["lastManualSync"] == "t2"
    assert [child["kind"] for child in it.created].count("Job") == 2


def test_the_success_of_a_job_of_another_claim_counts_for_nothing() -> None:
    it = Theatre.source().start()
    it.objects["PersistentVolumeClaim", "volsync-db-src"]["metadata"]["uid"] = "another"
    it.succeed()
    it.act()
    assert not it.synced
    assert it.deleted == ["Job/volsync-src-db"]


def test_a_job_that_volsync_left_in_this_round_goes_on_and_an_older_one_does_not() -> None:
    for older, counts in ((-60, False), (5, True)):
        it = Theatre.source().start()
        for kind, name in (("Job", "volsync-src-db"), ("PersistentVolumeClaim", "volsync-db-src")):
            metadata = it.objects[kind, name]["metadata"]
            metadata["labels"] = {
                key: value for key, value in metadata["labels"].items() if not key.startswith("datamover")
            }
            metadata.pop("annotations", None)
            begun = it.now.timestamp() + older
            metadata["creationTimestamp"] = seconds(type(it.now).fromtimestamp(begun, it.now.tzinfo))
        it.later(10)
        it.succeed()
        it.act()
        assert it.synced is counts


@pytest.mark.parametrize("copy", COPIES)
def test_another_owners_child_of_the_same_name_is_never_touched(copy: str) -> None:
    it = Theatre.source(copy=copy)
    it.claim("volsync-db-src")
    it.act()
    assert it.condition() == (
        "False",
        "Error",
        "PersistentVolumeClaim volsync-db-src exists and is not this ReplicationSource's: delete or rename it",
    )
    assert it.deleted == []
    it.delete("PersistentVolumeClaim", "volsync-db-src")
    it.finish()
    assert it.synced


# copies that are lost


def lose(it: Theatre, kind: str) -> None:
    it.delete(kind, "volsync-db-src")
    it.act()


def test_a_snapshot_that_vanishes_before_it_is_ready_is_taken_again() -> None:
    it = Theatre.source(copy="Snapshot")
    it.act()
    lose(it, "VolumeSnapshot")
    assert it.there("VolumeSnapshot") == {"volsync-db-src"}
    it.finish()
    assert it.synced


def test_a_snapshot_that_vanishes_before_there_is_a_claim_of_it_is_taken_again() -> None:
    it = Theatre.source(copy="Snapshot")
    it.act()
    it.ready("volsync-db-src")
    lose(it, "VolumeSnapshot")
    assert not it.there("Job")
    it.finish()
    assert it.synced
    assert [child["kind"] for child in it.created].count("VolumeSnapshot") == 2


def test_a_snapshot_that_vanishes_when_there_is_a_claim_of_it_is_not_missed() -> None:
    """The claim is another object's volume by then, or will not be bound: then the mover does not start."""
    it = Theatre.source(copy="Snapshot").start()
    first = it.job["metadata"]["uid"]
    lose(it, "VolumeSnapshot")
    it.bind("volsync-db-src")
    it.succeed()
    it.act()
    assert it.synced
    assert [child["metadata"]["name"] for child in it.created if child["kind"] == "Job"] == ["volsync-src-db"]
    assert first


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_that_vanishes_before_the_mover_has_started_ends_the_round_and_another_one_begins(copy: str) -> None:
    it = Theatre.source(copy=copy).start()
    begun, job = it.status["lastSyncStartTime"], it.job["metadata"]["uid"]
    it.later(5)
    lose(it, "PersistentVolumeClaim")
    assert it.status["lastSyncStartTime"] > begun
    assert it.status["latestMoverStatus"]["result"] == "Failed"
    assert ("Warning", "CloneLost") in it.said()
    it.start()
    assert it.job["metadata"]["uid"] != job
    it.succeed()
    it.act()
    assert it.synced


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_that_vanishes_after_the_success_of_its_mover_does_not_undo_it(copy: str) -> None:
    it = Theatre.source(copy=copy).start()
    it.succeed()
    it.delete("PersistentVolumeClaim", "volsync-db-src")
    it.act()
    assert it.synced


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_that_vanishes_while_the_mover_pauses_ends_the_round(copy: str) -> None:
    it = Theatre.source(copy=copy).start()
    begun = it.status["lastSyncStartTime"]
    it.later(3)
    it.fail()
    it.act()
    lose(it, "PersistentVolumeClaim")
    it.later(1000)
    it.act()
    assert it.status["lastSyncStartTime"] > begun
    it.finish()
    assert it.synced


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_that_was_made_anew_by_somebody_else_is_not_read(copy: str) -> None:
    it = Theatre.source(copy=copy).start()
    it.delete("PersistentVolumeClaim", "volsync-db-src")
    it.claim("volsync-db-src")
    it.succeed()
    it.act()
    assert not it.synced


def test_a_copy_that_lost_its_volume_ends_the_round() -> None:
    it = Theatre.source().start()
    begun = it.status["lastSyncStartTime"]
    it.later(3)
    it.objects["PersistentVolumeClaim", "volsync-db-src"]["status"]["phase"] = "Lost"
    it.act()
    assert it.status["lastSyncStartTime"] > begun
    it.finish()
    assert it.synced


def test_a_snapshot_that_the_driver_cannot_take_is_told_and_heals() -> None:
    it = Theatre.source(copy="Snapshot")
    it.act()
    it.objects["VolumeSnapshot", "volsync-db-src"]["status"] = {"error": {"message": "out of space"}}
    it.act()
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert it.condition("Ready")[1:] == (
        "SnapshotFailed",
        "snapshot volsync-db-src is not ready, the driver says: out of space",
    )
    assert ("Warning", "SnapshotFailed") in it.said()
    it.finish()
    assert it.synced


@pytest.mark.parametrize("copy", ["Direct", "Clone", "Snapshot"])
def test_a_source_that_is_not_there_is_an_error_until_it_is(copy: str) -> None:
    it = Theatre.source(copy=copy)
    it.delete("PersistentVolumeClaim", "data")
    it.act()
    status, reason, message = it.condition()
    assert (status, reason) == ("False", "Error")
    assert message.startswith("PersistentVolumeClaim data does not exist in this namespace: create it")
    assert it.said() == [("Warning", "SourceNotFound")]
    it.claim("data")
    it.act()
    assert it.condition()[1] == "SyncInProgress"
    it.finish()
    assert it.synced


@pytest.mark.parametrize("copy", ["Direct", "Clone", "Snapshot"])
def test_a_source_that_is_being_restored_is_not_read_until_it_is_whole(copy: str) -> None:
    it = Theatre.source(copy=copy)
    it.restorers[f"{it.namespace}/data"] = ("DataMoverRestore back",)
    it.act()
    assert it.condition("Ready")[1] == "SourceBeingRestored"
    assert it.said() == [("Warning", "SourceBeingRestored")]
    assert not it.there("Job")
    it.restorers.clear()
    it.finish()
    assert it.synced


# snapshots that users keep


def keep_the_last_copy() -> Theatre:
    it = Theatre.source(copy="Snapshot").start()
    metadata = it.objects["VolumeSnapshot", "volsync-db-src"]["metadata"]
    metadata["labels"]["volsync.backube/do-not-delete"] = "true"
    it.succeed()
    it.act()
    assert it.synced
    assert "VolumeSnapshot/volsync-db-src" not in it.deleted
    assert "volsync.backube/cleanup" not in metadata["labels"]
    assert not metadata.get("ownerReferences")
    it.trigger(manual="t2")
    it.later(5)
    it.act()
    assert it.condition()[1] == "Error"  # it holds the name that the next one needs
    assert it.condition("Ready")[1] == "NameTaken"
    assert it.condition()[2].startswith(
        "VolumeSnapshot volsync-db-src is kept, for you have labelled it volsync.backube/do-not-delete"
    )
    assert not it.there("PersistentVolumeClaim") & {"volsync-db-src"}, "what it holds is of another moment"
    return it


def test_a_snapshot_that_the_user_keeps_is_let_go_and_never_taken_for_the_next_copy() -> None:
    it = keep_the_last_copy()
    assert "VolumeSnapshot/volsync-db-src" not in it.deleted
    assert it.there("VolumeSnapshot") == {"volsync-db-src"}


def test_a_snapshot_that_is_kept_is_in_nobodys_way_once_it_is_deleted() -> None:
    it = keep_the_last_copy()
    it.delete("VolumeSnapshot", "volsync-db-src")
    it.finish()
    assert it.synced
    assert it.status["lastManualSync"] == "t2"


def test_beside_a_snapshot_that_is_kept_clones_are_taken() -> None:
    it = keep_the_last_copy()
    it.change(restic={"copyMethod": "Clone"})
    it.finish()
    assert it.synced
    assert it.there("VolumeSnapshot") == {"volsync-db-src"}


def test_a_snapshot_that_a_volume_is_being_made_of_stays_until_that_is_done() -> None:
    it = Theatre.source(copy="Snapshot").start()
    labels: dict[str, Any] = it.objects["VolumeSnapshot", "volsync-db-src"]["metadata"]["labels"]
    labels["volsync.backube/volpop-pvc-1"] = "x"
    it.succeed()
    it.act()
    assert it.synced
    assert it.there("VolumeSnapshot") == {"volsync-db-src"}
    del labels["volsync.backube/volpop-pvc-1"]
    it.act()
    assert it.there("VolumeSnapshot") == set()
