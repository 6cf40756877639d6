import asyncio
import hashlib
import json
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest

from kubekit.client.client import Client
from kubekit.client.errors import TransportError
from kubekit.runtime.events import EventRecorder, Reference, cut
from kubekit.runtime.instruments import Silence
from kubekit.words.meta import ObjectMeta, PartialObject, Resource
from support.clock import VirtualClock, settle
from support.scripted_transport import HANG, failure
from support.tiny_server import TinyServer

THINGS = Resource("example.org", "v1", "things", "Thing", PartialObject)
NODES = Resource("", "v1", "nodes", "Node", PartialObject, namespaced=False)
EVENTS = "/apis/events.k8s.io/v1/namespaces/ns/events"


class Outcomes(Silence):
    def __init__(self):
        self.seen = Counter()

    def recorded(self, outcome, /):
        self.seen[outcome] += 1


def meta(name="a", **extra):
    return ObjectMeta(name=name, namespace="ns", uid=f"uid-{name}", resource_version="7", **extra)


class World:
    def __init__(self, server=None, **options):
        self.server = server or TinyServer()
        self.clock = VirtualClock()
        self.metrics = Outcomes()
        self.answers = []
        client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=lambda: 0.0)
        self.recorder = EventRecorder(
            client, component="op", instance="op-0", clock=self.clock, metrics=self.metrics, **options
        )

    async def _interfere(self, request):
        answer = self.answers.pop(0) if self.answers else None
        if answer is HANG:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def say(self, message="it works", *, name="a", type_="Normal", reason="Works", action="Working"):
        self.recorder.record(meta(name), THINGS, type_, reason, message, action)

    @property
    def events(self):
        return [obj for path, obj in sorted(self.server.objects.items()) if path.startswith(EVENTS)]

    @property
    def asked(self):
        return [request.method for request in self.server.requests]


@asynccontextmanager
async def running(**options):
    world = World(**options)
    task = asyncio.create_task(world.recorder.run())
    try:
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await settle()
        assert world.clock.sleeping == 0


async def test_an_event_says_who_what_and_why():
    async with running() as world:
        world.say()
        assert world.asked == []
        await settle()
        (event,) = world.events
        assert event["metadata"].pop("name").startswith("a.")
        del event["metadata"]["uid"], event["metadata"]["resourceVersion"]
        assert event == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": "ns"},
            "eventTime": "2024-08-06T14:30:00.000000Z",
            "type": "Normal",
            "reason": "Works",
            "action": "Working",
            "note": "it works",
            "reportingController": "op",
            "reportingInstance": "op-0",
            "regarding": {
                "apiVersion": "example.org/v1",
                "kind": "Thing",
                "name": "a",
                "namespace": "ns",
                "uid": "uid-a",
                "resourceVersion": "7",
            },
        }
        assert world.metrics.seen == {"created": 1}


async def test_an_event_about_something_without_a_namespace_goes_to_default():
    async with running() as world:
        world.recorder.record(ObjectMeta(name="n", uid="u"), NODES, "Normal", "R", "m", "")
        await settle()
        (request,) = world.server.requests
        assert request.path == "/apis/events.k8s.io/v1/namespaces/default/events"
        body = json.loads(request.body)
        assert "namespace" not in body["regarding"]
        assert body["action"] == "R"


async def test_an_event_may_name_a_second_object():
    async with running() as world:
        world.recorder.record(meta("a"), THINGS, "Normal", "R", "m", "A", related=Reference(THINGS, meta("b")))
        await settle()
        (event,) = world.events
        assert event["regarding"]["name"] == "a"
        assert event["related"] == {
            "apiVersion": "example.org/v1",
            "kind": "Thing",
            "name": "b",
            "namespace": "ns",
            "uid": "uid-b",
            "resourceVersion": "7",
        }


