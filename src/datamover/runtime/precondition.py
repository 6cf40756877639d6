"""Work that waits until the cluster is as it has to be: an object is read, and judged by whoever needs it.

Guarantees: one GET an `interval` while the judgement is bad, none at all once it was good; a problem is logged when it changes, and
readiness has it all the time; it heals by itself. Without the right to read, or where reading makes no sense, nothing is claimed and
work begins.
Assumptions: `run` runs beside whoever waits with `hold`.
Caveats: what goes bad later is not seen, for nobody looks any more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from datamover.api.meta import Manifest
from datamover.kube.client import Client
from datamover.kube.errors import Forbidden, KubeError, NotFound
from datamover.runtime.clock import Clock, SystemClock

_log = logging.getLogger(__name__)

INTERVAL = 30.0
_FIRST = "not looked at yet"

Judge = Callable[[Manifest | None], str | None]
"""Given an object, or None when there is none: returns what is wrong with it and what to do, or None."""


class Precondition:
    """See the module's docstring."""

    def __init__(
        self, client: Client, path: str, *, judge: Judge, clock: Clock | None = None, interval: float = INTERVAL
    ) -> None:
        """`path` is that of the object at the API server; `interval` is in seconds."""
        self._client = client
        self._path = path
        self._judge = judge
        self._clock = clock or SystemClock()
        self._interval = interval
        self._met = asyncio.Event()
        self._problem: str | None = _FIRST

    def check(self) -> str | None:
        """Return what is wrong: a check of readiness."""
        return self._problem

    async def run(self) -> None:
        """Look until all is well, then rest until cancelled."""
        while not self._met.is_set():
            self._note(await self._look())
            if not self._met.is_set():
                await self._clock.sleep(self._interval)
        await asyncio.Event().wait()

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work as soon as all is well."""
        await self._met.wait()
        await work()

    async def _look(self) -> str | None:
        try:
            found: Any = await self._client.request_json("GET", self._path)
        except NotFound:
            return self._judge(None)
        except Forbidden as error:
            _log.info("not checked before the start, for it may not be read: %s", error)
            return None
        except KubeError as error:
            return f"{self._path} cannot be read: {error}"
        return self._judge(found)

    def _note(self, problem: str | None) -> None:
        if problem is None:
            if self._problem != _FIRST:
                _log.info("%s is as it has to be now: work begins", self._path)
            self._met.set()
        elif problem != self._problem:
            _log.error("%s", problem)
        self._problem = problem
