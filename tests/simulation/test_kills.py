"""The operator is killed, and another one goes on."""

import random

import pytest

from support.simulation.history import LawBroken
from support.simulation.lifecycles import CLONE, SNAPSHOT, Lived, calm, live
from support.simulation.seeds import seeds, thorough
from support.simulation.world import World

MOMENTS = 50
PARTS = 5


def kill_at(method: str, turn: int, *, pause: float) -> Lived:
    """Live a lifecycle whose operator is killed between two tasks, in the round `turn` of the loop."""

    def meddle(world: World) -> None:
        world.loop.at_turn(turn, world.replicas[0].kill)

    try:
        return live(method, meddle=meddle, pause=pause)
    except LawBroken as broken:
        raise LawBroken(f"{method}, killed in turn {turn}: {broken}") from None


def check(method: str, lived: Lived, turn: int) -> None:
    world, what = lived.world, f"{method}, killed in turn {turn}\n{lived.world.history.text()}"
    assert len(world.replicas) == 2, what
    assert lived.ending == calm(method).ending, what
    (record,) = world.ledger.records.values()
    assert [len(clones) for clones in record.clones.values()] == [1], what
    assert [len(jobs) for jobs in record.jobs.values()] == [1], what
    assert len({mover.folder for mover in world.destination.movers}) == 1, what
    assert len(world.destination.movers) == 1, what


@pytest.mark.parametrize("part", range(PARTS))
def test_operator_killed_with_kill_9_at_50_random_moments_of_one_lifecycle_always_the_same_end_state_one_clone_one_job_one_timestamp_folder(
    part: int,
) -> None:
    dice = random.Random("fifty moments")
    last = calm(CLONE).turns
    moments = list(range(1, last)) if thorough() else sorted(dice.sample(range(1, last), MOMENTS))
    for turn in moments[part::PARTS]:
        check(CLONE, kill_at(CLONE, turn, pause=dice.choice((0.0, 5.0))), turn)


@pytest.mark.parametrize("seed", seeds(12))
def test_the_same_with_a_snapshot(seed: int) -> None:
    turn = random.Random(seed).randrange(1, calm(SNAPSHOT).turns)
    check(SNAPSHOT, kill_at(SNAPSHOT, turn, pause=0.0), turn)


@pytest.mark.parametrize("seed", seeds(12))
def test_an_operator_that_is_asked_to_end_at_any_moment_leaves_all_in_order_for_the_next(seed: int) -> None:
    turn = random.Random(seed).randrange(1, calm(CLONE).turns)

    def meddle(world: World) -> None:
        async def hand_over() -> None:
            await world.replicas[0].stop()
            world.start_operator()

        world.loop.at_turn(turn, lambda: world.spawn(hand_over()))

    check(CLONE, live(CLONE, meddle=meddle), turn)
