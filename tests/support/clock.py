"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count


class VirtualClock:
    """Fits `kubekit.runtime.clock.Clock`. `advance` moves it and lets everything that is due, or follows from that, happen."""

    def __init__(self, start: datetime = datetime(2024, 8, 6, 14, 30, tzinfo=UTC)) -> None:
        self._start = start
        self._time = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._time)

    def monotonic(self) -> float:
        return self._time

    def show(self, moment: datetime) -> None:
        """Set what `now` says, as somebody does who sets a clock: nobody wakes by that."""
        self._start = moment - timedelta(seconds=self._time)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._time + seconds, next(self._order), waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    def next_wake(self) -> float | None:
        """Seconds until the first sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] - self._time if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Move time on by `seconds`, waking each sleeper at its own moment and letting tasks settle in between."""
        end = self._time + seconds
        await settle()
        while (wait := self.next_wake()) is not None and self._time + wait <= end:
            at, _, waiter = heapq.heappop(self._sleepers)
            self._time = max(self._time, at)
            waiter.set_result(None)
            await settle()
        self._time = end
        await settle()


async def settle(rounds: int = 20) -> None:
    """Let every task that can go on do so: tasks that wait only for each other need a few rounds."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class SkewedClock:
    """The clock of a machine that is wrong: its wall clock by `drift` seconds, its speed by the factor `speed`."""

    def __init__(self, base: VirtualClock, *, drift: float = 0.0, speed: float = 1.0) -> None:
        self._base = base
        self._drift = timedelta(seconds=drift)
        self._speed = speed

    def now(self) -> datetime:
        return self._base.now() + self._drift

    def monotonic(self) -> float:
        return 5000.0 + self._base.monotonic() * self._speed

    async def sleep(self, seconds: float) -> None:
        await self._base.sleep(seconds / self._speed)
