"""Conditions with a heartbeat: what moves which of their times."""

from datetime import UTC, datetime

import pytest

from datamover.api.cdi.conditions import Said, merge
from datamover.api.cdi.data_volume import DataVolumeCondition

BEFORE, NOW = "2026-11-30T01:00:00Z", datetime(2026, 11, 30, 2, tzinfo=UTC)
READY = DataVolumeCondition(
    type="Ready", status="True", reason="Ready", message="", last_transition_time=BEFORE, last_heartbeat_time=BEFORE
)


@pytest.mark.parametrize(
    ("said", "transition", "heartbeat"),
    [
        pytest.param(Said("True", "Ready", ""), BEFORE, BEFORE, id="nothing changes"),
        pytest.param(Said("True", "Ready", "still"), BEFORE, "2026-11-30T02:00:00Z", id="another sentence"),
        pytest.param(Said("False", "NotFound", ""), *["2026-11-30T02:00:00Z"] * 2, id="another status"),
    ],
)
def test_times_move_with_what_they_tell_of(said: Said, transition: str, heartbeat: str) -> None:
    (made,) = merge((READY,), {"Ready": said}, order=("Ready",), now=NOW)
    assert (made.last_transition_time, made.last_heartbeat_time) == (transition, heartbeat)
    assert (made.status, made.reason, made.message) == said


def test_conditions_of_others_stay_behind_ours_and_text_is_clean() -> None:
    other = DataVolumeCondition(type="Blessed", status="True")
    made = merge((other,), {"Ready": Said("False", "X", "a\x1b[31mb")}, order=("Ready", "Bound"), now=NOW)
    assert [each.type for each in made] == ["Ready", "Blessed"]
    assert "\x1b" not in (made[0].message or "")
