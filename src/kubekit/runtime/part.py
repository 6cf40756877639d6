"""A part of another informer's objects, as an informer of its own: nothing is listed, watched or kept a second time.

For a controller that works on few of the many objects that are cached anyway, and behind gates: while it is not run it is empty.

Guarantees: it holds what the whole holds of those that are selected, and tells handlers of each that comes, changes or goes, also when
an object that stays no longer belongs to it.
Assumptions: the whole is run by somebody else.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Index, key_of
from kubekit.words.meta import HasMeta

T = TypeVar("T", bound=HasMeta)


class Part(Informer[T]):
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        whole: Informer[T],
        *,
        select: Callable[[T], bool],
        indexes: Mapping[str, Index[T]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(client, whole.resource, indexes=indexes, optional=whole.optional, clock=clock)
        self._whole = whole
        self._select = select
        self._follows = False
        whole.add_handler(self._follow)

    @property
    def name(self) -> str:
        """The whole's name, told apart: both are asked whether they are ready."""
        return f"part of {self._whole.name}"

    @property
    def state(self) -> State:
        """Where the whole is."""
        return self._whole.state

    @property
    def outage(self) -> tuple[State, float] | None:
        """The whole's."""
        return self._whole.outage

    async def run(self) -> None:
        """Follow the whole until cancelled."""
        await self._whole.settled.wait()
        self._follows = True
        self._fill()
        self.synced.set()
        self.settled.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._follows = False

    def _fill(self) -> None:
        chosen = [each for each in self._whole.store.list() if self._select(each)]
        self.store.replace(chosen, version=self._whole.store.high_water, reset=True)

    def _follow(self, old: T | None, new: T | None) -> None:
        if not self._follows:
            return
        if new is not None and self._select(new):
            self.store.put(new)
            if self.store.get(key_of(new.metadata)) is not new:
                self._fill()  # the server's history began anew, and older versions are the present ones
        elif old is not None and key_of(old.metadata) in self.store:
            self.store.remove((new or old).metadata)
