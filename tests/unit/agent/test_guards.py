"""Guards: refusals with the finding and the ways out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.environment import Owner
from datamover.agent.errors import Failure
from datamover.agent.guards import (
    Mirror,
    check_busy,
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
    ("source", "mirrored", "stale", "percent", "fine"),
    [
        (5, 10, 5, 50, True),
        (4, 10, 6, 50, False),
        (4, 10, 6, 60, True),
        (10, 10, 10, 50, True),
        (12, 10, 10, 0, True),
        (9, 10, 1, 0, False),
        (1, 3, 2, 50, False),
    ],
)
def test_a_source_that_shrank_is_held_against_the_share(
    source: int, mirrored: int, stale: int, percent: float, fine: bool
) -> None:
    found = mirror(source=source, mirrored=mirrored, stale=stale)
    failure = check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None)
    assert (failure is None) == fine
    if failure:
        message = refused(failure, transfer.REASON_SOURCE_SHRUNK)
        for number in (source, mirrored, stale):
            assert str(number) in message


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0, 99))
def test_a_mirror_is_never_emptied_by_what_is_let_through(
    source: int, mirrored: int, stale: int, percent: float
) -> None:
    stale = min(stale, mirrored)
    found = mirror(source=source, mirrored=mirrored, stale=stale)
    if check_source_size(found, allow_empty=False, max_delete_percent=percent, max_delete=None) is None:
        assert stale < mirrored or source >= mirrored


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
