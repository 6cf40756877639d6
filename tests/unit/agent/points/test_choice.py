"""From a word to one point or one error."""

from datetime import UTC, datetime

import pytest

from datamover.agent.environment import Owner
from datamover.agent.errors import Failure
from datamover.agent.points import catalogue
from datamover.agent.points.catalogue import Point
from datamover.agent.points.choice import choose, demand_usable, read_word
from datamover.api import transfer

NOW = datetime(2024, 8, 10, 12, 0, 0, tzinfo=UTC)
OURS, THEIRS = Owner(namespace="production", pvc="app-data"), Owner(namespace="production", pvc="other")


def point(day: int, state: str = catalogue.COMPLETE, source: Owner | None = OURS, run_id: str = "") -> Point:
    stamp = f"2024-08-{day:02d}-100000"
    return Point(
        run_id=run_id or f"run-{day}",
        state=state,
        kind=catalogue.TIMESTAMPED,
        why="why",
        folder=stamp,
        moment=stamp,
        source=source,
    )


DAYS = [point(1), point(3), point(5, catalogue.INCOMPLETE), point(7, catalogue.DISTURBED)]


def chosen(word: str, points: list[Point] = DAYS, **how) -> str:
    return choose(points, read_word(word, now=NOW), **how).run_id


def refused(word: str, points: list[Point] = DAYS, **how) -> Failure:
    with pytest.raises(Failure) as caught:
        chosen(word, points, **how)
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize(
    ("word", "run_id"),
    [
        ("latest", "run-3"),
        ("2024-08-01-100000", "run-1"),
        ("run-1", "run-1"),
        ("run-7", "run-7"),
        ("as-of:2024-08-02", "run-1"),
        ("as-of:2024-08-01", "run-1"),
        ("as-of:2024-08-03T10:00:00Z", "run-3"),
        ("as-of:2024-08-03T09:59:59Z", "run-1"),
        ("as-of:2024-08-03T11:00:00+02:00", "run-1"),
        ("as-of:2024-08-03-100000", "run-3"),
        ("as-of:1h", "run-3"),
        ("as-of:8d", "run-1"),
    ],
)
def test_each_word_means_one_point(word: str, run_id: str) -> None:
    assert chosen(word) == run_id


def test_a_disturbed_one_is_taken_when_it_is_wanted() -> None:
    assert chosen("latest", disturbed=True) == "run-7"


@pytest.mark.parametrize(
    "word",
    [
        "",
        "as-of:",
        "as-of:never",
        "as-of:2024-08-03T10:00:00",
        "as-of:9999999y",
        "..",
        "a/b",
        "\x1b[2J",
        "as-of:2024-13-01",
    ],
)
def test_what_is_no_word_is_refused_with_what_to_write(word: str) -> None:
    found = refused(word)
    assert found.reason == transfer.REASON_INVALID_CONFIGURATION
    assert "write" in found.message


def test_what_is_not_there_is_said() -> None:
    assert refused("2023-01-01-000000").reason == transfer.REASON_POINT_NOT_FOUND
    found = refused("as-of:2023-01-01")
    assert found.reason == transfer.REASON_POINT_NOT_FOUND
    assert "the oldest is 2024-08-01-100000" in found.message
    assert "no backup" in refused("latest", []).message


@pytest.mark.parametrize(
    "state", [catalogue.SUPERSEDED, catalogue.INCOMPLETE, catalogue.DAMAGED, catalogue.NEWER_FORMAT]
)
def test_what_cannot_be_had_says_its_state_and_why(state: str) -> None:
    found = refused("run-1", [point(1, state)])
    assert found.reason == transfer.REASON_POINT_UNUSABLE
    assert f"is {state}: why" in found.message
    assert refused("latest", [point(1, state)]).failure_class == transfer.NOT_FOUND
    with pytest.raises(Failure):
        demand_usable(point(1, state))


def test_a_disturbed_mirror_says_how_to_have_it_all_the_same() -> None:
    assert "--disturbed" in refused("latest", [point(1, catalogue.DISTURBED)]).message


def test_points_of_several_volumes_ask_for_the_source() -> None:
    both = [point(1), point(2, source=THEIRS)]
    found = refused("latest", both)
    assert found.reason == transfer.REASON_POINT_AMBIGUOUS
    assert "--source" in found.message
    assert chosen("latest", both, source="production/app-data") == "run-1"
    assert "production/other" in refused("latest", both, source="production/none").message
    assert "production/other" in refused("run-2", both, source="production/app-data").message


def test_one_moment_of_two_runs_is_told_apart_by_the_id() -> None:
    both = [point(1, run_id="x"), point(1, run_id="y")]
    found = refused("2024-08-01-100000", both)
    assert found.reason == transfer.REASON_POINT_AMBIGUOUS
    assert "x, y" in found.message
    assert chosen("y", both) == "y"


def test_what_turned_out_to_be_unusable_is_passed_over() -> None:
    assert chosen("latest", besides={"run-3"}) == "run-1"
