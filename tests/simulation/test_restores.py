"""Restores in histories with faults: rivals for one claim, a backup of it, operators that are killed at every step, two that race, caches that lag."""

import asyncio
from typing import Any

import pytest

from datamover.api import names
from datamover.api.names import CopyMethod, RestorePhase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS
from support.simulation.calls import Tree
from support.simulation.conduct import CREDENTIALS, KILLED, NETWORK, SUCCESS, Conduct
from support.simulation.faults import KILLS, Lagging, Once, Storm
from support.simulation.seeds import seeds
from support.simulation.trees import look, name_of, uid_of
from support.simulation.world import SECRET, SOURCE, SPACE, World, simulate

OVER = (RestorePhase.COMPLETED, RestorePhase.FAILED)


def furnish(world: World) -> None:
    """Put in what there is before the first restore, and let the laws of restores watch over all that follows."""
    world.furnish()
    world.cluster.owners.append(DATA_MOVER_RESTORES)
    claim = uid_of(world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) or {})
    restorers: set[str] = set()

    def watch(_: str) -> None:
        restorers.update(uid_of(each) for each in world.user.all(DATA_MOVER_RESTORES))
        at_work = [mover for mover in world.destination.movers if mover.ended is None and mover.claim == SOURCE]
        writing = [mover for mover in at_work if mover.mover in restorers]
        if len(writing) > 1:
            world.history.breaks("L7", f"two movers write one claim: {writing}")
        if writing and len(at_work) > len(writing):
            world.history.breaks("L1", f"a backup reads what is being restored: {at_work}")
        if writing and (copies := copies_under_way(world)):
            world.history.breaks("L1", f"{copies} copy what is being restored")
        found = world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE)
        if found is None or uid_of(found) != claim or look(found, "metadata", "deletionTimestamp"):
            world.history.breaks("L2", "the claim that is restored into was deleted")

    world.watchers.append(watch)


def copies_under_way(world: World) -> list[str]:
    claims = world.user.all(PERSISTENT_VOLUME_CLAIMS)
    return [
        name_of(claim)
        for claim in claims
        if look(claim, "spec", "dataSource", "name") == SOURCE and look(claim, "status", "phase") != "Bound"
    ]


def give_restore(world: World, name: str = "back", **spec: Any) -> None:
    wanted: Tree = {"source": {"bucket": {"secretName": SECRET}}, "target": {"claimName": SOURCE}, "overwrite": True}
    created = world.user.create(DATA_MOVER_RESTORES, {"metadata": {"name": name}, "spec": {**wanted, **spec}}, SPACE)
    world.history.note("user", f"creates DataMoverRestore {name} {spec}")
    world.ledger.record(uid_of(created))


def restore_of(world: World, name: str = "back") -> Tree:
    return world.user.find(DATA_MOVER_RESTORES, name, SPACE) or {}


def phase(world: World, name: str = "back") -> str:
    return look(restore_of(world, name), "status", "phase") or ""


def reason(found: Tree | None) -> str:
    told = look(found or {}, "status", "conditions") or ()
    return next((each["reason"] for each in told if each["type"] == "Ready"), "")


def left_over(world: World) -> list[str]:
    claims = [claim for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS) if name_of(claim) != SOURCE]
    return [name_of(each) for each in (*claims, *world.user.all(JOBS), *world.user.all(PODS))]


async def all_at_once(world: World, method: str) -> None:
    """Two restores into a claim and a backup of it, nearly at the same moment."""
    dice = world.dice("restores")
    asked = [
        lambda: give_restore(world, "first"),
        lambda: give_restore(world, "second"),
        lambda: world.give_mover(copyMethod=method, deletePvcAfterBackup=method != CopyMethod.DIRECT),
    ]
    dice.shuffle(asked)
    for ask in asked:
        ask()
        await asyncio.sleep(dice.choice((0.0, 0.1, 1.0, 4.0)))


def check_all_is_well(world: World) -> None:
    assert (phase(world, "first"), phase(world, "second")) == (RestorePhase.COMPLETED, RestorePhase.COMPLETED)
    assert world.phase() == RestorePhase.COMPLETED
    kept = left_over(world)
    direct = look(world.mover(), "spec", "copyMethod") == CopyMethod.DIRECT
    assert [each for each in kept if not direct or not each.startswith("verify-")] == []


