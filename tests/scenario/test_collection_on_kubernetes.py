"""DataVolumes are collected on a real API server, with the real garbage collector and a CDI that is played: its cache is late (`support.cdi_actor`)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.definition import MANAGED_BY_LABEL, cdi_config_crd, data_volume_crd
from datamover.cli.datavolumes import collection
from datamover.cli.options import DataVolumeOptions, Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import NotFound
from kubekit.client.http import HttpTransport
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import Resource
from support import cdi
from support.cdi_actor import CdiActor
from support.kubernetes import ControlPlane, MissingPrograms, find_programs
from support.scenario import Crew

pytestmark = pytest.mark.kubernetes
SPACE = "vms"
Tree = dict[str, Any]
LONG = 2.0
"""Seconds in which the garbage collector would have taken what it may take: it needs some hundredths of one."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose DataVolumes are another program's. Its garbage collector knows them from the first moment."""
    try:
        programs = find_programs()
    except MissingPrograms as missing:
        pytest.skip(str(missing))
    made = ControlPlane(programs, logs=tmp_path_factory.mktemp("collection"))
    definitions = [data_volume_crd(), cdi_config_crd()]
    for each in definitions:
        each["metadata"]["labels"].pop(MANAGED_BY_LABEL, None)
    made.start(manifests=definitions)
    made.create_namespace(SPACE)
    try:
        yield made
    finally:
        made.stop()


class World:
    """A client, an actor, an operator that can be begun when all is in place."""

    def __init__(self, client: Client, actor: CdiActor, crew: Crew) -> None:
        self.client, self.actor, self.crew = client, actor, crew

    async def give_claim(self, name: str, annotations: Tree | None = None) -> Tree:
        """A claim that is bound by hand, as if a driver had made its volume."""
        spec: Tree = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        spec |= {"storageClassName": "", "volumeName": f"pv-{name}"}
        meta: Tree = {"name": name, "annotations": annotations or {}}
        volume: Tree = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        volume |= {"persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": f"/nowhere/{name}"}}
        volume["claimRef"] = {"namespace": SPACE, "name": name}
        await self.client.create(PERSISTENT_VOLUMES, {"metadata": {"name": f"pv-{name}"}, "spec": volume})
        await self.client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": meta, "spec": spec}, namespace=SPACE)
        await self.until(lambda: self.is_bound(name))
        return await self.tree(PERSISTENT_VOLUME_CLAIMS, name) or {}

    async def give_volume(self, name: str, *owners: Tree, asked: str | None = "true", **annotations: str) -> Tree:
        """A DataVolume that adopts a claim of its name, and has Succeeded as soon as that is its own."""
        said = {names.ALLOW_ADOPTION: "true", **({names.DELETE_AFTER_COMPLETION: asked} if asked else {})}
        meta: Tree = {"name": name, "annotations": {**said, **annotations}, "ownerReferences": list(owners)}
        spec: Tree = {"source": {"blank": {}}, "storage": {}}
        await self.client.create(DATA_VOLUMES, {"metadata": meta, "spec": spec}, namespace=SPACE)
        made = await self.tree(DATA_VOLUMES, name) or {}
        await self.until(lambda: self.is_owned(name, made["metadata"]["uid"]))
        status = cdi.status_of(made, phase=names.Phase.SUCCEEDED, now="2026-11-30T03:00:00Z", adopted=True)
        patch: Tree = {"status": status}
        where: Tree = {"namespace": SPACE, "field_manager": "cdi"}
        await self.client.patch(DATA_VOLUMES, name, patch, subresource="status", **where)
        return made

    async def give_owner(self, name: str) -> Tree:
        await self.client.create(CONFIG_MAPS, {"metadata": {"name": name}}, namespace=SPACE)
        made = await self.tree(CONFIG_MAPS, name) or {}
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": made["metadata"]["uid"]}

    async def tree(self, resource: Resource[Any], name: str) -> Tree | None:
        namespace = SPACE if resource.namespaced else None
        try:
            return await self.client.request_json("GET", resource.path(namespace=namespace, name=name))
        except NotFound:
            return None

    async def is_bound(self, name: str) -> bool:
        claim = await self.tree(PERSISTENT_VOLUME_CLAIMS, name) or {}
        return claim.get("status", {}).get("phase") == "Bound"

    async def is_owned(self, name: str, uid: str) -> bool:
        claim = await self.tree(PERSISTENT_VOLUME_CLAIMS, name) or {"metadata": {}}
        return uid in [each["uid"] for each in claim["metadata"].get("ownerReferences") or ()]

    async def is_gone(self, resource: Resource[Any], name: str) -> bool:
        return await self.tree(resource, name) is None

    async def until(self, holds, *, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not await holds():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def open_world(plane: ControlPlane, *, late: float = 0.3) -> AsyncIterator[World]:
    config = load_config(plane.admin_kubeconfig)
    ours, theirs, mine = HttpTransport(config), HttpTransport(config), HttpTransport(config)
    actor = CdiActor(Client(theirs, user_agent="cdi"), late=late)
    options = Options(data_volumes=DataVolumeOptions(collection=True, ttl=0), namespace=SPACE)
    crew = Crew(
        lambda metrics: Client(ours, user_agent="operator", observe=metrics.request),
        cluster="test",
        options=options,
        kinds=(collection,),
    )
    playing = asyncio.create_task(actor.run())
    try:
        yield World(Client(mine, user_agent="test"), actor, crew)
    finally:
        await crew.end()
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        for each in (ours, theirs, mine):
            await each.close()


async def test_n10_n19_g24_a_claim_outlives_its_volume_beside_a_cdi_that_is_late(plane: ControlPlane) -> None:
    async with open_world(plane) as world:
        before = {f"disk-{number}": await world.give_claim(f"disk-{number}") for number in range(8)}
        for name in before:
            await world.give_volume(name)
        unasked = await world.give_claim("old")
        await world.give_volume("old", asked=None)
        repairs = world.actor.repairs
        world.crew.begin(world.crew.hire())
        for name in before:
            await world.until(lambda name=name: world.is_gone(DATA_VOLUMES, name))
        await asyncio.sleep(LONG)
        for name, claim in before.items():
            now = await world.tree(PERSISTENT_VOLUME_CLAIMS, name)
            assert now is not None
            assert now["metadata"]["uid"] == claim["metadata"]["uid"]
            assert now["spec"] == claim["spec"]
            assert "deletionTimestamp" not in now["metadata"]
            assert not now["metadata"].get("ownerReferences")
        assert world.actor.repairs == repairs, "with the guard it is never owned again"
        assert await world.tree(DATA_VOLUMES, "old") is not None
        assert (await world.tree(PERSISTENT_VOLUME_CLAIMS, "old") or {})["spec"] == unasked["spec"]


async def test_n11_g1_what_owned_the_volume_takes_the_claim_along_and_nobody_else(plane: ControlPlane) -> None:
    async with open_world(plane) as world:
        machine = await world.give_owner("machine")
        await world.give_claim("owned")
        await world.give_volume("owned", machine)
        world.crew.begin(world.crew.hire())
        await world.until(lambda: world.is_gone(DATA_VOLUMES, "owned"))
        await asyncio.sleep(LONG)
        claim = await world.tree(PERSISTENT_VOLUME_CLAIMS, "owned") or {}
        assert [each["uid"] for each in claim["metadata"]["ownerReferences"]] == [machine["uid"]]
        await world.client.delete(CONFIG_MAPS, "machine", namespace=SPACE)
        await world.until(lambda: world.is_gone(PERSISTENT_VOLUME_CLAIMS, "owned"))
