"""Claims that are filled from a ReplicationDestination, in both worlds: real binders, a real garbage collector, and our node as the driver.

The destination's status is written by hand, as if another program had made the image: what is tested begins there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datamover.api.volsync.names import PopulatorReason
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.cli.population import population_kinds
from kubekit.client.errors import NotFound
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SELECTED_NODE
from kubekit.words.populator import VOLUME_POPULATORS
from support.definitions import POPULATORS
from support.filling import CREATED_BY, ask, bound, make_image, primes_gone, publish
from support.scenario import CLASS, TREE, Cluster, embedded_cluster, real_cluster


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator does nothing but fill claims."""
    if request.param == "embedded":
        async with embedded_cluster(tmp_path, kinds=population_kinds()) as found:
            yield found
    else:
        plane, space = request.getfixturevalue("kubernetes"), request.getfixturevalue("namespace")
        async with real_cluster(plane, space, tmp_path, kinds=population_kinds()) as found:
            yield found


def files(directory: Path) -> dict[str, bytes]:
    return {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}


async def reasons(world: Cluster) -> list[str]:
    listed = await world.client.list(EVENTS, namespace=world.namespace)
    mine = [each for each in listed if each.involved_object is not None and each.involved_object.name == "data"]
    return [each.reason or "" for each in mine]


async def told(world: Cluster, reason: str) -> None:
    async def is_told() -> bool:
        return reason in await reasons(world)

    await world.wait_for(is_told)


@pytest.mark.parametrize("labels", [CREATED_BY, {}], ids=["an image of ours", "somebody's image"])
async def test_a_claim_waits_for_its_destination_and_the_first_image_and_is_then_filled(
    world: Cluster, labels: dict[str, str]
) -> None:
    await ask(world)
    await told(world, PopulatorReason.DESTINATION_MISSING)
    await world.create(REPLICATION_DESTINATIONS, "restore", spec={"external": {}})
    await told(world, PopulatorReason.NO_IMAGE)
    await make_image(world, labels=labels)
    await publish(world)
    assert files(await bound(world)) == TREE
    await told(world, PopulatorReason.FINISHED)
    assert "ProvisioningFailed" not in await reasons(world)


async def test_a_class_that_binds_on_first_use_gets_the_volume_where_the_pod_is_to_run(world: Cluster) -> None:
    await world.create(REPLICATION_DESTINATIONS, "restore", spec={"external": {}})
    await make_image(world)
    await publish(world)
    await ask(world, storage_class=f"{CLASS}-late")
    await told(world, PopulatorReason.WAITING_FOR_CONSUMER)
    # what the scheduler writes
    await world.client.patch(
        PERSISTENT_VOLUME_CLAIMS,
        "data",
        {"metadata": {"annotations": {SELECTED_NODE: world.node.name}}},
        namespace=world.namespace,
        field_manager="scheduler",
    )
    assert files(await bound(world)) == TREE


async def test_a_filled_claim_keeps_its_volume_and_takes_it_along_when_it_is_deleted(world: Cluster) -> None:
    await world.create(REPLICATION_DESTINATIONS, "restore", spec={"external": {}})
    await make_image(world)
    await publish(world)
    await ask(world)
    directory = await bound(world)
    await asyncio.sleep(1)  # time for whoever would take the volume for the temporary claim's
    claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=world.namespace)
    volume = await world.client.get(PERSISTENT_VOLUMES, claim.spec.volume_name)
    assert volume.status is not None
    assert (claim.status.phase, volume.status.phase) == ("Bound", "Bound")
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace=world.namespace)
    await world.wait_gone(PERSISTENT_VOLUME_CLAIMS, "data")

    async def reclaimed() -> bool:
        try:
            await world.client.get(PERSISTENT_VOLUMES, volume.metadata.name)
        except NotFound:
            return not directory.exists()
        return False

    await world.wait_for(reclaimed)


async def test_a_claim_that_is_deleted_while_it_is_filled_leaves_nothing(world: Cluster) -> None:
    await world.create(REPLICATION_DESTINATIONS, "restore", spec={"external": {}})
    await make_image(world)
    await publish(world)
    claim = await ask(world)

    async def begun() -> bool:
        # where storage is quick, the temporary claim may have come and gone between two looks
        if await world._get(PERSISTENT_VOLUME_CLAIMS, f"vs-prime-{claim.metadata.uid}") is not None:
            return True
        now = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=world.namespace)
        return now.status is not None and now.status.phase == "Bound"

    await world.wait_for(begun)
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace=world.namespace)
    await world.wait_gone(PERSISTENT_VOLUME_CLAIMS, "data")
    await primes_gone(world)

    async def no_volumes() -> bool:
        volumes = await world.client.list(PERSISTENT_VOLUMES)
        return not [
            each
            for each in volumes
            if each.spec is not None
            and each.spec.claim_ref is not None
            and each.spec.claim_ref.namespace == world.namespace
            and each.spec.claim_ref.name != "restored"
        ]

    await world.wait_for(no_volumes)


async def test_the_cluster_is_told_that_such_claims_are_filled_once_it_knows_the_word(world: Cluster) -> None:
    async with populators(world):

        async def registered() -> bool:
            try:
                found = await world.client.get(VOLUME_POPULATORS, "volsync-replicationdestination")
            except NotFound:
                return False
            kind = found.source_kind
            return kind is not None and (kind.group, kind.kind) == ("volsync.backube", "ReplicationDestination")

        await world.wait_for(registered)


@asynccontextmanager
async def populators(world: Cluster) -> AsyncIterator[None]:
    """The definition of VolumePopulator, which comes with a validator of data sources."""
    name = POPULATORS["metadata"]["name"]
    await world.client.create(CUSTOM_RESOURCE_DEFINITIONS, POPULATORS)
    try:
        yield
    finally:
        await world.client.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
        await world.wait_gone(CUSTOM_RESOURCE_DEFINITIONS, name)
