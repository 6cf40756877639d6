"""A run is cancelled at any moment of its life: an honest end, and nothing temporary is left."""

import asyncio
import random

import pytest

from datamover.api import reasons
from datamover.api.names import RETRY_ANNOTATION, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.conduct import NETWORK, SUCCESS, Conduct, End
from support.simulation.endings import check_rest, check_telling
from support.simulation.seeds import seeds
from support.simulation.trees import look, name_of, uid_of
from support.simulation.world import PRECIOUS, SOURCE, SPACE, World, simulate

SETUPS = {
    "a clone that would be kept": {},
    "a clone that would be removed": {"deletePvcAfterBackup": True},
    "a clone made of a snapshot": {"copyMethod": "Snapshot"},
    "the source itself": {"copyMethod": "Direct"},
    "a folder of its own": {"addTimestampPrefix": True},
}
MOMENTS = (0.0, 0.05, 0.15, 0.5, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 3.5, 3.9, 4.1, 4.3, 4.6, 6.0)
"""Seconds into a run of some four: from before its record to after its end."""


def cancel(world: World, *, yes: bool = True) -> None:
    world.user.patch(DATA_MOVERS, "backup", {"spec": {"cancel": yes}}, SPACE)


def ready(world: World) -> str:
    conditions = look(world.mover(), "status", "conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == "Ready"), "")


def message(world: World) -> str:
    return str(look(world.mover(), "status", "message"))


def jobs_made(world: World) -> list[str]:
    return [uid for each in world.ledger.records.values() for uids in each.jobs.values() for uid in uids]


def check_end(world: World) -> bool:
    """Assert that the end is honest, and return whether it is that of one that was cancelled."""
    check_rest(world)
    succeeded = any(mover.succeeded for mover in world.destination.movers)
    if world.phase() == Phase.COMPLETED:
        assert ready(world) == reasons.COMPLETED
        return False
    assert (world.phase(), ready(world)) == (Phase.FAILED, reasons.CANCELLED), world.history.text()
    assert not succeeded, f"a success was called cancelled\n{world.history.text()}"
    left = [name_of(claim) for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS) if name_of(claim) != SOURCE]
    left += [name_of(obj) for kind in (VOLUME_SNAPSHOTS, JOBS, PODS) for obj in world.user.all(kind)]
    left += [name_of(it) for it in world.user.all(PERSISTENT_VOLUMES) if not name_of(it).startswith(PRECIOUS)]
    assert left == [], f"L5\n{world.history.text()}"
    wrote = bool(world.destination.movers)
    assert not (wrote and "nothing was written" in message(world)), message(world)
    return True


@pytest.mark.parametrize("setup", SETUPS)
def test_cancelling_at_any_moment_ends_the_run_with_nothing_left_and_never_a_success(setup: str) -> None:
    ended: set[bool] = set()
    for moment in MOMENTS:

        async def story(world: World, moment: float = moment) -> None:
            world.furnish()
            world.start_operator()
            await asyncio.sleep(0.1)
            world.give_mover(**SETUPS[setup])
            await asyncio.sleep(moment)
            cancel(world)
            await world.until_quiet()
            check_telling(world)
            cancelled = check_end(world)
            ended.add(cancelled)
            made = len(jobs_made(world))
            assert made <= 1
            if not cancelled:
                return
            assert (uid_of(world.mover() or {}), reasons.CANCELLED) in world.ledger.events
            written = world.ledger.writes
            world.user.patch(DATA_MOVERS, "backup", {"metadata": {"annotations": {RETRY_ANNOTATION: "1"}}}, SPACE)
            await world.until_quiet()
            assert "spec.cancel is true" in message(world)
            assert (world.phase(), len(jobs_made(world))) == (Phase.FAILED, made), "nothing begins while it is true"
            assert world.ledger.writes <= written + 1
            cancel(world, yes=False)
            await world.until_quiet()
            assert (world.phase(), ready(world)) == (Phase.COMPLETED, reasons.COMPLETED), world.history.text()

        simulate(story, seed=f"cancel {setup}", conduct=Conduct(ends=(SUCCESS,), backoff=1.0))
    assert ended == {True, False}


def test_cancelling_stops_the_attempts_and_is_not_taken_back() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        await asyncio.sleep(0.1)
        world.give_mover()
        await world.until(lambda: bool(world.user.all(PODS)))
        cancel(world)
        await world.until(lambda: ready(world) == reasons.CANCELLING)
        cancel(world, yes=False)
        await world.until_quiet()
        assert check_end(world)

    simulate(story, seed="taken back", conduct=Conduct(ends=(NETWORK, NETWORK, SUCCESS), backoff=1.0))


def test_cancelling_beats_suspending() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        await asyncio.sleep(0.1)
        world.give_mover()
        await world.until(lambda: bool(world.user.all(PODS)))
        world.user.patch(DATA_MOVERS, "backup", {"spec": {"suspend": True}}, SPACE)
        await world.until(lambda: ready(world) == reasons.SUSPENDED)
        cancel(world)
        await world.until_quiet()
        assert check_end(world)

    simulate(story, seed="held", conduct=Conduct(backoff=1.0))


@pytest.mark.parametrize("seed", seeds(24))
def test_an_operator_that_is_killed_at_any_step_of_a_cancellation_comes_to_the_same_end(seed: int) -> None:
    dice = random.Random(f"cancel {seed}")
    setup = dice.choice(sorted(SETUPS))
    ends: tuple[End, ...] = dice.choice(((SUCCESS,), (NETWORK, SUCCESS)))

    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        await asyncio.sleep(0.1)
        world.give_mover(**SETUPS[setup])
        await asyncio.sleep(dice.uniform(0.0, 4.5))
        cancel(world)
        await asyncio.sleep(dice.choice((0.0, 0.01, 0.05, 0.2, 0.5, 1.0)))
        world.replicas[0].kill()
        await asyncio.sleep(dice.choice((0.0, 3.0)))
        world.start_operator()
        if dice.random() < 0.5:
            world.start_operator()  # two replicas at once
        await world.until_quiet()
        check_end(world)
        assert len(jobs_made(world)) <= 1

    simulate(story, seed=seed, conduct=Conduct(ends=ends, backoff=1.0))
