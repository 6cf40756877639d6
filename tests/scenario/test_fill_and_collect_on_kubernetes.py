"""DataVolumes that this operator fills and collects, on a real API server: the real binder, the real garbage collector, and the real worker.

The numbers are those of the table of cases in the docs. Each case runs twice: with a TTL of 0 from the beginning, so that our stamp asks; and for what
is older than the TTL, which stays until its user asks.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.reconcilers.collection.gather import SINCE_NAME
from datamover.volumes.collection_time import NEVER
from kubekit.words.core import CONFIG_MAPS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS
from support.image_server import Plain, serving
from support.importing import noise
from support.kubernetes import ControlPlane
from support.scenario import Cluster
from support.standalone import (
    MIB,
    STORAGE,
    free_port,
    listening_on,
    make_upload,
    reached,
    read_disk,
    send,
    standalone,
    trees,
)

pytestmark = pytest.mark.kubernetes
KEY = names.DELETE_AFTER_COMPLETION
LONG = 1.5
"""Seconds in which it would have been collected, and in which the garbage collector would have taken what it may take."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def world(kubernetes: ControlPlane, namespace: str, tmp_path: Path, port: int) -> AsyncIterator[Cluster]:
    async with standalone(kubernetes, namespace, tmp_path, images=listening_on(port)) as found:

        async def is_recorded() -> bool:
            return SINCE_NAME in await trees(found, CONFIG_MAPS)

        await found.wait_for(is_recorded)
        await asyncio.sleep(1)  # moments have whole seconds, and what is made in this one is not new
        yield found


async def set_ttl(world: Cluster, value: str) -> None:
    """Set the TTL of the namespace."""
    labels = {names.TTL_LABEL: value}
    await world.client.patch(NAMESPACES, world.namespace, {"metadata": {"labels": labels}}, field_manager="test")


async def annotate(world: Cluster, name: str, value: str) -> None:
    change = {"metadata": {"annotations": {KEY: value}}}
    await world.client.patch(DATA_VOLUMES, name, change, namespace=world.namespace, field_manager="test")


async def until_collected(world: Cluster, name: str) -> dict[str, Any]:
    """Wait until a DataVolume is gone, and return its claim, which the garbage collector has left alone."""

    async def is_gone() -> bool:
        return name not in await trees(world, DATA_VOLUMES)

    await world.wait_for(is_gone)
    await asyncio.sleep(LONG)
    claim = (await trees(world, PERSISTENT_VOLUME_CLAIMS))[name]
    assert claim["status"]["phase"] == "Bound"
    assert "deletionTimestamp" not in claim["metadata"]
    assert "ownerReferences" not in claim["metadata"]
    assert claim["metadata"]["annotations"][names.GARBAGE_COLLECTED] == "true"
    return claim


async def collect_old(world: Cluster, *old: str) -> None:
    """What was made while nothing was to be collected stays also when that changes, and goes when its user asks (G4, G5)."""
    for name in old:
        await reached(world, "Succeeded", name)
        await annotate(world, name, "")
    before = await trees(world, PERSISTENT_VOLUME_CLAIMS)
    await set_ttl(world, "0")
    await asyncio.sleep(LONG)
    there = await trees(world, DATA_VOLUMES)
    assert set(old) <= set(there)
    assert not any(names.STAMPED in there[name]["metadata"]["annotations"] for name in old)
    for name in old:
        await annotate(world, name, "true")
    for name in old:
        after = await until_collected(world, name)
        assert (after["metadata"]["uid"], after["spec"]) == (before[name]["metadata"]["uid"], before[name]["spec"])


async def test_g7_an_import_and_a_clone_of_its_collected_claim_are_collected_and_both_claims_stay(
    world: Cluster,
) -> None:
    image = noise(MIB)

    async def make(name: str, source: dict[str, Any]) -> None:
        await world.create(DATA_VOLUMES, name, spec={"source": source, "storage": STORAGE})

    with serving() as server:
        server.objects["/disk.img"] = Plain(image)
        imported = {"http": {"url": server.url("/disk.img")}}
        await make("first", imported)
        await until_collected(world, "first")
        await make("clone", {"pvc": {"name": "first", "namespace": world.namespace}})
        await until_collected(world, "clone")
        await set_ttl(world, NEVER)
        await make("old", imported)
        await reached(world, "Succeeded", "old")
        await make("old-clone", {"pvc": {"name": "old", "namespace": world.namespace}})
        await collect_old(world, "old", "old-clone")
    assert set(await trees(world, PERSISTENT_VOLUME_CLAIMS)) == {"first", "clone", "old", "old-clone"}
    for name in ("first", "clone", "old", "old-clone"):
        assert (await read_disk(world, name))[:MIB] == image


async def test_g8_an_upload_is_collected_and_its_claim_stays(
    world: Cluster, kubernetes: ControlPlane, port: int
) -> None:
    file = world.place / "mine.raw"
    file.write_bytes(noise(MIB))

    async def upload(name: str) -> None:
        await make_upload(world, name)
        done = await send(world, kubernetes, file, port=port, name=name)
        assert done.returncode == 0, done.stdout + done.stderr

    await upload("new")
    await until_collected(world, "new")
    again = await send(world, kubernetes, file, port=port, name="new")
    assert again.returncode != 0
    assert "was collected" in again.stdout
    await set_ttl(world, NEVER)
    await upload("old")
    await collect_old(world, "old")
    for name in ("new", "old"):
        assert (await read_disk(world, name))[:MIB] == file.read_bytes()
