"""DataVolumes are collected beside a CDI that repairs whose a claim is from a cache that is late by any number of events; no disk is ever lost.

DATAMOVER_SEED=n repeats one history, DATAMOVER_SEEDS=n tries many.
"""

import random
from functools import cache

import pytest

from support.simulation.cdi import Cdi
from support.simulation.collection_moments import (
    MOMENTS,
    Story,
    own_by_the_dead,
    return_late,
    return_late_and_delete,
    share_with_the_dead,
)
from support.simulation.collection_stories import invent, tell
from support.simulation.data_volumes import (
    ADOPTED,
    ORIGINS,
    Manner,
    check_rest,
    claim_of,
    collect,
    furnish,
    give_volume,
    volume_of,
)
from support.simulation.faults import Lagging, Storm
from support.simulation.seeds import seeds, thorough
from support.simulation.stories import check_idle
from support.simulation.trees import uid_of
from support.simulation.world import World


@pytest.mark.parametrize("seed", seeds(4))
def test_a_bad_network_and_dying_operators_keep_no_volume_from_its_collection(seed: int) -> None:
    tale = invent(f"gentle {seed}", rough=False)

    async def story(world: World, part: Cdi) -> None:
        await tell(world, part, tale, weather=Storm)

    collect(story, seed=f"gentle {seed}", manner=tale.manner, conduct=tale.conduct)


@pytest.mark.parametrize("seed", seeds(3))
def test_racing_operators_whose_caches_lag_hand_each_claim_over_once(seed: int) -> None:
    tale = invent(f"race {seed}", rough=False)
    tale.operators = [0.1, 2.0]

    async def story(world: World, part: Cdi) -> None:
        await tell(world, part, tale, weather=Lagging)
        # They do not take back in turns what the other has written (law L9).
        assert all(writes <= 100 for writes in world.ledger.spent.values()), world.ledger.spent

    collect(story, seed=f"race {seed}", manner=tale.manner, conduct=tale.conduct)


@pytest.mark.parametrize("seed", seeds(8))
def test_whatever_people_do_meanwhile_no_disk_is_lost(seed: int) -> None:
    tale = invent(f"rough {seed}", rough=True)

    async def story(world: World, part: Cdi) -> None:
        await tell(world, part, tale, weather=Storm)

    collect(story, seed=f"rough {seed}", manner=tale.manner, conduct=tale.conduct)


# --- one collection -----------------------------------------------------------------------------------

EAGER = Manner(lag=0.9, eager=1.0)


@pytest.mark.parametrize("origin", ORIGINS)
def test_n14_a_collection_costs_six_writes_at_most_and_idle_none(origin: str) -> None:
    async def story(world: World, part: Cdi) -> None:
        furnish(world, ttl=0)
        give_volume(world, "disk", origin)
        await world.until_quiet(30.0)
        before = uid_of(claim_of(world) or {})
        world.start_operator()
        await world.until_quiet()
        check_rest(world)
        claim = claim_of(world) or {}
        assert volume_of(world) is None
        assert uid_of(claim) == before
        assert claim["metadata"]["ownerReferences"] == [] if "ownerReferences" in claim["metadata"] else True
        assert world.ledger.writes <= 6
        await check_idle(world)

    collect(story, seed=origin, manner=EAGER)


def live(origin: str, turn: int | None = None) -> int:
    """Collect one DataVolume; return how many rounds of the loop it took. The operator is killed in the round `turn`, and followed."""
    turns: list[int] = []

    async def story(world: World, part: Cdi) -> None:
        furnish(world, ttl=0)
        first = world.start_operator()
        give_volume(world, "disk", origin)
        if turn is not None:
            world.loop.at_turn(turn, first.kill)
        assert await world.until(lambda: volume_of(world) is None or not world.living)
        turns.append(world.loop.turns)
        if turn is not None:
            first.kill()
            world.start_operator()
        await world.until_quiet()
        check_rest(world)
        assert volume_of(world) is None
        assert claim_of(world) is not None

    collect(story, seed="kill", manner=EAGER)
    return turns[0]


@cache
def calm() -> int:
    return live(ADOPTED)


@pytest.mark.parametrize("part", range(4))
def test_n5_an_operator_that_is_killed_at_any_moment_is_followed_by_one_that_goes_on(part: int) -> None:
    last = calm()
    moments = range(1, last) if thorough() else sorted(random.Random("killed").sample(range(1, last), 12))
    for turn in moments[part::4]:
        live(ADOPTED, turn)


def test_n5_a_claim_is_not_given_back_to_a_volume_that_was_collected_meanwhile() -> None:
    collect(return_late, seed="late", manner=EAGER)


@pytest.mark.parametrize("seed", range(4))
def test_n5_a_claim_is_not_given_back_to_a_volume_that_its_user_has_deleted_meanwhile(seed: int) -> None:
    collect(return_late_and_delete, seed=f"deleted {seed}", manner=EAGER)


@pytest.mark.parametrize("story", [own_by_the_dead, share_with_the_dead], ids=["of the volume", "of the claim"])
def test_n5_a_claim_is_not_left_to_an_owner_that_is_gone(story: Story) -> None:
    collect(story, seed="dead", manner=EAGER)


@pytest.mark.parametrize("moment", MOMENTS)
def test_n19_an_owner_that_comes_back_is_taken_away_before_the_volume_goes(moment: str) -> None:
    collect(MOMENTS[moment], seed=moment, manner=EAGER)
