"""Work that waits until the cluster is as it has to be: an object is read, and judged by whoever needs it.

Guarantees: one GET an `interval` while the judgement is bad, none at all once it was good and the object stays what it is; a problem is
logged when it changes, and readiness has it all the time; it heals by itself. Without the right to read, or where reading makes no sense,
nothing is claimed and work begins. When the object is changed later so that it is judged bad, `run` raises: whoever works must end, and
begin again by waiting.
Assumptions: `run` runs beside whoever waits with `hold`.
Caveats: without an informer, or the right to watch, what goes bad later is not seen.

    Exception
      PreconditionLost   what was as it has to be is so no longer; the work must end
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, KubeError, NotFound
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.informer import Informer
from kubekit.words.meta import Manifest, PartialObject

_log = logging.getLogger(__name__)

INTERVAL = 30.0
_FIRST = "not looked at yet"

_Edition = tuple[str, int | None]
"""UID and generation: what makes it another object than the one that was judged."""

Judge = Callable[[Manifest | None], str | None]
"""Given an object, or None when there is none: returns what is wrong with it and what to do, or None."""


class PreconditionLost(Exception):  # noqa: N818 - no defect: somebody has changed the cluster
    """The object is not what it has to be any more. The message says what is wrong and what to do."""


class Precondition:
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        judge: Judge,
        changes: Informer[PartialObject] | None = None,
        clock: Clock | None = None,
        interval: float = INTERVAL,
    ) -> None:
        """`path` is that of the object at the API server; `changes` watches this one object; `interval` is in seconds."""
        self._client = client
        self._path = path
        self._judge = judge
        self._clock = clock or SystemClock()
        self._interval = interval
        self._met = asyncio.Event()
        self._problem: str | None = _FIRST
        self._judged: _Edition | None = None
        self._latest: _Edition | None = None
        self._changed = asyncio.Event()
        if changes is not None:
            changes.add_handler(self._observe)

    def check(self) -> str | None:
        """Return what is wrong: a check of readiness."""
        return self._problem

    async def run(self) -> None:
        """Look until all is well, then rest until the object changes or this is cancelled. Raises PreconditionLost."""
        while not self._met.is_set():
            self._note(await self._look())
            if not self._met.is_set():
                await self._clock.sleep(self._interval)
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._latest != self._judged:
                try:
                    problem = await self._read()
                except Forbidden:
                    break
                except KubeError as error:
                    _log.warning("%s has changed and cannot be read: %s", self._path, error)
                    await self._clock.sleep(self._interval)
                    continue
                if problem is not None:
                    raise PreconditionLost(f"{problem}. The work ends here, and begins again when that is mended")
                break

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work as soon as all is well."""
        await self._met.wait()
        await work()

    def _observe(self, _before: PartialObject | None, after: PartialObject | None) -> None:
        """Take in that the object is another one. What only its status says is left out: that changes by itself."""
        self._latest = (after.metadata.uid, after.metadata.generation) if after is not None else None
        if self._latest != self._judged:
            self._changed.set()

    async def _read(self) -> str | None:
        try:
            found: Any = await self._client.request_json("GET", self._path)
        except NotFound:
            self._judged = None
            return self._judge(None)
        metadata = found.get("metadata", {})
        self._judged = (metadata.get("uid", ""), metadata.get("generation"))
        return self._judge(found)

    async def _look(self) -> str | None:
        try:
            return await self._read()
        except Forbidden as error:
            _log.info("not checked before the start, for it may not be read: %s", error)
            return None
        except KubeError as error:
            return f"{self._path} cannot be read: {error}"

    def _note(self, problem: str | None) -> None:
        if problem is None:
            if self._problem != _FIRST:
                _log.info("%s is as it has to be now: work begins", self._path)
            self._met.set()
        elif problem != self._problem:
            _log.error("%s", problem)
        self._problem = problem
