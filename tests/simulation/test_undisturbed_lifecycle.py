"""What one backup costs and shows when nothing goes wrong."""

import asyncio

import pytest

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.client.client import Client
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from localkube.transport import LocalTransport
from support.simulation.conduct import IMMEDIATE, ON_USE, Conduct
from support.simulation.lifecycles import CLONE, DIRECT, SNAPSHOT, calm
from support.simulation.world import SPACE, World, simulate

BUDGET = 12


@pytest.mark.parametrize(("method", "writes"), [(CLONE, 11), (SNAPSHOT, 12), (DIRECT, 6)])
def test_a_backup_keeps_its_budget_of_writes_events_included(method: str, writes: int) -> None:
    counts = calm(method).world.ledger.counts
    made = {key: number for key, number in counts.items() if key[0] not in {"get", "list", "watch"}}
    assert sum(made.values()) == writes <= BUDGET, made


@pytest.mark.parametrize("method", [CLONE, SNAPSHOT, DIRECT])
def test_a_backup_reads_nothing_but_lists_once_and_watches(method: str) -> None:
    counts = calm(method).world.ledger.counts
    assert not [key for key in counts if key[0] == "get"]
    lists = {key[1]: number for key, number in counts.items() if key[0] == "list"}
    # two single definitions by their names: whether there are restores, and whether there are populators
    assert lists.pop(CUSTOM_RESOURCE_DEFINITIONS.group_resource) == 2
    assert set(lists.values()) == {1}


@pytest.mark.parametrize("method", [CLONE, SNAPSHOT, DIRECT])
def test_the_server_counts_the_same(method: str) -> None:
    world = calm(method).world
    for (verb, resource), number in world.ledger.counts.items():
        answered = sum(found for key, found in world.server.requests.items() if key[:2] == (verb, resource))
        assert answered >= number, (verb, resource)


@pytest.mark.parametrize("binding", [IMMEDIATE, ON_USE])
@pytest.mark.parametrize(
    ("spec", "phases"),
    [
        (
            {"deletePvcAfterBackup": True},
            [Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED],
        ),
        ({}, [Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.COMPLETED]),
        ({"copyMethod": "Direct"}, [Phase.CREATING_POD, Phase.COMPLETED]),
        (
            {"copyMethod": "Snapshot"},
            [Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED],
        ),
    ],
)
def test_a_watch_sees_the_documented_phases_in_their_order(spec: dict, phases: list[str], binding: str) -> None:
    seen: list[str] = []

    async def look_on(world: World) -> None:
        client = Client(LocalTransport(world.server), user_agent="observer")
        watch = client.watch(DATA_MOVERS, namespace=SPACE, resource_version="0", timeout_seconds=3600, idle_timeout=600)
        async with watch as events:
            async for event in events:
                phase = event.object and event.object.status and event.object.status.phase
                if phase and seen[-1:] != [phase]:
                    seen.append(phase)

    async def story(world: World) -> None:
        world.furnish()
        world.spawn(look_on(world))
        world.start_operator()
        await asyncio.sleep(0.1)
        world.give_mover(**spec)
        await world.until_quiet()

    simulate(story, seed="phases", conduct=Conduct(binding=binding))
    assert seen == phases


def test_a_clone_that_waits_for_its_consumer_is_bound_by_the_mover() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover(deletePvcAfterBackup=True)
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED
        assert world.ledger.writes <= BUDGET

    simulate(story, seed="on use", conduct=Conduct(binding=ON_USE))
