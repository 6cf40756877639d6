"""Claims on timestamp folders, in a simulated store under every interleaving that hypothesis comes up with."""

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamover.agent.errors import Failure
from datamover.agent.rclone.claims import LOOK, PAUSE, PUT, SECONDS, WITHDRAW, Action, Seen, claiming, find_held
from datamover.api import transfer

if TYPE_CHECKING:
    from collections.abc import Generator

STAMP = "2024-08-06-143052"


class Store:
    """Claims and folders, strongly consistent."""

    def __init__(self) -> None:
        self.claims: dict[str, set[str]] = {}
        self.full: set[str] = set()

    def do(self, action: Action, run_id: str) -> Seen:
        claimants = self.claims.setdefault(action.folder, set())
        if action.kind == PUT:
            claimants.add(run_id)
        elif action.kind == WITHDRAW:
            claimants.discard(run_id)
        elif action.kind == LOOK:
            return Seen(claimants=frozenset(claimants), occupied=action.folder in self.full)
        else:
            assert action.kind == PAUSE
        return Seen()


class Claimant:
    """One run, one step at a time. A crash between claim and record starts the same run again."""

    def __init__(self, run_id: str, store: Store) -> None:
        self.run_id = run_id
        self.held: str | None = None
        self._store = store
        self._steps: Generator[Action, Seen, str] = claiming(STAMP, run_id=run_id)
        self._next = next(self._steps)

    def step(self) -> None:
        if self.held is None:
            try:
                self._next = self._steps.send(self._store.do(self._next, self.run_id))
            except StopIteration as end:
                self.held = str(end.value)

    def crash(self) -> None:
        if self.held is None:
            self._steps = claiming(STAMP, run_id=self.run_id)
            self._next = next(self._steps)


@settings(max_examples=400, deadline=None)
@given(
    count=st.integers(2, 5),
    schedule=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 19)), max_size=150),
    full=st.sets(st.sampled_from([STAMP, "2024-08-06-143053"])),
)
def test_no_interleaving_and_no_crash_gives_one_folder_to_two_runs(
    count: int, schedule: list[tuple[int, int]], full: set[str]
) -> None:
    store = Store()
    store.full |= full
    runs = [Claimant(f"run-{number}", store) for number in range(count)]
    for number, fate in schedule:
        run = runs[number % count]
        if fate == 0:
            run.crash()
        else:
            run.step()
        held = [other.held for other in runs if other.held]
        assert len(held) == len(set(held))
        assert not set(held) & full
    for _ in range(3000):  # and in the end everybody has one
        for run in runs:
            run.step()
        if all(run.held for run in runs):
            break
    held = [run.held for run in runs]
    assert None not in held
    assert len(set(held)) == count


def test_a_run_alone_gets_its_own_second_in_two_requests() -> None:
    store = Store()
    run = Claimant("run-1", store)
    run.step()
    run.step()
    assert run.held == STAMP


def test_the_next_second_may_be_in_the_next_year() -> None:
    steps = claiming("2024-12-31-235959", run_id="b")
    next(steps)
    steps.send(Seen())
    assert steps.send(Seen(claimants=frozenset({"a", "b"}))) == Action(WITHDRAW, "2024-12-31-235959")
    assert steps.send(Seen()) == Action(PUT, "2025-01-01-000000")


def test_when_every_second_is_taken_it_says_so_and_may_be_tried_again() -> None:
    tried: list[str] = []

    def lose_all() -> None:
        steps = claiming(STAMP, run_id="b")
        action = next(steps)
        while True:
            tried.extend([action.folder] * (action.kind == PUT))
            action = steps.send(Seen(claimants=frozenset({"a", "b"}), occupied=True))

    with pytest.raises(Failure) as caught:
        lose_all()
    assert len(tried) == len(set(tried)) == SECONDS
    assert caught.value.retryable


def test_a_claim_that_the_store_does_not_keep_is_told_at_once() -> None:
    steps = claiming(STAMP, run_id="run-1")
    assert next(steps).kind == PUT
    assert steps.send(Seen()).kind == LOOK
    with pytest.raises(Failure) as failed:
        steps.send(Seen(claimants=frozenset(("run-2",))))
    assert (failed.value.reason, failed.value.retryable) == (transfer.REASON_RECORD_LOST, True)


@pytest.mark.parametrize(
    ("claimed", "held"),
    [
        ([], ""),
        (["2024-08-06-143052", "2024-08-06-143052/mine.json", "2024-08-06-143053/other.json"], "2024-08-06-143052"),
        (["2024-08-06-143052/mine.json", "2024-08-06-143052/other.json"], ""),
        (["2024-08-06-143052/mine.json", "2024-08-06-143053/mine.json"], ""),
        (["2024-08-06-143052/other.json"], ""),
        (["../mine.json"], ""),
    ],
)
def test_a_run_that_has_begun_holds_the_one_folder_that_it_alone_claims(claimed: list[str], held: str) -> None:
    assert find_held(claimed, run_id="mine") == held
