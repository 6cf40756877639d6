"""DataVolumes that copy a claim of another namespace, in both worlds: real binders, a real garbage collector, our node as the driver, and the real worker.

Who may is asked by the webhook (`tests/unit/deploy`, and the real cluster); here the word is signed by the test.
"""

import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.definitions import data_volume_crds
from datamover.cli.disks import MakePopulate
from datamover.cli.surroundings import AnyKind, Surroundings
from datamover.reconcilers.cluster import View
from datamover.reconcilers.datavolume.remains import RemainsKind
from datamover.reconcilers.disks import Disks
from datamover.volumes.permit import CloneSource, issue_permit
from kubekit.client.errors import AlreadyExists, NotFound
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.batch import JOBS
from kubekit.words.core import NAMESPACES, PERSISTENT_VOLUME_CLAIMS
from support.filling import VOLUMES
from support.importing import noise
from support.scenario import CLASS, Cluster, embedded_cluster, real_cluster

KEY = b"k" * 32
IMAGE = noise(1 << 20)


@dataclass(frozen=True, slots=True)
class MakeTrusting(MakePopulate):
    """Makes the kind with the key of the test."""

    def __call__(self, around: Surroundings) -> AnyKind:
        return MakePopulate.__call__(self, dataclasses.replace(around, permit_keys=lambda: (KEY,)))


def make_remains(around: Surroundings) -> AnyKind:
    return RemainsKind(around.client, view=View(around.cluster), disks=Disks(around.cluster))


KINDS = (MakeTrusting(), make_remains)


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator sees all namespaces, with a claim that is full in one beside."""
    if request.param == "embedded":
        async with embedded_cluster(tmp_path, kinds=KINDS) as found:
            for definition in data_volume_crds():
                with contextlib.suppress(AlreadyExists):
                    await found.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
            await fill_golden(found)
            yield found
    else:
        plane, space = request.getfixturevalue("kubernetes"), request.getfixturevalue("namespace")
        for definition in data_volume_crds():
            plane.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        async with real_cluster(plane, space, tmp_path, kinds=KINDS, everywhere=True) as found:
            await fill_golden(found)
            yield found
            plane.call("DELETE", f"/apis/cdi.kubevirt.io/v1beta1/namespaces/{space}/datavolumes")
            plane.call("DELETE", f"/api/v1/namespaces/{images(found)}")


def images(world: Cluster) -> str:
    return f"{world.namespace}-images"


async def fill_golden(world: Cluster) -> None:
    with contextlib.suppress(AlreadyExists):
        await world.client.create(NAMESPACES, {"metadata": {"name": images(world)}})
    directory = world.place / "golden"
    directory.mkdir()
    (directory / "disk.img").write_bytes(IMAGE)
    await world.node.adopt_directory(name="golden", namespace=images(world), path=directory, storage_class=CLASS)

    async def bound() -> bool:
        found = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "golden", namespace=images(world))
        return found.status is not None and found.status.phase == "Bound"

    await world.wait_for(bound)


async def make(world: Cluster, *, by_worker: bool, key: bytes = KEY) -> None:
    """Ask for a copy: a driver makes none of a class that binds on first use before somebody uses it."""
    source = CloneSource("pvc", images(world), "golden")
    said = issue_permit(key, namespace=world.namespace, name="disk", source=source, at=datetime.now(UTC))
    annotations = {names.CLONE_PERMIT: said, **({names.BIND_IMMEDIATELY: "true"} if by_worker else {})}
    storage = {"storageClassName": f"{CLASS}-late" if by_worker else CLASS}
    spec = {"source": {"pvc": {"namespace": source.namespace, "name": source.name}}, "storage": storage}
    await world.create(DATA_VOLUMES, "disk", metadata={"annotations": annotations}, spec=spec)


async def is_succeeded(world: Cluster) -> bool:
    found = await world.client.get(DATA_VOLUMES, "disk", namespace=world.namespace)
    return found.status is not None and found.status.phase == "Succeeded"


async def beside_golden(world: Cluster) -> list[str]:
    """What is there of claims and Jobs in the namespace of the source."""
    claims = await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace=images(world))
    jobs = await world.client.list(JOBS, namespace=images(world))
    return sorted(each.metadata.name for each in (*claims, *jobs) if each.metadata.name != "golden")


async def is_tidy(world: Cluster) -> bool:
    return not await beside_golden(world)


async def demand_copied(world: Cluster) -> None:
    """Demand that the disk is the image, and a hole behind it. The disk is as large as the source may be, and is not read whole."""
    claim: Any = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)
    volume = await world.client.get(VOLUMES, claim.spec.volume_name)
    with (Path(volume.directory) / "disk.img").open("rb") as file:
        assert file.read(len(IMAGE)) == IMAGE
        with pytest.raises(OSError, match="No such device or address"):
            os.lseek(file.fileno(), len(IMAGE), os.SEEK_DATA)


@pytest.mark.parametrize("by_worker", [True, False], ids=["by a worker", "by the driver"])
async def test_a_copy_has_the_bytes_and_nothing_is_left_beside_its_source(world: Cluster, *, by_worker: bool) -> None:
    await make(world, by_worker=by_worker)
    if by_worker:  # who is killed while the worker is there is followed by one that goes on

        async def works() -> bool:
            return any(each.startswith("importer-") for each in await beside_golden(world))

        await world.wait_for(works)
        await world.crew.kill()
        world.crew.begin(world.crew.hire())
    await world.wait_for(lambda: is_succeeded(world))
    assert await is_tidy(world), "Succeeded, and somebody else may have the disk"
    await demand_copied(world)
    assert (world.place / "golden" / "disk.img").read_bytes() == IMAGE


@pytest.mark.parametrize("by_worker", [True, False], ids=["by a worker", "by the driver"])
async def test_l5_a_datavolume_that_goes_in_the_middle_leaves_nothing_beside_its_source(
    world: Cluster, *, by_worker: bool
) -> None:
    await make(world, by_worker=by_worker)

    async def begun() -> bool:
        return bool(await beside_golden(world)) or await is_succeeded(world)

    await world.wait_for(begun)
    await world.client.delete(DATA_VOLUMES, "disk", namespace=world.namespace)
    await world.wait_gone(PERSISTENT_VOLUME_CLAIMS, "disk")
    await world.wait_for(lambda: is_tidy(world))
    golden = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "golden", namespace=images(world))
    assert golden.metadata.deletion_timestamp is None


async def test_without_a_word_of_who_may_say_it_nothing_is_made(world: Cluster) -> None:
    await make(world, by_worker=True, key=b"f" * 32)

    async def is_told() -> bool:
        found = (await world.client.get(DATA_VOLUMES, "disk", namespace=world.namespace)).status
        ready = found.condition("Ready") if found is not None else None
        return ready is not None and ready.reason == "CloneAcrossNamespaces"

    await world.wait_for(is_told)
    with pytest.raises(NotFound):
        await world.client.get(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)
    assert await is_tidy(world)
