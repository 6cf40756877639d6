"""Workers that take keys from a queue and reconcile them.

Guarantees: one reconcile a key at a time; a failed one is repeated, later each time; a `Terminal` failure is logged and waits for
the next change. A reconcile gets only a key, never the event: what it sees is the state of now (law L7). A controller that does not
run, such as that of a replica on standby, gathers no keys: everything that is there is added when it begins.
Assumptions: `reconcile` is idempotent and does not block the loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from kubekit.client.errors import KubeError
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.informer import Informer
from kubekit.runtime.instruments import SILENCE, ControllerInstruments
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Priority, QueueShutDown, Workqueue
from kubekit.words.meta import HasMeta

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasMeta)

_BREATH = 1000


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to do until something changes."""


@dataclass(frozen=True, slots=True)
class After:
    """Look again in so many seconds, or earlier when something changes."""

    seconds: float


DONE = Done()
Result = Done | After
Reconcile = Callable[[Key], Awaitable[Result]]


def own_key(old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
    """Return the key of the object that changed."""
    present = new if new is not None else old
    return (key_of(present.metadata),) if present is not None else ()


class Terminal(Exception):  # noqa: N818 - the reconciler's verdict
    """Trying again without a change makes no sense."""


class Controller:
    """A name, a queue, and `workers` tasks that reconcile."""

    def __init__(
        self,
        name: str,
        *,
        reconcile: Reconcile,
        queue: Workqueue[Key] | None = None,
        workers: int = 4,
        clock: Clock | None = None,
        metrics: ControllerInstruments = SILENCE,
    ) -> None:
        self.name = name
        self.queue: Workqueue[Key] = queue if queue is not None else Workqueue(name, clock=clock)
        self._reconcile = reconcile
        self._workers = workers
        self._clock = clock or SystemClock()
        self._metrics = metrics
        self._watched: list[tuple[Informer[Any], Callable[[Any, Any], Iterable[Key]]]] = []
        self._active = False

    def watch(self, informer: Informer[T], map: Callable[[T | None, T | None], Iterable[Key]] = own_key) -> None:  # noqa: A002 - contract
        """Add the keys that `map` names for a change (old, new), by default the object's own; what is there at the beginning comes as (None, object).

        What the first list brings, and what is there when the work begins, goes behind real changes.
        """

        def handle(old: T | None, new: T | None) -> None:
            if not self._active:
                return  # it will be in the store when the work begins
            priority = Priority.HIGH if informer.synced.is_set() else Priority.LOW
            for key in map(old, new):
                self.queue.add(key, priority)

        informer.add_handler(handle)
        self._watched.append((informer, map))

    def wake(self, keys: Iterable[Key]) -> None:
        """Have these objects looked at."""
        for key in keys:
            self.queue.add(key)

    async def run(self) -> None:
        """Work until the queue is shut down or this is cancelled; it can then be run again."""
        self._active = True
        try:
            await self._add_present()
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"{self.name} worker {number}")
        finally:
            self._active = False

    async def _add_present(self) -> None:
        """Add what is there, letting others run now and then: there may be tens of thousands of objects."""
        for informer, keys_of in self._watched:
            for number, found in enumerate(informer.store.list(), start=1):
                for key in keys_of(None, found):
                    self.queue.add(key, Priority.LOW)
                if number % _BREATH == 0:
                    await asyncio.sleep(0)

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueShutDown:
                return
            try:
                await self._process(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: Key) -> None:
        begun = self._clock.monotonic()
        try:
            result = await self._reconcile(key)
        except asyncio.CancelledError:
            self.queue.add(key)  # cut short: whoever works next looks at it again
            raise
        except Terminal as verdict:
            outcome = "terminal"
            self.queue.forget(key)
            _log.error("%s %s: %s; it waits for a change", self.name, key, verdict)
        except Exception as error:  # noqa: BLE001 - a reconcile that fails must not end its worker
            outcome = "error"
            self.queue.add_rate_limited(key)
            expected = isinstance(error, KubeError)
            _log.warning(
                "%s %s: %s; failure %d in a row, it will be tried again",
                self.name,
                key,
                str(error) or type(error).__name__,
                self.queue.failures(key),
                exc_info=None if expected else error,
            )
        else:
            outcome = "done"
            self.queue.forget(key)
            if isinstance(result, After):
                outcome = "after"
                self.queue.add_after(key, result.seconds)
        self._metrics.reconciled(self.name, outcome, self._clock.monotonic() - begun)
