import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest

from kubekit.client.client import Client
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.instruments import Silence
from kubekit.runtime.store import Key
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock
from support.scripted_transport import failure
from support.tiny_server import BREAK, CUT, TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    size: int | None = None


THINGS = Resource("example.org", "v1", "things", "Thing", Thing)
PATH = "/apis/example.org/v1/namespaces/ns/things"


class Counting(Silence):
    def __init__(self):
        self.seen = Counter()

    def state(self, resource, state, /):
        self.seen[state] += 1

    def event(self, resource, type_, /):
        self.seen[type_] += 1

    def relisted(self, resource, reason, /):
        self.seen["relist", reason] += 1

    def restarted(self, resource, reason, /):
        self.seen["restart", reason] += 1

    def poisoned(self, resource, /):
        self.seen["poisoned"] += 1

    def objects(self, resource, count, /):
        self.seen["objects"] = count


class World:
    """A server, an informer on it, and what its handlers saw."""

    def __init__(self, **options):
        self.server = TinyServer()
        self.clock = VirtualClock()
        self.metrics = Counting()
        self.answers = []
        self.client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=lambda: 0.0)
        self.informer = Informer(
            self.client, THINGS, clock=self.clock, jitter=lambda: 0.5, metrics=self.metrics, **options
        )
        self.told = []
        self.view = {}
        self.wrong = []
        self.states = []
        self.informer.add_handler(self._tell)
        self.informer.add_state_handler(self.states.append)

    async def _interfere(self, request):
        if not self.answers:
            return None
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _tell(self, old, new):
        present = new or old
        self.told.append((old and old.metadata.resource_version, new and new.metadata.resource_version))
        name = present.metadata.name
        if self.view.get(name) != old:
            self.wrong.append((name, self.view.get(name), old))
        if new is None:
            del self.view[name]
        else:
            self.view[name] = new

    @property
    def cached(self):
        return {
            key.name: obj.size
            for key, obj in ((k, self.informer.store.get(k)) for k in tuple(self.informer.store.keys()))
        }

    @property
    def real(self):
        return {path.rsplit("/", 1)[1]: obj.get("size") for path, obj in self.server.objects.items()}

    def asked(self, kind):
        lists = [r for r in self.server.requests if r.method == "GET" and ("watch", "true") not in r.query]
        return lists if kind == "list" else [r for r in self.server.requests if ("watch", "true") in r.query]

    async def settle(self, seconds=0.0):
        await self.clock.advance(seconds)


async def stop(task):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def running(**options):
    world = World(**options)
    for name in "ab":
        world.server.put(PATH, name, size=1)
    task = asyncio.create_task(world.informer.run())
    await world.settle()
    try:
        yield world
    finally:
        await stop(task)
        assert world.server.streams == set()
        assert world.informer.state is State.STOPPED
        assert world.wrong == []
        assert world.view == {key.name: world.informer.store.get(key) for key in tuple(world.informer.store.keys())}


async def test_it_lists_consistently_and_in_pages_and_watches_from_there():
    async with running(namespace="ns", label_selector="x=y") as world:
        assert world.informer.synced.is_set()
        assert world.informer.state is State.WATCHING
        assert world.states == [State.LISTING, State.WATCHING]
        assert world.cached == {"a": 1, "b": 1}
        (listing,), (watch,) = world.asked("list"), world.asked("watch")
        assert listing.path == PATH
        assert listing.query == (("labelSelector", "x=y"), ("limit", "500"))
        assert dict(watch.query) == {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "102",
            "timeoutSeconds": "450",
            "labelSelector": "x=y",
        }


async def test_a_list_of_many_pages_appears_at_once():
    world = World(page_size=1)
    for name in "abc":
        world.server.put(PATH, name, size=1)
    sizes = []
    world.informer.add_handler(lambda *_: sizes.append(len(world.informer.store)))
    task = asyncio.create_task(world.informer.run())
    await world.settle()
    assert sizes == [3, 3, 3]
    assert len(world.asked("list")) == 3
    await stop(task)


