"""A part of another informer: the same objects, watched once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kubekit.client.client import Client
from kubekit.runtime.informer import Informer
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock, settle
from support.tiny_server import TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


THINGS = Resource("", "v1", "things", "Thing", Thing)
PATH = "/api/v1/namespaces/ns/things"


class World:
    def __init__(self) -> None:
        self.server = TinyServer()
        self.server.put(PATH, "red-1")
        self.server.put(PATH, "blue-1")
        clock = VirtualClock()
        client = Client(self.server.transport(), clock=clock, jitter=lambda: 0.0)
        self.whole = Informer(client, THINGS, namespace="ns", clock=clock)
        self.part = Part(
            client,
            self.whole,
            select=lambda each: each.metadata.name.startswith("red") and not each.metadata.label("other"),
            indexes={"number": lambda each: [each.metadata.name[-1]]},
            clock=clock,
        )
        self.seen: list[tuple[str | None, str | None]] = []
        self.part.add_handler(self.note)

    def note(self, old: Thing | None, new: Thing | None) -> None:
        self.seen.append((old and old.metadata.name, new and new.metadata.name))

    def names(self) -> list[str]:
        return sorted(each.metadata.name for each in self.part.store.list())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    tasks = [asyncio.create_task(made.whole.run()), asyncio.create_task(made.part.run())]
    await settle()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_it_holds_what_is_selected_and_finds_it_by_its_indexes(world: World) -> None:
    assert world.part.synced.is_set()
    assert world.names() == ["red-1"]
    assert [each.metadata.name for each in world.part.store.by_index("number", "1")] == ["red-1"]
    assert world.part.store.get(Key("ns", "red-1")) is world.whole.store.get(Key("ns", "red-1")), "kept once"


async def test_it_tells_of_what_comes_and_goes_and_of_nothing_else(world: World) -> None:
    world.seen.clear()
    world.server.put(PATH, "red-2")
    world.server.put(PATH, "blue-2")
    await settle()
    world.server.delete(f"{PATH}/red-1")
    world.server.delete(f"{PATH}/blue-1")
    await settle()
    assert world.seen == [(None, "red-2"), ("red-1", None)]
    assert world.names() == ["red-2"]


async def test_what_no_longer_belongs_to_it_goes_and_may_come_again(world: World) -> None:
    world.seen.clear()
    world.server.put(PATH, "red-1", metadata={"labels": {"other": "yes"}})
    await settle()
    assert world.names() == []
    world.server.put(PATH, "red-1", metadata={"labels": {}})
    await settle()
    assert world.names() == ["red-1"]
    assert world.seen == [("red-1", None), (None, "red-1")]


async def test_it_watches_nothing_itself_and_has_a_name_of_its_own(world: World) -> None:
    watches = [each for each in world.server.requests if dict(each.query).get("watch")]
    assert len(watches) == 1
    assert world.part.name != world.whole.name
    assert world.part.state is world.whole.state
    assert world.part.outage == world.whole.outage


async def test_it_is_empty_while_nobody_runs_it_and_is_filled_anew() -> None:
    other = World()
    running = asyncio.create_task(other.whole.run())
    await settle()
    assert other.names() == []
    assert not other.part.synced.is_set()
    for _ in range(2):
        following = asyncio.create_task(other.part.run())
        await settle()
        assert other.names() == ["red-1"]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        other.part.begin_anew()
        assert other.names() == []
        assert not other.part.synced.is_set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_history_that_begins_anew_is_followed(world: World) -> None:
    old = world.whole.store.get(Key("ns", "red-1"))
    assert old is not None
    reborn = Thing(metadata=ObjectMeta(name="red-1", namespace="ns", uid="new", resource_version="1"))
    world.whole.store.replace([reborn], version=1, reset=True)
    assert world.part.store.list() == (reborn,)
