"""The gate that is closed while another program holds its Lease."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from kubekit.client.client import Client
from kubekit.runtime.gate import UNSEEN
from kubekit.runtime.lease_gate import LeaseGate
from support.clock import VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import BREAK, TinyServer

LEASES = "/apis/coordination.k8s.io/v1/namespaces/theirs/leases"
HELD = "Others works here: pod-a_1 holds the Lease theirs/lock"


class Place:
    def __init__(self, *, refusal=None, namespace: str | None = "theirs") -> None:
        self.server, self.clock = TinyServer(), VirtualClock()
        self.refusal = refusal
        client = Client(self.server.transport(self._interfere), clock=self.clock, jitter=lambda: 0.0)
        self.gate = LeaseGate(client, namespace=namespace, name="lock", whose="Others", clock=self.clock)

    async def _interfere(self, request):
        return self.refusal(request) if callable(self.refusal) else self.refusal

    def renew(self, holder: str = "pod-a_1", *, where: str = "theirs", **spec) -> None:
        """Renew it as its holder does. What its clock says does not matter: it says any time."""
        self.server.put(
            LEASES.replace("theirs", where),
            "lock",
            spec={
                "holderIdentity": holder,
                "leaseDurationSeconds": 15,
                "renewTime": "1999-01-01T00:00:00.000000Z",
                **spec,
            },
        )

    def reads(self) -> int:
        return sum(request.path.endswith("/lock") for request in self.server.requests)


@asynccontextmanager
async def place(**options):
    found = Place(**options)
    task = asyncio.create_task(found.gate.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert found.server.streams == set()


async def test_where_there_is_no_lease_and_no_namespace_it_is_open_and_asks_nothing_more() -> None:
    async with place() as here:
        assert here.gate.check() == UNSEEN
        await settle()
        assert here.gate.check() is None
        before = len(here.server.requests)
        await here.clock.advance(3600)
        assert len(here.server.requests) == before


async def test_it_is_closed_as_long_as_the_lease_is_renewed_and_opens_when_that_was_not_seen_for_its_duration() -> None:
    here = Place()
    here.renew()
    task = asyncio.create_task(here.gate.run())
    for _ in range(20):
        await here.clock.advance(10)
        assert here.gate.check() == HELD
        here.renew()
        await settle()
    assert here.reads() == 0, "what is renewed in time is not asked for"
    await here.clock.advance(14)
    assert here.gate.check() == HELD
    await here.clock.advance(1.1)
    assert here.gate.check() is None
    assert here.reads() == 1, "once, to be sure"
    await here.clock.advance(3600)
    assert here.reads() == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lease_that_is_found_counts_as_alive_for_its_duration_however_old_it_is() -> None:
    here = Place()
    here.renew()
    task = asyncio.create_task(here.gate.run())
    await here.clock.advance(14)
    assert here.gate.check() == HELD
    await here.clock.advance(2)
    assert here.gate.check() is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_closes_when_a_holder_comes_to_life_and_opens_when_he_gives_it_up() -> None:
    async with place() as here:
        await settle()
        here.renew()
        await settle()
        assert here.gate.check() == HELD
        here.renew(holder="")
        await settle()
        assert here.gate.check() is None
        here.renew(holder="pod-b_2")
        await settle()
        assert here.gate.check() == "Others works here: pod-b_2 holds the Lease theirs/lock"
        here.server.delete(f"{LEASES}/lock")
        await settle()
        assert here.gate.check() is None


async def test_a_holder_whose_lease_has_run_out_closes_it_again_with_his_next_renewal() -> None:
    async with place() as here:
        here.renew()
        await here.clock.advance(16)
        assert here.gate.check() is None
        here.renew()
        await settle()
        assert here.gate.check() == HELD


async def test_without_the_right_to_look_nobody_gets_in_by_accident() -> None:
    async with place(refusal=failure(403, "Forbidden")) as here:
        await settle()
        assert "may not be read" in (here.gate.check() or "")
        assert "grant get, list and watch on leases" in (here.gate.check() or "")
        here.refusal = None
        await here.clock.advance(120)
        assert here.gate.check() is None, "it heals"


async def test_a_watch_that_is_silent_does_not_open_it() -> None:
    async with place() as here:
        here.renew()
        await settle()
        here.server.muted = True
        for _ in range(5):
            await here.clock.advance(10)
            here.renew()
        await here.clock.advance(4)
        assert here.gate.check() == HELD
        assert here.reads() > 0


async def test_an_api_server_that_does_not_answer_opens_nothing() -> None:
    async with place() as here:
        here.renew()
        await settle()
        here.refusal = failure(503)
        here.server.send(BREAK)
        await here.clock.advance(300)
        assert here.gate.check() == HELD
        here.refusal = None
        await here.clock.advance(120)
        assert here.gate.check() is None


@pytest.mark.parametrize(("said", "lasts"), [(None, 15), (0, 15), (-5, 1), (137, 137), (10**12, 3600)])
async def test_for_how_long_a_lease_counts_has_bounds(said: int | None, lasts: int) -> None:
    here = Place()
    here.renew(leaseDurationSeconds=said)
    task = asyncio.create_task(here.gate.run())
    await here.clock.advance(lasts - 0.5)
    assert here.gate.check() == HELD
    await here.clock.advance(1)
    assert here.gate.check() is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_of_all_namespaces_any_lease_that_is_renewed_closes_it() -> None:
    async with place(namespace=None) as here:
        await settle()
        assert here.gate.check() is None
        here.renew(where="b")
        here.renew(where="a", holder="pod-z_9")
        await settle()
        assert here.gate.check() == "Others works here: pod-z_9 holds the Lease a/lock"
        await here.clock.advance(10)
        here.renew(where="b")
        await here.clock.advance(10)
        assert here.gate.check() == "Others works here: pod-a_1 holds the Lease b/lock", "the other one has run out"
        await here.clock.advance(6)
        assert here.gate.check() is None
        here.renew(where="a")
        await settle()
        assert here.gate.check() == "Others works here: pod-a_1 holds the Lease a/lock"
        here.server.delete(f"{LEASES.replace('theirs', 'a')}/lock")
        await settle()
        assert here.gate.check() is None


async def test_of_all_namespaces_the_right_to_look_is_asked_for_by_the_name_alone() -> None:
    async with place(namespace=None, refusal=failure(403, "Forbidden")) as here:
        await settle()
        assert "the Lease lock of any namespace may not be read" in (here.gate.check() or "")