async def test_events_change_the_store_and_are_told():
    async with running() as world:
        world.server.put(PATH, "c", size=3)
        world.server.put(PATH, "a", size=2)
        world.server.delete(f"{PATH}/b")
        await world.settle()
        assert world.cached == {"a": 2, "c": 3}
        assert world.told[2:] == [(None, "103"), ("101", "104"), ("102", None)]
        assert len(world.asked("list")) == 1


@pytest.mark.parametrize("how", [CUT, BREAK])
async def test_a_watch_that_ends_goes_on_from_the_last_version_without_a_list(how):
    async with running() as world:
        await world.settle(200)
        world.server.put(PATH, "c", size=3)
        await world.settle()
        world.server.send(how)
        await world.settle()
        world.server.delete(f"{PATH}/a")
        await world.settle(1)
        assert world.cached == {"b": 1, "c": 3}
        assert len(world.asked("list")) == 1
        assert [dict(request.query)["resourceVersion"] for request in world.asked("watch")] == ["102", "103"]


async def test_a_bookmark_moves_the_version_on_and_never_back():
    async with running() as world:
        world.server.revision = 500
        world.server.bookmark()
        world.server.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}})
        await world.settle(5)
        world.server.send(CUT)
        await world.settle(1)
        assert dict(world.asked("watch")[-1].query)["resourceVersion"] == "500"


async def test_an_expired_version_is_listed_anew_and_lost_deletions_are_told():
    async with running() as world:
        await world.settle(10)
        world.server.muted = True
        world.server.delete(f"{PATH}/a")
        world.server.put(PATH, "b", size=2)
        world.server.compact()
        world.server.send(CUT)
        await world.settle()
        assert world.cached == {"b": 2}
        assert world.told[2:] == [("101", None), ("102", "104")]
        assert dict(world.asked("list")[-1].query) == {"limit": "500"}  # consistent: never back in time
        assert world.metrics.seen["relist", "expired"] == 1


