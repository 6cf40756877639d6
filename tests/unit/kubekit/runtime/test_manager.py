import asyncio
import gc
from contextlib import suppress

import pytest

from kubekit.client.client import Client
from kubekit.runtime.controller import DONE, Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.leader import LeaderElector, LeadershipLost
from kubekit.runtime.manager import Manager
from kubekit.runtime.store import key_of
from kubekit.words.meta import Model, ObjectMeta, Resource
from support.clock import VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import CUT, TinyServer


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


THINGS = Resource("", "v1", "things", "Thing", Thing)
OTHERS = Resource("example.org", "v1", "others", "Other", Thing)
PATH = "/api/v1/namespaces/ns/things"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/op"


class World:
    def __init__(self, *, elected=False, one_term=False, grace=5.0, **options):
        self.server = TinyServer()
        self.server.put(PATH, "a")
        self.clock = VirtualClock()
        self.refuse = {}
        self.client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=lambda: 0.0)
        elector = None
        if elected:
            elector = LeaderElector(
                self.client,
                namespace="ns",
                name="op",
                identity="me",
                clock=self.clock,
                jitter=lambda: 0.0,
                one_term=one_term,
            )
        self.manager = Manager(elector=elector, grace=grace, freeze=False, **options)
        self.log = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.stop = asyncio.Event()
        self.task = None
        self.informer = Informer(self.client, THINGS, clock=self.clock, jitter=lambda: 0.5)
        self.controller = Controller("things", reconcile=self.reconcile, clock=self.clock)
        self.controller.watch(self.informer, lambda old, new: [key_of((new or old).metadata)])
        self.manager.add_informer(self.informer)
        self.manager.add_controller(self.controller)
        self.manager.add_finisher(self.finish)

    async def _interfere(self, request):
        return self.refuse.get(request.path)

    async def reconcile(self, key):
        self.log.append(f"begin {key.name}")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.append(f"cancel {key.name}")
            raise
        self.log.append(f"end {key.name}")
        return DONE

    async def finish(self):
        self.log.append("finish")

    def start(self):
        self.task = asyncio.create_task(self.manager.run(self.stop))

    async def end(self):
        self.stop.set()
        await self.task
        await settle()
        assert self.clock.sleeping == 0
        assert self.server.streams == set()
        assert len(asyncio.all_tasks()) == 1


async def test_controllers_work_when_the_caches_are_full_and_end_when_told():
    world = World()
    world.refuse["/api/v1/things"] = failure(500)
    world.start()
    await world.clock.advance(1)
    assert world.log == []
    assert world.manager.checks()["things"]() is not None
    assert world.manager.checks()["started"]() == "controllers wait for the caches"
    world.refuse.clear()
    await world.clock.advance(30)
    assert world.log == ["begin a", "end a"]
    assert {check() for check in world.manager.checks().values()} == {None}
    await world.end()
    assert world.log[-1] == "finish"


async def test_an_optional_kind_that_is_absent_holds_up_nobody():
    world = World()
    world.refuse["/apis/example.org/v1/others"] = failure(404)
    world.manager.add_informer(Informer(world.client, OTHERS, clock=world.clock, optional=True))
    world.start()
    await settle()
    assert world.log == ["begin a", "end a"]
    await world.end()


async def test_a_stop_while_the_caches_fill_is_obeyed_at_once():
    world = World()
    world.refuse["/api/v1/things"] = failure(500)
    world.start()
    await settle()
    async with asyncio.timeout(20):
        await world.end()
    assert world.log == ["finish"]


async def test_a_stop_lets_the_reconcile_in_hand_end():
    world = World()
    world.gate.clear()
    world.start()
    await settle()
    world.server.put(PATH, "b")
    await settle()
    world.stop.set()
    await settle()
    world.server.put(PATH, "c")
    await settle()
    assert not world.task.done()
    world.gate.set()
    await world.end()
    assert sorted(world.log[:-1]) == ["begin a", "begin b", "end a", "end b"]
    assert world.log[-1] == "finish"


async def test_a_reconcile_that_does_not_end_in_time_is_cancelled():
    world = World(grace=0.01)
    world.gate.clear()
    world.start()
    await settle()
    await world.end()
    assert world.log == ["begin a", "cancel a", "finish"]


async def test_only_the_leader_works_and_it_releases_after_the_work():
    world = World(elected=True)
    world.server.put(LEASE.rsplit("/", 1)[0], "op", spec={"holderIdentity": "other", "leaseDurationSeconds": 15})
    world.start()
    await world.clock.advance(14)
    assert world.log == []
    await world.clock.advance(4)
    assert world.log == ["begin a", "end a"]
    world.gate.clear()
    world.server.put(PATH, "b")
    await settle()
    world.stop.set()
    await settle()
    assert world.server.objects[LEASE]["spec"]["holderIdentity"] == "me"
    world.gate.set()
    await world.end()
    assert world.log[-2:] == ["end b", "finish"]
    assert world.server.objects[LEASE]["spec"]["holderIdentity"] == ""


async def test_who_does_not_lead_stops_at_once():
    world = World(elected=True, grace=60)
    world.server.put(LEASE.rsplit("/", 1)[0], "op", spec={"holderIdentity": "other", "leaseDurationSeconds": 15})
    world.start()
    await world.clock.advance(5)
    async with asyncio.timeout(20):
        await world.end()
    assert world.server.objects[LEASE]["spec"]["holderIdentity"] == "other"


