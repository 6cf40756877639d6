import asyncio
import json
import logging
from contextlib import asynccontextmanager, suppress

import pytest

from kubekit.client.client import Client
from kubekit.runtime.instruments import Silence
from kubekit.runtime.leader import LeaderElector
from support.clock import SkewedClock, VirtualClock, settle
from support.scripted_transport import HANG, failure
from support.tiny_server import TinyServer

PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
LEASE = f"{PATH}/op"


class Leading(Silence):
    def __init__(self):
        self.seen = []

    def leading(self, lease, yes, /):
        self.seen.append((lease, yes))


class Candidate:
    """An elector, its way to the server, and whether its work runs."""

    def __init__(self, server, clock, identity, **options):
        self.answers = []
        self.always = None
        self.works = 0
        self.starts = 0
        self.stop_seconds = 0.0
        self.clock = clock
        self.finish = asyncio.Event()
        self.metrics = Leading()
        client = Client(server.transport(self._interfere), clock=clock, jitter=lambda: 0.0)
        self.elector = LeaderElector(
            client, namespace="ns", name="op", identity=identity, clock=clock, jitter=lambda: 0.0, metrics=self.metrics, **options
        )  # fmt: skip
        self.task = asyncio.create_task(self.elector.run(self.work))

    async def _interfere(self, request):
        answer = self.answers.pop(0) if self.answers else self.always
        if answer is HANG:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            raise answer
        return await answer(request) if callable(answer) else answer

    async def work(self):
        self.works += 1
        self.starts += 1
        try:
            await self.finish.wait()
        finally:
            await self.clock.sleep(self.stop_seconds)
            self.works -= 1

    async def stop(self):
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def candidates(count, *, clock=None, server=None, **options):
    clock = clock or VirtualClock()
    server = server or TinyServer()
    found = [Candidate(server, clock, f"id-{number}", **options) for number in range(count)]
    await settle()
    try:
        yield clock, server, found
    finally:
        for each in found:
            each.stop_seconds = 0
            each.always = failure(500)  # nothing more to say
            stopping = asyncio.create_task(each.stop())
            await clock.advance(100)
            with suppress(Exception):
                await stopping
        assert clock.sleeping == 0


def lease(server):
    return server.objects[LEASE]["spec"]


async def test_the_first_one_makes_the_lease_and_works():
    async with candidates(1) as (clock, server, (one,)):
        assert (one.works, one.elector.leading, one.elector.holder) == (1, True, "id-0")
        assert lease(server) == {
            "holderIdentity": "id-0",
            "leaseDurationSeconds": 15,
            "acquireTime": "2024-08-06T14:30:00.000000Z",
            "renewTime": "2024-08-06T14:30:00.000000Z",
            "leaseTransitions": 0,
        }
        await clock.advance(20)
        assert lease(server)["renewTime"] == "2024-08-06T14:30:20.000000Z"
        assert lease(server)["acquireTime"] == "2024-08-06T14:30:00.000000Z"
        assert one.metrics.seen == [("op", True)]


async def test_renewing_costs_one_request_each_time():
    async with candidates(1) as (clock, server, _):
        before = len(server.requests)
        await clock.advance(20)
        assert [request.method for request in server.requests[before:]] == ["PUT"] * 10


async def test_others_wait_and_take_over_when_the_holder_dies():
    async with candidates(2) as (clock, server, (one, two)):
        await clock.advance(60)
        assert (one.works, two.works) == (1, 0)
        assert two.elector.holder == "id-0"
        one.always = HANG
        one.task.cancel()  # dies without a word
        await clock.advance(14)
        assert two.works == 0
        await clock.advance(6)
        assert two.works == 1
        assert lease(server)["leaseTransitions"] == 1