async def test_a_410_within_the_stream_is_listed_anew_at_once():
    async with running() as world:
        await world.settle(10)
        world.server.send({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
        await world.settle()
        assert len(world.asked("list")) == 2
        assert len(world.asked("watch")) == 2
        assert world.metrics.seen["relist", "expired"] == 1


async def test_a_server_that_says_410_again_and_again_is_not_asked_without_pause():
    async with running() as world:
        await world.settle(10)
        before = len(world.server.requests)
        for _ in range(200):
            world.server.send({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
            await world.settle(0.25)
        assert len(world.server.requests) - before < 30


async def test_a_server_that_closes_every_watch_at_once_is_not_asked_without_pause():
    async with running() as world:
        for _ in range(200):
            world.server.send(CUT)
            await world.settle(0.25)
        assert len(world.asked("watch")) < 20
        assert len(world.asked("list")) == 1


async def test_a_server_that_has_not_reached_our_version_is_listed_and_its_list_is_the_truth():
    async with running() as world:
        await world.settle(10)
        world.server.delete(f"{PATH}/b")
        world.server.put(PATH, "a", size=5)
        await world.settle()
        world.server.put(PATH, "a", size=7)
        world.server.put(PATH, "c", size=7)
        await world.settle()
        del world.server.objects[f"{PATH}/c"]
        world.server.rebirth()
        await world.settle(10)
        assert world.metrics.seen["relist", "ahead"] == 1
        world.server.put(PATH, "d", size=1)
        world.server.put(PATH, "a", size=8)
        await world.settle()
        assert world.cached == {"a": 8, "d": 1}


async def test_a_stream_of_repeated_and_late_events_changes_nothing():
    async with running() as world:
        world.server.put(PATH, "a", size=2)
        world.server.put(PATH, "a", size=3)
        world.server.delete(f"{PATH}/b")
        await world.settle()
        told = list(world.told)
        for _, type_, path, obj in world.server.history:
            world.server.send({"type": type_, "object": obj, "path": path})
        await world.settle()
        assert world.told == told
        assert world.cached == {"a": 3}


async def test_errors_lead_to_longer_and_longer_pauses_and_then_to_work():
    world = World()
    world.answers = [failure(403)] * 4
    task = asyncio.create_task(world.informer.run())
    times = []
    for _ in range(100):
        await world.clock.advance(0.1001)
        times.append(len(world.server.requests))
    assert times[-1] == 6
    assert [times.index(count) for count in (2, 3, 4, 6)] == [4, 14, 34, 74]
    assert world.informer.synced.is_set()
    assert world.states == [State.LISTING, State.FORBIDDEN, State.LISTING, State.FORBIDDEN] * 2 + [
        State.LISTING,
        State.WATCHING,
    ]
    await stop(task)


async def test_a_required_kind_that_is_forbidden_is_not_settled_and_says_why(caplog):
    world = World()
    world.answers = [failure(403, "Forbidden", "you may not list things")] * 9
    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(world.informer.run())
        await world.settle(5)
    assert not world.informer.settled.is_set()
    assert world.informer.problem == "you may not list things"
    assert len(caplog.records) == 1
    await stop(task)


@pytest.mark.parametrize(("status", "state"), [(403, State.FORBIDDEN), (404, State.ABSENT)])
async def test_an_optional_kind_that_is_not_to_be_had_is_settled_and_heals(status, state):
    world = World(optional=True)
    world.server.put(PATH, "a", size=1)
    world.answers = [failure(status)]
    task = asyncio.create_task(world.informer.run())
    await world.settle()
    assert world.informer.state is state
    assert world.informer.settled.is_set()
    assert not world.informer.synced.is_set()
    await world.settle(59)
    assert len(world.server.requests) == 1
    await world.settle(2)
    assert world.informer.synced.is_set()
    assert world.cached == {"a": 1}
    await stop(task)


@pytest.mark.parametrize("late", [0, 3])
async def test_a_kind_of_which_somebody_says_that_it_is_served_is_found_at_once_or_soon(late):
    world = World(optional=True)
    world.server.put(PATH, "a", size=1)
    world.answers = [failure(404)] * (1 + late)
    task = asyncio.create_task(world.informer.run())
    await world.settle(5)
    assert not world.informer.synced.is_set()
    world.informer.look_again()
    await world.settle(0 if late == 0 else 6)
    assert world.informer.synced.is_set()
    assert world.cached == {"a": 1}
    await stop(task)


async def test_a_kind_that_was_announced_and_does_not_come_is_looked_for_each_minute_again():
    world = World(optional=True)
    world.answers = [failure(404)] * 40
    task = asyncio.create_task(world.informer.run())
    await world.settle(5)
    world.informer.look_again()
    await world.settle(100)
    soon = len(world.server.requests)
    assert soon <= 10
    await world.settle(300)
    assert len(world.server.requests) - soon <= 6
    await stop(task)


async def test_a_kind_that_is_gone_for_a_moment_takes_nothing_with_it():
    async with running(optional=True) as world:
        await world.settle(10)
        world.answers = [failure(404)]
        world.server.send(CUT)
        await world.settle()
        assert world.informer.state is State.ABSENT
        assert world.cached == {"a": 1, "b": 1}
        world.server.delete(f"{PATH}/a")
        await world.settle(61)
        assert world.cached == {"b": 1}
        assert world.told[2:] == [("101", None)]
        assert "resourceVersion" not in dict(world.asked("list")[-1].query)


async def test_a_right_that_is_taken_away_leaves_the_cache_as_it_was():
    async with running(optional=True) as world:
        await world.settle(10)
        world.answers = [failure(403)]
        world.server.send(CUT)
        await world.settle()
        assert world.informer.state is State.FORBIDDEN
        assert world.cached == {"a": 1, "b": 1}
        world.server.delete(f"{PATH}/a")
        await world.settle(61)
        assert world.cached == {"b": 1}
        assert len(world.asked("list")) == 1


async def test_poison_in_a_list_and_in_a_watch_stops_nothing():
    world = World()
    world.server.put(PATH, "a", size=1)
    world.server.put(PATH, "bad", size="large")
    task = asyncio.create_task(world.informer.run())
    await world.settle()
    assert world.cached == {"a": 1}
    assert list(world.informer.store.poisoned()) == [Key("ns", "bad")]
    world.server.put(PATH, "a", size="large")
    world.server.put(PATH, "b", size=2)
    await world.settle()
    assert world.cached == {"a": 1, "b": 2}
    assert world.metrics.seen["poisoned"] == 2
    world.server.put(PATH, "a", size=3)
    world.server.put(PATH, "b", size="large")
    world.server.delete(f"{PATH}/b")
    await world.settle()
    assert world.cached == {"a": 3}
    assert list(world.informer.store.poisoned()) == [Key("ns", "bad")]
    assert len(world.asked("list")) == 1
    await stop(task)


@pytest.mark.parametrize("garbage", [b"garbage\n", b'{"type":"DELETED","object":5}\n', b'{"type":5}\n', b"\xff\xfe\n"])
async def test_an_event_that_tells_nothing_leads_to_a_list(garbage):
    async with running() as world:
        await world.settle(10)
        world.server.send(garbage)
        await world.settle(10)
        assert world.metrics.seen["relist", "unreadable"] == 1
        assert world.informer.state is State.WATCHING


async def test_an_addition_that_tells_nothing_is_passed_over():
    async with running() as world:
        world.server.send(b'{"type":"ADDED","object":{"metadata":{"name":7}}}\n')
        world.server.put(PATH, "c", size=1)
        await world.settle()
        assert world.cached == {"a": 1, "b": 1, "c": 1}
        assert len(world.asked("list")) == 1


async def test_a_question_that_the_server_refuses_is_begun_anew():
    async with running() as world:
        await world.settle(10)
        world.answers = [failure(400, "BadRequest", "invalid resource version")]
        world.server.send(CUT)
        await world.settle(10)
        assert world.metrics.seen["relist", "refused"] == 1
        assert world.informer.state is State.WATCHING


async def test_a_busy_server_is_left_alone_as_long_as_it_asks():
    async with running() as world:
        await world.settle(10)
        world.answers = [failure(429, "TooManyRequests", "busy", retryAfterSeconds=20)]
        world.server.send(CUT)
        await world.settle(19)
        assert len(world.asked("watch")) == 2
        await world.settle(2)
        assert len(world.asked("watch")) == 3
        assert len(world.asked("list")) == 1


async def test_a_list_that_expires_between_pages_begins_anew():
    async with running(page_size=1) as world:
        await world.settle(10)
        server = world.server
        before = len(world.asked("list"))
        server.send({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
        world.answers = [None, failure(410, "Expired")]
        await world.settle(10)
        assert len(world.asked("list")) == before + 4
        assert world.cached == world.real


async def test_our_own_write_is_read_back_before_the_watch_tells_it():
    async with running() as world:
        written = world.server.put(PATH, "a", size=9)
        world.informer.store.observe(Thing(metadata=ObjectMeta(
            name="a", namespace="ns", uid=written["metadata"]["uid"], resource_version=written["metadata"]["resourceVersion"]
        ), size=9))  # fmt: skip
        assert world.cached["a"] == 9
        told = len(world.told)
        await world.settle()
        assert len(world.told) == told


async def test_a_late_answer_to_our_own_write_is_known_to_be_late():
    async with running() as world:
        world.server.revision = 500
        world.server.bookmark()
        await world.settle()
        gone = Thing(metadata=ObjectMeta(name="x", namespace="ns", uid="x", resource_version="499"))
        assert not world.informer.store.observe(gone)


async def test_a_handler_that_fails_stops_nothing():
    async with running() as world:
        world.informer.add_handler(lambda *_: 1 / 0)
        world.informer.add_state_handler(lambda _: 1 / 0)
        world.server.put(PATH, "c", size=1)
        await world.settle()
        assert world.cached == {"a": 1, "b": 1, "c": 1}


async def test_an_idle_kind_costs_nothing_but_the_watch():
    async with running() as world:
        before = len(world.server.requests)
        await world.settle(100_000)
        assert len(world.server.requests) == before
