"""Watches of single objects by name, counted by who wants them: for what a run points to, such as its Secret.

The right to read one named object is enough (`resourceNames` in RBAC); nothing else of the kind is listed or kept.

Guarantees: an object that several owners want is watched once; what nobody wants any more is no longer watched or kept; "we do not
know yet" and "we may not know" are told apart from "it is not there".
Assumptions: `run` is running.
Cost: one open watch and two tasks for each wanted object.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from typing import Generic, TypeVar

from kubekit.client.client import Client
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key
from kubekit.words.meta import HasMeta, Resource

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasMeta)


class Absence(Enum):
    """Why there is no object."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    FORBIDDEN = "forbidden"


MISSING = Absence.MISSING
"""The server says that there is no such object."""
UNKNOWN = Absence.UNKNOWN
"""Nobody asked for it yet, the answer is under way, or what is there cannot be read."""
FORBIDDEN = Absence.FORBIDDEN
"""We may not read it."""


class NamedInformers(Generic[T]):
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        *,
        project: Callable[[T], T] | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._resource = resource
        self._project = project
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._wanted: dict[Hashable, frozenset[Key]] = {}
        self._users: dict[Key, set[Hashable]] = {}
        self._informers: dict[Key, Informer[T]] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._handlers: list[Callable[[Key], None]] = []
        self._failed: asyncio.Future[None] | None = None

    def want(self, owner: Hashable, keys: Iterable[Key]) -> None:
        """From now on `owner` wants exactly these objects. With none, it is forgotten."""
        after = frozenset(keys)
        before = self._wanted.get(owner, frozenset())
        if after:
            self._wanted[owner] = after
        else:
            self._wanted.pop(owner, None)
        for key in after - before:
            users = self._users.setdefault(key, set())
            users.add(owner)
            if len(users) == 1:
                self._begin(key)
        for key in before - after:
            users = self._users[key]
            users.discard(owner)
            if not users:
                del self._users[key]
                self._end(key)

    def owners(self, key: Key) -> frozenset[Hashable]:
        """Return who wants an object: whom to wake when it changes."""
        return frozenset(self._users.get(key, ()))

    def get(self, key: Key) -> T | Absence:
        """Return the object, or why there is none."""
        informer = self._informers.get(key)
        if informer is None:
            return UNKNOWN
        if informer.state is State.FORBIDDEN:
            return FORBIDDEN
        if informer.state is State.ABSENT:
            return MISSING
        found = informer.store.get(key)
        if found is not None:
            return found
        return MISSING if informer.synced.is_set() and key not in informer.store.poisoned() else UNKNOWN

    def add_handler(self, handler: Callable[[Key], None]) -> None:
        """Call `handler` whenever the answer of `get` for a wanted key may have changed; what it raises is logged."""
        self._handlers.append(handler)

    def __len__(self) -> int:
        return len(self._informers)

    async def run(self) -> None:
        """Keep the watches until cancelled."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            for key in self._informers:
                self._start(key)
            await self._failed
        finally:
            self._failed = None
            tasks = [*self._tasks.values(), *self._ending]
            self._tasks.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: Key) -> None:
        informer = Informer(
            self._client,
            self._resource,
            namespace=key.namespace or None,
            field_selector=f"metadata.name={key.name}",
            project=self._project,
            optional=True,
            clock=self._clock,
            jitter=self._jitter,
        )
        informer.add_handler(lambda _old, _new: self._tell(key))
        informer.add_state_handler(lambda state: None if state is State.STOPPED else self._tell(key))
        self._informers[key] = informer
        if self._failed is not None:
            self._start(key)

    def _start(self, key: Key) -> None:
        task = asyncio.create_task(self._informers[key].run(), name=f"{self._resource.plural} {key}")
        task.add_done_callback(self._finished)
        self._tasks[key] = task

    def _end(self, key: Key) -> None:
        del self._informers[key]
        task = self._tasks.pop(key, None)
        if task is not None:
            self._ending.add(task)
            task.cancel()

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._ending.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _tell(self, key: Key) -> None:
        for handler in self._handlers:
            try:
                handler(key)
            except Exception:  # noqa: BLE001 - a handler's failure is its own
                _log.exception("a handler of %s %s failed", self._resource.plural, key)
