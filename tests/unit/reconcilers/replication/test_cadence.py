"""When a synchronisation is due: triggers, times of the last ones, and the clock."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.volsync.common import CommonStatus, Trigger
from datamover.reconcilers.replication.cadence import Cadence, Due, cadence_of, jitter_of
from kubekit.words import timestamps

NIGHTLY = Trigger(schedule="0 3 * * *")
BOTH = Trigger(schedule="0 3 * * *", manual="go1")
CONTINUOUS = Trigger()
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return timestamps.parse(text)


def ended(moment: str, **more: Any) -> CommonStatus:
    return CommonStatus(last_sync_time=moment, **more)


def begun(moment: str, **more: Any) -> CommonStatus:
    return CommonStatus(last_sync_start_time=moment, **more)


def cadence(
    trigger: Trigger | None, status: CommonStatus | None, now: str, *, jitter: timedelta | None = None
) -> Cadence:
    return cadence_of(trigger, status, now=at(now), uid="uid-1", jitter=jitter or timedelta(0))


LAST = "2024-08-05T03:20:00Z"
BEFORE, AFTER = "2024-08-06T02:59:59Z", "2024-08-06T03:00:00Z"


@pytest.mark.parametrize(
    ("trigger", "status", "now", "due", "next_sync"),
    [
        # what was never synchronised is due at once
        (None, None, BEFORE, Due.NOW, None),
        (NIGHTLY, None, BEFORE, Due.NOW, None),
        (NIGHTLY, CommonStatus(), BEFORE, Due.NOW, None),
        (Trigger(manual="go1"), CommonStatus(), BEFORE, Due.NOW, None),
        (Trigger(manual="go1"), CommonStatus(last_manual_sync="go1"), BEFORE, Due.NOW, None),
        (NIGHTLY, ended("no time at all"), BEFORE, Due.NOW, None),
        # without a trigger, again and again
        (None, ended(LAST), BEFORE, Due.NOW, None),
        (CONTINUOUS, ended(LAST), BEFORE, Due.NOW, None),
        (Trigger(schedule="", manual=""), ended(LAST), BEFORE, Due.NOW, None),
        # manual
        (Trigger(manual="go1"), ended(LAST), BEFORE, Due.NOW, None),
        (Trigger(manual="go1"), ended(LAST, last_manual_sync="go1"), BEFORE, Due.MANUAL, None),
        (Trigger(manual="go2"), ended(LAST, last_manual_sync="go1"), BEFORE, Due.NOW, None),
        # manual wins over a schedule, also over one that cannot be kept
        (BOTH, ended(LAST, last_manual_sync="go1"), AFTER, Due.MANUAL, None),
        (Trigger(schedule="0 3 * * 7", manual="go1"), ended(LAST, last_manual_sync="go1"), AFTER, Due.MANUAL, None),
        (BOTH, ended(LAST, last_manual_sync="go0"), BEFORE, Due.NOW, None),
        # a schedule
        (NIGHTLY, ended(LAST), BEFORE, Due.AT, AFTER),
        (NIGHTLY, ended(LAST), AFTER, Due.NOW, AFTER),
        # a manual trigger that was taken away
        (NIGHTLY, ended(LAST, last_manual_sync="go1"), BEFORE, Due.AT, AFTER),
        # one that ended in the very second of the next time
        (NIGHTLY, ended("2024-08-06T03:00:00Z"), "2024-08-06T03:00:00Z", Due.AT, "2024-08-07T03:00:00Z"),
        # times that passed while it was under way, or while the operator was down, are left out
        (NIGHTLY, ended("2024-08-06T04:00:00Z"), "2024-08-06T04:00:01Z", Due.AT, "2024-08-07T03:00:00Z"),
        (NIGHTLY, ended("2024-07-01T04:00:00Z"), BEFORE, Due.NOW, "2024-07-02T03:00:00Z"),
        # an edited schedule counts from the last end
        (Trigger(schedule="0 2 * * *"), ended(LAST), BEFORE, Due.NOW, "2024-08-06T02:00:00Z"),
        (Trigger(schedule="CRON_TZ=Europe/Berlin 0 6 * * *"), ended(LAST), BEFORE, Due.NOW, "2024-08-05T04:00:00Z"),
        # while one is under way
        (NIGHTLY, begun(AFTER), AFTER, Due.UNDER_WAY, None),
        (NIGHTLY, begun(AFTER, last_sync_time=LAST), "2024-08-06T05:00:00Z", Due.UNDER_WAY, AFTER),
        (Trigger(manual="go2"), begun(AFTER, last_manual_sync="go1"), AFTER, Due.UNDER_WAY, None),
        (None, begun(AFTER, last_sync_time=LAST), AFTER, Due.UNDER_WAY, None),
        (None, begun("no time at all", last_sync_time=LAST), AFTER, Due.UNDER_WAY, None),
        # dated by a clock that was wrong
        (NIGHTLY, ended("2031-01-01T00:00:00Z"), BEFORE, Due.NOW, "2031-01-01T03:00:00Z"),
        (NIGHTLY, ended("2024-08-06T03:00:00Z"), "2024-08-06T02:59:30Z", Due.AT, "2024-08-07T03:00:00Z"),
        (NIGHTLY, ended("9999-12-31T23:59:59Z"), BEFORE, Due.NOW, "9900-01-01T03:00:00Z"),
    ],
)
def test_when_it_is_due(
    trigger: Trigger | None, status: CommonStatus | None, now: str, due: Due, next_sync: str | None
) -> None:
    found = cadence(trigger, status, now)
    assert (found.due, found.next_sync) == (due, at(next_sync) if next_sync else None)
    assert found.error == ""


@pytest.mark.parametrize(
    ("status", "due"),
    [
        (None, Due.NEVER),
        (ended(LAST), Due.NEVER),
        (begun(AFTER), Due.UNDER_WAY),
        (begun(AFTER, last_sync_time=LAST), Due.UNDER_WAY),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_told_before_anything_is_copied(
    status: CommonStatus | None, due: Due
) -> None:
    found = cadence(Trigger(schedule="0 3 * * 7"), status, AFTER)
    assert found.due is due
    assert found.error.startswith("spec.trigger.schedule: '7' is no day of the week: write 0 to 6 (Sunday is 0)")


def test_a_whole_interval_was_missed_at_the_second_time_after_the_last_synchronisation() -> None:
    assert cadence(NIGHTLY, ended(LAST), AFTER).deadline == at("2024-08-07T03:00:00Z")


@pytest.mark.parametrize(
    ("trigger", "status"),
    [
        (NIGHTLY, None),
        (NIGHTLY, begun(AFTER)),
        (None, ended(LAST)),
        (Trigger(manual="go2"), ended(LAST)),
    ],
    ids=["never synchronised", "never, and under way", "no trigger", "by hand"],
)
def test_without_a_schedule_or_a_first_synchronisation_there_is_no_interval_to_miss(
    trigger: Trigger | None, status: CommonStatus | None
) -> None:
    assert cadence(trigger, status, AFTER).deadline is None


def test_a_jitter_puts_off_the_next_one_and_the_deadline_by_the_objects_own_share() -> None:
    share = jitter_of("uid-1", HOUR)
    found = cadence(NIGHTLY, ended(LAST), AFTER, jitter=HOUR)
    assert timedelta(0) < share < HOUR
    assert (found.due, found.next_sync, found.deadline) == (
        Due.AT,
        at(AFTER) + share,
        at("2024-08-07T03:00:00Z") + share,
    )
    later = timestamps.micros(at(AFTER) + share)
    assert cadence(NIGHTLY, ended(LAST), later, jitter=HOUR).due is Due.NOW


def test_a_jitter_leaves_the_first_one_and_other_triggers_alone() -> None:
    for trigger, status in ((NIGHTLY, None), (None, ended(LAST)), (Trigger(manual="go1"), ended(LAST))):
        assert cadence(trigger, status, BEFORE, jitter=HOUR).due is Due.NOW


@given(st.uuids().map(str), st.integers(0, 10**6))
def test_a_jitter_is_at_most_half_of_an_interval(uid: str, seconds: int) -> None:
    found = cadence_of(
        Trigger(schedule="*/10 * * * *"), ended(LAST), now=at(BEFORE), uid=uid, jitter=timedelta(seconds=seconds)
    )
    assert found.next_sync is not None
    assert timedelta(0) <= found.next_sync - at("2024-08-05T03:30:00Z") <= timedelta(minutes=5)


def test_the_shares_of_many_objects_are_spread() -> None:
    shares = [jitter_of(f"uid-{number}", HOUR) for number in range(1000)]
    for quarter in range(4):
        count = sum(quarter * HOUR / 4 <= share < (quarter + 1) * HOUR / 4 for share in shares)
        assert 200 < count < 300