async def test_the_same_said_of_another_second_object_is_another_event():
    async with running() as world:
        for related in (None, Reference(THINGS, meta("b")), Reference(THINGS, meta("c"))):
            for _ in range(2):
                world.recorder.record(meta("a"), THINGS, "Normal", "R", "m", "A", related=related)
        await settle()
        assert sorted(event.get("related", {}).get("name", "") for event in world.events) == ["", "b", "c"]
        assert {event["series"]["count"] for event in world.events} == {2}


async def test_the_name_of_an_event_is_the_one_that_older_versions_gave_so_that_their_series_go_on():
    async with running() as world:
        world.say()
        await settle()
        (event,) = world.events
        digest = hashlib.sha256(b"\0".join((b"uid-a", b"Normal", b"Works", b"Working", b"it works", b"op"))).hexdigest()
        assert event["metadata"]["name"] == f"a.{digest[:16]}"


async def test_the_same_said_again_is_one_event_with_a_series():
    async with running() as world:
        for _ in range(5):
            world.say()
            await world.clock.advance(2)
        assert world.asked == ["POST"]
        await world.clock.advance(30)
        assert world.asked == ["POST", "PATCH"]
        (event,) = world.events
        assert event["series"] == {"count": 5, "lastObservedTime": "2024-08-06T14:30:08.000000Z"}
        await world.clock.advance(1000)
        assert world.asked == ["POST", "PATCH"]


async def test_what_is_said_twice_before_it_is_written_is_written_once():
    async with running() as world:
        world.say()
        world.say()
        await settle()
        assert world.asked == ["POST"]
        assert world.events[0]["series"]["count"] == 2


async def test_what_is_said_while_it_is_written_is_not_lost():
    async with running() as world:
        gate = asyncio.Event()

        async def slowly(request):
            await gate.wait()

        world.recorder._client._transport._interfere = slowly
        world.say()
        await settle()
        world.say()
        gate.set()
        await world.clock.advance(31)
        assert world.asked == ["POST", "PATCH"]
        assert world.events[0]["series"]["count"] == 2
        assert world.recorder.pending == 0


async def test_different_things_are_different_events():
    async with running() as world:
        world.say()
        world.say("it works well")
        world.say(type_="Warning")
        world.say(reason="Worked")
        world.say(action="Resting")
        world.say(name="b")
        await settle()
        assert len(world.events) == 6
        assert world.asked == ["POST"] * 6


async def test_a_restarted_operator_continues_the_series():
    async with running() as before:
        before.say()
        await settle()
        before.say()
        await before.clock.advance(31)
    async with running(server=before.server) as world:
        world.say()
        await settle()
        (event,) = world.events
        assert event["series"]["count"] == 3
        world.say()
        await world.clock.advance(31)
        assert world.events[0]["series"]["count"] == 4


async def test_an_event_that_the_server_has_forgotten_is_written_anew():
    async with running() as world:
        world.say()
        await settle()
        world.server.objects.clear()
        await world.clock.advance(7200)
        world.say()
        await settle()
        (event,) = world.events
        assert event["eventTime"] == "2024-08-06T16:30:00.000000Z"
        assert "series" not in event
        world.say()
        await world.clock.advance(31)
        assert world.events[0]["series"]["count"] == 2


async def test_one_object_cannot_flood_the_server():
    async with running() as world:
        for number in range(100):
            world.say(f"number {number}")
        world.say(name="b")
        await settle(200)
        assert len(world.events) == 26
        assert world.metrics.seen == {"created": 26, "dropped": 75}
        await world.clock.advance(300)
        world.say("later")
        await settle()
        assert len(world.events) == 27


async def test_saying_the_same_for_ever_costs_no_more_than_saying_new_things():
    async with running(burst=2, series_interval=1) as world:
        for _ in range(5):
            world.say()
            await world.clock.advance(5)
        assert world.asked == ["POST", "PATCH"]
        assert world.metrics.seen == {"created": 1, "series": 1, "dropped": 3}
        await world.clock.advance(300)
        world.say()
        await world.clock.advance(1)
        assert world.events[0]["series"]["count"] == 6  # what was not written is counted all the same


