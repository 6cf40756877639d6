"""A thousand completed DataVolumes: what they cost while they wait, when the time that they stay is changed, and when they are collected.

On the embedded API server, which counts; what the operator has asked for is counted at its client.
"""

import asyncio

from datamover.api.cdi.data_volume import DATA_VOLUMES
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.collecting import ASKED, READS, Collecting, collecting

MANY = 1000


async def versions(world: Collecting) -> dict[str, str]:
    """Return the version of each DataVolume: who is touched has another one."""
    found = await world.client.list(DATA_VOLUMES, namespace="default")
    return {each.metadata.name: each.metadata.resource_version for each in found}


async def test_n14_n2_a_thousand_wait_for_nothing_and_are_collected_with_six_writes_each() -> None:
    async with collecting() as world:
        await world.configure(50)
        for number in range(MANY):
            await world.volume(f"disk-{number}", annotations=ASKED)
        before = await versions(world)
        assert len(before) == MANY

        await world.start(ttl=None, stamp=False)
        await world.working()
        await world.quiet()
        assert world.writes(events=True) == 0, "while they wait"
        for ttl in (45, 55, -1):
            world.requests.clear()
            await world.configure(ttl)
            await world.quiet()
            assert not world.requests, "lower, higher, or never: nothing is asked for"
        await world.start(ttl=None, stamp=False)
        await world.working()
        await world.quiet()
        assert world.writes(events=True) == 0, "after a restart"
        assert await versions(world) == before, "none is touched"

        world.requests.clear()
        await world.configure(0)
        async with asyncio.timeout(90):
            while await versions(world):
                await asyncio.sleep(0.2)
        await world.quiet(0.3)
        assert len(await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace="default")) == MANY
        assert world.writes() == 4 * MANY
        assert world.writes(events=True) <= 6 * MANY
        asked = sum(count for (verb, _), count in world.requests.items() if verb in READS)
        assert asked <= 2 * MANY, "one look at the DataVolume, one at the claim"
        assert not any(verb in ("list", "watch") for verb, _ in world.requests)
