"""An event loop whose time jumps: when nothing can run, it is at once the moment of the next timer.

Everything in asyncio follows (`sleep`, `timeout`, `wait`), so a day takes as long as what happens in it. Nothing here waits for real
descriptors, and nothing depends on the machine's clock: what a program does is the same each time.
"""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2024, 8, 6, 14, 30, tzinfo=UTC)
LIVELOCK = 200_000
"""Turns of the loop at one moment after which it is said to run in circles."""

TaskGroupOf = dict["asyncio.Task[Any]", None]
"""Tasks in the order of their creation."""

owner: contextvars.ContextVar[TaskGroupOf | None] = contextvars.ContextVar("owner", default=None)
"""Where the tasks are noted that the code of now starts, and those that these start: a process of the simulation."""


class Stuck(Exception):
    """Nothing can ever happen again, or the same happens again and again without time passing."""


class _Jump(selectors.SelectSelector):
    """Waits for nothing: where it should wait, the time is moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self.turns_of_now = 0
        self.on_turn: Callable[[int], None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        self.turns_of_now += 1
        if self.on_turn is not None:
            self.on_turn(self.turns)
        if timeout is None:
            raise Stuck("every task waits for another one")
        if timeout > 0:
            self.now += timeout
            self.turns_of_now = 0
        elif self.turns_of_now > LIVELOCK:
            raise Stuck(f"{LIVELOCK} turns of the loop, and no time has passed")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring. `turns` counts rounds of the loop: the finest moments at which something may be interrupted."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-9
        self.set_task_factory(_create_task)

    def time(self) -> float:
        return self._jump.now

    @property
    def turns(self) -> int:
        return self._jump.turns

    def at_turn(self, turn: int, callback: Callable[[], None]) -> None:
        """Call `callback` between two tasks, in the round after so many."""

        def check(turns: int) -> None:
            if turns >= turn:
                self._jump.on_turn = None
                self.call_soon(callback)

        self._jump.on_turn = check


class LoopClock:
    """Fits `kubekit.runtime.clock.Clock` on the running loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main` to its end on a new loop; whatever tasks are left are cancelled."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.wait(rest))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _create_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    tasks = owner.get()
    if tasks is not None:
        tasks[task] = None
        task.add_done_callback(lambda done: tasks.pop(done, None) and None)
    return task
