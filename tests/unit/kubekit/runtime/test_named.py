import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from kubekit.client.client import Client
from kubekit.runtime.named import FORBIDDEN, MISSING, UNKNOWN, NamedInformers
from kubekit.runtime.store import Key
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import CUT, TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    size: int | None = None


THINGS = Resource("", "v1", "things", "Thing", Thing)
PATH = "/api/v1/namespaces/ns/things"
A, B = Key("ns", "a"), Key("ns", "b")


class World:
    def __init__(self):
        self.server = TinyServer()
        self.clock = VirtualClock()
        self.refuse = {}
        client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=lambda: 0.0)
        self.named = NamedInformers(client, THINGS, clock=self.clock, jitter=lambda: 0.5)
        self.told = []
        self.named.add_handler(self.told.append)

    async def _interfere(self, request):
        return self.refuse.get(dict(request.query).get("fieldSelector"))


@asynccontextmanager
async def running():
    world = World()
    world.server.put(PATH, "a", size=1)
    task = asyncio.create_task(world.named.run())
    await settle()
    try:
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert world.server.streams == set()
        assert world.clock.sleeping == 0


async def test_nothing_is_watched_that_nobody_wants():
    async with running() as world:
        assert world.named.get(A) is UNKNOWN
        assert world.server.requests == []


async def test_what_is_wanted_is_listed_and_watched_by_name():
    async with running() as world:
        world.named.want("run", [A])
        assert world.named.get(A) is UNKNOWN
        await settle()
        found = world.named.get(A)
        assert isinstance(found, Thing)
        assert found.size == 1
        assert A in world.told
        assert {request.path for request in world.server.requests} == {PATH}
        assert {dict(request.query)["fieldSelector"] for request in world.server.requests} == {"metadata.name=a"}


async def test_what_is_not_there_is_missing_and_its_coming_and_going_is_told():
    async with running() as world:
        world.named.want("run", [B])
        await settle()
        assert world.named.get(B) is MISSING
        assert B in world.told
        world.told.clear()
        world.server.put(PATH, "b", size=2)
        await settle()
        assert world.named.get(B).size == 2
        world.server.delete(f"{PATH}/b")
        await settle()
        assert world.named.get(B) is MISSING
        assert world.told == [B, B]


async def test_what_we_may_not_read_is_forbidden_until_we_may():
    async with running() as world:
        world.refuse["metadata.name=a"] = failure(403)
        world.named.want("run", [A, B])
        await settle()
        assert (world.named.get(A), world.named.get(B)) == (FORBIDDEN, MISSING)
        assert A in world.told
        world.told.clear()
        world.refuse.clear()
        await world.clock.advance(61)
        assert world.named.get(A).size == 1
        assert A in world.told


async def test_a_right_that_is_taken_away_is_noticed():
    async with running() as world:
        world.named.want("run", [A])
        await world.clock.advance(5)
        world.refuse["metadata.name=a"] = failure(403)
        world.server.send(CUT)
        await settle()
        assert world.named.get(A) is FORBIDDEN


async def test_a_server_in_trouble_tells_nothing():
    async with running() as world:
        world.refuse["metadata.name=a"] = failure(500)
        world.named.want("run", [A])
        await world.clock.advance(5)
        assert world.named.get(A) is UNKNOWN


async def test_what_cannot_be_read_is_not_called_missing():
    async with running() as world:
        world.server.put(PATH, "b", size="large")
        world.named.want("run", [B])
        await settle()
        assert world.named.get(B) is UNKNOWN


async def test_several_owners_share_one_watch_and_the_last_one_ends_it():
    async with running() as world:
        world.named.want("one", [A, B])
        world.named.want("two", [A])
        await settle()
        assert len(world.server.streams) == 2
        assert world.named.owners(A) == {"one", "two"}
        world.named.want("one", [])
        await settle()
        assert (len(world.server.streams), len(world.named)) == (1, 1)
        assert world.named.get(A).size == 1
        assert world.named.get(B) is UNKNOWN
        world.named.want("two", [])
        await settle()
        assert (len(world.server.streams), len(world.named)) == (0, 0)
        assert world.named.owners(A) == frozenset()
        assert (world.named._wanted, world.named._users, world.named._ending) == ({}, {}, set())


async def test_wanting_the_same_again_costs_nothing():
    async with running() as world:
        world.named.want("run", [A])
        await settle()
        before = len(world.server.requests)
        for _ in range(10):
            world.named.want("run", [A])
        await settle()
        assert len(world.server.requests) == before


async def test_what_was_wanted_before_the_start_is_watched_after_it():
    world = World()
    world.server.put(PATH, "a", size=1)
    world.named.want("run", [A])
    assert world.named.get(A) is UNKNOWN
    task = asyncio.create_task(world.named.run())
    await settle()
    assert world.named.get(A).size == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert world.server.streams == set()


async def test_a_handler_that_fails_stops_nobody():
    async with running() as world:
        world.named._handlers.insert(0, lambda _: 1 / 0)
        world.named.want("run", [A])
        await settle()
        assert A in world.told


async def test_a_defect_ends_the_whole_and_is_not_silent():
    world = World()

    async def fail(request):
        raise ZeroDivisionError

    world.named._client._transport._interfere = fail
    world.named.want("run", [A])
    with pytest.raises(ZeroDivisionError):
        await world.named.run()
