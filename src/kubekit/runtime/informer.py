"""Keeps a store equal to the server's objects of one kind: list once, then watch.

States (`State`): LISTING -> WATCHING -> (the watch ends) -> WATCHING again from the last version, without a list. Only where the
server cannot go on from there (410 as status or as event, a version that it has not reached) is the kind listed anew, and the
difference is told as additions, changes and deletions. Errors lead through WAITING, with exponential back-off and jitter.

Guarantees:
- whatever is cut, repeated, reordered or lost on the way, the store ends equal to the server, and handlers saw each deletion;
- never a periodic relist; an idle kind costs one reconnect every 5 to 10 minutes;
- a silent stream is given up after `idle_timeout`; objects that cannot be read never stop it.
Assumptions: the server sends bookmarks about once a minute (API servers do).
Caveats: handlers run in the loop and must be quick: map the object to a key and add that to a queue.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Generic, TypeVar

from kubekit.client.client import PAGE_SIZE, Client
from kubekit.client.codec import BOOKMARK, DELETED, Page, WatchEvent
from kubekit.client.errors import (
    ApiError,
    DecodeError,
    Forbidden,
    Gone,
    KubeError,
    NotFound,
    ServerError,
    TooManyRequests,
    TransportError,
    Unauthorized,
)
from kubekit.client.retries import too_large
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.instruments import SILENCE, InformerInstruments
from kubekit.runtime.store import Index, Listener, Store, as_version
from kubekit.words.meta import HasMeta, Resource

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasMeta)

FIRST_BACKOFF = 0.5
MAX_BACKOFF = 30.0
ABSENT_PAUSE = 60.0
EXPECTED_TRIES = 6
"""How often a kind is looked for, with short pauses, of which somebody has seen that it is served."""
IDLE_TIMEOUT = 150.0
WATCH_SECONDS = (300, 600)
_STEADY = 1.0
"""A watch that lived this many seconds, or brought news, was no failure."""


class State(Enum):
    """Where an informer is. ABSENT: the server does not know the kind; FORBIDDEN: we may not list or watch it."""

    NEW = "new"
    LISTING = "listing"
    WATCHING = "watching"
    WAITING = "waiting"
    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    STOPPED = "stopped"


class _Relist(Exception):  # noqa: N818 - control flow within this module
    """The stream cannot go on from its version."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Informer(Generic[T]):
    """See the module's docstring. Read `store`; wait for `synced` before believing that something is not there."""

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        project: Callable[[T], T] | None = None,
        indexes: Mapping[str, Index[T]] | None = None,
        optional: bool = False,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        idle_timeout: float = IDLE_TIMEOUT,
        page_size: int = PAGE_SIZE,
        metrics: InformerInstruments = SILENCE,
    ) -> None:
        """`project` shrinks an object before it is kept; it must keep `metadata`. `jitter` returns numbers in [0, 1).

        With `optional`, a kind that is absent or forbidden counts as settled, so that nobody waits for it.
        """
        self.resource = resource
        self.optional = optional
        self.store: Store[T] = Store(indexes=indexes, project=project)
        self.synced = asyncio.Event()
        self.settled = asyncio.Event()
        self.problem: str | None = None
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._idle_timeout = idle_timeout
        self._page_size = page_size
        self._metrics = metrics
        self._state = State.NEW
        self._state_handlers: list[Callable[[State], None]] = []
        self._version: str | None = None
        self._relist_reason = "start"
        self._failures = 0
        self._down_since: float | None = None
        self._down_as = State.NEW
        self._called = asyncio.Event()
        self._expected = 0

    @property
    def state(self) -> State:
        """Where the informer is."""
        return self._state

    @property
    def outage(self) -> tuple[State, float] | None:
        """Why there is no watch (WAITING, ABSENT or FORBIDDEN) and for how many seconds; None while there is one.

        Unlike `state` it does not change while the next try is under way.
        """
        if self._down_since is None:
            return None
        return self._down_as, self._clock.monotonic() - self._down_since

    @property
    def name(self) -> str:
        """`plural.group`, with the namespace when there is only one."""
        where = f" in {self._namespace}" if self._namespace else ""
        return f"{self.resource.group_resource}{where}"

    def add_handler(self, handler: Listener[T]) -> None:
        """Call `handler` with (old, new) for each change of the store from now on; what it raises is logged."""
        self.store.add_listener(handler)

    def add_state_handler(self, handler: Callable[[State], None]) -> None:
        """Call `handler` at each change of state."""
        self._state_handlers.append(handler)

    def look_again(self) -> None:
        """Look for a kind that was absent or forbidden: somebody has seen that it is served now. Where it is not found at once, it soon is."""
        if self._state in (State.ABSENT, State.FORBIDDEN):
            self._expected, self._failures = EXPECTED_TRIES, 0
            self._called.set()

    def begin_anew(self) -> None:
        """Forget everything, so that the next `run` lists. Not while it runs."""
        self.store.replace((), version=0, reset=True)
        self.synced.clear()
        self.settled.clear()
        self.problem = self._version = self._down_since = None
        self._relist_reason = "start"
        self._failures = 0

    async def run(self) -> None:
        """List and watch until cancelled."""
        try:
            while True:
                try:
                    await self._round()
                except _Relist as relist:
                    self._version = None
                    self._relist_reason = relist.reason
                    await self._wait(None)
                except KubeError as error:
                    await self._recover(error)
        finally:
            self._enter(State.STOPPED)

    async def _round(self) -> None:
        if self._version is None:
            self._enter(State.LISTING)
            await self._list()
        self._enter(State.WATCHING)
        self.problem = None
        begun, version = self._clock.monotonic(), self._version
        try:
            await self._watch()
            self._metrics.restarted(self.resource.group_resource, "closed")
        finally:
            if self._version != version or self._clock.monotonic() - begun >= _STEADY:
                self._failures = 0
        if self._version == version and self._clock.monotonic() - begun < _STEADY:
            await self._wait("the server closes watches at once")

    async def _list(self) -> None:
        # Consistent and in pages, also at the start: what a server's cache gives comes in one piece, however large it is.
        floor = self.store.high_water
        pages = await self._pages()
        seen = self.store.high_water
        if floor <= as_version(pages[-1].resource_version) < seen and await self._present_version() < seen:
            # Our own writes came in while the pages were read, and the server does not know them any more.
            floor, pages = seen, await self._pages()
        version = pages[-1].resource_version
        number = as_version(version)
        # No consistent list is older than what was seen before it, unless the server's history began anew.
        reborn = number < floor
        self.store.replace(
            (item for page in pages for item in page.items),
            version=number,
            poison=[each.metadata for page in pages for each in page.poison if each.metadata.name],
            reset=reborn,
        )
        self._version = version
        group_resource = self.resource.group_resource
        for _ in range(sum(page.poisoned for page in pages)):
            self._metrics.poisoned(group_resource)
        self._metrics.relisted(group_resource, self._relist_reason)
        self._metrics.objects(group_resource, len(self.store))
        self._relist_reason = "expired"
        self.synced.set()
        self.settled.set()

    async def _present_version(self) -> int:
        """Return the version that the server is at, by a list of one object."""
        listing = self._client.pages(
            self.resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=1,
        )
        async for page in listing:
            return as_version(page.resource_version)
        return 0

    async def _pages(self) -> list[Page[T]]:
        listing = self._client.pages(
            self.resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=self._page_size,
        )
        # What is not kept goes page by page, so that a large list takes no more memory than what stays of it.
        return [replace(page, items=tuple(map(self.store.shrink, page.items))) async for page in listing]

    async def _watch(self) -> None:
        low, high = WATCH_SECONDS
        async with self._client.watch(
            self.resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self._version or "",
            timeout_seconds=int(low + (high - low) * self._jitter()),
            idle_timeout=self._idle_timeout,
        ) as events:
            self._down_since = None
            floor = as_version(self._version or "")
            async for event in events:
                self._metrics.event(self.resource.group_resource, event.type)
                self._take(event, floor)

    def _take(self, event: WatchEvent[T], floor: int) -> None:
        if event.error is not None:
            raise event.error
        version = as_version(event.resource_version)
        late = 0 < version <= floor  # repeated from before this watch; a deletion is compared with the object itself
        if event.type == DELETED or (event.type != BOOKMARK and not late):
            self._change(event)
        if version > as_version(self._version or ""):
            self._version = event.resource_version
            self.store.advance(version)

    def _change(self, event: WatchEvent[T]) -> None:
        if event.poison is not None:
            self._metrics.poisoned(self.resource.group_resource)
            meta = event.poison.metadata
            if not meta.name:
                if event.type == DELETED:
                    raise _Relist("unreadable")  # something is gone, and only a list can tell what
                return
            if event.type == DELETED:
                self.store.remove(meta)
            else:
                self.store.poison(meta)
        elif event.object is not None:
            if event.type == DELETED:
                self.store.remove(event.object.metadata)
            else:
                self.store.put(event.object)
        self._metrics.objects(self.resource.group_resource, len(self.store))

    async def _recover(self, error: KubeError) -> None:
        watching = self._state is State.WATCHING
        if isinstance(error, Forbidden):
            await self._stand_aside(State.FORBIDDEN, error)
        elif isinstance(error, NotFound):
            # The cache stays: an API server that starts says this of kinds that it is about to serve.
            self._version = None
            await self._stand_aside(State.ABSENT, error)
        elif isinstance(error, Gone) or too_large(error):
            self._version = None
            self._relist_reason = "expired" if isinstance(error, Gone) else "ahead"
            await self._wait(None if isinstance(error, Gone) else str(error))
        else:
            transient = (TransportError, ServerError, TooManyRequests, Unauthorized)
            if watching and not isinstance(error, transient):  # to resume is no use: the same would come again
                self._version = None
                self._relist_reason = "unreadable" if isinstance(error, DecodeError) else "refused"
            if watching:
                self._metrics.restarted(
                    self.resource.group_resource, "broken" if isinstance(error, TransportError) else "error"
                )
            await self._wait(str(error), at_least=error.retry_after if isinstance(error, ApiError) else None)

    async def _stand_aside(self, state: State, error: KubeError) -> None:
        if self._state is not state and self.problem != str(error):
            (_log.info if self.optional else _log.error)("%s: %s", self.name, error)
        self.problem = str(error)
        self._go_down(state)
        if self.optional:
            self.settled.set()
            await self._pause_until_called()
        else:
            self._failures += 1
            await self._clock.sleep(self._backoff())

    async def _pause_until_called(self) -> None:
        """Wait a minute, or until `look_again`; only moments while a kind is awaited that was announced: an API server is a little late with it."""
        pause = ABSENT_PAUSE * (0.5 + self._jitter())
        if self._expected:
            self._expected -= 1
            self._failures += 1
            pause = self._backoff()
        self._called.clear()
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._clock.sleep(pause)),
            asyncio.create_task(self._called.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _wait(self, problem: str | None, *, at_least: float | None = None) -> None:
        """Pause before the next try. Without a problem the first try comes at once."""
        self._failures += 1
        if problem is None and self._failures == 1:
            return
        if problem is not None:
            self.problem = problem
            (_log.warning if self._failures > 1 else _log.info)("%s: %s", self.name, problem)
        self._go_down(State.WAITING)
        await self._clock.sleep(max(self._backoff(), at_least or 0.0))

    def _go_down(self, state: State) -> None:
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
        self._down_as = state
        self._enter(state)

    def _backoff(self) -> float:
        return min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures - 1, 16)) * (0.5 + self._jitter())

    def _enter(self, state: State) -> None:
        if state is self._state:
            return
        self._state = state
        self._metrics.state(self.resource.group_resource, state.value)
        for handler in self._state_handlers:
            try:
                handler(state)
            except Exception:  # noqa: BLE001 - a handler's failure is its own
                _log.exception("a state handler of %s failed", self.name)
