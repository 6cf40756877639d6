"""An operator on a cluster whose CustomResourceDefinition is missing or an older one: it waits, says so, and heals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from datamover.api import reasons
from datamover.api.installed import INSTALL
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.v1alpha1.definition import data_mover_crd
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import Options
from kubekit.client.client import Client
from kubekit.runtime.precondition import PreconditionLost
from kubekit.words.meta import PartialObject, Resource
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport
from support.clock import VirtualClock, settle
from support.definitions import original_definition
from support.scenario import ready_reason

CRDS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)


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
async def place(*, ends: bool = False) -> AsyncIterator[Place]:
    """A cluster and an operator on it; with `ends`, the operator's end is raised at the end."""
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
        assert task.done() == ends
    finally:
        stop.set()
        await asyncio.gather(task)


async def test_a_definition_that_comes_late_or_is_brought_up_to_date_lets_the_work_begin() -> None:
    async with place() as here:
        assert INSTALL in (here.problem() or "")
        assert "has no CustomResourceDefinition" in (here.problem() or "")
        await here.client.create(CRDS, original_definition())
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


async def test_a_definition_that_is_replaced_by_an_older_one_ends_the_work_before_anything_is_written_in_vain() -> None:
    async def replace_it(here: Place) -> None:
        await here.client.create(CRDS, data_mover_crd())
        await here.wait(60)
        assert here.problem() is None
        await here.client.apply(CRDS, original_definition(), field_manager="somebody")
        await here.wait(1)
        manifest = {"metadata": {"name": "nightly"}, "spec": {"sourcePvc": "app-data", "secretName": "s"}}
        await here.client.create(DATA_MOVERS, manifest, namespace="default")
        await here.wait(60)
        assert here.asked("patch", "datamovers") == here.asked("apply", "datamovers") == 0

    with pytest.raises(PreconditionLost, match=r"status\.run"):
        await _within(replace_it)


async def _within(story: Callable[[Place], Awaitable[None]]) -> None:
    async with place(ends=True) as here:
        await story(here)


@pytest.mark.parametrize("checked", [True, False])
async def test_only_who_wants_the_check_waits(checked: bool) -> None:
    registry, metrics = new_metrics()
    options = Options(check_definitions=checked)
    client = Client(LocalTransport(ApiServer()))
    operator = Operator(client, cluster="here", options=options, registry=registry, metrics=metrics)
    assert ("definitions" in operator.checks()) is checked