METHODS = (CopyMethod.CLONE, CopyMethod.DIRECT)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", seeds(3))
def test_rivals_and_a_backup_take_turns(seed: int, method: str) -> None:
    async def story(world: World) -> None:
        furnish(world)
        world.start_operator()
        await all_at_once(world, method)
        await world.until_quiet()
        check_all_is_well(world)
        before = world.ledger.writes
        await asyncio.sleep(900)
        assert world.ledger.writes == before, "idle costs nothing (L9)"

    simulate(story, seed=f"restores {seed} {method}")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ends", [(SUCCESS,), (NETWORK, KILLED, SUCCESS)], ids=["at once", "at the third attempt"])
@pytest.mark.parametrize("seed", seeds(4))
def test_a_bad_network_kills_and_racing_operators_change_nothing_of_the_end(
    seed: int, ends: tuple[Any, ...], method: str
) -> None:
    async def story(world: World) -> None:
        dice = world.dice("operators")
        script = Lagging if seed % 2 else Storm
        world.script = script(world.dice("script"), world.loop.time, calm_from=60.0)
        furnish(world)
        world.start_operator()
        world.spawn(all_at_once(world, method))
        for _ in range(2):
            await asyncio.sleep(dice.uniform(0.0, 8.0))
            dice.choice(world.living).kill()
            world.start_operator()
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        world.start_operator()
        await world.until_quiet()
        check_all_is_well(world)

    simulate(story, seed=f"restores in a storm {seed} {method}", conduct=Conduct(ends=ends))


@pytest.mark.parametrize("number", range(20, 45, 3))
@pytest.mark.parametrize("fault", KILLS)
def test_killed_at_any_step_it_comes_to_the_same_end(fault: Any, number: int) -> None:
    async def story(world: World) -> None:
        world.script = Once(number + seeds(1)[0] % 3, fault)
        furnish(world)
        world.start_operator()
        give_restore(world)
        await world.until(lambda: not world.living or phase(world) in OVER, at_most=60.0)
        if not world.living:
            world.start_operator()
        await world.until_quiet()
        if not world.living:
            world.start_operator()
            await world.until_quiet()
        assert phase(world) == RestorePhase.COMPLETED
        assert left_over(world) == []

    simulate(story, seed=f"restore killed at {number}")


def test_what_a_restore_that_failed_may_have_left_half_there_is_backed_up_by_nobody_until_it_is_gone() -> None:
    async def story(world: World) -> None:
        furnish(world)
        world.start_operator()
        give_restore(world, "first")
        await world.until(lambda: phase(world, "first") in OVER)
        assert phase(world, "first") == RestorePhase.FAILED
        give_restore(world, "second")
        world.give_mover(deletePvcAfterBackup=True)
        await world.until(lambda: bool(reason(world.mover())))
        await asyncio.sleep(600)
        assert reason(world.mover()) == "SourceBeingRestored"
        assert reason(restore_of(world, "second")) == "TargetBeingRestored"
        world.user.delete(DATA_MOVER_RESTORES, "first", SPACE)
        await world.until_quiet()
        assert phase(world, "second") == RestorePhase.COMPLETED
        assert world.phase() == RestorePhase.COMPLETED
        assert left_over(world) == []

    simulate(story, seed="half restored", conduct=Conduct(ends_of={"first": (CREDENTIALS,) * 3}))


def test_a_retry_goes_on_with_the_same_run() -> None:
    async def story(world: World) -> None:
        furnish(world)
        world.start_operator()
        give_restore(world)
        await world.until(lambda: phase(world) in OVER)
        first = look(restore_of(world), "status", "run", "id")
        wish = {"metadata": {"annotations": {names.RETRY_ANNOTATION: "1"}}}
        world.user.patch(DATA_MOVER_RESTORES, "back", wish, SPACE)
        await world.until_quiet()
        assert phase(world) == RestorePhase.COMPLETED
        assert look(restore_of(world), "status", "run", "id") == first
        assert {mover.run for mover in world.destination.movers} == {first}
        assert left_over(world) == []

    simulate(story, seed="retried", conduct=Conduct(ends=(CREDENTIALS,)))


def test_suspending_the_first_lets_the_second_go() -> None:
    async def story(world: World) -> None:
        furnish(world)
        world.start_operator()
        give_restore(world, "first", suspend=True)
        give_restore(world, "second")
        await world.until_quiet()
        assert phase(world, "second") == RestorePhase.COMPLETED
        world.user.patch(DATA_MOVER_RESTORES, "first", {"spec": {"suspend": False}}, SPACE)
        await world.until_quiet()
        assert phase(world, "first") == RestorePhase.COMPLETED
        assert left_over(world) == []
        assert not world.user.all(DATA_MOVERS)

    simulate(story, seed="suspended")
