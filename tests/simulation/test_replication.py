"""ReplicationSources and -Destinations live through what DataMovers live through. DATAMOVER_SEED=n repeats one history, DATAMOVER_SEEDS=n tries many."""

import pytest

from support.simulation.faults import Lagging, Storm
from support.simulation.replication_stories import invent, tell
from support.simulation.replications import replicate
from support.simulation.seeds import seeds
from support.simulation.world import World


@pytest.mark.parametrize("seed", seeds(3))
def test_a_bad_network_and_dying_operators_keep_no_object_from_its_synchronisation(seed: int) -> None:
    tale = invent(seed, rough=False)

    async def story(world: World) -> None:
        await tell(world, tale, weather=Storm)

    replicate(story, seed=seed, conduct=tale.conduct)


@pytest.mark.parametrize("seed", seeds(2))
def test_racing_operators_whose_caches_lag_do_each_synchronisation_once(seed: int) -> None:
    tale = invent(f"race {seed}", rough=False)
    tale.operators = [0.1, 2.0]

    async def story(world: World) -> None:
        await tell(world, tale, weather=Lagging)

    replicate(story, seed=seed, conduct=tale.conduct)


@pytest.mark.parametrize("seed", seeds(5))
def test_whatever_people_do_meanwhile_no_law_is_broken(seed: int) -> None:
    tale = invent(seed, rough=True)

    async def story(world: World) -> None:
        await tell(world, tale, weather=Storm)

    replicate(story, seed=seed, conduct=tale.conduct)
