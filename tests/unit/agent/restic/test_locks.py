"""Whose a lock is, and whether it may go."""

from datetime import UTC, datetime, timedelta

import pytest

from datamover.agent.restic.locks import failure_of, is_left_behind, may_remove_all
from datamover.agent.restic.messages import Lock
from datamover.api import transfer

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
POD = "volsync-src-app-x7k2p"
EARLIER = "volsync-src-app-aaaaa"


def lock(hostname: str, *, minutes: float = 10) -> Lock:
    return Lock(time=(NOW - timedelta(minutes=minutes)).isoformat(), exclusive=True, hostname=hostname, pid=7)


@pytest.mark.parametrize(
    ("hostname", "left"),
    [
        (EARLIER, True),
        (POD, False),  # our own, which lives
        ("volsync-src-other-aaaaa", False),
        ("volsync-dst-app-aaaaa", False),
        ("volsync-src-app", False),
        ("laptop", False),
        ("", False),
        ("volsync-src-app-aaaaaa", False),
    ],
)
def test_a_lock_of_another_pod_of_our_job_was_left_behind(hostname: str, left: bool) -> None:
    assert is_left_behind(lock(hostname), hostname=POD) == left


def test_outside_of_a_pod_nothing_was_left_behind() -> None:
    assert not is_left_behind(lock("my-nice-laptop"), hostname="my-other-laptop")
    assert not is_left_behind(lock("-aaaaa"), hostname="-bbbbb")
    assert not is_left_behind(lock(""), hostname="")


@pytest.mark.parametrize(
    ("locks", "may"),
    [
        ([], False),
        ([lock(EARLIER)], True),
        ([lock(EARLIER), lock("volsync-src-app-bbbbb", minutes=7)], True),
        ([lock(EARLIER, minutes=5)], False),
        ([lock(EARLIER, minutes=-5)], False),
        ([lock(EARLIER), lock("laptop")], False),
        ([lock(EARLIER), lock(POD)], False),
        ([Lock(time="never", hostname=EARLIER)], False),
    ],
)
def test_all_locks_may_go_when_none_of_them_can_be_held(locks: list[Lock], may: bool) -> None:
    assert may_remove_all(locks, hostname=POD, now=NOW) == may


def tell(*locks: Lock, removal: bool = False):
    return failure_of(locks, hostname=POD, repository="/mnt/r", now=NOW, removal=removal, said="restic's words")


def test_a_lock_that_was_left_is_told_with_the_moment_of_its_cure() -> None:
    failure = tell(lock(EARLIER))
    assert failure.reason == transfer.REASON_REPOSITORY_LOCK_LEFT
    assert failure.retryable
    assert f"process 7 on {EARLIER}, renewed 600 s ago" in failure.message
    assert "spec.restic.unlock a new value from 12:20:00 UTC on" in failure.message
    assert "spec.restic.unlock a new value now" in tell(lock(EARLIER, minutes=40)).message
    assert "from 12:04:00 UTC" in tell(lock(EARLIER, minutes=2), removal=True).message


def test_a_lock_of_somebody_else_is_told_by_its_holder() -> None:
    failure = tell(lock(EARLIER), *(lock(f"laptop{number}\n\x1b[2J") for number in range(5)))
    assert failure.reason == transfer.REASON_REPOSITORY_LOCKED
    assert "on laptop0" in failure.message
    assert "and 3 more" in failure.message
    assert "\x1b" not in failure.message
    assert "restic's words" in tell().message
