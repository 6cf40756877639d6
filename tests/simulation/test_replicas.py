"""Several operators: with an election one works and the next takes over; without one they race and harm nothing."""

import asyncio
import random
from dataclasses import dataclass

import pytest

from datamover.api.names import Phase
from kubekit.words.coordination import LEASES
from support.simulation.calls import Call
from support.simulation.endings import check_rest, ending
from support.simulation.faults import Calm, Fault
from support.simulation.lifecycles import CLONE, calm
from support.simulation.replica import Replica
from support.simulation.seeds import seeds
from support.simulation.stories import check_idle
from support.simulation.world import World, simulate

ELECTED = {"leader_namespace": "kube-system"}


@pytest.mark.parametrize("seed", seeds(6))
def test_when_the_leader_is_killed_another_one_ends_the_run(seed: int) -> None:
    undisturbed = calm(CLONE).ending  # a world of its own, which cannot be lived within another one

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
        assert ending(world) == undisturbed

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


@dataclass
class CutOff(Calm):
    """From some moment on the API server answers nothing that has to do with the Lease."""

    world: World
    since: float

    def on_call(self, number: int, call: Call) -> Fault | None:
        cut = call.resource == LEASES.group_resource and self.world.loop.time() >= self.since
        return Fault.UNAVAILABLE if cut else None


def test_a_leader_that_loses_its_lease_ends_so_that_nothing_stale_is_exported_and_a_standby_has_nothing_queued() -> (
    None
):
    async def story(world: World) -> None:
        world.furnish()
        world.script = CutOff(world, since=world.loop.time() + 20)
        first = world.start_operator(**ELECTED)
        await asyncio.sleep(5)
        world.script = Calm()
        second = world.start_operator(**ELECTED)
        for number in range(5):
            world.give_mover(f"backup-{number}", addTimestampPrefix=True, deletePvcAfterBackup=True)
        await asyncio.sleep(10)
        assert (first.leads, second.leads) == (True, False)
        assert current_phases(second) == 0
        assert depth(second) == 0, "who does not work gathers no keys"
        await asyncio.sleep(60)
        assert not first.alive, "the process ends, and its metrics with it"
        assert second.leads
        assert {world.phase(f"backup-{number}") for number in range(5)} == {Phase.COMPLETED}
        assert current_phases(second) == 5
        assert depth(second) == 0
        check_rest(world)

    simulate(story, seed="cut off")


def current_phases(replica: Replica) -> int:
    families = {family.name: family for family in replica.registry.collect()}
    return len(families["datamover_current_phase"].samples)


def depth(replica: Replica) -> float:
    return replica.registry.get_sample_value("workqueue_depth", {"name": "datamover"}) or 0.0
