"""One operator's way to the API server: `kube.transport.Transport` with a script of faults, over `LocalTransport`."""

import asyncio
import contextvars
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

from kubekit.client.errors import TransportError, TransportTimeout
from kubekit.client.transport import Request, Response, Stream
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport
from support.simulation.calls import SENT, Call, read_call
from support.simulation.faults import ANSWERS, Disturbance, Fault, Script, answer
from support.simulation.history import History
from support.simulation.streams import disturb

_PATIENCE = 30.0
_LATE = 3.0
_STALENESS = 40


class Wire:
    """Guarantees: what was sent arrives, even when its sender is killed meanwhile; a killed operator sends and hears nothing more."""

    def __init__(
        self,
        server: ApiServer,
        *,
        script: Script,
        numbers: Iterator[int],
        dice: random.Random,
        history: History,
        who: str,
        kill: Callable[[], None],
    ) -> None:
        self.dead = False
        self._server = server
        self._local = LocalTransport(server)
        self._script = script
        self._numbers = numbers
        self._dice = dice
        self._history = history
        self._who = who
        self._kill = kill
        self._context = contextvars.copy_context()

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        call, number, fault = self._begin(request)
        if fault is Fault.STALE:
            request = self._antedate(request, call)
        match fault:
            case Fault.KILL_BEFORE:
                self._kill()
            case Fault.RESET:
                await asyncio.sleep(self._script.latency())
                raise TransportError("connection reset by peer")
            case Fault.SILENT:
                await asyncio.sleep(_PATIENCE)
                raise TransportTimeout("no answer in time")
            case Fault.LATE:
                self._send(request, self._dice.uniform(0.0, _LATE))
                await asyncio.sleep(self._script.latency())
                raise TransportTimeout("no answer in time")
            case _ if fault in ANSWERS:
                await asyncio.sleep(self._script.latency())
                return answer(fault)
            case _:
                pass
        await self._pass_on()
        response = await asyncio.shield(self._send(request, self._script.latency()))
        await self._pass_on()
        if fault is Fault.KILL_AFTER:
            self._kill()
            await self._pass_on()
        await asyncio.sleep(self._script.latency())
        if fault is Fault.LOST:
            raise TransportError("connection reset by peer")
        if call.writes or call.verb == "get":
            self._history.note(self._who, f"#{number} {call}: {response.status}")
        return response

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float | None = None) -> AsyncIterator[Stream]:
        call = read_call(request)
        number = next(self._numbers)
        found = self._script.on_watch(number, call)
        if found is not None and not (isinstance(found, Disturbance) and found.harmless):
            self._history.note(self._who, f"#{number} {call}: {found}")
        if found is Fault.KILL_BEFORE:
            self._kill()
        await self._pass_on()
        await asyncio.sleep(self._script.latency())
        if found is Fault.SILENT:
            await asyncio.sleep(_PATIENCE)
            raise TransportTimeout("no answer in time")
        if found is Fault.RESET or found is Fault.LOST:
            raise TransportError("connection reset by peer")
        if isinstance(found, Fault):
            refusal = answer(found)
            yield Stream(refusal.status, refusal.headers, _once(refusal.body))
        elif found is None or found.harmless:
            async with self._local.stream(request, idle_timeout=idle_timeout) as stream:
                yield stream
        else:
            async with self._local.stream(request) as stream:
                lines = disturb(stream.chunks, found, self._dice, idle_timeout=idle_timeout)
                try:
                    yield Stream(stream.status, stream.headers, lines)
                finally:
                    await lines.aclose()

    async def close(self) -> None:
        """Nothing to release."""

    def _begin(self, request: Request) -> tuple[Call, int, Fault | None]:
        call, number = read_call(request), next(self._numbers)
        fault = None if self.dead else self._script.on_call(number, call)
        if fault is not None:
            self._history.note(self._who, f"#{number} {call}: {fault}")
        return call, number, fault

    def _send(self, request: Request, latency: float) -> "asyncio.Task[Response]":
        """Send on the network's own task: nobody can call it back. What arrives says when it was sent."""
        request = replace(request, headers={**request.headers, SENT: f"{self._history.now():.6f}"})

        async def travel() -> Response:
            await asyncio.sleep(latency)
            return await self._local.request(request)

        return asyncio.get_running_loop().create_task(travel(), context=self._context)

    async def _pass_on(self) -> None:
        """Go no further when the operator is dead: its tasks only wait to be cancelled."""
        if self.dead:
            await asyncio.get_running_loop().create_future()

    def _antedate(self, request: Request, call: Call) -> Request:
        """Ask for a list as a server's cache may still have it that lags behind. Only `resourceVersion=0` allows that."""
        query = dict(request.query)
        if query.get("resourceVersion") != "0":
            return request
        storage = self._server.storage
        floor = storage.collection(call.resource).floor
        version = max(floor, 1, storage.revision - self._dice.randint(1, _STALENESS))
        query |= {"resourceVersion": str(version), "resourceVersionMatch": "Exact"}
        return replace(request, query=tuple(query.items()))


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
