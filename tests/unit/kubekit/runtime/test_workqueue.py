import asyncio
from collections import Counter

import pytest

from kubekit.runtime.instruments import Silence
from kubekit.runtime.ratelimit import TokenBucket
from kubekit.runtime.workqueue import Priority, QueueShutDown, Stats, Workqueue
from support.clock import VirtualClock, settle

HIGH, LOW = Priority.HIGH, Priority.LOW


class Watching(Silence):
    def __init__(self):
        self.seen = []

    def added(self, queue, /):
        self.seen.append(("added", queue))

    def retried(self, queue, /):
        self.seen.append(("retried", queue))

    def waited(self, queue, seconds, /):
        self.seen.append(("waited", seconds))

    def worked(self, queue, seconds, /):
        self.seen.append(("worked", seconds))

    def depth(self, queue, ready, /):
        self.seen.append(("depth", ready))


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def queue(clock):
    queue = Workqueue("q", clock=clock, retries=TokenBucket(1000, 1000))
    yield queue
    queue.shutdown()
    await settle()


async def drain(queue, count):
    keys = []
    for _ in range(count):
        async with asyncio.timeout(20):
            keys.append(await queue.get())
        queue.done(keys[-1])
    return keys


async def test_keys_come_in_order_and_once(queue):
    for key in "abab":
        queue.add(key)
    assert queue.stats == Stats(2, 0, 0, 0, 0)
    assert await drain(queue, 2) == ["a", "b"]
    assert queue.stats == Stats(0, 0, 0, 0, 0)


async def test_who_waits_is_woken(queue):
    tasks = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.gather(*tasks)) == ["a", "b", "c"]


async def test_a_key_that_is_added_while_it_is_processed_is_processed_again_afterwards(queue):
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    second = asyncio.create_task(queue.get())
    await settle()
    assert not second.done()
    queue.done("a")
    await settle()
    assert second.done()
    queue.done("a")
    assert queue.stats == Stats(0, 0, 0, 0, 0)


async def test_a_key_that_nobody_took_cannot_be_given_back(queue):
    with pytest.raises(KeyError):
        queue.done("a")


async def test_high_goes_before_low(queue):
    for key in "abc":
        queue.add(key, LOW)
    queue.add("d", HIGH)
    assert await drain(queue, 4) == ["d", "a", "b", "c"]


async def test_low_is_lifted_by_high_and_high_is_not_lowered(queue):
    queue.add("a", LOW)
    queue.add("b", LOW)
    queue.add("c", HIGH)
    queue.add("b", HIGH)
    queue.add("c", LOW)
    assert await drain(queue, 3) == ["c", "b", "a"]


async def test_the_higher_priority_holds_for_a_key_that_became_dirty(queue):
    queue.add("a")
    await queue.get()
    queue.add("a", LOW)
    queue.add("a", HIGH)
    queue.add("a", LOW)
    queue.add("b", LOW)
    queue.done("a")
    assert await drain(queue, 2) == ["a", "b"]


async def test_low_does_not_starve(queue):
    queue.add("low", LOW)
    for number in range(50):
        queue.add(number)
    keys = await drain(queue, 12)
    assert "low" in keys
    assert sum(key != "low" for key in keys) == 11


async def test_a_delayed_key_comes_when_its_time_has_come(queue, clock):
    queue.add_after("a", 5)
    getter = asyncio.create_task(queue.get())
    await clock.advance(4.9)
    assert not getter.done()
    await clock.advance(0.1)
    assert await getter == "a"
    assert clock.sleeping == 0


async def test_of_two_delays_the_earlier_counts(queue, clock):
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    assert queue.stats.delayed == 1
    await clock.advance(5)
    assert await drain(queue, 1) == ["a"]
    await clock.advance(100)
    assert queue.stats == Stats(0, 0, 0, 0, 0)


async def test_keys_with_different_delays_come_by_their_times(queue, clock):
    for key, delay in (("c", 3), ("a", 1), ("b", 2)):
        queue.add_after(key, delay)
    await clock.advance(3)
    assert await drain(queue, 3) == ["a", "b", "c"]


async def test_a_key_that_is_added_later_may_be_due_earlier(queue, clock):
    queue.add_after("late", 10)
    await clock.advance(1)
    queue.add_after("soon", 2)
    await clock.advance(2)
    assert await drain(queue, 1) == ["soon"]
    await clock.advance(7)
    assert await drain(queue, 1) == ["late"]


async def test_a_key_that_is_wanted_now_is_no_longer_wanted_later(queue, clock):
    queue.add_after("a", 5)
    queue.add("a")
    queue.add_after("a", 3)
    assert await drain(queue, 1) == ["a"]
    await clock.advance(10)
    assert queue.stats == Stats(0, 0, 0, 0, 0)


