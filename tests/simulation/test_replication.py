"""ReplicationSources and -Destinations live through what DataMovers live through. DATAMOVER_SEED=n repeats one history, DATAMOVER_SEEDS=n tries many."""

import random
from functools import cache

import pytest

from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.words.batch import JOBS
from support.simulation.faults import Lagging, Storm
from support.simulation.replication_stories import invent, tell
from support.simulation.replications import (
    check_rest,
    furnish,
    give_destination,
    give_source,
    replicate,
    status_of,
)
from support.simulation.seeds import seeds, thorough
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


def live(turn: int | None = None) -> int:
    """Synchronise a source and a destination once; return how many rounds of the loop it took. The operator is killed in the round `turn`, and followed."""
    turns: list[int] = []

    def done(world: World) -> bool:
        said = (status_of(world, REPLICATION_SOURCES, "up"), status_of(world, REPLICATION_DESTINATIONS, "down"))
        return all(each.get("lastManualSync") == "end" for each in said)

    async def story(world: World) -> None:
        furnish(world)
        first = world.start_operator()
        give_source(world, "up", "restic", "Snapshot", trigger={"manual": "end"})
        give_destination(world, "down", "rsync", "Snapshot", trigger={"manual": "end"})
        if turn is not None:
            world.loop.at_turn(turn, first.kill)
        assert await world.until(lambda: done(world) or not world.living)
        turns.append(world.loop.turns)
        if turn is not None:
            first.kill()
            world.start_operator()
        await world.until_quiet()
        check_rest(world, "end")
        assert [record.succeeded for record in world.ledger.rounds.values()] == [1, 1]
        assert [len(record.begun) for record in world.ledger.rounds.values()] == [1, 1]
        assert len(world.destination.movers) == 2
        assert world.ledger.counts["create", JOBS.group_resource] == 2

    replicate(story, seed="kill")
    return turns[0]


@cache
def calm() -> int:
    return live()


@pytest.mark.parametrize("part", range(4))
def test_an_operator_that_is_killed_at_any_moment_is_followed_by_one_that_does_nothing_twice(part: int) -> None:
    last = calm()
    moments = range(1, last) if thorough() else sorted(random.Random("killed").sample(range(1, last), 8))
    for turn in moments[part::4]:
        live(turn)
