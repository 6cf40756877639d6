"""DataVolumes where no CDI is, in both worlds: real binders, a real garbage collector, our node as the driver, and the real worker."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.definitions import data_volume_crds
from datamover.cli.disks import MakePopulate
from kubekit.client.errors import AlreadyExists, Invalid
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.image_server import Plain, serving
from support.importing import noise
from support.scenario import CLASS, Cluster, embedded_cluster, real_cluster
from support.standalone import MIB, reached, read_disk


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator does nothing but populate DataVolumes."""
    if request.param == "embedded":
        async with embedded_cluster(tmp_path, kinds=(MakePopulate(),)) as found:
            for definition in data_volume_crds():
                with contextlib.suppress(AlreadyExists):
                    await found.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
            yield found
    else:
        plane, space = request.getfixturevalue("kubernetes"), request.getfixturevalue("namespace")
        for definition in data_volume_crds():  # what is installed later is found later
            plane.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        async with real_cluster(plane, space, tmp_path, kinds=(MakePopulate(),)) as found:
            yield found


async def make(world: Cluster, name: str = "disk", **spec: Any) -> None:
    wanted: dict[str, Any] = {
        "storage": {"resources": {"requests": {"storage": "4Mi"}}, "storageClassName": CLASS},
        **spec,
    }
    await world.create(DATA_VOLUMES, name, spec=wanted)


async def status(world: Cluster, name: str = "disk") -> DataVolume:
    return await world.client.get(DATA_VOLUMES, name, namespace=world.namespace)


async def test_a_blank_disk_is_made_and_nothing_temporary_is_left(world: Cluster) -> None:
    await make(world, source={"blank": {}})
    done = await reached(world, "Succeeded")
    assert done.status is not None
    assert done.status.progress == "100.0%"

    async def is_tidy() -> bool:
        claims = await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace=world.namespace)
        jobs = await world.client.list(JOBS, namespace=world.namespace)
        return [each.metadata.name for each in claims] == ["disk"] and not jobs

    await world.wait_for(is_tidy)


@pytest.mark.parametrize(
    ("storage_class", "populator"),
    [(CLASS, "true"), (f"{CLASS}-late", "false")],
    ids=["handed over", "written directly, bound by the worker"],
)
async def test_an_image_of_a_web_server_is_on_the_disk_when_it_has_succeeded(
    world: Cluster, storage_class: str, populator: str
) -> None:
    image = noise(MIB)
    with serving() as server:
        server.objects["/disk.img"] = Plain(image)
        checksum = f"sha256:{hashlib.sha256(image).hexdigest()}"
        await world.create(
            DATA_VOLUMES,
            "disk",
            metadata={"annotations": {names.USE_POPULATOR: populator, names.BIND_IMMEDIATELY: "true"}},
            spec={
                "source": {"http": {"url": server.url("/disk.img"), "checksum": checksum}},
                "storage": {"resources": {"requests": {"storage": "4Mi"}}, "storageClassName": storage_class},
            },
        )
        await reached(world, "Succeeded")
    found = await read_disk(world)
    assert found[: len(image)] == image
    assert len(found) == 4 * MIB
    assert not any(found[len(image) :])


async def test_a_file_that_is_another_one_is_never_called_populated(world: Cluster) -> None:
    with serving() as server:
        server.objects["/disk.img"] = Plain(noise(MIB))
        wrong = {"url": server.url("/disk.img"), "checksum": f"sha256:{'0' * 64}"}
        await make(world, source={"http": wrong})

        async def is_told() -> bool:
            found = (await status(world)).status
            running = found.condition("Running") if found is not None else None
            return running is not None and running.reason in ("ChecksumMismatch", "Retrying")

        await world.wait_for(is_told)
    found = (await status(world)).status
    assert found is not None
    assert found.phase in ("ImportScheduled", "ImportInProgress")
    claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)
    assert claim.status.phase == "Pending"


async def test_a_datavolume_takes_its_claim_along(world: Cluster) -> None:
    await make(world, source={"blank": {}})
    await reached(world, "Succeeded")
    await world.client.delete(DATA_VOLUMES, "disk", namespace=world.namespace)
    await world.wait_gone(PERSISTENT_VOLUME_CLAIMS, "disk")


async def test_a_claim_that_is_deleted_is_made_and_filled_anew(world: Cluster) -> None:
    await make(world, source={"blank": {}})
    await reached(world, "Succeeded")
    first = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)

    async def is_another() -> bool:
        found = await world._get(PERSISTENT_VOLUME_CLAIMS, "disk")
        now = await status(world)
        filled = found is not None and found.metadata.annotation(names.POPULATED) == now.metadata.uid
        succeeded = now.status is not None and now.status.phase == "Succeeded"
        return filled and succeeded and found.metadata.uid != first.metadata.uid

    await world.wait_for(is_another)


async def test_a_spec_stays_as_it_is(world: Cluster) -> None:
    await make(world, source={"vddk": {"url": "https://sphere.example"}})
    change = {"spec": {"contentType": "archive"}}
    if world.namespace == "default":
        return  # the embedded server knows no rules of that kind
    with pytest.raises(Invalid, match="create it anew"):
        await world.client.patch(DATA_VOLUMES, "disk", change, namespace=world.namespace, field_manager="test")
    steps = {"spec": {"checkpoints": [{"previous": "", "current": "a"}], "finalCheckpoint": True}}
    await world.client.patch(DATA_VOLUMES, "disk", steps, namespace=world.namespace, field_manager="test")