async def test_a_delay_that_ends_while_the_key_is_processed_has_it_processed_again(queue, clock):
    queue.add("a")
    await queue.get()
    queue.add_after("a", 5)
    await clock.advance(6)
    assert queue.stats.processing == 1
    assert queue.stats.high == 0
    queue.done("a")
    assert await drain(queue, 1) == ["a"]


async def test_no_delay_is_now(queue):
    queue.add_after("a", 0)
    queue.add_after("b", -1)
    assert await drain(queue, 2) == ["a", "b"]


async def test_a_delayed_key_keeps_the_higher_priority(queue, clock):
    queue.add_after("a", 5, LOW)
    queue.add_after("a", 6, HIGH)
    queue.add("b", LOW)
    await clock.advance(5)
    assert await drain(queue, 2) == ["a", "b"]


async def test_failures_are_delayed_longer_each_time_until_forgotten(clock):
    queue = Workqueue("q", clock=clock, base_delay=0.5, max_delay=3, retries=TokenBucket(1000, 1000))
    waits = []
    for _ in range(5):
        queue.add_rate_limited("a")
        before = clock.monotonic()
        while not queue.stats.low:
            await clock.advance(0.25)
        waits.append(clock.monotonic() - before)
        await drain(queue, 1)
    assert waits == [0.5, 1, 2, 3, 3]
    assert queue.failures("a") == 5
    queue.forget("a")
    assert queue.failures("a") == 0
    queue.add_rate_limited("a")
    await clock.advance(0.5)
    assert queue.stats.low == 1
    queue.shutdown()


async def test_a_thousand_failures_do_not_overflow(queue):
    for _ in range(2000):
        queue.add_rate_limited("a")
    assert queue.failures("a") == 2000
    assert queue.stats.delayed == 1


async def test_all_retries_together_are_bounded(clock):
    queue = Workqueue("q", clock=clock, retries=TokenBucket(rate=10, burst=5))
    for number in range(25):
        queue.add_rate_limited(number)
    await clock.advance(0.01)
    assert queue.stats.low == 5
    await clock.advance(1)
    assert queue.stats.low == 15
    await clock.advance(1)
    assert queue.stats.low == 25
    queue.shutdown()


async def test_a_cancelled_get_takes_no_key_with_it(queue):
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await settle()
    queue.add("a")
    first.cancel()  # it was woken already
    await settle()
    assert await second == "a"
    queue.done("a")


async def test_a_get_that_is_cancelled_before_it_is_woken_leaves_no_trace(queue):
    getter = asyncio.create_task(queue.get())
    await settle()
    getter.cancel()
    await settle()
    queue.add("a")
    assert await drain(queue, 1) == ["a"]
    assert not queue._getters


async def test_shutting_down_sends_everybody_home_and_forgets_what_waits(clock):
    queue = Workqueue("q", clock=clock)
    queue.add("a")
    await queue.get()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    queue.add_after("b", 5)
    await settle()
    queue.shutdown()
    queue.add("c")
    queue.add_after("c", 1)
    queue.add_rate_limited("c")
    results = await asyncio.gather(*getters, return_exceptions=True)
    assert [type(result) for result in results] == [QueueShutDown] * 3
    with pytest.raises(QueueShutDown):
        await queue.get()
    queue.done("a")
    await settle()
    assert clock.sleeping == 0
    queue.shutdown()


async def test_it_is_told_what_happens(clock):
    metrics = Watching()
    queue = Workqueue("q", clock=clock, metrics=metrics, retries=TokenBucket(1000, 1000))
    queue.add("a", LOW)
    queue.add("a", HIGH)
    await clock.advance(2)
    await queue.get()
    await clock.advance(3)
    queue.done("a")
    queue.add_rate_limited("a")
    seen = metrics.seen
    assert Counter(name for name, _ in seen) == Counter(added=1, depth=3, waited=1, worked=1, retried=1)
    assert ("waited", 2) in seen
    assert ("worked", 3) in seen
    queue.shutdown()


async def test_keys_that_are_delayed_again_and_again_do_not_fill_the_memory(queue, clock):
    for number in range(10_000):
        queue.add_after("a", 10_000 - number)
    assert queue.stats.delayed == 1
    assert len(queue._heap) < 100
    await clock.advance(1)
    assert await drain(queue, 1) == ["a"]


async def test_ten_thousand_waiting_keys_need_no_task_each(queue):
    for number in range(10_000):
        queue.add_after(number, 1000 + number)
    await settle()
    assert len(asyncio.all_tasks()) <= 3
