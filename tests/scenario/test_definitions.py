"""An operator on a cluster whose CustomResourceDefinition is missing or an older one: it waits, says so, and heals."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from datamover.api import reasons
from datamover.api.crd import data_mover_crd
from datamover.api.installed import INSTALL
from datamover.api.meta import PartialObject, Resource
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.cli.operator import Operator, Options, new_metrics
from datamover.kube.client import Client
from datamover.local.store.apiserver import ApiServer
from datamover.local.transport import LocalTransport
from support.clock import VirtualClock, settle
from support.scenario import ready_reason

CRDS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)


def original() -> dict[str, Any]:
    """The original operator's definition, as far as it matters: no run, no conditions, none of the additive fields."""
    crd = copy.deepcopy(data_mover_crd())
    version = crd["spec"]["versions"][0]
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][:2]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    text = {"type": "string"}
    properties["status"] = {"type": "object", "properties": {"phase": text, "restoredPvcName": text}}
    spec = properties["spec"]["properties"]
    properties["spec"] = {
        "type": "object",
        "properties": {name: spec[name] for name in ("sourcePvc", "secretName", "additionalEnv", "image")},
    }
    return crd


class Place:
    """A cluster's API server and an operator on it, in a time of their own."""

    def __init__(self, operator: Operator, server: ApiServer, clock: VirtualClock) -> None:
        self.operator = operator
        self.server = server
        self.clock = clock
        self.client = Client(LocalTransport(server))

    async def wait(self, seconds: float) -> None:
        """Let time pass, and whatever is due then be done."""
        for _ in range(int(seconds)):
            await self.clock.advance(1)
            await settle()
        await asyncio.sleep(0.05)

    def problem(self) -> str | None:
        return self.operator.checks()["definitions"]()

    def asked(self, verb: str, resource: str) -> int:
        return sum(
            count for key, count in self.server.requests.items() if key[0] == verb and key[1].startswith(resource)
        )


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    server, clock = ApiServer(), VirtualClock()
    registry, metrics = new_metrics()
    operator = Operator(
        Client(LocalTransport(server)),
        cluster="here",
        options=Options(check_definitions=True),
        registry=registry,
        metrics=metrics,
        clock=clock,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    found = Place(operator, server, clock)
    try:
        await found.wait(1)
        yield found
        assert not task.done()
    finally:
        stop.set()
        await asyncio.gather(task)


async def test_a_definition_that_comes_late_or_is_brought_up_to_date_lets_the_work_begin() -> None:
    async with place() as here:
        assert INSTALL in (here.problem() or "")
        assert "has no CustomResourceDefinition" in (here.problem() or "")
        await here.client.create(CRDS, original())
        manifest = {"metadata": {"name": "nightly"}, "spec": {"sourcePvc": "app-data", "secretName": "s"}}
        await here.client.create(DATA_MOVERS, manifest, namespace="default")

        await here.wait(120)

        assert "status.run" in (here.problem() or "")
        assert INSTALL in (here.problem() or "")
        assert here.asked("patch", "datamovers") == here.asked("apply", "datamovers") == 0, "nothing is written in vain"
        still = await here.client.get(DATA_MOVERS, "nightly", namespace="default")
        assert still.status is None

        await here.client.apply(CRDS, data_mover_crd(), field_manager="kubectl")
        await here.wait(60)

        assert here.problem() is None
        begun = await here.client.get(DATA_MOVERS, "nightly", namespace="default")
        assert ready_reason(begun) == reasons.SOURCE_NOT_FOUND
        before = here.asked("get", "customresourcedefinitions")
        assert before >= 3
        await here.wait(120)
        assert here.asked("get", "customresourcedefinitions") == before, "what is right is not asked for again (L9)"


@pytest.mark.parametrize("checked", [True, False])
async def test_only_who_wants_the_check_waits(checked: bool) -> None:
    registry, metrics = new_metrics()
    options = Options(check_definitions=checked)
    client = Client(LocalTransport(ApiServer()))
    operator = Operator(client, cluster="here", options=options, registry=registry, metrics=metrics)
    assert ("definitions" in operator.checks()) is checked
