"""Going on with an interrupted run, or beginning anew."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from datamover.api.names import CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus, Run
from datamover.cli.durations import parse_duration, tell_duration
from datamover.cli.resuming import Begin, Decision, GoOn, Kept, copied_at, decide
from support.builders import data_mover

NOW = datetime(2026, 1, 31, 14, 0, tzinfo=UTC)
LIMIT = timedelta(hours=12)


def mover(
    phase: str | None, *, started: str | None = "2026-01-31T02:00:00Z", method: str = CopyMethod.CLONE
) -> DataMover:
    run = Run(id="r", timestamp="2026-01-31-020000", started=started, copy_method=method) if started else None
    return data_mover(status=DataMoverStatus(phase=phase, run=run))


def decided(before: DataMover | None, now: DataMover | None) -> Decision:
    return decide(Kept(before=before, now=now), now=NOW, max_copy_age=LIMIT)


@pytest.mark.parametrize("phase", sorted(Phase.TERMINAL))
def test_what_was_over_begins_anew(phase: str) -> None:
    assert decided(mover(phase), mover(phase)) == Begin()


def test_what_comes_to_its_end_while_this_world_starts_is_the_run_that_was_asked_for() -> None:
    found = decided(mover(Phase.CLEANING_UP), mover(Phase.COMPLETED))
    assert isinstance(found, GoOn)


def test_what_fails_while_this_world_starts_begins_anew() -> None:
    assert decided(mover(Phase.CREATING_POD), mover(Phase.FAILED)) == Begin()


def test_what_is_new_or_has_no_copy_says_nothing() -> None:
    assert decided(None, None) == GoOn()
    assert decided(None, mover(Phase.COMPLETED)) == GoOn()
    assert decided(mover(None, started=None), mover(None, started=None)) == GoOn()
    direct = mover(Phase.CREATING_POD, method=CopyMethod.DIRECT, started="2025-01-01T00:00:00Z")
    assert decided(direct, direct) == GoOn()


@pytest.mark.parametrize("started", ["2026-01-31T02:00:00Z", "2026-01-31T13:59:59Z", "2026-02-01T00:00:00Z"])
def test_a_copy_that_is_young_enough_is_gone_on_with_and_its_moment_is_told(started: str) -> None:
    kept = mover(Phase.CREATING_POD, started=started)
    found = decided(kept, kept)
    assert isinstance(found, GoOn)
    assert found.words is not None
    assert started.replace("T", " ") in found.words


def test_yesterdays_copy_is_given_up_and_its_moment_is_told() -> None:
    kept = mover(Phase.CREATING_POD, started="2026-01-31T01:59:59Z")
    found = decided(kept, kept)
    assert isinstance(found, Begin)
    assert found.words is not None
    assert "2026-01-31 01:59:59Z, 12h1s ago. That is older than --max-copy-age 12h" in found.words


def test_a_moment_that_cannot_be_read_is_none() -> None:
    assert copied_at(mover(Phase.CREATING_POD, started="yesterday")) is None


@pytest.mark.parametrize(
    ("text", "seconds", "told"),
    [
        ("0", 0, "0s"),
        ("90", 90, "1m30s"),
        ("12h", 43_200, "12h"),
        ("1d12h", 129_600, "1d12h"),
        ("1.5h", 5_400, "1h30m"),
        ("90061s", 90_061, "1d1h"),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: int, told: str) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert tell_duration(parse_duration(text)) == told


@pytest.mark.parametrize("text", ["", "h", "12 h", "-1", "1y", "nan", "1e9", "1h30", "٣h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) or "^$"):
        parse_duration(text)
