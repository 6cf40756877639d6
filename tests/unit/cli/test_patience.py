"""When `datamover run` stops waiting: what a person must bring is given up soon, work never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api import reasons
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.waits import WAITS, EndedBy
from datamover.cli.patience import PERSON_PATIENCE, Patience, held_by
from datamover.cli.runnables import Name
from kubekit.runtime.store import Key
from support.builders import data_mover, status

LIMIT = 100.0
HERE = {reasons.COPY_TRIGGER_WAITING}
"""What somebody else's script would end on a cluster, and nobody can while the command runs."""
ONE, TWO = (Name("DataMover", Key("default", name)) for name in ("one", "two"))


def waiting(reason: str, phase: str = "") -> DataMover:
    return data_mover(status=status(phase, reason=reason, conditions={"Stalled": "True", "Reconciling": "False"}))


def working(phase: str = Phase.CREATING_POD) -> DataMover:
    return data_mover(status=status(phase, reason=reasons.SYNCHRONIZING))


def ended(phase: str = Phase.COMPLETED) -> DataMover:
    return data_mover(status=status(phase, reason=phase))


def suspended() -> DataMover:
    return data_mover(status=status("", reason=reasons.SUSPENDED, conditions={"Reconciling": "False"}))


def given_up_after(mover: DataMover) -> float | None:
    """Return after how many seconds nobody waits any more for a DataMover that stays as it is; None when that never happens."""
    patience = Patience(limit=LIMIT)
    moments = (0.0, 4.9, PERSON_PATIENCE, LIMIT - 0.1, LIMIT, 10_000.0)
    return next((now for now in moments if patience.is_over({ONE: mover}, now=now)), None)


@pytest.mark.parametrize("reason", WAITS)
def test_each_wait_is_given_up_by_who_can_end_it(reason: str) -> None:
    expected = {EndedBy.PERSON: PERSON_PATIENCE, EndedBy.EITHER: LIMIT, EndedBy.TIME: None}
    assert given_up_after(waiting(reason)) == expected[WAITS[reason].ended_by if reason not in HERE else EndedBy.PERSON]


def test_a_clean_up_that_takes_longer_than_half_a_minute_is_waited_for() -> None:
    patience = Patience()
    slow = {ONE: waiting(reasons.CLEANUP_WAITING, Phase.CLEANING_UP)}
    assert not any(patience.is_over(slow, now=now) for now in (30.0, 35.0, 65.0, 300.0))
    assert patience.is_over({ONE: ended()}, now=301.0)


def test_nobody_is_there_to_end_a_suspension() -> None:
    assert given_up_after(suspended()) == PERSON_PATIENCE


def test_what_ended_is_over_at_once() -> None:
    assert [given_up_after(ended(phase)) for phase in sorted(Phase.TERMINAL)] == [0, 0]


@pytest.mark.parametrize("mover", [working(), data_mover(), None])
def test_what_works_or_was_not_seen_yet_is_waited_for(mover: DataMover | None) -> None:
    patience = Patience(limit=LIMIT)
    assert not any(patience.is_over({ONE: mover}, now=now) for now in (0.0, 1e9))


def test_for_ever_is_for_ever() -> None:
    patience = Patience(limit=float("inf"))
    stuck = {ONE: waiting(reasons.MOVER_UNSCHEDULABLE)}
    assert not any(patience.is_over(stuck, now=now) for now in (0.0, 1e12))


def test_one_that_waits_for_another_has_its_time_when_that_one_has_ended() -> None:
    """Two movers of which the node takes one: the second gets its place when the first ends, hours later."""
    patience = Patience(limit=LIMIT)
    second = waiting(reasons.MOVER_UNSCHEDULABLE, Phase.CREATING_POD)
    assert not any(patience.is_over({ONE: working(), TWO: second}, now=now) for now in (0.0, 10.0, 9_000.0))
    assert not patience.is_over({ONE: ended(), TWO: second}, now=9_000.2)
    assert not patience.is_over({ONE: ended(), TWO: second}, now=9_099.0)
    assert patience.is_over({ONE: ended(), TWO: second}, now=9_100.1)


def test_what_turns_out_to_need_a_person_gets_a_persons_time_from_then_on() -> None:
    patience = Patience(limit=LIMIT)
    assert not patience.is_over({ONE: waiting(reasons.SOURCE_NOT_BOUND)}, now=0)
    assert not patience.is_over({ONE: waiting(reasons.SECRET_NOT_FOUND)}, now=50)
    assert not patience.is_over({ONE: waiting(reasons.SECRET_KEY_MISSING)}, now=54)
    assert patience.is_over({ONE: waiting(reasons.SECRET_KEY_MISSING)}, now=55)


def test_a_run_that_is_over_is_held_by_nothing() -> None:
    assert held_by(data_mover(status=status(Phase.FAILED, reason="X", conditions={"Stalled": "True"}))) is None
    assert held_by(data_mover()) is None
    assert held_by(working()) is None


STATES = st.sampled_from(
    [
        *(waiting(reason) for reason in (reasons.SECRET_NOT_FOUND, reasons.MOVER_UNSCHEDULABLE, reasons.NO_PROGRESS)),
        working(),
        ended(),
        ended(Phase.FAILED),
        suspended(),
        None,
    ]
)


@given(st.lists(st.tuples(st.floats(0, 50), STATES, STATES), max_size=30))
def test_nothing_that_works_is_ever_given_up(steps: list[tuple[float, DataMover | None, DataMover | None]]) -> None:
    patience, now = Patience(limit=LIMIT), 0.0
    for passed, one, two in steps:
        now += passed
        over = patience.is_over({ONE: one, TWO: two}, now=now)
        left = [mover for mover in (one, two) if mover is None or mover.status.phase not in Phase.TERMINAL]
        works = any(mover is None or held_by(mover) in {None, reasons.NO_PROGRESS} for mover in left)
        assert not (over and works)
        assert over or left, "and what has ended is not waited for"
