"""A transport that answers from a script: for tests of what is asked, and of what comes of each answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kubekit.client.transport import Request, Response, Stream


def answer(status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with JSON."""
    return Response(status, dict(headers or {}), b"" if body is None else json.dumps(body).encode())


def failure(status: int, reason: str = "", message: str = "no", **details: Any) -> Response:
    """An answer with a Status."""
    return answer(status, {"kind": "Status", "code": status, "reason": reason, "message": message, "details": details})


def line(type_: str, obj: Mapping[str, Any]) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


HANG = object()
"""In a script: no answer, ever."""


@dataclass
class ScriptedStream:
    """A stream: its chunks in order; an exception among them is raised, HANG waits for ever."""

    chunks: Iterable[Any] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class ScriptedTransport:
    """Fits `kubekit.client.transport.Transport`. Each request takes the next step of the script and is remembered.

    A step is a Response, a ScriptedStream, an exception to raise, HANG, or a function of the request that returns one of these.
    """

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.open_streams = 0
        self.closed = False

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        return await self._next(request)

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float | None = None) -> AsyncIterator[Stream]:
        step = await self._next(request)
        if isinstance(step, Response):
            step = ScriptedStream([step.body], step.status, step.headers)
        self.open_streams += 1
        try:
            yield Stream(step.status, step.headers, _chunks(step.chunks))
        finally:
            self.open_streams -= 1

    async def close(self) -> None:
        self.closed = True

    async def _next(self, request: Request) -> Any:
        self.requests.append(request)
        if not self.script:
            raise AssertionError(f"nobody expected {request.method} {request.path} {request.query}")
        step = self.script.pop(0)
        if isinstance(step, Callable):
            step = step(request)
        if step is HANG:
            await asyncio.get_running_loop().create_future()
        if isinstance(step, BaseException):
            raise step
        return step


async def _chunks(script: Iterable[Any]) -> AsyncIterator[bytes]:
    for chunk in script:
        if chunk is HANG:
            await asyncio.get_running_loop().create_future()
        elif isinstance(chunk, BaseException):
            raise chunk
        else:
            await asyncio.sleep(0)
            yield chunk
