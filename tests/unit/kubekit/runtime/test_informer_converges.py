"""Whatever happens on the way, the store ends equal to the server, and so does the picture that handlers were given."""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kubekit.client.client import Client
from kubekit.client.codec import decode_object, encode
from kubekit.client.errors import TransportError
from kubekit.runtime.informer import Informer
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock
from support.scripted_transport import failure
from support.tiny_server import BREAK, CUT, TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    size: int | None = None


THINGS = Resource("example.org", "v1", "things", "Thing", Thing)
PATH = "/apis/example.org/v1/namespaces/ns/things"

names = st.sampled_from("abcd")
steps = st.one_of(
    st.tuples(st.just("put"), names, st.integers(0, 9)),
    st.tuples(st.just("poison"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("write"), names),
    st.tuples(st.just("late")),
    st.tuples(st.just("replay"), st.integers(0, 6), st.integers(0, 6), st.randoms(use_true_random=False)),
    st.tuples(st.sampled_from(["cut", "break", "compact", "bookmark", "error410", "garbage", "rebirth"])),
    st.tuples(st.just("mute"), st.booleans()),
    st.tuples(st.just("fail"), st.lists(st.sampled_from([403, 404, 410, 429, 500, 0]), max_size=4)),
    st.tuples(st.just("pass"), st.sampled_from([0, 0.3, 2, 70])),
)


class Simulation:
    def __init__(self, lag, page_size):
        self.server = TinyServer()
        for name in "abcda":
            self.server.put(PATH, name, size=0)
        self.server.delete(f"{PATH}/d")
        self.server.lag = lag
        self.server.page_size = page_size
        self.clock = VirtualClock()
        self.failures = []
        self.written = []
        self.view = {}
        self.wrong = []
        dice = random.Random(1)
        client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=dice.random)
        self.informer = Informer(client, THINGS, clock=self.clock, jitter=dice.random, page_size=2)
        self.informer.add_handler(self._tell)

    async def _interfere(self, request):
        if not self.failures:
            return None
        code = self.failures.pop()
        if code == 0:
            raise TransportError("away")
        return failure(code)

    def _tell(self, old, new):
        name = (new or old).metadata.name
        if self.view.get(name) != old:
            self.wrong.append((name, self.view.get(name), old, new))
        if new is None:
            del self.view[name]
        else:
            self.view[name] = new

    async def step(self, kind, *args):
        server = self.server
        match kind:
            case "put":
                server.put(PATH, args[0], size=args[1])
            case "poison":
                server.put(PATH, args[0], size="large")
            case "delete" if f"{PATH}/{args[0]}" in server.objects:
                server.delete(f"{PATH}/{args[0]}")
            case "write":  # we write, and take in the answer at once or later
                self.written.append(decode_object(encode(server.put(PATH, args[0], size=1)), Thing))
            case "late" if self.written:
                self.informer.store.observe(self.written.pop())
            case "replay":
                events = server.history[-sum(args[:2]) or None :][: args[1]]
                args[2].shuffle(events)
                for _, type_, path, obj in [] if server.muted else events:
                    server.send({"type": type_, "object": obj, "path": path})
            case "cut":
                server.send(CUT)
            case "break":
                server.send(BREAK)
            case "compact":
                server.compact()
            case "bookmark" if not server.muted:
                server.bookmark()
            case "error410":
                server.send({"type": "ERROR", "object": {"code": 410}})
            case "garbage":
                server.send(b"garbage\n")
            case "rebirth":
                self.written.clear()
                self.failures.clear()
                server.muted = False
                server.rebirth()
                await self.clock.advance(200)
            case "mute":
                if server.muted and not args[0]:
                    server.send(BREAK)  # what did not arrive makes the stream end, as TCP has it
                server.muted = args[0]
            case "fail":
                self.failures = list(args[0])
            case "pass":
                await self.clock.advance(args[0])

    async def end(self):
        self.failures.clear()
        if self.server.muted:
            await self.step("mute", False)
        await self.clock.advance(400)
        while self.written:
            self.informer.store.observe(self.written.pop(0))
        await self.clock.advance(400)

    def check(self):
        real = {path.rsplit("/", 1)[1]: obj for path, obj in self.server.objects.items()}
        poisoned = {name for name, obj in real.items() if obj["size"] == "large"}
        cached = {key.name: self.informer.store.get(key) for key in tuple(self.informer.store.keys())}
        assert {name: (o.metadata.uid, o.metadata.resource_version, o.size) for name, o in cached.items() if name not in poisoned} == {
            name: (o["metadata"]["uid"], o["metadata"]["resourceVersion"], o["size"])
            for name, o in real.items()
            if name not in poisoned
        }  # fmt: skip
        assert {key.name for key in self.informer.store.poisoned()} == poisoned
        assert self.wrong == []
        assert self.view == cached


async def simulate(script, lag, page_size):
    simulation = Simulation(lag, page_size)
    task = asyncio.create_task(simulation.informer.run())
    try:
        await asyncio.sleep(0)
        for step in script:
            await simulation.step(*step)
        await simulation.end()
        simulation.check()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25), st.integers(0, 4), st.sampled_from([1, 2, 1000]))
@example([("pass", 0), ("write", "a"), ("delete", "a"), ("pass", 0), ("late",)], 0, 1000)
@example([("write", "d"), ("late",), ("pass", 0)], 4, 1000)
@example([("pass", 0), ("mute", True), ("delete", "a"), ("compact",), ("mute", False)], 0, 1000)
@example([("pass", 0), ("put", "d", 1), ("delete", "a"), ("rebirth",), ("put", "b", 2)], 0, 1)
def test_the_store_ends_equal_to_the_server(script, lag, page_size):
    asyncio.run(simulate(script, lag, page_size))


@pytest.mark.parametrize("seed", range(3))
async def test_a_long_life_ends_equal_to_the_server(seed):
    dice = random.Random(seed)
    simulation = Simulation(lag=0, page_size=2)
    task = asyncio.create_task(simulation.informer.run())
    kinds = ["put", "put", "put", "delete", "poison", "write", "late", "pass", "cut", "break", "error410", "bookmark"]
    for _ in range(400):
        kind = dice.choice(kinds)
        args = {"put": (dice.choice("abcd"), dice.randrange(9)), "pass": (dice.choice([0, 0.3, 2]),)}.get(
            kind, (dice.choice("abcd"),) if kind in {"delete", "poison", "write"} else ()
        )
        await simulation.step(kind, *args)
    await simulation.end()
    simulation.check()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
