"""DataVolumes where no CDI is, in both worlds: real binders, a real garbage collector, our node as the driver, and the real worker."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.definitions import data_volume_crds
from datamover.cli.disks import MakePopulate
from kubekit.client.errors import AlreadyExists, Invalid
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.batch import JOBS
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS
from support.image_server import Plain, serving
from support.importing import noise
from support.scenario import CLASS, Cluster, embedded_cluster, real_cluster
from support.standalone import MIB, reached, read_disk, trees


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


async def make(world: Cluster, name: str = "disk", *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    wanted: dict[str, Any] = {
        "storage": {"resources": {"requests": {"storage": "4Mi"}}, "storageClassName": CLASS},
        **spec,
    }
    await world.create(DATA_VOLUMES, name, metadata={"annotations": annotations or {}}, spec=wanted)


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
            # the condition has it only until the second attempt is at work: an event stays
            events = await world.client.list(EVENTS, namespace=world.namespace)
            return any("is not the checksum of the object" in (event.message or "") for event in events)

        # a Job waits for 10 s before it tries again
        await world.wait_for(is_told, seconds=90)
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


async def test_g13_g14_what_was_there_is_taken_over_as_it_is_where_that_is_allowed(world: Cluster) -> None:
    theirs = {"disk.img": noise(4096)}
    late = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Mi"}}}
    late |= {"storageClassName": f"{CLASS}-late"}
    filled = {
        "filled-http": {"http": {"url": "http://127.0.0.1:9/missing"}},
        "filled-upload": {"upload": {}},
        "filled-pvc": {"pvc": {"name": "missing", "namespace": world.namespace}},
    }
    adopts = {"adopted": "true", "unbound": "true", "refused": "false", "gated": None}
    for name in (*filled, *adopts):
        if name == "unbound":
            await world.create(PERSISTENT_VOLUME_CLAIMS, name, spec=late)
        else:
            await world.create_volume(name, theirs)
    before = await trees(world, PERSISTENT_VOLUME_CLAIMS)
    for name, source in filled.items():
        said = {"metadata": {"annotations": {names.POPULATED_FOR: name}}}
        where: dict[str, Any] = {"namespace": world.namespace, "field_manager": "test"}
        await world.client.patch(PERSISTENT_VOLUME_CLAIMS, name, said, **where)
        await make(world, name, source=source)
    for name, said in adopts.items():
        annotations = {names.ALLOW_ADOPTION: said} if said is not None else {}
        await make(world, name, source={"blank": {}}, annotations=annotations)
    await reached(world, "Pending", "gated")
    gates = {"featureGates": [names.CLAIM_ADOPTION_GATE]}
    try:
        await world.create(CDI_CONFIGS, names.CONFIG_NAME, metadata={"namespace": None}, spec=gates)
    except AlreadyExists:  # the operator of another test of this server has made it
        await world.client.patch(CDI_CONFIGS, names.CONFIG_NAME, {"spec": gates}, field_manager="test")
    try:
        for name in (*filled, "adopted", "unbound", "gated"):
            done = await reached(world, "Succeeded", name)
            assert done.status is not None
            assert done.status.progress == "N/A"
        refused = await reached(world, "Pending", "refused")
    finally:
        await world.client.delete(CDI_CONFIGS, names.CONFIG_NAME)
    ready = refused.status.condition("Ready") if refused.status is not None else None
    assert ready is not None
    assert ready.reason == "ClaimExists"
    after, made = await trees(world, PERSISTENT_VOLUME_CLAIMS), await trees(world, DATA_VOLUMES)
    assert after.keys() == before.keys()
    for name, claim in after.items():
        assert (claim["metadata"]["uid"], claim["spec"]) == (before[name]["metadata"]["uid"], before[name]["spec"])
        owners = [each["uid"] for each in claim["metadata"].get("ownerReferences") or ()]
        assert owners == ([] if name == "refused" else [made[name]["metadata"]["uid"]])
        assert name == "unbound" or await read_disk(world, name) == theirs["disk.img"]
        assert made[name]["metadata"].get("annotations", {}).get(names.PRE_POPULATED) == (name if name in filled else None)  # fmt: skip


async def test_a_spec_stays_as_it_is(world: Cluster) -> None:
    await make(world, source={"vddk": {"url": "https://sphere.example"}})
    change = {"spec": {"contentType": "archive"}}
    if world.namespace == "default":
        return  # the embedded server knows no rules of that kind
    with pytest.raises(Invalid, match="create it anew"):
        await world.client.patch(DATA_VOLUMES, "disk", change, namespace=world.namespace, field_manager="test")
    steps = {"spec": {"checkpoints": [{"previous": "", "current": "a"}], "finalCheckpoint": True}}
    await world.client.patch(DATA_VOLUMES, "disk", steps, namespace=world.namespace, field_manager="test")
