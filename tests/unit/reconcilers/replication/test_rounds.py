"""One synchronisation after the other: what begins one, what ends it, what is said meanwhile, and what is not done."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from datamover.reconcilers.replication.cadence import jitter_of
from kubekit.words.timestamps import parse, seconds
from support.theatre import METHODS, SETTINGS, UID, Theatre

NIGHTLY = {"schedule": "0 3 * * *"}
BOTH = ("source", "destination")


def make(kind: str, method: str = "restic", **more: Any) -> Theatre:
    return getattr(Theatre, kind)(method, **more)


def at(text: str) -> datetime:
    return parse(text)


@pytest.mark.parametrize("kind", BOTH)
def test_a_new_object_with_a_schedule_is_synchronised_at_once_and_then_by_the_schedule(kind: str) -> None:
    it = make(kind, trigger=NIGHTLY)
    it.act()
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert it.status["lastSyncStartTime"] == seconds(it.now)
    assert "nextSyncTime" not in it.status
    it.finish()
    plan = it.act()
    assert it.synced
    assert it.condition() == ("False", "WaitingForSchedule", "Waiting for next scheduled synchronization")
    assert it.status["nextSyncTime"] == "2026-11-30T03:00:00Z"
    assert plan.wake_after is not None
    assert at("2026-11-30T03:00:00Z") <= it.now + timedelta(seconds=plan.wake_after) < at("2026-11-30T03:00:01Z")


def test_the_next_one_begins_when_the_schedule_says_so_and_not_before() -> None:
    it = Theatre.source(trigger=NIGHTLY).finish()
    first = it.status["lastSyncTime"]
    it.now = at("2026-11-30T02:59:59Z")
    assert not it.act().steps
    assert not it.there("Job")
    it.now = at("2026-11-30T03:00:00.200000Z")
    it.act()
    assert it.status["lastSyncStartTime"] == "2026-11-30T03:00:00Z"
    assert it.status["lastSyncTime"] == first
    it.finish()
    assert it.status["nextSyncTime"] == "2026-12-01T03:00:00Z"


def test_times_that_pass_while_one_is_under_way_are_left_out_and_counted_by_nobody_twice() -> None:
    it = Theatre.source(trigger=NIGHTLY).finish()
    it.now = at("2026-11-30T03:00:01Z")
    it.start()
    it.now = at("2026-12-02T09:00:00Z")  # two more nights
    it.succeed()
    it.act()
    assert it.condition()[1] == "WaitingForSchedule"
    assert it.status["nextSyncTime"] == "2026-12-03T03:00:00Z"
    assert it.status["lastSyncDuration"] == "53h59m59s"


def test_an_edited_schedule_counts_at_once_between_two_and_after_the_end_while_one_is_under_way() -> None:
    it = Theatre.source(trigger=NIGHTLY).finish()
    it.trigger(schedule="0 12 * * *")
    it.act()
    assert it.status["nextSyncTime"] == "2026-11-29T12:00:00Z"
    it.now = at("2026-11-29T12:00:01Z")
    it.start()
    it.trigger(schedule="0 13 * * *")
    assert not it.plan().steps
    it.succeed()
    it.act()
    assert it.status["nextSyncTime"] == "2026-11-29T13:00:00Z"


@pytest.mark.parametrize("kind", BOTH)
def test_a_manual_trigger_is_taken_up_once_for_each_value_and_recorded_at_the_end(kind: str) -> None:
    it = make(kind)
    it.start()
    assert "lastManualSync" not in it.status
    it.finish()
    assert it.status["lastManualSync"] == "t1"
    assert it.condition() == ("False", "WaitingForManual", "Waiting for manual trigger")
    it.later(86_400)
    assert not it.act().steps
    it.trigger(manual="t2")
    it.act()
    assert it.condition()[1] == "SyncInProgress"
    assert it.status["lastManualSync"] == "t1"
    it.finish()
    assert it.status["lastManualSync"] == "t2"


def test_a_manual_trigger_that_is_changed_while_one_is_under_way_is_recorded_as_it_is_at_the_end() -> None:
    it = Theatre.source().start()
    it.trigger(manual="t2")
    it.finish()
    assert it.status["lastManualSync"] == "t2"
    assert not it.act().steps


def test_manual_wins_over_a_schedule_and_gives_way_when_it_is_taken_away() -> None:
    it = Theatre.source(trigger={"manual": "t1", **NIGHTLY}).finish()
    assert it.condition()[1] == "WaitingForManual"
    assert "nextSyncTime" not in it.status
    it.trigger(**NIGHTLY)
    it.act()
    assert (it.condition()[1], it.status["nextSyncTime"]) == ("WaitingForSchedule", "2026-11-30T03:00:00Z")


@pytest.mark.parametrize("trigger", [{}, {"schedule": "", "manual": ""}])
def test_without_a_trigger_the_next_one_begins_as_soon_as_one_has_ended(trigger: dict[str, str]) -> None:
    it = Theatre.source()
    it.trigger(**trigger)
    it.start()
    first = it.job["metadata"]["uid"]
    it.later(7)
    it.succeed()
    it.act()
    assert it.status["lastSyncDuration"] == "7s"
    assert it.status["lastSyncStartTime"] == seconds(it.now)
    assert "nextSyncTime" not in it.status
    it.later(1)
    it.start()
    assert it.job["metadata"]["uid"] != first


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("method", METHODS)
def test_two_rounds_in_a_row_use_nothing_of_one_another(kind: str, method: str) -> None:
    it = make(kind, method, copy="Snapshot").finish()
    before = {child["metadata"]["name"]: child for child in it.created if child["kind"] == "Job"}
    it.later(60)
    it.trigger(manual="t2")
    it.finish()
    assert it.status["lastManualSync"] == "t2"
    jobs = [child for child in it.created if child["kind"] == "Job"]
    assert len(jobs) == 2
    assert len(before) == 1
    assert not it.there("Job")
    label = "datamover.a-cup-of.coffee/run-id"
    assert jobs[0]["metadata"]["labels"][label] != jobs[1]["metadata"]["labels"][label]


def test_what_is_left_of_the_round_before_is_awaited_before_it_would_be_taken_for_this_ones() -> None:
    it = Theatre.source(copy="Snapshot")
    it.slow = {"volsync-db-src", "volsync-src-db"}
    it.finish()
    assert it.synced
    assert it.condition()[1] == "WaitingForManual"  # nobody waits for the end of a clean-up
    it.later(5)
    it.trigger(manual="t2")
    it.act()
    assert it.condition()[1] == "SyncInProgress"
    assert [child["kind"] for child in it.created].count("Job") == 1
    for kind in ("Job", "PersistentVolumeClaim"):
        it.delete(kind, "volsync-src-db" if kind == "Job" else "volsync-db-src")
    it.act()
    assert [child["kind"] for child in it.created].count("VolumeSnapshot") == 1
    it.slow = set()
    it.delete("VolumeSnapshot", "volsync-db-src")
    it.finish()
    assert it.status["lastManualSync"] == "t2"
    assert [child["kind"] for child in it.created].count("VolumeSnapshot") == 2


# paused


@pytest.mark.parametrize("method", METHODS)
def test_paused_everything_is_made_and_the_job_has_no_pods_until_it_may_go_on(method: str) -> None:
    it = Theatre.source(method, "Snapshot", paused=True).start()
    uid = it.job["metadata"]["uid"]
    assert it.job["spec"]["parallelism"] == 0
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert it.condition("Ready") == ("False", "Suspended", "paused: set spec.paused to false to go on")
    it.later(86_400)
    assert not it.act().steps
    it.change(paused=None)
    it.act()
    assert (it.job["metadata"]["uid"], it.job["spec"]["parallelism"]) == (uid, 1)
    assert it.condition("Ready")[1] == "JobCreated"
    it.change(paused=True)
    it.act()
    assert (it.job["metadata"]["uid"], it.job["spec"]["parallelism"]) == (uid, 0)
    it.change(paused=False)
    it.act()
    it.succeed()
    it.act()
    assert it.synced


def test_a_job_that_has_ended_while_paused_counts() -> None:
    it = Theatre.source().start()
    it.succeed()
    it.change(paused=True)
    it.act()
    assert it.synced


# what is asked for and cannot be done


def ask(**methods: Any) -> Theatre:
    it = Theatre("ReplicationSource", "db", {"sourcePVC": "data", "trigger": {"manual": "t1"}, **methods})
    it.claim("data")
    return it


RESTIC = {"repository": "restic-secret", "copyMethod": "Clone"}
RCLONE = {"copyMethod": "Clone", "rcloneConfig": "rclone-secret"}


@pytest.mark.parametrize(
    ("it", "message"),
    [
        (
            ask(),
            "no replication method is given: write one of spec.restic, spec.rclone, spec.rsyncTLS, spec.rsync",
        ),
        (
            ask(restic=RESTIC, rclone=RCLONE),
            "only one replication method can be given, and there are spec.restic and spec.rclone: remove all but one",
        ),
        (
            ask(restic=RESTIC, external={"provider": "example.com/x"}),
            "only one replication method can be given, and there are spec.restic and spec.external: remove all but one",
        ),
        (
            ask(syncthing={"serviceType": "ClusterIP"}),
            "syncthing is not moved by this operator: use spec.restic, spec.rclone, spec.rsyncTLS or spec.rsync",
        ),
        (
            Theatre.source(copy=None),
            "unsupported copyMethod:  -- must be Direct, None, Clone, or Snapshot. Set spec.restic.copyMethod",
        ),
        (
            Theatre.destination("rsyncTLS", copy=None),
            "unsupported copyMethod:  -- must be Direct, None, or Snapshot. Set spec.rsyncTLS.copyMethod",
        ),
        (
            Theatre.destination("rclone", copy="Clone"),
            "unsupported copyMethod: Clone -- must be Direct, None, or Snapshot. Set spec.rclone.copyMethod",
        ),
        (
            Theatre.source(trigger={"schedule": "0 3 * * 7"}),
            "spec.trigger.schedule: '7' is no day of the week: write 0 to 6 (Sunday is 0)",
        ),
        (
            Theatre("ReplicationSource", "db", {"restic": RESTIC}),
            "no volume is given: set spec.sourcePVC to a PersistentVolumeClaim of this namespace",
        ),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_made_once_and_with_a_warning(it: Theatre, message: str) -> None:
    plan = it.act()
    status, reason, said = it.condition()
    assert (status, reason) == ("False", "Error")
    assert said.startswith(message)
    assert it.created == []
    assert len(it.statuses) == 1
    assert [each.type for each in it.events] == ["Warning"]
    assert it.condition("Stalled")[0] == "True"
    assert plan.wake_after is None
    assert "lastSyncStartTime" not in it.status


def test_it_heals_as_soon_as_it_is_mended() -> None:
    it = Theatre.source(copy=None)
    it.act()
    it.change(restic={"copyMethod": "Clone"})
    it.act()
    assert it.condition()[1] == "SyncInProgress"
    it.finish()
    assert it.synced
    it.trigger(schedule="0 3 * * 7")
    it.act()
    assert it.condition()[:2] == ("False", "Error")
    it.trigger(**NIGHTLY)
    it.act()
    assert it.condition()[1] == "WaitingForSchedule"
    assert it.condition("Stalled")[0] == "False"
    assert it.condition("Ready")[:2] == ("True", "Synchronized")


@pytest.mark.parametrize("kind", ["ReplicationSource", "ReplicationDestination"])
def test_an_external_object_is_left_alone(kind: str) -> None:
    it = Theatre(kind, "db", {"external": {"provider": "example.com/x"}, "trigger": {"manual": "t1"}})
    assert not it.act().steps
    assert it.status == {}


def test_an_object_that_is_being_deleted_is_left_alone() -> None:
    it = Theatre.source().start()
    it.manifest["metadata"]["deletionTimestamp"] = seconds(it.now)
    it.succeed()
    assert not it.act().steps


def test_none_is_an_older_word_for_direct() -> None:
    it = Theatre.source(copy="None").finish()
    assert it.there("PersistentVolumeClaim") == {"data", "volsync-src-db-cache"}


# what an operator may limit


def test_no_more_movers_run_at_once_than_the_operator_allows() -> None:
    it = Theatre.source(settings=replace(SETTINGS, most_at_once=2))
    it.running = 2
    it.act()
    it.bind_all()
    plan = it.act()
    assert not it.there("Job")
    assert it.condition()[:2] == ("True", "SyncInProgress")
    _, reason, message = it.condition("Ready")
    assert reason == "WaitingForTurn"
    assert "2 movers run, and no more than 2 may at the same time (--replication-max-concurrent)" in message
    assert it.condition("Stalled")[0] == "False", "nothing is wrong"
    assert it.said()[-1] == ("Normal", "WaitingForTurn")
    assert plan.wake_after == 30
    it.running = 3
    assert not it.act().steps, "it waits as before"
    it.running = 1
    it.finish()
    assert it.synced


def test_a_job_of_its_own_never_waits_for_its_turn() -> None:
    it = Theatre.source(settings=replace(SETTINGS, most_at_once=1)).start()
    it.running = 5
    it.succeed()
    it.act()
    assert it.synced


def test_a_jitter_puts_the_next_one_off_by_the_objects_own_share() -> None:
    hour = timedelta(hours=1)
    it = Theatre.source(trigger=NIGHTLY, settings=replace(SETTINGS, jitter=hour)).finish()
    due = at("2026-11-30T03:00:00Z") + jitter_of(UID, hour)
    assert it.status["nextSyncTime"] == seconds(due)
    it.now = due - timedelta(seconds=1)
    assert not it.act().steps
    it.now = due
    it.act()
    assert it.condition()[1] == "SyncInProgress"


def test_a_deadline_ends_the_job_and_is_told_by_the_operators_setting() -> None:
    it = Theatre.source(settings=replace(SETTINGS, deadline=600)).start()
    assert it.job["spec"]["activeDeadlineSeconds"] == 600
    assert it.environment["DATAMOVER_DEADLINE"] == "600"
    assert "activeDeadlineSeconds" not in Theatre.source().start().job["spec"]
    it.fail_late()
    it.act()
    assert it.condition("Ready")[1:] == (
        "DeadlineExceeded",
        "the mover took longer than the operator's deadline for synchronisations (600 s)",
    )


# names


@pytest.mark.parametrize("length", [63, 200])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", BOTH)
def test_long_names_are_shortened_where_a_label_must_hold_them_and_nowhere_else(
    kind: str, method: str, length: int
) -> None:
    name = ("n" * length)[: length - 1] + "x"
    it = make(kind, method, copy="Snapshot", name=name)
    if kind == "destination" and method.startswith("rsync"):
        it.manifest["spec"][method].pop("keySecret", None)
    it.finish()
    assert it.synced
    for child in it.created:
        labels = child["metadata"]["labels"].values()
        assert all(len(label) <= 63 for label in labels), child["metadata"]
        assert len(child["metadata"]["name"]) <= 253
        if child["kind"] in ("Job", "Service"):
            assert len(child["metadata"]["name"]) <= 63
        if child["kind"] == "PersistentVolumeClaim":
            assert name in child["metadata"]["name"]


def test_a_second_look_at_the_same_changes_nothing() -> None:
    for method in METHODS:
        for kind in BOTH:
            it = make(kind, method, copy="Snapshot")
            it.start()
            writes = len(it.statuses)
            it.later(3600)
            plan = it.act()
            assert not plan.steps
            it.finish()
            assert len(it.statuses) <= writes + 3
