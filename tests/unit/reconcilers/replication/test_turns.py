"""Who counts as a mover that runs, and which of several destinations writes their claim."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from datamover.reconcilers.replication.turns import count_running
from kubekit.words.batch import Job
from support.theatre import SETTINGS, Theatre


def job(name: str = "job", uid: str | None = "other", parallelism: int = 1, ended: str = "") -> Job:
    labels = {"volsync.backube/cleanup": uid} if uid else {}
    status: dict[str, Any] = {"conditions": [{"type": ended, "status": "True"}]} if ended else {}
    made = {"metadata": {"name": name, "labels": labels}, "spec": {"parallelism": parallelism}, "status": status}
    return msgspec.convert(made, Job)


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (job(), 1),
        (job(uid="mine"), 0),
        (job(uid=None), 0),  # another kind's
        (job(parallelism=0), 0),
        (job(ended="Complete"), 0),
        (job(ended="Failed"), 0),
        (job(ended="FailureTarget"), 1),
        (job("server"), 0),
    ],
)
def test_who_counts(found: Job, counts: int) -> None:
    assert count_running([found], but="mine", listens=lambda each: each.metadata.name == "server") == counts


@pytest.mark.parametrize("method", ["rsyncTLS", "rsync"])
def test_a_mover_that_others_connect_to_takes_no_turn(method: str) -> None:
    it = Theatre.destination(method, settings=replace(SETTINGS, most_at_once=1))
    it.running = 5
    it.finish()
    assert it.synced


# destinations that write one claim


def pair(method: str = "restic", copy: str = "Direct") -> tuple[Theatre, Theatre]:
    """Two destinations of one claim, begun one after the other; neither has a mover yet."""
    first = Theatre.destination(method, copy, name="first", destinationPVC="data")
    first.claim("data")
    second = Theatre.destination(method, copy, name="second", destinationPVC="data", beside=first)
    first.act_once()
    second.later(1)
    second.act_once()
    assert first.status["lastSyncStartTime"] < second.status["lastSyncStartTime"]
    return first, second


def job_of(it: Theatre) -> bool:
    return any(it.uid == each["metadata"]["ownerReferences"][0]["uid"] for (kind, _), each in it.objects.items() if kind == "Job")  # fmt: skip


def move(it: Theatre) -> None:
    """Let the mover of one succeed."""
    it.later(5)
    it.succeed()
    it.act()


@pytest.mark.parametrize("method", ["restic", "rclone"])
def test_of_two_destinations_of_one_claim_the_later_one_waits_until_the_first_has_ended(method: str) -> None:
    first, second = pair(method)
    plan = second.act()
    assert not job_of(second)
    _, reason, message = second.condition("Ready")
    assert reason == "WaitingForTurn"
    assert "ReplicationDestination first writes PersistentVolumeClaim data as well, and goes first" in message
    assert second.condition("Stalled")[0] == "False"
    assert second.condition()[1] == "SyncInProgress"
    assert second.said()[-1] == ("Normal", "WaitingForTurn")
    assert plan.wake_after == 30
    first.later(3)
    first.bind_all()
    first.act()
    assert not second.act().steps, "it waits as before"
    move(first)
    assert first.synced
    second.bind_all()
    second.act()
    assert job_of(second)
    move(second)
    assert second.synced


def test_what_is_written_is_made_an_image_of_before_the_next_one_writes() -> None:
    first, second = pair(copy="Snapshot")
    first.later(3)
    first.act()
    first.bind_all()
    first.act()
    move(first)
    assert first.there("VolumeSnapshot")
    assert not first.synced
    second.act()
    assert not job_of(second)
    first.bind_all()
    first.act()
    assert first.synced
    second.act()
    assert job_of(second)


def test_who_began_in_the_same_second_is_told_apart_by_the_uid_and_both_see_it_alike() -> None:
    first = Theatre.destination("restic", "Direct", name="first", destinationPVC="data")
    first.claim("data")
    second = Theatre.destination("restic", "Direct", name="second", destinationPVC="data", beside=first)
    for it in (first, second):
        it.act_once()
    for it in (first, second, first, second):
        it.bind_all()
        it.act()
    assert (job_of(first), job_of(second)) == (False, False), "another one may still draw the same ticket"
    for it in (first, second, first, second):
        it.later(3)
        it.act()
    assert (job_of(first), job_of(second)) == (False, True)
    assert second.uid < first.uid


def lose_secret(it: Theatre) -> None:
    it.secrets.pop("restic-secret")
    it.act()


def pause(it: Theatre) -> None:
    it.change(paused=True)
    it.act()


def fail(it: Theatre) -> None:
    it.later(3)
    it.start()
    it.fail()
    it.act()


def go(it: Theatre) -> None:
    it.manifest["metadata"]["deletionTimestamp"] = "2026-11-29T11:12:51Z"


@pytest.mark.parametrize("trouble", [lose_secret, pause, fail, go])
def test_nobody_waits_for_one_that_is_held_up_itself(trouble: Callable[[Theatre], None]) -> None:
    first, second = pair()
    trouble(first)
    second.later(3)
    second.bind_all()
    second.act()
    assert job_of(second)


def test_two_that_wait_for_the_same_secret_go_on_one_after_the_other() -> None:
    first, second = pair()
    both = (first, second)
    for it in both:
        it.now = first.now
        it.bind_all()
        lose_secret(it)
        assert it.condition("Ready")[1] == "SecretNotFound"
    for it in both:
        it.later(60)
        it.secrets["restic-secret"] = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD")
    for it in both:  # at the same moment: each believes of the other that it is held up
        it.act()
        assert it.condition("Ready")[1] == "WaitingForTurn"
        assert not job_of(it)
    for it in (*both, *both):
        it.later(3)
        it.act()
    assert sorted(job_of(it) for it in both) == [False, True]


def test_two_whose_movers_failed_go_on_one_after_the_other() -> None:
    first, second = pair()
    fail(first)
    second.later(3)
    second.start()
    second.fail()
    second.act()
    moment = max(first.now, second.now)
    for it in (first, second):
        it.now = moment
        it.later(60)
    for _ in range(4):
        for it in (first, second):
            it.act_once()
    assert (job_of(first), job_of(second)) == (True, False)
    assert second.condition("Ready")[1] == "WaitingForTurn"
    move(first)
    second.act()
    assert job_of(second)


def test_one_that_goes_on_again_waits_for_the_one_that_went_meanwhile() -> None:
    first, second = pair()
    pause(first)
    first.bind_all()
    first.act()
    assert first.job["spec"]["parallelism"] == 0
    second.later(3)
    second.act()
    assert job_of(second)
    first.change(paused=False)
    first.act()
    assert first.job["spec"]["parallelism"] == 0
    assert first.condition("Ready")[1] == "WaitingForTurn"
    move(second)
    assert second.synced
    first.act()
    assert first.job["spec"]["parallelism"] == 1
    move(first)
    assert first.synced


@pytest.mark.parametrize("method", ["rsyncTLS", "rsync"])
def test_destinations_that_listen_wait_for_nobody_and_nobody_for_them(method: str) -> None:
    first, second = pair(method)
    first.start()
    second.start()
    assert job_of(first)
    assert job_of(second)
    third = Theatre.destination("restic", "Direct", name="third", destinationPVC="data", beside=first)
    third.start()
    assert job_of(third)


def test_destinations_of_different_claims_and_sources_are_in_nobodys_way() -> None:
    first, _ = pair()
    first.later(3)
    first.start()
    other = Theatre.destination("restic", "Direct", name="other", destinationPVC="more", beside=first)
    other.claim("more")
    source = Theatre.source("restic", "Direct", name="up", beside=first)
    for it in (other, source):
        it.start()
        assert job_of(it)


def test_each_of_two_that_never_end_has_its_turn() -> None:
    first, second = pair()
    ended = {"first": 0, "second": 0}
    for it in (first, second):
        it.manifest["spec"].pop("trigger")
    for _ in range(40):
        for it in (first, second):
            it.now = max(first.now, second.now)
            it.later(2)
            it.bind_all()
            it.act_once()
            running = [each for each in (first, second) if job_of(each) and not each.job.get("status")]
            assert len(running) <= 1
            if it in running:
                it.succeed()
                ended[it.manifest["metadata"]["name"]] += 1
    assert min(ended.values()) >= 3, ended
