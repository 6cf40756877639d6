"""One DataMover from its creation to its end: the history that single faults and kills are thrown at."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from datamover.api.names import Phase
from support.simulation.endings import check_rest, check_telling, ending
from support.simulation.faults import Calm, Script
from support.simulation.world import World, simulate

SEED = 1
CLONE = "Clone"
SNAPSHOT = "Snapshot"
DIRECT = "Direct"

Meddle = Callable[[World], None]
"""Called when everything is in place, before time begins."""


@dataclass(frozen=True)
class Lived:
    """A lifecycle that is over. `calls` and `turns` are how many requests and rounds of the loop the lifecycle itself took."""

    world: World
    ending: dict[str, Any]
    calls: int
    turns: int


def live(method: str, script: Script | None = None, *, meddle: Meddle | None = None, pause: float = 0.0) -> Lived:
    """Live one lifecycle with clean-up. An operator that is killed is followed by another after `pause` seconds."""
    found: list[Lived] = []

    async def story(world: World) -> None:
        world.script = script or Calm()
        world.furnish()
        completed = world.entering(Phase.COMPLETED)
        world.start_operator()
        world.give_mover(copyMethod=method, addTimestampPrefix=True, deletePvcAfterBackup=method != DIRECT)
        if meddle is not None:
            meddle(world)
        ends = [asyncio.create_task(end.wait()) for end in (completed, world.replicas[0].over)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        calls, turns = world.calls, world.loop.turns
        await asyncio.sleep(pause)
        while not world.living:
            world.start_operator()
            await world.until_quiet()
        await world.until_quiet()
        check_rest(world)
        if len(world.living) == len(world.replicas):
            check_telling(world)
        found.append(Lived(world, ending(world), calls, turns))

    simulate(story, seed=SEED)
    return found[0]


@lru_cache(maxsize=8)
def calm(method: str) -> Lived:
    """Return the lifecycle that nothing disturbs."""
    return live(method)
