"""Never two at work, whatever happens to their requests, their clocks and themselves; and somebody works in the end."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from kubekit.client.client import Client
from kubekit.client.errors import TransportError
from kubekit.runtime.leader import LeaderElector
from support.clock import SkewedClock, VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import TinyServer

who = st.integers(0, 1)
modes = st.sampled_from(["well", "hang", "fail", "lost answer", "late", "slow", "slow answer", "flaky"])
steps = st.one_of(
    st.tuples(st.just("mode"), who, modes),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 1, 2.5, 4, 7, 11, 16])),
    st.tuples(st.sampled_from(["crash", "stop", "start"]), who),
)


class Machine:
    """Runs one elector after the other, each a new life with a new identity."""

    def __init__(self, simulation, number, drift, speed):
        self.simulation = simulation
        self.clock = SkewedClock(simulation.base, drift=drift, speed=speed)
        self.number = number
        self.mode = "well"
        self.lives = 0
        self.dead = False
        self.turn = 0
        self.task = None

    def start(self):
        if self.task is not None and not self.task.done():
            return
        self.lives += 1
        self.dead = False
        elector = LeaderElector(
            Client(self.simulation.server.transport(self.interfere), clock=self.clock, jitter=lambda: 0.3),
            namespace="ns",
            name="op",
            identity=f"{self.number}-{self.lives}",
            clock=self.clock,
            jitter=lambda: 0.3 * self.number,
        )
        self.task = asyncio.create_task(elector.run(self.work))

    async def work(self):
        at_work = self.simulation.at_work
        at_work.append(self.number)
        assert len(at_work) == 1, "two at work"
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            try:
                if not self.dead:
                    await self.clock.sleep(self.simulation.stop_seconds)
            finally:
                at_work.remove(self.number)

    async def interfere(self, request):
        if self.dead:
            await asyncio.get_running_loop().create_future()
        match self.mode:
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "fail":
                return failure(500)
            case "lost answer":  # it took effect, and we are not told
                self.simulation.server.handle(request)
                raise TransportError("reset")
            case "late":  # it takes effect when nobody waits for it any more
                self.simulation.deliver_later(request)
                await asyncio.get_running_loop().create_future()
            case "slow":
                await self.simulation.base.sleep(3)
            case "slow answer":
                answer = self.simulation.server.handle(request)
                await self.simulation.base.sleep(4)
                return answer
            case "flaky":
                self.turn += 1
                if self.turn % 2:
                    return failure(503)
        return None

    async def crash(self):
        """Neither work nor words any more, from one moment to the next."""
        self.dead = True
        if self.task is not None:
            self.task.cancel()
            await settle()
            while not self.task.done():  # its last request hangs until it gives up
                await self.simulation.base.advance(0.5)


class Simulation:
    def __init__(self, drifts, speeds, stop_seconds):
        self.base = VirtualClock()
        self.server = TinyServer()
        self.stop_seconds = stop_seconds
        self.at_work = []
        self.under_way = set()
        self.machines = [Machine(self, n, drifts[n], speeds[n]) for n in range(2)]

    def deliver_later(self, request):
        async def deliver():
            await self.base.sleep(6)
            self.server.handle(request)

        self.under_way.add(asyncio.create_task(deliver()))

    async def step(self, kind, *args):
        machine = self.machines[args[0]] if kind != "pass" else None
        match kind:
            case "mode":
                machine.mode = args[1]
            case "pass":
                await self.base.advance(args[0])
            case "start":
                machine.start()
            case "crash":
                await machine.crash()
            case "stop" if machine.task is not None:
                machine.task.cancel()
        await settle(5)
        self.check()

    def check(self):
        assert len(self.at_work) <= 1
        for machine in self.machines:
            if machine.task is not None and machine.task.done() and not machine.task.cancelled():
                machine.task.result()

    async def end(self):
        """When all is well again, one of them works."""
        for machine in self.machines:
            machine.mode = "well"
        await self.base.advance(60)
        for machine in self.machines:
            machine.start()
        await self.base.advance(60)
        self.check()
        assert len(self.at_work) == 1


async def simulate(script, drifts, speeds, stop_seconds):
    simulation = Simulation(drifts, speeds, stop_seconds)
    try:
        for machine in simulation.machines:
            machine.start()
        for step in script:
            await simulation.step(*step)
        await simulation.end()
    finally:
        for machine in simulation.machines:
            await machine.crash()
        for delivery in simulation.under_way:
            delivery.cancel()
        await asyncio.gather(*simulation.under_way, return_exceptions=True)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(steps, max_size=25),
    st.tuples(*[st.sampled_from([0, -86_400, 86_400])] * 2),
    st.tuples(*[st.sampled_from([0.95, 1.0, 1.05])] * 2),
    st.sampled_from([0, 1, 3]),
)
def test_never_two_at_work_and_in_the_end_one(script, drifts, speeds, stop_seconds):
    asyncio.run(simulate(script, drifts, speeds, stop_seconds))