async def test_lost_leadership_stops_the_work_and_a_new_term_takes_it_up_again():
    world = World(elected=True)
    world.gate.clear()
    world.start()
    await settle()
    world.refuse[LEASE] = failure(500)
    await world.clock.advance(12)
    assert world.log == ["begin a", "cancel a"]
    world.refuse.clear()
    world.gate.set()
    await world.clock.advance(10)
    assert world.log == ["begin a", "cancel a", "begin a", "end a"]
    await world.end()


async def test_with_one_term_lost_leadership_ends_the_whole_process():
    world = World(elected=True, one_term=True)
    world.gate.clear()
    world.start()
    await settle()
    world.refuse[LEASE] = failure(500)
    await world.clock.advance(12)
    async with asyncio.timeout(20):
        with pytest.raises(LeadershipLost, match="another replica may lead now, so this process ends"):
            await world.task
    assert world.log == ["begin a", "cancel a", "finish"]
    assert world.server.streams == set()
    assert len(asyncio.all_tasks()) == 1


async def test_a_replica_on_standby_has_nothing_in_its_queue_and_takes_up_everything_when_it_leads():
    world = World(elected=True)
    world.server.put(LEASE.rsplit("/", 1)[0], "op", spec={"holderIdentity": "other", "leaseDurationSeconds": 15})
    world.start()
    await settle()
    world.server.put(PATH, "b")
    await world.clock.advance(5)
    stats = world.controller.queue.stats
    assert (stats.high, stats.low, stats.delayed) == (0, 0, 0)
    await world.clock.advance(14)
    assert sorted(world.log) == ["begin a", "begin b", "end a", "end b"]
    await world.end()


@pytest.mark.parametrize(("status", "state"), [(403, "forbidden"), (404, "absent")])
async def test_a_kind_that_may_no_longer_be_watched_makes_the_replica_unready_until_it_may(status, state):
    world = World()
    world.start()
    await settle()
    check = world.manager.checks()["things"]
    assert check() is None
    world.refuse["/api/v1/things"] = failure(status)
    world.server.send(CUT)
    await world.clock.advance(60)
    assert check().startswith(f"{state} for ")
    world.refuse.clear()
    await world.clock.advance(60)
    assert check() is None
    await world.end()


async def test_a_server_that_is_away_for_a_moment_leaves_the_replica_ready_one_that_is_away_long_does_not():
    world = World()
    world.start()
    await settle()
    check = world.manager.checks()["things"]
    world.refuse["/api/v1/things"] = failure(500)
    world.server.send(CUT)
    await world.clock.advance(200)
    assert check() is None
    await world.clock.advance(150)
    assert "waiting for 3" in check()
    world.refuse.clear()
    await world.clock.advance(60)
    assert check() is None
    await world.end()


async def test_an_optional_kind_that_goes_away_leaves_the_replica_ready():
    world = World()
    world.server.put("/apis/example.org/v1/namespaces/ns/others", "x")
    world.manager.add_informer(Informer(world.client, OTHERS, clock=world.clock, optional=True))
    world.start()
    await settle()
    world.refuse["/apis/example.org/v1/others"] = failure(404)
    world.server.send(CUT)
    await world.clock.advance(600)
    assert {check() for check in world.manager.checks().values()} == {None}
    await world.end()


async def test_other_tasks_run_from_start_to_end():
    world = World()
    seen = []

    async def companion():
        seen.append("start")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("end")

    world.manager.add_task("companion", companion)
    world.start()
    await settle()
    assert seen == ["start"]
    await world.end()
    assert seen == ["start", "end"]


@pytest.mark.parametrize("when", ["at the start", "later"])
async def test_a_defect_of_a_background_task_stops_everything_and_is_raised(when):
    world = World()

    async def broken():
        if when == "later":
            await world.clock.sleep(5)
        raise ZeroDivisionError(when)

    world.manager.add_task("broken", broken)
    world.start()
    await world.clock.advance(6)
    with pytest.raises(ZeroDivisionError, match=when):
        await world.task
    assert world.log[-1] == "finish"


async def test_a_last_step_that_fails_does_not_keep_others_from_theirs(caplog):
    world = World(grace=0.01)

    async def broken():
        raise ZeroDivisionError

    async def hangs():
        await asyncio.get_running_loop().create_future()

    world.manager._finishers[:0] = [broken, hangs]
    world.start()
    await settle()
    await world.end()
    assert world.log[-1] == "finish"
    assert caplog.text.count("a last step failed") == 2


async def test_cancelling_the_manager_stops_everything_too():
    world = World()
    world.start()
    await settle()
    world.task.cancel()
    with suppress(asyncio.CancelledError):
        await world.task
    assert len(asyncio.all_tasks()) == 1
    assert world.log[-1] == "finish"


async def test_caches_are_frozen_for_the_garbage_collector_once_they_are_full():
    world = World()
    world.manager._freeze = True
    before = gc.get_freeze_count()
    try:
        world.start()
        await settle()
        assert gc.get_freeze_count() > before
        await world.end()
    finally:
        gc.unfreeze()
