"""DataVolumes are collected on a real API server, with the real garbage collector and a CDI that is played: its cache is late (`support.cdi_actor`)."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.cli.datavolumes import collection
from datamover.cli.options import DataVolumeOptions, Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import NotFound
from kubekit.client.http import HttpTransport
from kubekit.client.transport import Request, Response, Stream, Transport
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from localkube.node.node import LocalNode, NodeOptions
from support import cdi
from support.cdi_actor import CdiActor
from support.filling import VOLUMES
from support.kubernetes import ControlPlane
from support.scenario import CLASS, Crew, create_classes

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("cdi")]
SPACE = "vms"
Tree = dict[str, Any]
LONG = 2.0
"""Seconds in which the garbage collector would have taken what it may take: it needs some hundredths of one."""


@pytest.fixture
def plane(cdi_plane: ControlPlane) -> ControlPlane:
    cdi_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
    return cdi_plane


class World:
    """A client, an actor, an operator that can be begun when all is in place."""

    def __init__(self, client: Client, actor: CdiActor, crew: Crew) -> None:
        self.client, self.actor, self.crew = client, actor, crew

    async def give_claim(self, name: str, annotations: Tree | None = None) -> Tree:
        """A claim on a directory of our node, with a file in it. It goes with the claim."""
        spec: Tree = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
        meta: Tree = {"name": name, "annotations": annotations or {}}
        manifest: Tree = {"metadata": meta, "spec": {**spec, "storageClassName": CLASS}}
        await self.client.create(PERSISTENT_VOLUME_CLAIMS, manifest, namespace=SPACE)
        await self.until(lambda: self.is_bound(name))
        claim = await self.tree(PERSISTENT_VOLUME_CLAIMS, name) or {}
        (await self.disk(claim)).write_bytes(f"what {name} holds".encode() * 1000)
        return claim

    async def disk(self, claim: Tree) -> Path:
        """Return where the disk of a claim lies."""
        volume = await self.client.get(VOLUMES, claim["spec"]["volumeName"])
        return Path(volume.directory) / "disk.img"

    async def is_as_it_was(self, claim: Tree) -> bool:
        """Tell whether a claim, its volume and its bytes are those that were given, and are nobody's."""
        name = claim["metadata"]["name"]
        now = await self.tree(PERSISTENT_VOLUME_CLAIMS, name)
        assert now is not None, f"{name} is lost"
        assert now["metadata"]["uid"] == claim["metadata"]["uid"]
        assert now["spec"] == claim["spec"]
        assert now["status"]["phase"] == "Bound"
        assert "deletionTimestamp" not in now["metadata"]
        return (await self.disk(now)).read_bytes() == f"what {name} holds".encode() * 1000

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
async def open_world(
    plane: ControlPlane, place: Path, *, late: float = 0.3, way: Callable[[Transport], Transport] = lambda each: each
) -> AsyncIterator[World]:
    """`way` is what is between the operators and the server."""
    config = load_config(plane.admin_kubeconfig)
    ours, theirs, mine, nodes = [HttpTransport(config) for _ in range(4)]
    actor = CdiActor(Client(theirs, user_agent="cdi"), late=late)
    options = Options(data_volumes=DataVolumeOptions(collection=True, ttl=0), namespace=SPACE)
    crew = Crew(
        lambda metrics: Client(way(ours), user_agent="operator", observe=metrics.request),
        cluster="test",
        options=options,
        kinds=(collection,),
    )
    client = Client(mine, user_agent="test")
    node = LocalNode(
        Client(nodes, user_agent="node"),
        state_dir=place,
        images={},
        options=NodeOptions(name=f"node-{secrets.token_hex(4)}"),
    )
    await create_classes(client)
    beside = [asyncio.create_task(each) for each in (actor.run(), node.run())]
    try:
        yield World(client, actor, crew)
    finally:
        await crew.end()
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for each in (ours, theirs, mine, nodes):
            await each.close()


async def test_n10_n19_g24_a_claim_outlives_its_volume_beside_a_cdi_that_is_late(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with open_world(plane, tmp_path) as world:
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
            assert await world.is_as_it_was(claim)
            now = await world.tree(PERSISTENT_VOLUME_CLAIMS, name) or {}
            assert not now["metadata"].get("ownerReferences")
        assert world.actor.repairs == repairs, "with the guard it is never owned again"
        assert await world.tree(DATA_VOLUMES, "old") is not None
        assert await world.is_as_it_was(unasked)


async def test_n11_g1_what_owned_the_volume_takes_the_claim_along_and_nobody_else(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with open_world(plane, tmp_path) as world:
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


class Dead(Exception):
    """The operator is no more."""


class Mortal:
    """The way of an operator that dies of its first write of an object: the server has carried it out, and nobody hears of it."""

    def __init__(self, inner: Transport) -> None:
        self.dead = asyncio.Event()
        self._inner = inner

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        if self.dead.is_set():
            raise Dead
        effect = request.method in ("PATCH", "DELETE") and "events" not in request.path
        if effect:
            self.dead.set()  # before it is sent: no second one of another worker's goes out
        answer = await self._inner.request(request, timeout=timeout)
        if effect:
            raise Dead
        return answer

    def stream(self, request: Request, *, idle_timeout: float | None = None) -> AbstractAsyncContextManager[Stream]:
        return self._inner.stream(request, idle_timeout=idle_timeout)

    async def close(self) -> None:
        """What is below is closed by who opened it."""


async def test_n5_n10_operators_of_which_each_dies_of_its_first_write_collect_all_the_same(
    plane: ControlPlane, tmp_path: Path
) -> None:
    ways: list[Mortal] = []

    def lead(inner: Transport) -> Transport:
        ways.append(Mortal(inner))
        return ways[-1]

    async with open_world(plane, tmp_path, late=0.1, way=lead) as world:
        names_of = [f"mortal-{number}" for number in range(3)]
        claims = [await world.give_claim(name) for name in names_of]
        machine = await world.give_owner("survivor")
        for name in names_of:
            await world.give_volume(name, machine)

        async def left() -> list[str]:
            return [name for name in names_of if not await world.is_gone(DATA_VOLUMES, name)]

        while await left():
            world.crew.begin(world.crew.hire())
            waits = [asyncio.create_task(ways[-1].dead.wait()), asyncio.create_task(world.until(lambda: is_none(left)))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.05)  # the server has it
            for each in waits:
                each.cancel()
            await world.crew.kill()
            assert len(ways) <= 8 * len(names_of)
        assert len(ways) >= 4 * len(names_of), "each of its writes was the last one of an operator"
        await asyncio.sleep(LONG)
        for claim in claims:
            assert await world.is_as_it_was(claim)
            now = await world.tree(PERSISTENT_VOLUME_CLAIMS, claim["metadata"]["name"]) or {}
            assert [each["uid"] for each in now["metadata"]["ownerReferences"]] == [machine["uid"]]


async def is_none(left: Callable[[], Any]) -> bool:
    return not await left()
