"""Many things go wrong at once. DATAMOVER_SEED=n repeats one history, DATAMOVER_SEEDS=n tries many."""

from dataclasses import replace
from typing import Any

import pytest

from support.simulation.faults import Lagging, Storm
from support.simulation.history import LawBroken
from support.simulation.seeds import seeds
from support.simulation.stories import Tale, Weather, invent, tell
from support.simulation.world import World, simulate


def end_of(seed: int, tale: Tale, weather: Weather | None) -> tuple[World, dict[str, Any]]:
    ends: list[dict[str, Any]] = []

    async def story(world: World) -> None:
        ends.append(await tell(world, tale, weather=weather))

    return simulate(story, seed=seed, conduct=tale.conduct), ends[0]


def compare(seed: int, tale: Tale, weather: Weather) -> None:
    _, usual = end_of(seed, tale, None)
    world, found = end_of(seed, tale, weather)
    if found != usual:
        raise LawBroken(f"L7: another end\nDATAMOVER_SEED={seed}\n{world.history.text()}\n{tale}\n{usual}\n{found}")


@pytest.mark.parametrize("seed", seeds(30))
def test_a_bad_network_and_dying_operators_change_nothing_of_the_end(seed: int) -> None:
    compare(seed, invent(seed, rough=False), Storm)


@pytest.mark.parametrize("seed", seeds(20))
def test_racing_operators_whose_caches_lag_change_nothing_of_the_end(seed: int) -> None:
    tale = invent(seed, rough=False)
    compare(seed, replace(tale, operators=[0.1, 2.0], specs=tale.specs[:1]), Lagging)


@pytest.mark.parametrize("seed", seeds(60))
def test_whatever_people_do_meanwhile_no_law_is_broken(seed: int) -> None:
    end_of(seed, invent(seed, rough=True), Storm)


@pytest.mark.parametrize("rough", [False, True])
def test_a_seed_tells_the_same_history_each_time(rough: bool) -> None:
    tale = invent("again 2", rough=rough)
    once, again = (end_of(7, tale, Storm)[0].history.text() for _ in range(2))
    assert len(once.splitlines()) > 100
    assert once == again
