import asyncio
from datetime import UTC

import pytest

from kubekit.runtime.clock import SystemClock, within
from support.clock import VirtualClock, settle


async def test_the_system_clock_is_in_utc_and_goes_on():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now().tzinfo is UTC


async def test_work_in_time_gives_its_result_and_leaves_nothing_behind():
    clock = VirtualClock()

    async def work():
        await clock.sleep(1)
        return 5

    task = asyncio.create_task(within(clock, 2, work()))
    await clock.advance(1)
    assert await task == 5
    assert clock.sleeping == 0


async def test_work_that_takes_too_long_is_cancelled():
    clock = VirtualClock()
    ended = []

    async def work():
        try:
            await clock.sleep(10)
        finally:
            ended.append(clock.monotonic())

    task = asyncio.create_task(within(clock, 2, work()))
    await clock.advance(1.9)
    assert not task.done()
    await clock.advance(0.1)
    with pytest.raises(TimeoutError):
        await task
    assert ended == [2]


async def test_what_work_raises_is_raised():
    async def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await within(VirtualClock(), 2, work())


async def test_cancelling_the_wait_cancels_the_work():
    clock = VirtualClock()
    task = asyncio.create_task(within(clock, 2, clock.sleep(1)))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleeping == 0