async def test_what_waits_is_bounded():
    async with running(max_pending=10) as world:
        for number in range(50):
            world.say(name=f"n{number}")
        assert world.recorder.pending == 10
        assert world.metrics.seen == {"dropped": 40}
        await settle(100)
        assert world.recorder.pending == 0
        assert len(world.events) == 10


@pytest.mark.parametrize("trouble", [failure(503), failure(409, "Conflict"), failure(410), TransportError("away")])
async def test_trouble_of_the_server_is_waited_out(trouble):
    async with running() as world:
        world.answers = [trouble] * 2
        world.say()
        await settle()
        assert world.events == []
        await world.clock.advance(10)
        assert len(world.events) == 1
        assert world.metrics.seen == {"created": 1}
        assert world.recorder._queue.stats.failing == 0


async def test_trouble_without_end_costs_the_event_and_nothing_else(caplog):
    async with running() as world:
        world.answers = [failure(503)] * 5
        world.say()
        with caplog.at_level(logging.WARNING):
            await world.clock.advance(100)
        assert (world.events, world.recorder.pending) == ([], 0)
        assert world.metrics.seen == {"failed": 1}
        assert len(caplog.records) == 1
        world.say()
        await settle()
        assert len(world.events) == 1


@pytest.mark.parametrize("refusal", [failure(403), failure(404), failure(422)])
async def test_a_refusal_is_not_argued_with(refusal, caplog):
    async with running() as world:
        world.answers = [refusal, refusal]
        with caplog.at_level(logging.WARNING):
            world.say()
            world.say("more")
            await world.clock.advance(100)
        assert world.asked == ["POST", "POST"]
        assert world.metrics.seen == {"failed": 2}
        assert len(caplog.records) == 1


async def test_a_flush_writes_what_waits_series_included():
    world = World()
    world.say()
    await world.recorder.flush()
    world.say()
    world.say("other")
    await world.recorder.flush()
    assert world.asked == ["POST", "PATCH", "POST"]
    assert world.recorder.pending == 0
    await world.recorder.flush()
    assert len(world.asked) == 3
    world.recorder._queue.shutdown()
    await settle()


async def test_a_flush_tries_each_event_once():
    world = World()
    world.answers = [failure(503)]
    world.say()
    world.say("other")
    await world.recorder.flush()
    assert len(world.events) == 1
    assert world.recorder.pending == 0


async def test_a_server_that_hangs_holds_up_nobody():
    async with running() as world:
        world.answers = [HANG]
        for number in range(3):
            world.say(f"number {number}")
        await settle()
        assert world.recorder.pending == 3


async def test_a_long_message_is_cut_and_long_names_still_make_a_name():
    async with running() as world:
        long = "n" * 252 + "x"
        world.recorder.record(
            ObjectMeta(name=long, namespace="ns", uid="u"), THINGS, "Normal", "R" * 200, "é" * 2000, "A" * 200
        )
        await settle()
        (event,) = world.events
        assert len(event["note"].encode()) <= 1024
        assert event["note"].endswith("é…")
        assert len(event["metadata"]["name"]) <= 253
        assert (len(event["reason"]), len(event["action"])) == (128, 128)


@pytest.mark.parametrize(
    ("text", "limit", "result"),
    [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("ééé", 5, "é…"), ("a\ud800b", 10, "a?b"), ("", 3, "")],
)
def test_cutting_splits_no_character(text, limit, result):
    assert cut(text, limit) == result


async def test_memory_of_series_is_bounded(monkeypatch):
    monkeypatch.setattr("kubekit.runtime.events.MAX_REMEMBERED", 10)
    async with running() as world:
        for number in range(30):
            world.say(name=f"n{number}")
        await settle(200)
        assert len(world.recorder._series) == 10
        assert len(world.recorder._buckets) == 10
        assert world.metrics.seen == {"created": 10, "dropped": 20}
        assert world.recorder.pending == 0
