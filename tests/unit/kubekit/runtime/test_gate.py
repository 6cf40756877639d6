"""A controller behind gates: it works while all of them are open, and nobody waits for it."""

import asyncio

import pytest

from kubekit.client.client import Client
from kubekit.runtime.controller import DONE, Controller
from kubekit.runtime.gate import UNSEEN, Gate, Guarded
from kubekit.runtime.informer import Informer
from kubekit.runtime.instruments import Silence
from kubekit.runtime.manager import Manager
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock, settle
from support.tiny_server import TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


THINGS = Resource("", "v1", "things", "Thing", Thing)
OTHERS = Resource("example.org", "v1", "others", "Other", Thing)
OURS = "/api/v1/namespaces/ns/things"
THEIRS = "/apis/example.org/v1/namespaces/ns/others"


class Door(Gate):
    """A gate that a test opens and closes."""

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def open(self) -> None:
        self._note(None)

    def close(self, why: str = "it is closed") -> None:
        self._note(why)


class Instruments(Silence):
    def __init__(self) -> None:
        self.sleeping: dict[tuple[str, str], bool] = {}

    def asleep(self, controller: str, gate: str, yes: bool, /) -> None:
        self.sleeping[controller, gate] = yes


class World:
    """A controller of things that always works, and one of others behind two doors."""

    def __init__(self) -> None:
        self.server = TinyServer()
        self.server.put(OURS, "thing")
        self.server.put(THEIRS, "one")
        self.clock = VirtualClock()
        self.client = Client(self.server.transport(), clock=self.clock, jitter=lambda: 0.0)
        self.done: list[str] = []
        self.forgotten: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.front, self.back = Door("front"), Door("back")
        self.instruments = Instruments()
        self.manager = Manager(freeze=False)
        self.others = self.new_informer(OTHERS)
        things = self.new_informer(THINGS)
        self.manager.add_informer(things)
        self.manager.add_controller(self.new_controller("things", things))
        self.guarded = Guarded(
            self.new_controller("others", self.others),
            self.others,
            gates=(self.front, self.back),
            rest=lambda keys: self.forgotten.extend(key.name for key in keys),
            metrics=self.instruments,
        )
        self.manager.add_guarded(self.guarded)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.manager.run(self.stop))

    def new_informer(self, resource: Resource[Thing]) -> Informer[Thing]:
        return Informer(self.client, resource, clock=self.clock, jitter=lambda: 0.5)

    def new_controller(self, name: str, informer: Informer[Thing]) -> Controller:
        async def reconcile(key):
            if name == "others":
                await self.hold.wait()
            if informer.store.get(key) is not None:
                self.done.append(key.name)
            return DONE

        controller = Controller(name, reconcile=reconcile, clock=self.clock)
        controller.watch(informer)
        return controller

    @property
    def asked(self) -> int:
        """How often something behind the gates was asked for."""
        return sum("/others" in request.path for request in self.server.requests)

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, timeout=5)
        await settle()
        assert self.clock.sleeping == 0
        assert self.server.streams == set()
        assert len(asyncio.all_tasks()) == 1


async def test_what_is_behind_a_closed_gate_is_neither_watched_nor_waited_for() -> None:
    world = World()
    await world.clock.advance(60)
    assert world.done == ["thing"]
    assert world.asked == 0
    assert {check() for check in world.manager.checks().values()} == {None}, "the replica is ready"
    assert world.manager.notes() == {"others": UNSEEN}
    await world.end()


async def test_one_closed_gate_of_two_is_enough_and_is_told(caplog) -> None:
    world = World()
    world.front.open()
    world.back.close("somebody else works")
    await settle()
    assert world.asked == 0
    assert world.manager.notes() == {"others": "somebody else works"}
    assert world.instruments.sleeping == {("others", "front"): False, ("others", "back"): True}
    assert "others: does nothing, for somebody else works" in caplog.text
    await world.end()


async def test_work_begins_when_all_gates_are_open_ends_when_one_closes_and_begins_anew() -> None:
    world = World()
    world.front.open()
    world.back.open()
    await settle()
    assert world.done == ["thing", "one"]
    assert world.manager.notes() == {}

    world.server.put(THEIRS, "two")
    await settle()
    assert world.done == ["thing", "one", "two"]

    world.back.close()
    await settle()
    assert world.forgotten == ["one", "two"]
    assert len(world.server.streams) == 1, "only the things are watched"
    before = world.asked
    world.server.put(THEIRS, "three")
    world.server.delete(f"{THEIRS}/one")
    await world.clock.advance(600)
    assert world.done == ["thing", "one", "two"]
    assert world.asked == before

    world.back.open()
    await settle()
    assert sorted(world.done[3:]) == ["three", "two"], "what is there now is looked at, what is gone is not"
    assert [each.metadata.name for each in world.others.store.list()] == ["three", "two"]
    await world.end()


async def test_what_is_under_way_when_a_gate_closes_is_cut_short_and_done_when_it_opens() -> None:
    world = World()
    world.hold.clear()
    world.front.open()
    world.back.open()
    await settle()
    world.back.close()
    await settle()
    world.hold.set()
    await settle()
    assert world.done == ["thing"]
    world.back.open()
    await settle()
    assert world.done == ["thing", "one"]
    await world.end()


@pytest.mark.parametrize("flips", range(1, 5))
async def test_a_gate_that_flickers_leaves_the_state_that_it_ends_in(flips: int) -> None:
    world = World()
    world.front.open()
    for number in range(flips):
        (world.back.open if number % 2 == 0 else world.back.close)()
        if number == 1:
            await asyncio.sleep(0)
    await settle(60)
    works = flips % 2 == 1
    assert (world.done == ["thing", "one"]) is works
    assert len(world.server.streams) == (2 if works else 1)
    await world.end()


async def test_a_stop_is_obeyed_while_the_work_sleeps_and_while_it_waits_for_its_caches() -> None:
    asleep = World()
    await settle()
    await asleep.end()
    listing = World()
    listing.front.open()
    listing.back.open()
    await listing.end()
