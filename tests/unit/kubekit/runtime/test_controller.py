import asyncio
import logging
from collections import Counter
from contextlib import suppress

import pytest

from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.runtime.controller import DONE, After, Controller, Terminal
from kubekit.runtime.informer import Informer
from kubekit.runtime.instruments import Silence
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Priority, Stats
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock, settle
from support.tiny_server import TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


THINGS = Resource("", "v1", "things", "Thing", Thing)
PATH = "/api/v1/namespaces/ns/things"
A, B = Key("ns", "a"), Key("ns", "b")


class Outcomes(Silence):
    def __init__(self):
        self.seen = Counter()

    def reconciled(self, controller, outcome, seconds, /):
        self.seen[controller, outcome] += 1


class World:
    """A controller whose reconciles do what the test lays out for them."""

    def __init__(self, workers=2):
        self.clock = VirtualClock()
        self.metrics = Outcomes()
        self.calls = []
        self.results = []
        self.controller = Controller(
            "things", reconcile=self.reconcile, workers=workers, clock=self.clock, metrics=self.metrics
        )
        self.queue = self.controller.queue
        self.task = None

    async def reconcile(self, key):
        self.calls.append((self.clock.monotonic(), key.name))
        result = self.results.pop(0) if self.results else DONE
        if isinstance(result, asyncio.Event):
            await result.wait()
            return DONE
        if isinstance(result, Exception):
            raise result
        return result

    async def __aenter__(self):
        self.task = asyncio.create_task(self.controller.run())
        await settle()
        return self

    async def __aexit__(self, *_):
        self.queue.shutdown()
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await settle()
        assert self.clock.sleeping == 0


async def test_a_key_is_reconciled_once():
    async with World() as world:
        world.queue.add(A)
        await settle()
        assert world.calls == [(0, "a")]
        assert world.queue.stats == Stats(0, 0, 0, 0, 0)
        assert world.metrics.seen == {("things", "done"): 1}


async def test_after_means_after():
    async with World() as world:
        world.results = [After(5), After(0.5)]
        world.queue.add(A)
        await world.clock.advance(10)
        assert world.calls == [(0, "a"), (5, "a"), (5.5, "a")]
        assert world.metrics.seen == {("things", "after"): 2, ("things", "done"): 1}


async def test_a_change_comes_before_what_was_asked_for_later():
    async with World() as world:
        world.results = [After(60), After(60)]
        world.queue.add(A)
        await world.clock.advance(10)
        world.queue.add(A)
        await world.clock.advance(100)
        assert world.calls == [(0, "a"), (10, "a"), (70, "a")]


async def test_a_failure_is_tried_again_later_each_time_until_it_succeeds(caplog):
    async with World() as world:
        world.results = [KeyError("x"), NotFound("gone"), ValueError()]
        world.queue.add(A)
        with caplog.at_level(logging.WARNING):
            await world.clock.advance(1)
        assert [at for at, _ in world.calls] == pytest.approx([0, 0.005, 0.015, 0.035])
        assert world.queue.failures(A) == 0
        assert world.metrics.seen == {("things", "error"): 3, ("things", "done"): 1}
        first, second, third = caplog.records
        assert "failure 1 in a row" in first.message
        assert first.exc_info is not None
        assert "gone" in second.message
        assert second.exc_info is None  # an answer of the API is no defect
        assert "ValueError" in third.message


async def test_a_terminal_failure_waits_for_a_change(caplog):
    async with World() as world:
        world.results = [Terminal("the spec makes no sense")]
        world.queue.add(A)
        with caplog.at_level(logging.ERROR):
            await world.clock.advance(5000)
        assert len(world.calls) == 1
        assert "the spec makes no sense" in caplog.text
        world.queue.add(A)
        await settle()
        assert len(world.calls) == 2


async def test_workers_share_keys_but_never_one_key():
    async with World(workers=2) as world:
        first, second = asyncio.Event(), asyncio.Event()
        world.results = [first, second]
        world.queue.add(A)
        world.queue.add(B)
        await settle()
        world.queue.add(A)
        await settle()
        assert [name for _, name in world.calls] == ["a", "b"]
        second.set()
        await settle()
        assert [name for _, name in world.calls] == ["a", "b"]
        first.set()
        await settle()
        assert [name for _, name in world.calls] == ["a", "b", "a"]


async def test_shutting_down_the_queue_lets_the_reconciles_end():
    async with World() as world:
        gate = asyncio.Event()
        world.results = [gate]
        world.queue.add(A)
        await settle()
        world.queue.add(B)
        world.queue.add(A)
        world.queue.shutdown()
        await settle()
        assert not world.task.done()
        gate.set()
        await world.task


async def test_a_reconcile_that_is_cut_short_is_done_again_by_the_next_run():
    world = World()
    world.results = [asyncio.Event()]
    world.queue.add(A)
    async with asyncio.timeout(5):
        task = asyncio.create_task(world.controller.run())
        await settle()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert world.queue.stats == Stats(1, 0, 0, 0, 0)
        async with world:
            assert len(world.calls) == 2


async def test_changes_of_what_is_watched_become_keys_and_the_first_list_is_less_urgent():
    server, clock = TinyServer(), VirtualClock()
    server.put(PATH, "a")
    informer = Informer(Client(server.transport()), THINGS, clock=clock)
    world = World()
    world.controller.watch(informer, lambda old, new: [key_of((new or old).metadata)])
    priorities = {}
    add = world.queue.add
    world.queue.add = lambda key, priority: (priorities.setdefault(key, priority), add(key, priority))
    watching = asyncio.create_task(informer.run())
    await settle()
    assert priorities == {}, "who does not work gathers no keys"
    assert world.queue.stats == Stats(0, 0, 0, 0, 0)
    async with world:
        await settle()
        assert priorities == {A: Priority.LOW}, "what is there at the beginning"
        server.put(PATH, "b")
        await settle()
        assert priorities[B] == Priority.HIGH
        assert [name for _, name in world.calls] == ["a", "b"]
        world.calls.clear()
        server.delete(f"{PATH}/b")
        await settle()
        assert [name for _, name in world.calls] == ["b"]
    server.put(PATH, "c")
    await settle()
    assert world.queue.stats == Stats(0, 0, 0, 0, 0), "it works no more"
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
