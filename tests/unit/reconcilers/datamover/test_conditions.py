"""Composing a status: what is written, and what is not."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from datamover.api.names import ConditionType, Phase
from datamover.plans.conditions import State, merge
from datamover.reconcilers.datamover.status import compose
from datamover.reconcilers.summary import ORDER
from support import builders
from support.builders import CREATED, NOW

LATER = NOW + timedelta(minutes=5)


def composed(mover=None, *, now=NOW, state=State.WORKING, reason="CreatingClone", message="copying", **fields):
    return compose(mover or builders.data_mover(), now=now, state=state, reason=reason, message=message, **fields)


def having(status):
    return builders.data_mover(status=status)


def test_nothing_is_written_when_nothing_changes() -> None:
    status = composed()
    assert composed(having(status), now=LATER) is None


def test_a_changed_message_alone_is_a_change_and_keeps_the_transition_times() -> None:
    status = composed()
    again = composed(having(status), now=LATER, message="still copying")
    assert again.message == "still copying"
    assert {condition.last_transition_time for condition in again.conditions} == {CREATED}


def test_only_what_turned_gets_a_new_transition_time() -> None:
    again = composed(having(composed()), now=LATER, state=State.BLOCKED, reason="SourceNotFound", message="no source")
    turned = {c.type for c in again.conditions if c.last_transition_time == "2024-08-06T14:35:52Z"}
    assert turned == {"Reconciling", "Stalled"}


def test_a_new_generation_is_observed_everywhere() -> None:
    mover = builders.data_mover(generation=2, status=composed())
    again = composed(mover, now=LATER)
    assert again.observed_generation == 2
    assert {condition.observed_generation for condition in again.conditions} == {2}


SUMMARIES = {
    State.WORKING: {
        "Ready": "False",
        "Reconciling": "True",
        "Stalled": "False",
        "Complete": "False",
        "Failed": "False",
    },
    State.BLOCKED: {
        "Ready": "False",
        "Reconciling": "False",
        "Stalled": "True",
        "Complete": "False",
        "Failed": "False",
    },
    State.SUSPENDED: {
        "Ready": "False",
        "Reconciling": "False",
        "Stalled": "False",
        "Complete": "False",
        "Failed": "False",
    },
    State.DONE: {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Complete": "True", "Failed": "False"},
    State.FAILED: {"Ready": "False", "Reconciling": "False", "Stalled": "True", "Complete": "False", "Failed": "True"},
}


@pytest.mark.parametrize("state", State)
def test_the_summary_follows_from_the_state(state: State) -> None:
    status = composed(state=state)
    assert {c.type: c.status for c in status.conditions} == SUMMARIES[state]
    assert {c.reason for c in status.conditions} == {"CreatingClone"}


def test_conditions_of_single_steps_stay_until_their_step_speaks_again() -> None:
    status = composed(said={ConditionType.CLONE_READY: ("True", "CloneBound", "it is bound")})
    again = composed(having(status), now=LATER, message="next")
    assert again.condition("CloneReady") == status.condition("CloneReady")


def test_the_phase_begins_when_it_is_entered() -> None:
    status = composed(phase=Phase.CREATING_CLONE)
    assert status.phase_started == CREATED
    assert composed(having(status), now=LATER, message="x").phase_started == CREATED
    assert composed(having(status), now=LATER, phase=Phase.CLONE_READY).phase_started == "2024-08-06T14:35:52Z"


def test_run_and_clone_are_kept_unless_they_are_said() -> None:
    status = composed(run=builders.run(), restored="restored-x")
    again = composed(having(status), message="x")
    assert (again.run, again.restored_pvc_name) == (builders.run(), "restored-x")
    assert composed(having(status), restored="").restored_pvc_name is None


def test_a_condition_of_somebody_else_is_kept_behind_ours() -> None:
    status = composed()
    foreign = replace(status.conditions[0], type="ZzTheirs")
    mixed = merge((foreign, *status.conditions), {"Ready": ("True", "r", "m")}, order=ORDER, now=NOW, generation=1)
    assert mixed[-1] == foreign
    assert [c.type for c in mixed[:3]] == ["Ready", "Reconciling", "Stalled"]


@given(st.text(max_size=3000))
def test_messages_are_at_most_1024_letters(text: str) -> None:
    status = composed(message=text, said={"CloneReady": ("False", "r", text)})
    assert len(status.message) <= 1024
    assert all(len(condition.message) <= 1024 for condition in status.conditions)
    for said in (status.message, *(condition.message for condition in status.conditions)):
        assert "\x1b" not in said
        assert "\n" not in said


def test_what_a_message_quotes_cannot_move_a_cursor_or_turn_the_line() -> None:
    status = composed(
        message="no such image: \x1b[2Jall is well\u202e", said={"CloneReady": ("False", "r", "a\nb\x07")}
    )
    assert status.message == "no such image: \\x1b[2Jall is well\\u202e"
    assert status.condition("CloneReady").message == "a b\\x07"
