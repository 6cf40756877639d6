"""Controllers that work only while something holds: a definition is there, no other operator has the field.

A `Gate` tells whether it holds. `Guarded` is a controller behind gates: while one of them is closed nothing of its kind is watched, kept or
reconciled, and what is wrong can be read. Nobody waits for it: what else the manager runs begins without it.

Guarantees: work is cancelled as soon as a gate closes, as it is when leadership is lost; when all are open again everything is listed anew
and looked at. A gate that has not looked yet is closed.
Assumptions: what is cancelled may be cut short anywhere, so what it writes is safe under races by itself.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.instruments import SILENCE, ControllerInstruments
from kubekit.runtime.store import Key

_log = logging.getLogger(__name__)

UNSEEN: Final = "not looked at yet"


class Gate(ABC):
    """Something that has to hold. `name` is for logs and metrics, and one of few."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._problem: str | None = UNSEEN
        self._handlers: list[Callable[[], None]] = []

    def check(self) -> str | None:
        """Return why the gate is closed, None while it is open."""
        return self._problem

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Call `handler` whenever the answer of `check` has changed."""
        self._handlers.append(handler)

    @abstractmethod
    async def run(self) -> None:
        """Look until cancelled."""

    def _note(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            for handler in self._handlers:
                handler()


class Guarded:
    """An informer and the controller of its kind, behind gates."""

    def __init__(
        self,
        controller: Controller,
        informer: Informer[Any],
        *,
        gates: Collection[Gate],
        rest: Callable[[Collection[Key]], None] | None = None,
        metrics: ControllerInstruments = SILENCE,
    ) -> None:
        """`rest` is called when work has ended because a gate closed, with the keys of all that was known until then."""
        self.controller = controller
        self.informer = informer
        self.gates = tuple(gates)
        self._rest = rest
        self._metrics = metrics
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()
        self._ready = asyncio.Event()
        """The informer has listed everything since the gates opened."""
        self._over = asyncio.Event()
        self._period = 0
        self._keys: tuple[Key, ...] = ()
        self._told: str | None = UNSEEN
        for gate in self.gates:
            gate.add_handler(self._turn)
        self._turn()

    @property
    def problem(self) -> str | None:
        """Why nothing is done, None while all gates are open."""
        return next((problem for gate in self.gates if (problem := gate.check()) is not None), None)

    async def watch(self) -> None:
        """Run the informer while the gates are open, until cancelled."""
        while True:
            await self._opened.wait()
            self.informer.begin_anew()
            await _while_open(self._closed, self._keep(self._period))

    async def work(self) -> None:
        """Run the controller while the gates are open, until `shut_down` or cancelled."""
        while await self._begin():
            if await _while_open(self._closed, self.controller.run()):
                return
            if self._rest is not None:
                self._rest(self._keys)

    def shut_down(self) -> None:
        """Let `work` end when what it holds is done."""
        self._over.set()
        self.controller.queue.shutdown()

    async def _begin(self) -> bool:
        """Wait for the time to work; False when there is none any more."""
        waits = [asyncio.create_task(each.wait()) for each in (self._ready, self._over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(*waits)
        return not self._over.is_set()

    async def _keep(self, period: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informer.run(), name=f"informer {self.informer.name}")
            await self.informer.synced.wait()
            if period == self._period:
                self._ready.set()

    def _turn(self) -> None:
        """Follow a change of a gate at once, so that nothing begins that would have to end again."""
        problem = self.problem
        for gate in self.gates:
            self._metrics.asleep(self.controller.name, gate.name, gate.check() is not None)
        if problem is None and not self._opened.is_set():
            self._period += 1
            self._closed.clear()
            self._opened.set()
        elif problem is not None and self._opened.is_set():
            self._period += 1
            self._keys = tuple(self.informer.store.keys())
            self._opened.clear()
            self._ready.clear()
            self._closed.set()
        if problem != self._told:
            self._told = problem
            if problem is None:
                _log.info("%s: begins to work", self.controller.name)
            else:
                _log.warning("%s: does nothing, for %s", self.controller.name, problem)


async def _while_open(closed: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work until the gates close; tell whether it has ended by itself."""
    working, closing = asyncio.create_task(work), asyncio.create_task(closed.wait())
    try:
        await asyncio.wait((working, closing), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return not closing.done()
    finally:
        await _cancel(working, closing)


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