async def test_a_graceful_stop_lets_the_next_one_begin_at_once_and_only_after_the_work_has_ended():
    async with candidates(2) as (clock, server, (one, two)):
        await clock.advance(10)
        one.stop_seconds = 30  # longer than the lease: it is renewed meanwhile
        one.task.cancel()
        await clock.advance(29)
        assert (one.works, two.works) == (1, 0)
        await clock.advance(3.1)
        assert (one.works, two.works) == (0, 1)
        assert lease(server)["holderIdentity"] == "id-1"


async def test_a_released_lease_names_nobody():
    async with candidates(1) as (_, server, (one,)):
        await one.stop()
        assert lease(server)["holderIdentity"] == ""
        assert lease(server)["leaseDurationSeconds"] == 1
        assert one.metrics.seen == [("op", True), ("op", False)]


async def test_work_that_ends_ends_the_election_and_releases():
    async with candidates(1) as (_, server, (one,)):
        one.finish.set()
        await one.task
        assert lease(server)["holderIdentity"] == ""
        assert one.works == 0


async def test_work_that_fails_raises_and_releases():
    server, clock = TinyServer(), VirtualClock()

    async def fail():
        raise KeyError("work")

    client = Client(server.transport(), clock=clock)
    elector = LeaderElector(client, namespace="ns", name="op", identity="me", clock=clock)
    with pytest.raises(KeyError, match="work"):
        await elector.run(fail)
    assert lease(server)["holderIdentity"] == ""
    assert clock.sleeping == 0


@pytest.mark.parametrize("trouble", [HANG, failure(500), failure(429), OSError("x")])
async def test_when_renewing_fails_the_work_is_stopped_before_the_lease_lapses(trouble):
    async with candidates(1) as (clock, _, (one,)):
        await clock.advance(20)
        one.always = trouble if not isinstance(trouble, OSError) else failure(503)
        one.stop_seconds = 4.9
        await clock.advance(7.9)
        assert one.works == 1
        await clock.advance(2.1)
        one.finish.clear()
        assert (one.works, one.elector.leading) == (1, True)  # being stopped
        await clock.advance(4.9)
        assert (one.works, one.elector.leading) == (0, False)


async def test_a_lease_lasts_from_when_it_was_asked_for_and_not_from_when_we_heard_of_it():
    async with candidates(2) as (clock, server, (one, two)):

        async def slowly(request):
            answer = server.handle(request)
            await clock.sleep(4)
            return answer

        await clock.advance(20)
        one.answers, one.always = [slowly], HANG
        one.stop_seconds = 4.9
        for _ in range(300):
            await clock.advance(0.1)
            assert one.works + two.works <= 1
        assert two.works == 1


@pytest.mark.parametrize("trouble", [HANG, failure(500)])
async def test_trouble_that_ends_in_time_does_no_harm(trouble):
    async with candidates(1) as (clock, _, (one,)):
        await clock.advance(20)
        one.always = trouble
        await clock.advance(6)
        one.always = None
        await clock.advance(60)
        assert (one.works, one.starts) == (1, 1)


async def test_who_lost_the_lease_stands_again():
    async with candidates(1) as (clock, _, (one,)):
        one.always = failure(500)
        await clock.advance(20)
        assert one.works == 0
        one.always = None
        await clock.advance(10)
        assert (one.works, one.starts) == (1, 2)


async def test_somebody_elses_name_in_the_lease_stops_the_work_at_once():
    async with candidates(1) as (clock, server, (one,)):
        server.put(PATH, "op", spec={**lease(server), "holderIdentity": "usurper"})
        await clock.advance(5)
        assert one.works == 0
        assert one.elector.holder == "usurper"


async def test_a_lease_that_was_edited_by_somebody_is_held_on_to():
    async with candidates(1) as (clock, server, (one,)):
        server.put(PATH, "op", metadata={"labels": {"team": "blue"}, "annotations": {"a": "b"}})
        await clock.advance(30)
        assert (one.works, one.starts) == (1, 1)
        assert server.objects[LEASE]["metadata"]["labels"] == {"team": "blue"}
        assert server.objects[LEASE]["metadata"]["annotations"] == {"a": "b"}


