"""Starts and stops everything in order.

Start: servers and background tasks, informers, wait until they settled, freeze the garbage collector's view of the caches, then
(as leader, when there is an election) the controllers. Stop: no new keys, workers finish what they hold, the lease is released,
events are flushed, informers end. What does not end within `grace` seconds is cancelled.

Ready is who has what it needs to work: a replica that may no longer watch a kind, or could not for `OUTAGE` seconds, is not, whether
or not it once was. What is behind a closed gate (`kubekit.runtime.gate`) is not waited for; `notes` tells of it.

Guarantees: every task is owned and gone when `run` returns; a background task that fails stops everything and its error is raised.
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from kubekit.runtime.controller import Controller
from kubekit.runtime.gate import Guarded
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.instruments import Check

_log = logging.getLogger(__name__)

GRACE = 20.0
OUTAGE = 300.0
"""Seconds that a cache may be without a watch before the replica is no longer ready. API servers restart in less."""


class Elector(Protocol):
    """What the manager needs of `kubekit.runtime.leader.LeaderElector`."""

    async def run(self, while_leading: Callable[[], Awaitable[None]]) -> None:
        """Call `while_leading` whenever we lead, and cancel it when we no longer do."""
        ...


class Manager:
    """See the module's docstring."""

    def __init__(self, *, elector: Elector | None = None, grace: float = GRACE, freeze: bool = True) -> None:
        """`freeze` keeps the garbage collector from walking the caches again and again."""
        self._elector = elector
        self._grace = grace
        self._freeze = freeze
        self._informers: list[Informer[Any]] = []
        self._controllers: list[Controller] = []
        self._guarded: list[Guarded] = []
        self._background: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._finishers: list[Callable[[], Awaitable[None]]] = []
        self._started = False
        self._working = False

    def add_informer(self, informer: Informer[Any]) -> None:
        """Run an informer; controllers start when it settled."""
        self._informers.append(informer)

    def add_controller(self, controller: Controller) -> None:
        """Run a controller while we lead."""
        self._controllers.append(controller)

    def add_guarded(self, guarded: Guarded) -> None:
        """Run an informer and a controller while their gates are open; the controller, while we lead. The gates run from the start."""
        self._guarded.append(guarded)

    def add_task(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run anything else from the start until the end: named informers, an event recorder's flusher."""
        self._background.append((name, run))

    def add_finisher(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Call at the end, after the controllers and before informers and tasks stop: an event recorder's flush."""
        self._finishers.append(finish)

    def checks(self) -> dict[str, Check]:
        """Readiness: one check for each informer, one for the start as a whole."""
        found: dict[str, Check] = {informer.name: _informer_check(informer) for informer in self._informers}
        found |= {each.informer.name: _guarded_check(each) for each in self._guarded}
        found["started"] = lambda: None if self._started else "controllers wait for the caches"
        return found

    def notes(self) -> dict[str, str]:
        """What is asleep, and why: nothing is wrong with the replica, but who looks for its work has to know."""
        return {each.controller.name: problem for each in self._guarded if (problem := each.problem) is not None}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises what a background task raised."""
        stopping = asyncio.create_task(stop.wait(), name="stop signal")
        tasks = [asyncio.create_task(_call(run), name=name) for name, run in self._background]
        tasks += [asyncio.create_task(informer.run(), name=f"informer {informer.name}") for informer in self._informers]
        gates = {id(gate): gate for each in self._guarded for gate in each.gates}  # one gate may be before several
        tasks += [asyncio.create_task(gate.run(), name=f"gate {gate.name}") for gate in gates.values()]
        tasks += [asyncio.create_task(each.watch(), name=f"caches of {each.controller.name}") for each in self._guarded]
        work: asyncio.Task[None] | None = None
        try:
            if await self._settle(stopping, tasks):
                if self._freeze:
                    gc.collect()
                    gc.freeze()
                self._started = True
                work = asyncio.create_task(self._work(), name="controllers")
                await _first([stopping, work, *tasks])
        finally:
            self._started = False
            await self._finish(work)
            await _cancel([stopping, *tasks])
        _raise_failure([*tasks, *([work] if work else [])])

    async def _settle(self, stopping: "asyncio.Task[Any]", tasks: "list[asyncio.Task[None]]") -> bool:
        waiting = [asyncio.create_task(informer.settled.wait()) for informer in self._informers]
        everyone = asyncio.gather(*waiting)
        try:
            await _first([stopping, everyone, *tasks])
            return everyone.done()
        finally:
            await _cancel(waiting)
            with suppress(asyncio.CancelledError):
                await everyone

    async def _work(self) -> None:
        if self._elector is None:
            await self._run_controllers()
        else:
            await self._elector.run(self._run_controllers)

    async def _run_controllers(self) -> None:
        self._working = True
        try:
            async with asyncio.TaskGroup() as group:
                for controller in self._controllers:
                    group.create_task(controller.run(), name=f"controller {controller.name}")
                for each in self._guarded:
                    group.create_task(each.work(), name=f"controller {each.controller.name}")
        finally:
            self._working = False

    async def _finish(self, work: "asyncio.Task[None] | None") -> None:
        for controller in self._controllers:
            controller.queue.shutdown()
        for each in self._guarded:
            each.shut_down()
        if work is not None:
            if self._working:
                await asyncio.wait([work], timeout=self._grace)
            if self._working:
                _log.warning("controllers did not finish within %g s and are cancelled", self._grace)
            await _cancel([work])
        for finish in self._finishers:
            try:
                async with asyncio.timeout(self._grace):
                    await finish()
            except Exception:  # noqa: BLE001 - the other last steps are still to be taken
                _log.exception("a last step failed")


async def _call(run: Callable[[], Awaitable[None]]) -> None:
    await run()  # begun by its own task: one that is cancelled before that leaves nothing unawaited


async def _first(awaitables: "list[asyncio.Future[Any]]") -> None:
    await asyncio.wait(awaitables, return_when=asyncio.FIRST_COMPLETED)


async def _cancel(tasks: "list[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_failure(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _guarded_check(guarded: Guarded) -> Check:
    check = _informer_check(guarded.informer)
    return lambda: None if guarded.problem is not None else check()


def _informer_check(informer: Informer[Any]) -> Check:
    def check() -> str | None:
        if not informer.settled.is_set():
            return informer.problem or f"{informer.state.value}, not synced yet"
        if informer.optional or informer.outage is None:
            return None
        state, seconds = informer.outage
        if state is State.WAITING and seconds <= OUTAGE:
            return None
        why = f": {informer.problem}" if informer.problem else ""
        return f"{state.value} for {seconds:.0f} s, so what is known of it is old{why}"

    return check
