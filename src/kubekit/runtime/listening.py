"""An HTTP server that holds out against clients that are slow, silent, many or endless (law L11).

Guarantees: a connection on which no request comes whole, or none any more, is closed after `Limits.idle` seconds, a handshake after
`Limits.handshake`; of more than `Limits.connections` the one that has been silent longest is closed, so that somebody who only holds
connections open keeps nobody out; heads of requests are bounded (aiohttp's own limits: 8 KiB a line, 128 lines). A body that nobody asked
for is not read, and ends its connection.
Caveats: a connection whose request is being answered is never closed for its age: watches and logs go on for hours.
"""

import asyncio
import errno
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

_LINGER = 1.0
"""Seconds for which a body that nobody asked for is thrown away, so that the client may read the answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one server; times in seconds."""

    connections: int = 128
    idle: float = 60.0
    handshake: float = 10.0


class Listener:
    """A running server of one application. `open` once, `close` at the end."""

    def __init__(self, application: web.Application, *, limits: Limits, cancels: bool = False) -> None:
        """`cancels`: a request whose client has gone is cancelled, where otherwise only what is written to it tells."""
        self._limits = limits
        self._silent: dict[asyncio.Transport, None] = {}
        self._open: set[asyncio.Transport] = set()
        application.middlewares.append(self._attend)
        # no access log: it would hold nothing that the servers' own counters lack
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            keepalive_timeout=limits.idle,
            lingering_time=_LINGER,
            handler_cancellation=cancels,
        )
        self._server: asyncio.Server | None = None

    async def open(self, place: socket.socket | tuple[str, int], *, tls: ssl.SSLContext | None) -> tuple[str, int]:
        """Listen on a socket, or on host and port, and return the address. Raises OSError when it is taken."""
        await self._runner.setup()
        begin = partial(
            asyncio.get_running_loop().create_server,
            self._admit,
            ssl=tls,
            ssl_handshake_timeout=self._limits.handshake if tls else None,
        )
        try:
            if isinstance(place, socket.socket):
                server = await begin(sock=place)
            else:
                server = await begin(host=place[0], port=place[1], reuse_address=True)
        except BaseException:
            await self._runner.cleanup()
            raise
        self._server = server
        address = server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def close(self) -> None:
        """Stop listening and end what is open. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._runner.cleanup()

    def _admit(self) -> asyncio.Protocol:
        handler = self._runner.server
        if handler is None:
            raise ConnectionAbortedError("this server is closing")
        return _Guest(handler(), self)

    @web.middleware
    async def _attend(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return await handler(request)
        self._silent.pop(transport, None)
        try:
            return await handler(request)
        finally:
            if transport in self._open:
                self._silent[transport] = None

    def arrived(self, transport: asyncio.Transport) -> None:
        """Take a new connection in; where there are too many, let the one go that has been silent longest."""
        self._open.add(transport)
        self._silent[transport] = None
        if len(self._open) > self._limits.connections:
            longest = next(iter(self._silent))
            self.left(longest)
            longest.abort()

    def left(self, transport: asyncio.Transport) -> None:
        """Forget a connection. Safe to call twice."""
        self._open.discard(transport)
        self._silent.pop(transport, None)


class _Guest(asyncio.Protocol):
    """One connection: passes everything on to aiohttp's handler, and says when it comes and goes."""

    def __init__(self, handler: asyncio.Protocol, listener: Listener) -> None:
        self._handler = handler
        self._listener = listener
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._handler.connection_made(transport)
        self._listener.arrived(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._transport is not None:
            self._listener.left(self._transport)
        self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """Pass it on: the client reads slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._handler.resume_writing()


def place_of(host: str, port: int) -> socket.socket | tuple[str, int]:
    """Return where to listen; an empty host is every address of every family. Raises OSError when that is taken."""
    return (host, port) if host else _listen_everywhere(port)


def _listen_everywhere(port: int) -> socket.socket:
    """Return one socket for IPv4 and IPv6, or for IPv4 where the kernel has no other: kubelets come by the Pod's family. Raises OSError."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return socket.create_server(("", port))
