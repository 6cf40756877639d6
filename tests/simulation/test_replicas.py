"""Several operators: with an election one works and the next takes over; without one they race and harm nothing."""

import asyncio
import random

import pytest

from datamover.api.names import Phase
from support.simulation.endings import check_rest, ending
from support.simulation.lifecycles import CLONE, calm
from support.simulation.seeds import seeds
from support.simulation.stories import check_idle
from support.simulation.world import World, simulate

ELECTED = {"leader_namespace": "kube-system"}


@pytest.mark.parametrize("seed", seeds(6))
def test_when_the_leader_is_killed_another_one_ends_the_run(seed: int) -> None:
    async def story(world: World) -> None:
        world.furnish()
        for _ in range(3):
            world.start_operator(**ELECTED)
        await asyncio.sleep(5)
        world.give_mover(copyMethod=CLONE, addTimestampPrefix=True, deletePvcAfterBackup=True)
        await asyncio.sleep(random.Random(seed).uniform(0, 4))
        (leader,) = [replica for replica in world.living if replica.leads]
        leader.kill()
        await asyncio.sleep(40)
        assert world.phase() == Phase.COMPLETED
        assert sum(replica.leads for replica in world.living) == 1
        check_rest(world)
        assert ending(world) == calm(CLONE).ending

    simulate(story, seed=seed)


def test_racing_operators_do_a_fleet_once() -> None:
    async def story(world: World) -> None:
        world.furnish()
        for _ in range(3):
            world.start_operator()
        for number in range(8):
            world.give_mover(f"backup-{number}", addTimestampPrefix=True, deletePvcAfterBackup=True)
        await world.until_quiet()
        check_rest(world)
        assert {world.phase(f"backup-{number}") for number in range(8)} == {Phase.COMPLETED}
        assert len(world.destination.movers) == 8
        assert len({mover.folder for mover in world.destination.movers}) == 8
        await check_idle(world)

    simulate(story, seed="race")
