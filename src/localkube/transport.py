"""The way to an API server in the same process: `kube.transport.Transport` without a network."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from kubekit.client.errors import TransportError
from kubekit.client.transport import Request, Response, Stream
from localkube.store.apiserver import ApiServer


class LocalTransport:
    """Hands requests to an `ApiServer`. Nothing is serialized but the bodies, which are bytes on both sides anyway.

    Guarantees: a request yields to the event loop once, so that a busy client cannot starve watches.
    Caveats: `timeout` only matters when a fault hook waits; the server itself answers at once.
    """

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109 - the transport owns its deadline
        """Answer one request. Raises TransportError when a fault hook is silent for `timeout` seconds or says so itself."""
        await asyncio.sleep(0)
        if timeout is None or self._server.intercept is None:
            return await self._server.handle(request)
        try:
            async with asyncio.timeout(timeout):
                return await self._server.handle(request)
        except TimeoutError as error:
            raise TransportError(f"no answer within {timeout} s") from error

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float | None = None) -> AsyncGenerator[Stream]:
        """Open a watch or a log. Raises TransportError when it is silent for `idle_timeout` seconds."""
        opened = await self._server.stream(request)
        try:
            chunks = opened.chunks if idle_timeout is None else _timed(opened.chunks, idle_timeout)
            yield Stream(opened.status, opened.headers, chunks)
        finally:
            await close_chunks(opened.chunks)

    async def close(self) -> None:
        """Nothing to release."""


async def _timed(chunks: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    iterator = aiter(chunks)
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise TransportError(f"the stream was silent for {seconds} s") from error
        yield chunk


async def close_chunks(chunks: AsyncIterator[bytes]) -> None:
    """Close an iterator of chunks when it can be closed."""
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()
