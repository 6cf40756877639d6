"""What stands beside the operator in a cluster: provisioner, snapshotter, Job controller, scheduler, kubelet, garbage collector.

Each part looks at the whole state after every change (`look`) and puts its next acts into the future (`later`); an act looks again before
it writes. Parts are plain synchronous code on the server's side of the network: no fault of the operator's network reaches them.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any, Protocol

from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.batch import JOBS
from kubekit.words.meta import Resource
from support.simulation.comparisons import Comparisons
from support.simulation.conduct import Conduct
from support.simulation.destination import Destination
from support.simulation.hand import Hand
from support.simulation.history import History


class Part(Protocol):
    """A controller of the cluster."""

    def look(self) -> None: ...


class Cluster:
    """The parts, and what they share. Draws everything random from `dice`."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        conduct: Conduct,
        dice: random.Random,
        history: History,
        destination: Destination,
        hand: Callable[[str, Callable[[], None]], Hand],
    ) -> None:
        self.conduct = conduct
        self.dice = dice
        self.destination = destination
        self.comparisons = Comparisons(destination.clock, history)
        self.owners: list[Resource[Any]] = [DATA_MOVERS, JOBS]
        """The kinds whose children the garbage collector takes along."""
        self.dependents: list[Resource[Any]] = []
        """Further kinds whose objects go with their owners."""
        self.contents: dict[str, Any] = {}
        """What the storage has put into claims and snapshots, by their UIDs."""
        self.time = loop.time
        self.hand = hand("cluster", self.wake)
        self._history = history
        self._loop = loop
        self._parts: list[Part] = []
        self._planned: dict[tuple[str, str], None] = {}
        self._awake = False
        self._context = contextvars.copy_context()

    def add(self, part: Part) -> None:
        self._parts.append(part)

    def wake(self) -> None:
        """Something has changed."""
        if not self._awake:
            self._awake = True
            self._loop.call_later(self.dice.uniform(*self.conduct.lag), self._look, context=self._context)

    def later(self, what: str, uid: str, seconds: float, act: Callable[[], None]) -> None:
        """Do something for an object in some seconds, a tenth more or less, unless it is planned already."""
        if (what, uid) in self._planned:
            return
        self._planned[what, uid] = None

        def run() -> None:
            del self._planned[what, uid]
            act()

        self._loop.call_later(seconds * self.dice.uniform(0.9, 1.1), run, context=self._context)

    def soon(self, act: Callable[[], None]) -> None:
        """Do something before anybody hears of what has just changed."""
        self._loop.call_soon(act, context=self._context)

    def note(self, what: str) -> None:
        self._history.note("cluster", what)

    def _look(self) -> None:
        self._awake = False
        for part in self._parts:
            part.look()
