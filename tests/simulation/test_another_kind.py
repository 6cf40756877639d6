"""A kind that the project does not have lives through what DataMovers live through: kills, a bad network, two operators."""

import asyncio

import pytest

from datamover.api.names import Phase
from datamover.cli.kinds import KINDS
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS
from support.errand import ERRANDS, ErrandKind
from support.simulation.conduct import NETWORK, SUCCESS, Conduct
from support.simulation.faults import Storm
from support.simulation.seeds import seeds
from support.simulation.trees import look, name_of
from support.simulation.world import DEFINITIONS, SECRET, SOURCE, SPACE, World, simulate

BOTH = (*KINDS, ErrandKind)


def give_errand(world: World, name: str = "errand") -> None:
    spec = {"source": SOURCE, "secret": SECRET}
    created = world.user.create(ERRANDS, {"metadata": {"name": name}, "spec": spec}, SPACE)
    world.ledger.record(created["metadata"]["uid"])


def furnish(world: World) -> None:
    world.furnish()
    world.user.create(DEFINITIONS, ErrandKind.definition)
    world.cluster.owners.append(ERRANDS)


def left_over(world: World) -> list[str]:
    claims = [claim for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS) if name_of(claim) != SOURCE]
    return [name_of(each) for each in (*claims, *world.user.all(JOBS), *world.user.all(PODS))]


def told(world: World) -> tuple[str, str]:
    (errand,) = world.user.all(ERRANDS)
    (condition,) = look(errand, "status", "conditions")
    return condition["status"], condition["reason"]


def test_it_comes_to_its_end_beside_a_datamover_within_the_same_budget() -> None:
    async def story(world: World) -> None:
        furnish(world)
        world.start_operator(kinds=BOTH)
        await asyncio.sleep(0.1)
        give_errand(world)
        await world.until_quiet()
        assert told(world) == ("True", "Completed")
        assert left_over(world) == []
        assert world.ledger.writes <= 12
        assert not [key for key in world.ledger.counts if key[0] == "get"]
        world.give_mover(deletePvcAfterBackup=True)
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED

    simulate(story, seed="errand")


@pytest.mark.parametrize("ends", [(SUCCESS,), (NETWORK, SUCCESS)])
@pytest.mark.parametrize("seed", seeds(5))
def test_a_bad_network_kills_and_a_second_operator_change_nothing_of_the_end(seed: int, ends: tuple) -> None:
    async def story(world: World) -> None:
        dice = world.dice("errand")
        world.script = Storm(world.dice("storm"), world.loop.time, calm_from=60.0)
        furnish(world)
        world.start_operator(kinds=BOTH)
        give_errand(world)
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        world.living[0].kill()
        world.start_operator(kinds=BOTH)
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        world.start_operator(kinds=BOTH)
        await world.until_quiet()
        assert told(world) == ("True", "Completed")
        assert left_over(world) == []
        before = world.ledger.writes
        await asyncio.sleep(900)
        assert world.ledger.writes == before, "idle costs nothing (L9)"

    simulate(story, seed=f"errand {seed}", conduct=Conduct(ends=ends))


def test_what_it_waits_for_is_told_and_heals() -> None:
    async def story(world: World) -> None:
        world.furnish(source=False)
        world.user.create(DEFINITIONS, ErrandKind.definition)
        world.cluster.owners.append(ERRANDS)
        world.start_operator(kinds=BOTH)
        give_errand(world)
        await asyncio.sleep(60)
        assert told(world) == ("False", "SourceNotFound")
        world.give_source()
        await world.until_quiet()
        assert told(world) == ("True", "Completed")

    simulate(story, seed="errand waits")


class Sleeper(ErrandKind):
    """The same kind where its definition may be missing."""

    optional = True


@pytest.mark.parametrize("seed", seeds(3))
def test_a_kind_that_may_be_missing_wakes_in_a_bad_network_and_sleeps_without_a_request(seed: int) -> None:
    async def story(world: World) -> None:
        dice = world.dice("sleeper")
        world.furnish()
        world.cluster.owners.append(ERRANDS)
        world.start_operator(kinds=(*KINDS, Sleeper))
        await asyncio.sleep(120)
        assert not [key for key in world.ledger.counts if "errands" in str(key)], "what is missing is not asked for"
        world.script = Storm(world.dice("storm"), world.loop.time, calm_from=60.0)
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        world.user.create(DEFINITIONS, ErrandKind.definition)
        give_errand(world)
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        world.living[0].kill()
        world.start_operator(kinds=(*KINDS, Sleeper))
        await world.until_quiet()
        assert told(world) == ("True", "Completed")
        assert left_over(world) == []

    simulate(story, seed=f"sleeper {seed}")
