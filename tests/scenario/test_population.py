"""Claims that are filled from a ReplicationDestination, in both worlds: real binders, a real garbage collector, and our node as the driver.

The destination's status is written by hand, as if another program had made the image: what is tested begins there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datamover.api.volsync.names import POPULATING_LABEL_PREFIX, PopulatorReason
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.cli.population import population_kinds
from kubekit.client.errors import NotFound
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SELECTED_NODE
from kubekit.words.meta import Resource
from kubekit.words.populator import VOLUME_POPULATORS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from localkube.node.kinds import PersistentVolume
from support.scenario import CLASS, TREE, Cluster, embedded_cluster, real_cluster

VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", PersistentVolume, namespaced=False)
CREATED_BY = {"app.kubernetes.io/created-by": "volsync"}
POPULATORS = {
    "metadata": {
        "name": "volumepopulators.populator.storage.k8s.io",
        # names of this group want it, and any address will do
        "annotations": {"api-approved.kubernetes.io": "https://example.com"},
    },
    "spec": {
        "group": "populator.storage.k8s.io",
        "scope": "Cluster",
        "names": {"plural": "volumepopulators", "singular": "volumepopulator", "kind": "VolumePopulator"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "sourceKind": {
                                "type": "object",
                                "properties": {"group": {"type": "string"}, "kind": {"type": "string"}},
                            }
                        },
                    }
                },
            }
        ],
    },
}


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


async def make_image(world: Cluster, name: str = "image-1", *, labels: dict[str, str] | None = None) -> None:
    """Take a snapshot of a volume with files."""
    if await world._get(PERSISTENT_VOLUME_CLAIMS, "restored") is None:
        await world.create_volume("restored")
    spec = {"source": {"persistentVolumeClaimName": "restored"}, "volumeSnapshotClassName": CLASS}
    await world.create(VOLUME_SNAPSHOTS, name, metadata={"labels": CREATED_BY if labels is None else labels}, spec=spec)

    async def ready() -> bool:
        found = await world._get(VOLUME_SNAPSHOTS, name)
        return found is not None and found.status is not None and found.status.ready_to_use is True

    await world.wait_for(ready)


async def publish(world: Cluster, image: str = "image-1") -> None:
    latest = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image}
    await world.client.patch(
        REPLICATION_DESTINATIONS,
        "restore",
        {"status": {"latestImage": latest}},
        namespace=world.namespace,
        subresource="status",
        field_manager="test",
    )


async def ask(world: Cluster, *, storage_class: str = CLASS, **metadata: Any) -> Any:
    source = {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "restore"}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "2Gi"}},
        "dataSourceRef": source,
    }
    return await world.create(PERSISTENT_VOLUME_CLAIMS, "data", metadata=metadata, spec=spec)


async def bound(world: Cluster) -> Path:
    """Wait until the claim is bound and nothing of ours is left; return where its files are."""

    async def done() -> bool:
        claim = await world._get(PERSISTENT_VOLUME_CLAIMS, "data")
        return claim is not None and claim.status is not None and claim.status.phase == "Bound"

    await world.wait_for(done)
    await primes_gone(world)
    claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=world.namespace)
    volume = await world.client.get(VOLUMES, claim.spec.volume_name)
    assert volume.metadata.annotation("volsync.backube/populated-from") == f"{world.namespace}/restore"
    return Path(volume.directory)


async def primes_gone(world: Cluster) -> None:
    async def gone() -> bool:
        claims = await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace=world.namespace)
        images = await world.client.list(VOLUME_SNAPSHOTS, namespace=world.namespace)
        marked = [
            key for each in images for key in each.metadata.labels or {} if key.startswith(POPULATING_LABEL_PREFIX)
        ]
        return not marked and not any(each.metadata.name.startswith("vs-prime-") for each in claims)

    await world.wait_for(gone)


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
        return await world._get(PERSISTENT_VOLUME_CLAIMS, f"vs-prime-{claim.metadata.uid}") is not None

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