async def test_a_lease_that_was_deleted_is_made_again():
    async with candidates(1) as (clock, server, (one,)):
        server.delete(LEASE)
        await clock.advance(10)
        assert (one.works, one.starts) == (1, 1)
        assert lease(server)["holderIdentity"] == "id-0"


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None}, {"holderIdentity": ""}])
async def test_a_lease_that_names_nobody_is_free(spec):
    server = TinyServer()
    server.put(PATH, "op", spec=spec)
    async with candidates(1, server=server) as (_, _, (one,)):
        assert one.works == 1


async def test_of_two_that_take_a_free_lease_at_once_one_gets_it():
    server = TinyServer()
    server.put(PATH, "op", spec={"holderIdentity": ""})
    async with candidates(2, server=server) as (clock, _, found):
        assert [request.method for request in server.requests[:4]] == ["GET", "GET", "PUT", "PUT"]
        for _ in range(20):
            assert sum(each.works for each in found) == 1
            await clock.advance(1)
        assert sum(each.starts for each in found) == 1


async def test_who_does_not_hold_the_lease_does_not_release_it():
    async with candidates(1) as (clock, server, (one,)):
        one.answers = [HANG]
        await clock.advance(3)
        server.put(PATH, "op", spec={**lease(server), "holderIdentity": "usurper"})
        await one.stop()
        assert lease(server)["holderIdentity"] == "usurper"


async def test_a_lease_of_the_past_is_watched_for_its_duration_before_it_is_taken():
    server = TinyServer()
    old = {"holderIdentity": "gone", "leaseDurationSeconds": 60, "renewTime": "2001-01-01T00:00:00.000000Z"}
    server.put(PATH, "op", spec=old)
    async with candidates(1, server=server) as (clock, _, (one,)):
        await clock.advance(59)
        assert one.works == 0
        await clock.advance(4)
        assert one.works == 1


async def test_work_that_does_not_stop_in_time_is_called_overdue(caplog):
    calls = []
    async with candidates(1, overdue=lambda: calls.append(1)) as (clock, _, (one,)):
        one.stop_seconds = 60
        one.always = failure(500)
        with caplog.at_level(logging.CRITICAL):
            await clock.advance(14.9)
            assert calls == []
            await clock.advance(0.2)
        assert calls == [1]
        assert "still works" in caplog.text


async def test_a_release_that_fails_is_no_failure():
    async with candidates(1) as (clock, _, (one,)):
        one.always = HANG
        one.task.cancel()
        await clock.advance(3)
        assert one.task.cancelled()
        assert one.works == 0


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2, 2), (15, 10, 0), (5, 10, 2)])
def test_times_that_make_no_sense_are_refused(times):
    lease_seconds, renew_deadline, retry_period = times
    with pytest.raises(ValueError, match="lease_seconds >"):
        LeaderElector(
            Client(TinyServer().transport()),
            namespace="ns",
            name="op",
            identity="me",
            lease_seconds=lease_seconds,
            renew_deadline=renew_deadline,
            retry_period=retry_period,
        )


async def test_nobody_believes_anybodys_wall_clock():
    base, server = VirtualClock(), TinyServer()
    early = Candidate(server, SkewedClock(base, drift=-86_400), "early")
    await settle()
    late = Candidate(server, SkewedClock(base, drift=86_400), "late")
    await base.advance(300)
    assert (early.works, late.works, early.starts) == (1, 0, 1)
    for each in (early, late):
        await each.stop()


async def test_the_body_of_a_renewal_is_a_whole_lease():
    async with candidates(1) as (clock, server, _):
        await clock.advance(2)
        body = json.loads(server.requests[-1].body)
        assert (body["kind"], body["apiVersion"]) == ("Lease", "coordination.k8s.io/v1")
        assert body["metadata"]["resourceVersion"] == "101"
