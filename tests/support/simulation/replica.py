"""An operator as a process of its own: it can be killed, and then nothing of it happens any more."""

import asyncio
import contextvars
import random
from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from datamover.api.names import COMPONENT
from datamover.cli.kinds import KINDS
from datamover.cli.operator import Operator
from datamover.cli.options import Options
from datamover.cli.surroundings import MakeKind
from datamover.metrics.runtime import RuntimeMetrics
from kubekit.client.client import Client
from kubekit.runtime.leader import LeaderElector, LeadershipLost
from localkube.store.apiserver import ApiServer
from support.simulation.faults import Script
from support.simulation.history import History
from support.simulation.wire import Wire
from support.virtual_time import LoopClock, TaskGroupOf, VirtualLoop, owner

CLUSTER = "5a5a5a5a-0000-4000-8000-000000000000"
MOVER_IMAGE = "registry.example.com/mover:1"
_ROUNDS = 200


class Replica:
    """One run of the operator's program, from its start to its end."""

    def __init__(
        self,
        number: int,
        *,
        loop: VirtualLoop,
        server: ApiServer,
        script: Script,
        numbers: Iterator[int],
        dice: random.Random,
        history: History,
        leader_namespace: str | None = None,
        kinds: tuple[MakeKind, ...] = KINDS,
    ) -> None:
        self.name = f"operator {number}"
        self.over = asyncio.Event()
        self._loop = loop
        self._history = history
        self._stop = asyncio.Event()
        self._tasks: TaskGroupOf = {}
        self._burial: asyncio.Task[None] | None = None
        self.wire = Wire(
            server,
            script=script,
            numbers=numbers,
            dice=dice,
            history=history,
            who=self.name,
            kill=self.kill,
        )
        self.registry = CollectorRegistry()
        metrics = RuntimeMetrics(self.registry)
        clock = LoopClock(loop)
        client = Client(
            self.wire, user_agent=f"{COMPONENT}/{number}", clock=clock, observe=metrics.request, jitter=dice.random
        )
        self.operator = Operator(
            client,
            cluster=CLUSTER,
            options=Options(identity=self.name, leader_namespace=leader_namespace, mover_image=MOVER_IMAGE),
            registry=self.registry,
            metrics=metrics,
            clock=clock,
            kinds=kinds,
        )
        manager = self.operator.manager
        manager._freeze = False  # a simulation has thousands of operators in one process
        if isinstance(manager._elector, LeaderElector):
            manager._elector._overdue = self._overstay  # not the end of the test's process

    def start(self) -> None:
        self._history.note(self.name, "starts")
        context = contextvars.copy_context()
        context.run(owner.set, self._tasks)
        main = self._loop.create_task(self.operator.run(self._stop), name=self.name, context=context)
        self._tasks[main] = None
        main.add_done_callback(self._ended)

    @property
    def alive(self) -> bool:
        return not self.wire.dead

    @property
    def leads(self) -> bool:
        """Tell whether it works: it is the elected one, or there is no election."""
        elector = self.operator.manager._elector
        return self.alive and (not isinstance(elector, LeaderElector) or elector.leading)

    def is_current(self) -> bool:
        """Tell whether the code of now is part of this operator."""
        return owner.get() is self._tasks

    def kill(self) -> None:
        """End it as kill -9 does: whatever its code would still do, nothing of it reaches anybody."""
        if self.wire.dead:
            return
        self._history.note(self.name, "IS KILLED")
        self.wire.dead = True
        self.over.set()
        self._burial = self._loop.create_task(self._bury(), context=contextvars.Context())

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        self._history.note(self.name, "is told to end")
        self._stop.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        self.wire.dead = True
        self.over.set()

    async def _bury(self) -> None:
        for _ in range(_ROUNDS):
            if not self._tasks:
                return
            for task in list(self._tasks):
                task.cancel()
            await asyncio.sleep(0)
        self._history.breaks("harness", f"{self.name} does not die: {list(self._tasks)}")

    def _overstay(self) -> None:
        self._history.breaks("L7", f"{self.name} still works although its lease lapses")

    def _ended(self, main: "asyncio.Task[None]") -> None:
        self._tasks.pop(main, None)
        if self.wire.dead or main.cancelled():
            return
        error = main.exception()
        if isinstance(error, LeadershipLost):
            self._history.note(self.name, f"ends: {error}")
            self.wire.dead = True
            self.over.set()
            return
        if error is not None or not self._stop.is_set():
            self._history.breaks("crash", f"{self.name} ended by itself: {error!r}")
