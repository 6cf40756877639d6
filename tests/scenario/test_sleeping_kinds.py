"""Kinds that may be missing or have to stand back, in both worlds: they sleep, say so, wake without a restart, and hold up nobody."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datamover.api.crd import crd
from datamover.cli.kinds import KINDS
from datamover.cli.surroundings import MakeKind, Surroundings
from kubekit.client.errors import KubeError
from kubekit.runtime.informer import Informer
from kubekit.runtime.lease_gate import LeaseGate
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.coordination import LEASES
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from support.errand import Errand, ErrandKind
from support.scenario import Cluster, embedded_cluster, real_cluster

FAVOURS = Resource("example.com", "v1", "favours", "Favour", Errand)
DEFINITION = crd(FAVOURS, rules={})
PRUNING = copy.deepcopy(DEFINITION)
"""The definition of another project, which has no conditions."""
del PRUNING["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
LEASE = "b95b3104.backube"

Open = Callable[..., AbstractAsyncContextManager[Cluster]]


class FavourKind(ErrandKind):
    """A kind whose definition may be missing."""

    resource = FAVOURS
    optional = True
    definition = None

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.objects = Informer(around.client, FAVOURS, namespace=around.options.namespace, clock=around.clock)


def modest(namespace: str) -> MakeKind:
    """Return the maker of a kind that stands back while another operator's Lease in that namespace is alive."""

    def make(around: Surroundings) -> FavourKind:
        kind = FavourKind(around)
        kind.gates = (LeaseGate(around.client, namespace=namespace, name=LEASE, whose="VolSync", clock=around.clock),)
        return kind

    return make


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """What opens a cluster whose operator knows a further kind."""

    @asynccontextmanager
    async def open_one(make: Callable[[str], MakeKind] = lambda _: FavourKind) -> AsyncIterator[Cluster]:
        if request.param == "embedded":
            async with embedded_cluster(tmp_path, kinds=(*KINDS, make("default"))) as found:
                yield found
        else:
            plane, space = request.getfixturevalue("kubernetes"), request.getfixturevalue("namespace")
            async with real_cluster(plane, space, tmp_path, kinds=(*KINDS, make(space))) as found:
                try:
                    yield found
                finally:
                    await remove_definition(found)

    return open_one


async def define(cluster: Cluster, definition: Any = DEFINITION) -> None:
    """Install the definition, once an older one is gone."""
    await until(cluster, lambda: succeeds(cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)))


async def remove_definition(cluster: Cluster) -> None:
    await succeeds(cluster.client.delete(CUSTOM_RESOURCE_DEFINITIONS, DEFINITION["metadata"]["name"]))


async def ask(cluster: Cluster, name: str) -> None:
    """Create a favour whose source is missing."""
    await until(cluster, lambda: succeeds(cluster.create(FAVOURS, name, spec={"source": "nowhere", "secret": "none"})))


async def succeeds(request: Awaitable[Any]) -> bool:
    try:
        await request
    except KubeError:
        return False
    return True


async def until(cluster: Cluster, holds: Callable[[], Awaitable[Any]]) -> None:
    await cluster.wait_for(holds)


async def told(cluster: Cluster, name: str) -> bool:
    status = (await cluster.client.get(FAVOURS, name, namespace=cluster.namespace)).status
    return status is not None and [each.reason for each in status.conditions] == ["SourceNotFound"]


def asleep(cluster: Cluster, gate: str = "definition") -> bool:
    value = cluster.registry.get_sample_value("datamover_controller_asleep", {"controller": "favour", "gate": gate})
    return value == 1


async def falls_asleep(cluster: Cluster, gate: str = "definition") -> None:
    async def sleeps() -> bool:
        return asleep(cluster, gate)

    await until(cluster, sleeps)


def status_writes(cluster: Cluster) -> float:
    labels = {"verb": "update", "resource": "favours.example.com/status", "code": "200"}
    return cluster.registry.get_sample_value("datamover_api_requests_total", labels) or 0.0


async def test_it_sleeps_until_its_definition_is_there_and_again_when_that_is_gone(world: Open) -> None:
    async with world() as cluster:
        await falls_asleep(cluster)
        await cluster.create_mover("backup", source="nowhere")
        await cluster.wait_reason("backup", "SourceNotFound")

        await define(cluster)
        await ask(cluster, "first")
        await until(cluster, lambda: told(cluster, "first"))
        assert not asleep(cluster)

        await remove_definition(cluster)
        await falls_asleep(cluster)
        await cluster.create_mover("another", source="nowhere")
        await cluster.wait_reason("another", "SourceNotFound")

        await define(cluster)
        await ask(cluster, "second")
        await until(cluster, lambda: told(cluster, "second"))


async def test_what_another_projects_definition_drops_is_written_once_and_not_at_each_look(world: Open) -> None:
    async with world() as cluster:
        await define(cluster, PRUNING)
        await ask(cluster, "favour")

        async def written() -> bool:
            return status_writes(cluster) > 0

        await until(cluster, written)
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
        for number in range(5):  # each wakes it
            await cluster.create(PERSISTENT_VOLUME_CLAIMS, f"other-{number}", spec=claim)
            await asyncio.sleep(0.1)
        found = await cluster.client.get(FAVOURS, "favour", namespace=cluster.namespace)
        assert not (found.status and found.status.conditions), "the server drops them"
        assert status_writes(cluster) == 1
        assert len([each for each in await cluster.events("favour") if each == ("Warning", "SourceNotFound")]) <= 1


async def test_it_stands_back_while_another_operator_is_alive_and_begins_when_that_one_has_stopped(world: Open) -> None:
    async with world(modest) as cluster:
        spec = {"holderIdentity": "volsync-7b5c_1", "leaseDurationSeconds": 600}
        await cluster.create(LEASES, LEASE, spec=spec)
        await falls_asleep(cluster, "lease")
        await define(cluster)
        await ask(cluster, "favour")
        await cluster.create_mover("backup", source="nowhere")
        await cluster.wait_reason("backup", "SourceNotFound")
        assert asleep(cluster, "lease")
        assert status_writes(cluster) == 0

        async def hand_over(holder: str) -> None:
            patch = {"spec": {"holderIdentity": holder}}
            await cluster.client.patch(LEASES, LEASE, patch, namespace=cluster.namespace, field_manager="theirs")

        await hand_over("")
        await until(cluster, lambda: told(cluster, "favour"))
        await hand_over("volsync-7b5c_2")
        await falls_asleep(cluster, "lease")
