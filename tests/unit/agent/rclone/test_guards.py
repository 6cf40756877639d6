"""Guards: refusals with the finding and the ways out."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.environment import Owner, read_timestamp, write_timestamp
from datamover.agent.errors import Failure
from datamover.agent.rclone.guards import (
    Mirror,
    check_busy,
    check_later_copy,
    check_listing,
    check_owner,
    check_reserved,
    check_source_names,
    check_source_size,
)
from datamover.api import transfer

OURS = Owner(cluster="c-1", namespace="production", pvc="app-data")
THEIRS = Owner(cluster="c-1", namespace="staging", pvc="other")
PLACE = "s3generic:backups/app/"


def mirror(**facts: object) -> Mirror:
    return Mirror(**{"place": PLACE, "owner": OURS, **facts})


def refused(failure: Failure | None, reason: str) -> str:
    assert failure is not None
    assert (failure.failure_class, failure.reason) == (transfer.GUARD, reason)
    return failure.message


@pytest.mark.parametrize("owner", [None, OURS])
def test_an_empty_or_own_destination_is_fine(owner: Owner | None) -> None:
    assert check_owner(mirror(owner=owner), owner=OURS, adopt=False) is None


@pytest.mark.parametrize("owner", [None, OURS, THEIRS])
def test_objects_of_others_are_refused_whoever_owns_the_mirror(owner: Owner | None) -> None:
    found = mirror(owner=owner, foreign=7, foreign_names=("a", "b", "c"))
    message = refused(check_owner(found, owner=OURS, adopt=False), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "CUSTOM_PATH_PREFIX" in message
    assert "addTimestampPrefix" in message
    assert "adopt" in message
    if owner != THEIRS:
        assert "'a', 'b', 'c' and 4 more" in message


def test_the_mirror_of_another_volume_is_refused_by_its_name() -> None:
    message = refused(check_owner(mirror(owner=THEIRS), owner=OURS, adopt=False), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "staging/other of cluster c-1" in message


@pytest.mark.parametrize("field", ["cluster", "namespace", "pvc"])
def test_every_part_of_the_identity_counts(field: str) -> None:
    other = {"cluster": "c-1", "namespace": "production", "pvc": "app-data"} | {field: "different"}
    assert check_owner(mirror(owner=Owner(**other)), owner=OURS, adopt=False) is not None


def test_adoption_lifts_the_refusal_but_not_for_other_movers_destinations_below() -> None:
    assert check_owner(mirror(owner=THEIRS, foreign=3, foreign_names=("a",)), owner=OURS, adopt=True) is None
    nested = mirror(owner=None, foreign=3, foreign_names=("a",), nested=("team/app",))
    message = refused(check_owner(nested, owner=OURS, adopt=True), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "team/app" in message
    assert "ADOPT" not in message


@pytest.mark.parametrize("owner", [None, OURS])
def test_records_of_another_volume_make_everything_foreign_with_and_without_a_marker(owner: Owner | None) -> None:
    found = mirror(owner=owner, objects=5, strangers=(THEIRS,))
    message = refused(check_owner(found, owner=OURS, adopt=False), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "staging/other of cluster c-1" in message
    assert ("owner.json) is lost" in message) == (owner is None)
    assert ".." not in message
    assert check_owner(found, owner=OURS, adopt=True) is None


def test_runs_that_nothing_explains_count_only_without_a_marker_and_where_something_can_be_lost() -> None:
    found = mirror(owner=None, objects=5, unexplained=("run-7",))
    assert "'run-7'" in refused(check_owner(found, owner=OURS, adopt=False), transfer.REASON_DESTINATION_NOT_OWNED)
    for other in (
        mirror(owner=OURS, objects=5, unexplained=("run-7",)),
        mirror(owner=None, objects=0, unexplained=("run-7",)),
    ):
        assert check_owner(other, owner=OURS, adopt=False) is None


moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)).map(write_timestamp)


@given(mine=moments, other=moments, now=moments)
def test_only_a_copy_that_is_really_later_refuses_an_earlier_one(mine: str, other: str, now: str) -> None:
    failure = check_later_copy((other, "run-7"), moment=mine, now=now, place=PLACE)
    assert (failure is not None) == (read_timestamp(other) > read_timestamp(mine))
    if failure is not None:
        assert not failure.retryable
        message = refused(failure, transfer.REASON_NEWER_BACKUP_EXISTS)
        assert all(word in message for word in ("run-7", mine, other, "Nothing was moved or deleted"))
        assert ("a clock has gone wrong" in message) == (other > now) == ("create a new DataMover" not in message)


def test_without_a_later_copy_nothing_is_refused() -> None:
    assert check_later_copy(("", ""), moment="2024-08-06-143052", now="2024-08-06-143053", place=PLACE) is None


def test_a_listing_that_hides_what_is_there_is_tried_again() -> None:
    assert check_listing((), 0, PLACE) is None
    failure = check_listing(("a", "b", "c"), 7, PLACE)
    assert failure is not None
    assert failure.retryable
    assert "'a', 'b', 'c' and 4 more" in refused(failure, transfer.REASON_LISTING_INCOMPLETE)


def test_an_empty_source_before_a_full_mirror_is_refused_unless_allowed() -> None:
    found = mirror(source=0, mirrored=5, stale=5)
    message = refused(
        check_source_size(found, allow_empty=False, max_delete_percent=100, max_delete=None),
        transfer.REASON_EMPTY_SOURCE,
    )
    assert "5" in message
    assert check_source_size(found, allow_empty=True, max_delete_percent=0, max_delete=None) is None


def test_an_empty_source_before_an_empty_mirror_is_fine() -> None:
    assert check_source_size(mirror(), allow_empty=False, max_delete_percent=50, max_delete=None) is None


@pytest.mark.parametrize(
    ("written", "gone", "percent", "fine"),
    [
        (20, 10, 50, True),
        (20, 11, 50, False),
        (20, 11, 60, True),
        (20, 20, 99, False),
        (20, 20, 100, True),
        (10, 10, 50, False),
        (9, 9, 50, True),  # a few files come and go: dumps that are named by their day
        (2, 1, 0, False),  # unless none may
        (2, 0, 0, True),
    ],
)
def test_many_files_that_are_gone_are_held_against_the_share_whatever_came_instead(
    written: int, gone: int, percent: float, fine: bool
) -> None:
    found = mirror(
        source=999, source_bytes=999, mirrored=written, written=written, written_bytes=100, stale=gone + 1, gone=gone
    )
    failure = check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None)
    assert (failure is None) == fine
    if failure:
        message = refused(failure, transfer.REASON_SOURCE_SHRUNK)
        for number in (999, written, gone, f"{percent:g} % is allowed", "spec.guards.maxDeletePercent"):
            assert str(number) in message


@pytest.mark.parametrize(
    ("what", "written", "gone", "shrunk", "now", "percent", "fine"),
    [
        ("most of the files are gone, and most of the bytes", 4, 3, 0, 25, 50, False),
        ("the same, allowed", 4, 3, 0, 25, 75, True),
        ("a database that was shut down lost its journals", 3, 2, 0, 70, 50, True),
        ("the one large file is gone, the small one is there", 2, 1, 0, 1, 50, True),
        ("a dump replaced by that of today", 1, 1, 0, 98, 50, True),
        ("a dump replaced by next to nothing", 1, 1, 0, 2, 50, False),
        ("an application that began again: all files are there, and small", 20, 0, 20, 1, 50, False),
        ("all files were emptied", 10, 0, 10, 0, 50, False),
        ("logs were rotated: the contents have other names now", 4, 0, 4, 110, 50, True),
        ("neither alone is too much", 8, 2, 4, 30, 50, False),
    ],
)
def test_files_that_are_gone_or_shrunk_count_where_the_whole_has_shrunk_as_well(
    what: str, written: int, gone: int, shrunk: int, now: int, percent: float, fine: bool
) -> None:
    found = mirror(
        source=5,
        source_bytes=now,
        mirrored=written,
        written=written,
        written_bytes=100,
        stale=gone,
        gone=gone,
        shrunk=shrunk,
    )
    failure = check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None)
    assert (failure is None) == fine, what
    if failure:
        message = refused(failure, transfer.REASON_SOURCE_SHRUNK)
        for number in (written, gone + shrunk, f"{100 - now} %", f"{percent:g} % is allowed"):
            assert str(number) in message


@pytest.mark.parametrize(
    ("what", "facts", "percent", "fine"),
    [
        ("nine files replaced by one larger", {"written": 9, "gone": 9, "gone_bytes": 100}, 50, False),
        ("the same, allowed", {"written": 9, "gone": 9, "gone_bytes": 100}, 100, True),
        ("one disk replaced by another one", {"written": 1, "gone": 1, "gone_bytes": 100}, 50, False),
        (
            "a dump followed by that of today",
            {"written": 1, "gone": 1, "gone_bytes": 100, "followed": 1, "followed_bytes": 100},
            50,
            True,
        ),
        (
            "seven dumps, of which one is followed",
            {"written": 7, "gone": 7, "gone_bytes": 100, "followed": 1, "followed_bytes": 14},
            50,
            False,
        ),
        (
            "a week of increments, of which the full one is followed",
            {"written": 7, "gone": 7, "gone_bytes": 100, "followed": 1, "followed_bytes": 94},
            50,
            True,
        ),
        ("most files are gone, and few bytes", {"written": 3, "gone": 2, "gone_bytes": 30}, 50, True),
        ("one file with most bytes of two", {"written": 2, "gone": 1, "gone_bytes": 99}, 50, True),
        ("two small files with most bytes", {"written": 9, "gone": 2, "gone_bytes": 90}, 50, True),
        (
            "two disks of nine files",
            {"written": 9, "gone": 2, "gone_bytes": 90 << 20, "written_bytes": 100 << 20},
            50,
            False,
        ),
        (
            "two disks of a thousand files",
            {"written": 1000, "gone": 2, "gone_bytes": 90 << 20, "written_bytes": 100 << 20},
            50,
            False,
        ),
        (
            "two disks with few bytes",
            {"written": 9, "gone": 2, "gone_bytes": 40 << 20, "written_bytes": 100 << 20},
            50,
            True,
        ),
        (
            "none may go, and one is followed",
            {"written": 2, "gone": 1, "gone_bytes": 9, "followed": 1, "followed_bytes": 9},
            0,
            False,
        ),
    ],
)
def test_few_files_are_held_against_the_share_with_their_bytes(
    what: str, facts: dict[str, int], percent: float, fine: bool
) -> None:
    found = mirror(
        **{
            "source": 5,
            "source_bytes": 1 << 40,
            "mirrored": facts["written"],
            "written_bytes": 100,
            "stale": facts["gone"],
            **facts,
        }
    )
    failure = check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None)
    assert (failure is None) == fine, what
    if failure:
        message = refused(failure, transfer.REASON_SOURCE_SHRUNK)
        for number in (
            facts["written"],
            facts["gone"] - (facts.get("followed", 0) if percent else 0),
            f"{percent:g} % is allowed",
        ):
            assert str(number) in message


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000), st.integers(0, 99))
def test_a_small_mirror_never_loses_more_than_the_share_of_both(
    written: int, gone: int, gone_bytes: int, percent: int
) -> None:
    gone = min(gone, written)
    found = mirror(
        source=99,
        source_bytes=1 << 40,
        mirrored=written,
        written=written,
        written_bytes=1000,
        stale=gone,
        gone=gone,
        gone_bytes=gone_bytes,
    )
    if check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None) is None:
        assert gone * 100 <= percent * written or gone_bytes * 100 <= percent * 1000


def test_a_share_is_never_shown_as_one_that_is_allowed() -> None:
    found = mirror(source=9999, mirrored=20_000, written=20_000, stale=10_001, gone=10_001)
    failure = check_source_size(found, allow_empty=False, max_delete_percent=50, max_delete=None)
    assert "50.1 %" in refused(failure, transfer.REASON_SOURCE_SHRUNK)


@pytest.mark.parametrize(("source", "fine"), [(3, True), (2, False)])
def test_what_is_being_adopted_may_go_but_not_for_a_source_that_is_smaller(source: int, fine: bool) -> None:
    found = mirror(owner=None, source=source, mirrored=3, stale=3)
    failure = check_source_size(found, allow_empty=False, max_delete_percent=50, max_delete=None)
    assert (failure is None) == fine
    if failure:
        assert "to be adopted" in refused(failure, transfer.REASON_SOURCE_SHRUNK)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0, 99))
def test_ten_objects_never_go_beyond_the_share(
    source: int, written: int, gone: int, shrunk: int, percent: float
) -> None:
    gone = min(gone, written)
    shrunk = min(shrunk, written - gone)
    found = mirror(
        source=source,
        source_bytes=1000,
        mirrored=written,
        written=written,
        written_bytes=1000,
        stale=gone,
        gone=gone,
        shrunk=shrunk,
    )
    if check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None) is None:
        assert gone < 10 or gone <= written * percent / 100 + 1e-9


def test_a_marker_without_a_volumes_name_is_nobodys() -> None:
    nobody = mirror(owner=Owner())
    message = refused(check_owner(nobody, owner=OURS, adopt=False), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "names no volume" in message
    assert check_owner(nobody, owner=OURS, adopt=True) is None


def test_the_engines_own_limit_on_deletions_is_kept() -> None:
    found = mirror(source=20, mirrored=20, stale=5)
    refused(
        check_source_size(found, allow_empty=False, max_delete_percent=50, max_delete=4), transfer.REASON_SOURCE_SHRUNK
    )
    assert check_source_size(found, allow_empty=False, max_delete_percent=50, max_delete=5) is None
    assert check_source_size(found, allow_empty=False, max_delete_percent=50, max_delete=-1) is None


def test_names_that_cannot_be_kept_are_a_fault_of_the_source() -> None:
    long = check_source_names(too_long=("x" * 2000,), too_long_count=3, collisions=())
    assert long is not None
    assert (long.failure_class, long.reason) == (transfer.SOURCE_UNREADABLE, transfer.REASON_NAME_TOO_LONG)
    assert len(long.message) < 600
    like_link = check_source_names(
        too_long=(), too_long_count=0, collisions=(), link_like=("x.rclonelink",), link_like_count=1
    )
    assert like_link is not None
    assert like_link.reason == transfer.REASON_NAME_REFUSED
    assert "'x.rclonelink'" in like_link.message
    double = check_source_names(too_long=(), too_long_count=0, collisions=("x.rclonelink",))
    assert double is not None
    assert double.reason == transfer.REASON_NAME_COLLISION
    assert check_source_names(too_long=(), too_long_count=0, collisions=()) is None


def test_our_own_folder_in_the_source_and_another_run_at_once_are_refused() -> None:
    refused(check_reserved(True), transfer.REASON_RESERVED_NAME)
    assert check_reserved(False) is None
    busy = check_busy(("run-2",), PLACE)
    refused(busy, transfer.REASON_DESTINATION_BUSY)
    assert busy is not None
    assert busy.retryable
    assert check_busy((), PLACE) is None
