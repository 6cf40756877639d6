"""Whether a CDI is beside us: it is asked of the definition of DataVolume, and of the Lease of a CDI's controller.

The definition is one of ours, by its labels: then DataVolumes are ours to fill, unless a CDI's controller is alive, for two would fill them; that is
refused as a whole. It is another's: then a CDI fills them, and completed ones are collected beside it. It is not there: nothing is done.

`collection` and `population` are the gates before the kinds concerned. Both are open only while it is known that they may be.
Guarantees: nothing is asked while nothing changes. Where the definition may not be watched it counts as another's: nothing is filled.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.definition import is_ours
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.gate import UNSEEN, Gate
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.lease_gate import LeaseGate
from kubekit.runtime.store import Key
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS, CustomResourceDefinition

_log = logging.getLogger(__name__)

_DEFINITION: Final = Key("", DATA_VOLUMES.group_resource)


class Mode(StrEnum):
    """What is done about DataVolumes."""

    NONE = "None"
    """There are no such objects."""
    COMPANION = "Companion"
    STANDALONE = "Standalone"
    REFUSED = "Refused"
    """The definition is ours, and a CDI is at work."""


class ModeWatch:
    """See the module's docstring."""

    def __init__(
        self, client: Client, *, cdi_namespace: str | None, clock: Clock, show: Callable[[Mode], None]
    ) -> None:
        """`cdi_namespace` is where a CDI's controller has its Lease, empty any namespace; None looks for nobody. `show` is called with each mode."""
        self.mode = Mode.NONE
        self.collection = _Follower("cdi", self)
        self.population = _Follower("cdi", self)
        self._show = show
        self._told = ""
        self._running = False
        self._lease = (
            LeaseGate(client, namespace=cdi_namespace or None, name=names.CONTROLLER_LEASE, whose="a CDI", clock=clock)
            if cdi_namespace is not None
            else None
        )
        self._definitions: Informer[CustomResourceDefinition] = Informer(
            client,
            CUSTOM_RESOURCE_DEFINITIONS,
            field_selector=f"metadata.name={_DEFINITION.name}",
            optional=True,
            clock=clock,
        )
        self._definitions.add_handler(lambda _old, _new: self._judge())
        self._definitions.add_state_handler(lambda _state: self._judge())
        if self._lease is not None:
            self._lease.add_handler(self._judge)
        self._show(self.mode)

    async def run(self) -> None:
        """Look until cancelled. Who comes second waits, for the first looks for both."""
        if self._running:
            await asyncio.get_running_loop().create_future()
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._definitions.run(), name=f"definition {_DEFINITION.name}")
                if self._lease is not None:
                    group.create_task(self._lease.run(), name="lease of a CDI")
        finally:
            self._running = False

    def describe(self) -> str:
        """Return the mode in words, for `/readyz` and the log."""
        return _WORDS[self.mode] if self.mode is not Mode.REFUSED else f"{_WORDS[self.mode]}: {self._problem()}"

    def _problem(self) -> str:
        return (self._lease.check() if self._lease is not None else None) or UNSEEN

    def _judge(self) -> None:
        informer = self._definitions
        if informer.state is State.FORBIDDEN:
            self._note(Mode.COMPANION)
        elif informer.synced.is_set() or informer.state is State.ABSENT:
            mode = self._weigh(informer.store.get(_DEFINITION))
            if mode is not None:
                self._note(mode)

    def _weigh(self, found: CustomResourceDefinition | None) -> Mode | None:
        """Return the mode; None while the Lease was not looked at yet."""
        if found is None:
            return (
                Mode.NONE
            )  # one that is being deleted is there until the last object is gone, and those may wait for us
        if not is_ours(found.metadata.labels or {}):
            return Mode.COMPANION
        beside = self._lease.check() if self._lease is not None else None
        if beside == UNSEEN:
            return None
        return Mode.STANDALONE if beside is None else Mode.REFUSED

    def _note(self, mode: Mode) -> None:
        self.mode = mode
        why = self.describe()
        self.collection.follow(None if mode in (Mode.COMPANION, Mode.STANDALONE) else why)
        self.population.follow(None if mode is Mode.STANDALONE else why)
        if why != self._told:
            self._told = why
            self._show(mode)
            (_log.warning if mode is Mode.REFUSED else _log.info)("DataVolumes: %s", why)


class _Follower(Gate):
    """A gate of the watch."""

    def __init__(self, name: str, watch: ModeWatch) -> None:
        super().__init__(name)
        self._watch = watch

    async def run(self) -> None:
        """Look until cancelled."""
        await self._watch.run()

    def follow(self, problem: str | None) -> None:
        """Take over what the watch has found."""
        self._note(problem)


_WORDS: Final = {
    Mode.NONE: f"the cluster has no CustomResourceDefinition {_DEFINITION.name}",
    Mode.COMPANION: "another program fills DataVolumes here (the definition is not datamover's), so that completed ones are collected, and no more",
    Mode.STANDALONE: "the definitions are datamover's, and no CDI is at work",
    Mode.REFUSED: "the definitions are datamover's, and a CDI is at work as well, so that nothing is done",
}
