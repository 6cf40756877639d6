"""Destinations that write one claim do so one after the other, whenever they begin, fail and are paused, and whenever an operator dies."""

import asyncio
import random

import pytest

from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.simulation.conduct import CREDENTIALS, KILLED, SUCCESS, Conduct
from support.simulation.destination import Mover
from support.simulation.replications import check_rest, furnish, give_destination, replicate, status_of
from support.simulation.seeds import seeds
from support.simulation.world import CLASS, SPACE, World

CLAIM = "given"


def give_claim(world: World) -> None:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS, "resources": resources}
    world.user.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": CLAIM}, "spec": spec}, SPACE)


def overlap(one: Mover, other: Mover) -> bool:
    """Tell whether two movers ran at the same time; one that was never seen to end runs on."""
    first, second = sorted((one, other), key=lambda mover: mover.began)
    return first.ended is None or second.began < first.ended


@pytest.mark.parametrize("seed", seeds(4))
def test_no_two_movers_write_one_claim_at_once_and_each_destination_is_synchronised(seed: int) -> None:
    dice = random.Random(f"{seed}/turns")
    ends = tuple(dice.choice((SUCCESS, SUCCESS, KILLED, CREDENTIALS)) for _ in range(4))
    copies = [dice.choice(("Direct", "Snapshot")) for _ in range(3)]
    pauses = {number for number in range(3) if dice.random() < 0.4}
    conduct = Conduct(run=dice.choice((0.1, 4.0, 25.0)), start=dice.choice((0.1, 3.0)), snapshot=2.0, ends=ends)

    async def story(world: World) -> None:
        furnish(world)
        give_claim(world)
        operator = world.start_operator()
        for number, copy in enumerate(copies):
            await asyncio.sleep(dice.choice((0.0, 0.3, 2.0)))
            options = {"destinationPVC": CLAIM}
            give_destination(world, f"down-{number}", "restic", copy, options=options, trigger={"manual": "end"})
        await asyncio.sleep(dice.uniform(0, 10))
        for number in pauses:
            world.user.patch(REPLICATION_DESTINATIONS, f"down-{number}", {"spec": {"paused": True}}, SPACE)
        if dice.random() < 0.5:
            operator.kill()
            world.start_operator()
        await asyncio.sleep(dice.uniform(0, 60))
        for number in pauses:
            world.user.patch(REPLICATION_DESTINATIONS, f"down-{number}", {"spec": {"paused": None}}, SPACE)
        await world.until_quiet()
        check_rest(world, "end")

    world = replicate(story, seed=seed, conduct=conduct)
    movers = [mover for mover in world.destination.movers if mover.claim == CLAIM]
    assert len({mover.mover for mover in movers}) == len(copies)
    together = [(one, other) for one in movers for other in movers if one.pod < other.pod and overlap(one, other)]
    assert together == []
    for number in range(len(copies)):
        assert status_of(world, REPLICATION_DESTINATIONS, f"down-{number}")["lastManualSync"] == "end"
