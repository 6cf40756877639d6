"""A queue of keys: each waits at most once, is worked on by one worker at a time, and is never lost.

Guarantees:
- a key that is added while it waits is not added twice; while it is processed, it is processed again afterwards;
- of several times at which a key is wanted, the earliest counts, and being processed satisfies all that were asked before;
- HIGH goes before LOW, but every `LOW_SHARE`-th turn goes to LOW, so that nothing starves;
- a cancelled `get` takes no key with it.
Assumptions: one event loop; who gets a key calls `done` exactly once.
Cost: a waiting key is some 0.2 kB and no task; one timer task runs while any key is delayed.
"""

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Generic, TypeVar

from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.instruments import SILENCE, QueueInstruments
from kubekit.runtime.ratelimit import TokenBucket

K = TypeVar("K", bound=Hashable)

BASE_DELAY = 0.005
MAX_DELAY = 1000.0
LOW_SHARE = 10
_MAX_STALE = 64


class Priority(IntEnum):
    """HIGH: something changed. LOW: it is only to be looked at again."""

    HIGH = 0
    LOW = 1


class QueueShutDown(Exception):  # noqa: N818 - not a failure
    """The queue takes and gives no more keys."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How full the queue is, in keys."""

    high: int
    low: int
    delayed: int
    processing: int
    failing: int


@dataclass(slots=True)
class _Delayed:
    at: float
    order: int
    priority: Priority


class Workqueue(Generic[K]):
    """See the module's docstring."""

    def __init__(
        self,
        name: str = "",
        *,
        clock: Clock | None = None,
        base_delay: float = BASE_DELAY,
        max_delay: float = MAX_DELAY,
        retries: TokenBucket | None = None,
        metrics: QueueInstruments = SILENCE,
    ) -> None:
        """The n-th failure of a key delays it `base_delay * 2**(n-1)` seconds, at most `max_delay`; `retries` bounds all retries
        together (10 a second, 100 at once, unless another bucket is given).
        """
        self.name = name
        self._clock = clock or SystemClock()
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._retries = retries or TokenBucket(10, 100)
        self._metrics = metrics
        self._ready: tuple[OrderedDict[K, float], OrderedDict[K, float]] = (OrderedDict(), OrderedDict())
        self._delayed: dict[K, _Delayed] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()
        self._processing: dict[K, float] = {}
        self._dirty: dict[K, Priority] = {}
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0
        self._turn = 0
        self._shut = False

    def add(self, key: K, priority: Priority = Priority.HIGH) -> None:
        """Have `key` processed as soon as possible. Adding a waiting LOW key as HIGH raises it; the priority is never lowered."""
        if self._shut:
            return
        delayed = self._delayed.pop(key, None)
        if delayed is not None:
            priority = min(priority, delayed.priority)
        if key in self._processing:
            self._dirty[key] = min(priority, self._dirty.get(key, priority))
            return
        high, low = self._ready
        if key in high or (priority is Priority.LOW and key in low):
            return
        since = low.pop(key, None)
        if since is None:
            since = self._clock.monotonic()
            self._metrics.added(self.name)
        self._ready[priority][key] = since
        self._metrics.depth(self.name, len(high) + len(low))
        self._wake_getter()

    def add_after(self, key: K, delay: float, priority: Priority = Priority.HIGH) -> None:
        """Have `key` processed in `delay` seconds, unless it is wanted earlier anyway."""
        if delay <= 0:
            self.add(key, priority)
            return
        if self._shut or key in self._ready[0] or key in self._ready[1]:
            return
        at = self._clock.monotonic() + delay
        known = self._delayed.get(key)
        if known is not None:
            priority = min(priority, known.priority)
            if known.at <= at:
                known.priority = priority
                return
        order = next(self._order)
        self._delayed[key] = _Delayed(at, order, priority)
        heapq.heappush(self._heap, (at, order, key))
        if len(self._heap) > 2 * len(self._delayed) + _MAX_STALE:
            self._heap = [(entry.at, entry.order, key) for key, entry in self._delayed.items()]
            heapq.heapify(self._heap)
        self._set_timer()

    def add_rate_limited(self, key: K, priority: Priority = Priority.LOW) -> None:
        """Have `key` processed again after a failure: later each time, and not too many keys at once."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(self._base_delay * 2 ** min(failures, 64), self._max_delay)
        self._metrics.retried(self.name)
        self.add_after(key, max(backoff, self._retries.reserve(self._clock.monotonic())), priority)

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure is the first again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for a key and take it; call `done` afterwards. Raises QueueShutDown after `shutdown`."""
        while not self._shut:
            key = self._take()
            if key is not None:
                return key[0]
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():  # we were woken and cannot go: wake the next
                    self._wake_getter()
                else:
                    with suppress(ValueError):
                        self._getters.remove(waiter)
                raise
        raise QueueShutDown

    def done(self, key: K) -> None:
        """Give a key back. Raises KeyError when it was not taken."""
        now = self._clock.monotonic()
        self._metrics.worked(self.name, now - self._processing.pop(key))
        priority = self._dirty.pop(key, None)
        if priority is not None:
            self.add(key, priority)

    def shutdown(self) -> None:
        """Accept and hand out no more keys; waiting `get` calls raise QueueShutDown. Keys in work can still be marked done."""
        self._shut = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._getters:
            self._wake_getter()

    @property
    def stats(self) -> Stats:
        """How full the queue is now."""
        high, low = self._ready
        return Stats(len(high), len(low), len(self._delayed), len(self._processing), len(self._failures))

    def _take(self) -> tuple[K] | None:
        high, low = self._ready
        if not high and not low:
            return None
        self._turn = (self._turn + 1) % LOW_SHARE
        source = low if low and (not high or self._turn == 0) else high
        key, since = source.popitem(last=False)
        now = self._clock.monotonic()
        self._processing[key] = now
        self._metrics.depth(self.name, len(high) + len(low))
        self._metrics.waited(self.name, now - since)
        return (key,)

    def _wake_getter(self) -> None:
        while self._getters:
            waiter = self._getters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_timer(self) -> None:
        """Set the timer to the earliest delayed key. Runs only where a loop runs: adding needs none before that."""
        first = self._heap[0][0]
        if self._timer is not None and not self._timer.done():
            if self._timer_at <= first:
                return
            self._timer.cancel()
        self._timer_at = first
        self._timer = asyncio.get_running_loop().create_task(self._ring(), name=f"workqueue timer {self.name}")

    async def _ring(self) -> None:
        while self._heap:
            at = self._timer_at = self._heap[0][0]
            now = self._clock.monotonic()
            if at > now:
                await self._clock.sleep(at - now)
                continue
            _, order, key = heapq.heappop(self._heap)
            delayed = self._delayed.get(key)
            if delayed is not None and delayed.order == order:
                self.add(key, delayed.priority)
