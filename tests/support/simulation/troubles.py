"""What befalls the operators of a history, whatever is told: kills, further replicas, and people who interfere."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from support.simulation.hand import Refused
from support.simulation.world import World

Act = Callable[[World, random.Random], None]


class Troubled(Protocol):
    """A tale. Times in seconds from the beginning."""

    @property
    def operators(self) -> Sequence[float]:
        """When further operators start beside the first."""
        ...

    @property
    def kills(self) -> Sequence[float]:
        """When one of them is killed."""
        ...

    @property
    def pause(self) -> float:
        """How long there is no operator after a kill."""
        ...

    @property
    def interference(self) -> Sequence[tuple[float, str]]:
        """When people do what."""
        ...


def try_to(world: World, name: str, act: Act, dice: random.Random) -> None:
    """Let somebody do something; that the server refuses it is noted."""
    try:
        act(world, dice)
    except Refused as refusal:
        world.history.note("user", f"{name}: {refusal}")


def troubles(world: World, tale: Troubled, acts: Mapping[str, Act]) -> list[Coroutine[Any, Any, None]]:
    """Return what runs beside the operators: each ends when its trouble is over. `acts` are what people may do, by name."""

    async def kill(at: float) -> None:
        await asyncio.sleep(at)
        if world.living:
            world.dice(f"kill {at}").choice(world.living).kill()
        await asyncio.sleep(tale.pause)
        if not world.living:
            world.start_operator()

    async def join(at: float) -> None:
        await asyncio.sleep(at)
        world.start_operator()

    async def interfere(at: float, name: str) -> None:
        await asyncio.sleep(at)
        try_to(world, name, acts[name], world.dice(f"{name} {at}"))

    return [
        *(kill(at) for at in tale.kills),
        *(join(at) for at in tale.operators),
        *(interfere(at, name) for at, name in tale.interference),
    ]
