"""Backups of hosted control planes are followed in a bad network, by operators that die or race, while people write into what they remember.

DATAMOVER_SEED=n repeats one history, DATAMOVER_SEEDS=n tries many.
"""

import asyncio

import pytest

from support.simulation.backups import (
    begin_backup,
    end_backup,
    follow,
    furnish,
    invent,
    move,
    say_of_backup,
    state_of,
    tell,
)
from support.simulation.calls import Call
from support.simulation.faults import Calm, Disturbance, Fault, Lagging, Storm
from support.simulation.seeds import seeds
from support.simulation.stories import check_idle
from support.simulation.world import World


@pytest.mark.parametrize("seed", seeds(4))
def test_a_bad_network_and_dying_operators_change_nothing_of_what_is_said_in_the_end(seed: int) -> None:
    tale = invent(f"gentle {seed}")

    async def story(world: World) -> None:
        await tell(world, tale, weather=Storm)
        assert state_of(world) == tale.ending
        await check_idle(world)

    follow(story, seed=f"gentle {seed}")


@pytest.mark.parametrize("seed", seeds(4))
def test_racing_operators_whose_caches_lag_do_not_fight(seed: int) -> None:
    tale = invent(f"race {seed}", race=True)

    async def story(world: World) -> None:
        uid = await tell(world, tale, weather=Lagging)
        assert state_of(world) == tale.ending
        assert world.ledger.told[uid, "Moved"] + world.ledger.told[uid, "Failed"] >= 1
        await check_idle(world)

    follow(story, seed=f"race {seed}")


@pytest.mark.parametrize("seed", seeds(4))
def test_whatever_people_write_into_the_record_it_says_the_truth_in_the_end(seed: int) -> None:
    tale = invent(f"rough {seed}", rough=True)

    async def story(world: World) -> None:
        await tell(world, tale, weather=Storm)
        assert state_of(world) == tale.ending
        await check_idle(world)

    follow(story, seed=f"rough {seed}")


class Late(Calm):
    """The second operator hears of uploads two minutes late."""

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None:
        is_late = call.agent.endswith("/2") and call.resource.startswith("datauploads")
        return Disturbance(lag=(120.0, 120.0)) if is_late else None


@pytest.mark.parametrize("end", ["Failed", "Completed"])
def test_two_operators_of_whom_one_is_behind_write_no_faster_than_people_read(end: str) -> None:
    async def story(world: World) -> None:
        furnish(world)
        world.script = Late()
        world.start_operator()
        world.start_operator()
        await asyncio.sleep(5)
        begin_backup(world)
        move(world, "data-0", "InProgress", 1)
        move(world, "data-1", "InProgress", 1)
        say_of_backup(world, "WaitingForPluginOperations")
        await asyncio.sleep(200)
        move(world, "data-0", end, 100)
        await asyncio.sleep(30)
        move(world, "data-1", "Completed", 100)
        await asyncio.sleep(200)
        end_backup(world, "Completed")
        await world.until_quiet()
        assert state_of(world) == ("MOVED, final" if end == "Completed" else "FAILED, final")
        assert max(map(len, world.ledger.kept.values())) <= 40, "ten at once, and one each five seconds for two minutes"
        assert max(world.ledger.told.values()) <= 3

    follow(story, seed=f"late {end}")
