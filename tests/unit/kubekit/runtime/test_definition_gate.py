"""The gate that is open while a kind is served."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from kubekit.client.client import Client
from kubekit.runtime.definition_gate import DefinitionGate
from kubekit.runtime.gate import UNSEEN
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


THINGS = Resource("example.org", "v1", "things", "Thing", Thing)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "things.example.org"
SERVED = {"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}


class Place:
    def __init__(self, *, refusal=None) -> None:
        self.server, self.clock = TinyServer(), VirtualClock()
        self.refusal = refusal
        client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=lambda: 0.0)
        self.gate = DefinitionGate(client, THINGS, clock=self.clock)

    async def _interfere(self, request):
        del request
        return self.refusal


@asynccontextmanager
async def place(**options):
    found = Place(**options)
    task = asyncio.create_task(found.gate.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_follows_the_definition_through_its_life_and_asks_nothing_while_nothing_changes() -> None:
    async with place() as here:
        assert here.gate.check() == UNSEEN
        await settle()
        assert here.gate.check() == f"the cluster has no CustomResourceDefinition {NAME}"
        here.server.put(CRDS, NAME, status={"conditions": [], "storedVersions": ["v1"]})
        await settle()
        assert here.gate.check() == f"CustomResourceDefinition {NAME} is not served yet"
        here.server.put(CRDS, NAME, status=SERVED)
        await settle()
        assert here.gate.check() is None
        before = len(here.server.requests)
        await here.clock.advance(3600)
        assert len(here.server.requests) == before
        here.server.put(CRDS, NAME, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
        await settle()
        assert here.gate.check() == f"CustomResourceDefinition {NAME} is being deleted"
        here.server.delete(f"{CRDS}/{NAME}")
        await settle()
        assert here.gate.check() == f"the cluster has no CustomResourceDefinition {NAME}"


async def test_another_kinds_definition_is_not_even_asked_for() -> None:
    async with place() as here:
        here.server.put(CRDS, "widgets.example.org", status=SERVED)
        await settle()
        assert here.gate.check() is not None
        assert all(dict(each.query)["fieldSelector"] == f"metadata.name={NAME}" for each in here.server.requests)


@pytest.mark.parametrize(("refusal", "is_open"), [(failure(403, "Forbidden"), True), (failure(404, "NotFound"), False)])
async def test_without_the_right_to_look_nothing_is_claimed(refusal, is_open: bool) -> None:
    async with place(refusal=refusal) as here:
        await settle()
        assert (here.gate.check() is None) is is_open


async def test_a_server_in_trouble_says_nothing_of_the_definition() -> None:
    async with place(refusal=failure(500)) as here:
        await settle()
        assert here.gate.check() == UNSEEN
        here.server.put(CRDS, NAME, status=SERVED)
        here.refusal = None
        await here.clock.advance(60)
        assert here.gate.check() is None
