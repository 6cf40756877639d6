"""Several workers on a queue, against a simple model: never two on one key, and nothing that was asked for is lost."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from kubekit.runtime.ratelimit import TokenBucket
from kubekit.runtime.workqueue import Priority, Stats, Workqueue
from support.clock import VirtualClock, settle

keys = st.sampled_from("abc")
priorities = st.sampled_from(list(Priority))
delays = st.sampled_from([0, 0.5, 1, 2, 5])
steps = st.one_of(
    st.tuples(st.just("add"), keys, priorities),
    st.tuples(st.just("later"), keys, delays, priorities),
    st.tuples(st.just("fail"), keys),
    st.tuples(st.just("forget"), keys),
    st.tuples(st.just("finish"), st.integers(0, 2)),
    st.tuples(st.just("cancel"), st.integers(0, 2)),
    st.tuples(st.just("pass"), delays),
)


class Simulation:
    """The model: for each key the moment from which on it must be taken, or None when nobody asked."""

    def __init__(self, workers):
        self.clock = VirtualClock()
        self.queue = Workqueue("q", clock=self.clock, base_delay=1, retries=TokenBucket(1000, 1000))
        self.wanted = {}
        self.failed = {}
        self.active = {}
        self.finishing = [asyncio.Event() for _ in range(workers)]
        self.workers = [asyncio.create_task(self.work(number)) for number in range(workers)]

    async def work(self, number):
        while True:
            key = await self.queue.get()
            assert key not in self.active.values(), "two workers on one key"
            assert self.wanted[key] <= self.clock.monotonic() + 1e-9, "taken too early or unasked"
            del self.wanted[key]
            self.active[number] = key
            self.finishing[number].clear()
            try:
                await self.finishing[number].wait()
            finally:
                del self.active[number]
                self.queue.done(key)

    def want(self, key, delay):
        at = self.clock.monotonic() + delay
        self.wanted[key] = min(at, self.wanted.get(key, at))

    async def step(self, kind, *args):
        match kind:
            case "add":
                self.queue.add(*args)
                self.want(args[0], 0)
            case "later":
                self.queue.add_after(*args)
                self.want(args[0], args[1])
            case "fail":
                self.failed[args[0]] = self.failed.get(args[0], 0) + 1
                self.queue.add_rate_limited(args[0])
                self.want(args[0], 2 ** (self.failed[args[0]] - 1))
            case "forget":
                self.failed.pop(args[0], None)
                self.queue.forget(args[0])
            case "finish" if args[0] < len(self.workers):
                self.finishing[args[0]].set()
            case "cancel" if args[0] < len(self.workers):
                number = args[0]
                self.workers[number].cancel()
                await asyncio.gather(self.workers[number], return_exceptions=True)
                self.workers[number] = asyncio.create_task(self.work(number))
            case "pass":
                await self.clock.advance(args[0])
        await settle(6)
        self.check()

    def check(self):
        now = self.clock.monotonic()
        for worker in self.workers:
            if worker.done():
                worker.result()
        due = {key for key, at in self.wanted.items() if at <= now and key not in self.active.values()}
        idle = len(self.workers) - len(self.active)
        assert not (due and idle), f"{due} wait although somebody is idle"
        stats = self.queue.stats
        assert stats.processing == len(self.active)
        assert stats.high + stats.low + stats.delayed <= len(self.wanted)

    async def end(self):
        for _ in range(15):
            for event in self.finishing:
                event.set()
            await self.clock.advance(1000)
        self.check()
        assert self.wanted == {}
        assert self.queue.stats == Stats(0, 0, 0, 0, len(self.failed))


async def simulate(script, workers):
    simulation = Simulation(workers)
    try:
        await settle(3)
        for step in script:
            await simulation.step(*step)
        await simulation.end()
    finally:
        for worker in simulation.workers:
            worker.cancel()
        await asyncio.gather(*simulation.workers, return_exceptions=True)
        simulation.queue.shutdown()
        await settle(3)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=30), st.integers(1, 3))
def test_never_two_workers_on_one_key_and_nothing_lost(script, workers):
    asyncio.run(simulate(script, workers))
