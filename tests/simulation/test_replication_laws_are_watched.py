"""The watch over replication: an operator that breaks a law is caught. Each misdeed is done with the operator's own name, where it lay dead."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from datamover.api.names import FIELD_MANAGER
from datamover.api.volsync.names import CLEANUP_LABEL
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.client.client import Client
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from localkube.transport import LocalTransport
from support.simulation.calls import Tree
from support.simulation.history import LawBroken
from support.simulation.replications import check_rest, furnish, give_destination, give_source, replicate
from support.simulation.trees import name_of, owners_of, uid_of
from support.simulation.world import SOURCE, SPACE, World

Misdeed = Callable[[World, Client], Awaitable[object]]


async def say(world: World, client: Client, resource: Resource, name: str, **fields: object) -> None:
    patch: Tree = {"status": fields}
    await client.patch(resource, name, patch, namespace=SPACE, subresource="status", field_manager=FIELD_MANAGER)


async def touch_source(world: World, client: Client) -> None:
    patch: Tree = {"metadata": {"labels": {"seen": "yes"}}}
    await client.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, patch, namespace=SPACE, field_manager=FIELD_MANAGER)


async def delete_what_lasts(world: World, client: Client) -> None:
    cache = world.user.find(PERSISTENT_VOLUME_CLAIMS, "volsync-src-up-cache", SPACE) or {}
    await client.delete(PERSISTENT_VOLUME_CLAIMS, name_of(cache), namespace=SPACE, uid=uid_of(cache))


async def delete_image(world: World, client: Client) -> None:
    (image,) = (each for each in world.user.all(VOLUME_SNAPSHOTS) if name_of(each).startswith("volsync-down"))
    label = {"metadata": {"labels": {CLEANUP_LABEL: owners_of(image)[0]}}}
    world.user.patch(VOLUME_SNAPSHOTS, name_of(image), label, SPACE)
    await client.delete(VOLUME_SNAPSHOTS, name_of(image), namespace=SPACE, uid=uid_of(image))


async def end_early(world: World, client: Client) -> None:
    mover: Tree = {"result": "Successful"}
    moment = "2024-08-06T15:00:00Z"
    await say(
        world, client, REPLICATION_SOURCES, "up", lastSyncStartTime=None, lastSyncTime=moment, latestMoverStatus=mover
    )


async def say_done_by_hand(world: World, client: Client) -> None:
    await say(world, client, REPLICATION_SOURCES, "up", lastManualSync="another")


async def begin_in_the_past(world: World, client: Client) -> None:
    await say(world, client, REPLICATION_SOURCES, "up", lastSyncStartTime="2024-08-06T14:00:00Z")


async def promise_an_image(world: World, client: Client) -> None:
    image: Tree = {"apiGroup": VOLUME_SNAPSHOTS.group, "kind": VOLUME_SNAPSHOTS.kind, "name": "nowhere"}
    await say(world, client, REPLICATION_DESTINATIONS, "down", latestImage=image)


async def move_twice(world: World, client: Client) -> None:
    job = world.user.find(JOBS, "volsync-src-up", SPACE) or {}
    metadata = {key: job["metadata"][key] for key in ("labels", "ownerReferences")}
    template = {"spec": job["spec"]["template"]["spec"], "metadata": {"labels": {"x": "y"}}}
    spec = {"template": template, "podFailurePolicy": job["spec"]["podFailurePolicy"]}
    await client.create(JOBS, {"metadata": {"name": "again", **metadata}, "spec": spec}, namespace=SPACE)


async def change_keys(world: World, client: Client) -> None:
    patch: Tree = {"data": {"psk.txt": "eA=="}}
    await client.patch(SECRETS, "volsync-rsync-tls-down", patch, namespace=SPACE, field_manager=FIELD_MANAGER)


MISDEEDS: dict[str, tuple[str, Misdeed]] = {
    "it labels the source": ("L1", touch_source),
    "it deletes what lasts": ("L2", delete_what_lasts),
    "it deletes the latest image": ("image", delete_image),
    "it ends what still moves": ("L4", end_early),
    "it says that it was done by hand": ("L6", say_done_by_hand),
    "it begins before it has begun": ("L6", begin_in_the_past),
    "it promises an image": ("image", promise_an_image),
    "it moves twice": ("L7", move_twice),
    "it changes keys": ("keys", change_keys),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_an_operator_that_breaks_a_law_is_caught(misdeed: str) -> None:
    law, act = MISDEEDS[misdeed]

    async def story(world: World) -> None:
        furnish(world)
        operator = world.start_operator()
        give_destination(world, "down", "rsyncTLS", trigger={"manual": "one"})
        await asyncio.sleep(30)
        give_source(world, "up", trigger={"manual": "one"})
        assert await world.until(lambda: any(each["status"].get("phase") == "Running" for each in world.user.all(PODS)))
        operator.kill()
        assert not world.history.broken
        await act(world, Client(LocalTransport(world.server), user_agent=FIELD_MANAGER))

    with pytest.raises(LawBroken, match=rf"(?m)^{law}: "):
        replicate(story, seed=misdeed)


def test_what_is_left_at_rest_is_caught() -> None:
    async def story(world: World) -> None:
        furnish(world)
        operator = world.start_operator()
        give_source(world, "up", trigger={"manual": "one"})
        assert await world.until(lambda: bool(world.user.all(PODS)))
        operator.kill()
        await world.until_quiet()
        check_rest(world, "one")

    with pytest.raises(LawBroken) as caught:
        replicate(story, seed="left")
    assert "L5: Job volsync-src-up is temporary, and there at rest" in str(caught.value)
    assert "L10: ReplicationSource up rests without being synchronised" in str(caught.value)
