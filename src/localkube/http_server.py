"""The embedded API server over the network: HTTP/1.1 on loopback, for the stock kubectl and for operators in other processes.

Guarantees: only loopback addresses are served; every request must carry the bearer token (compared in constant time), health checks excepted; closing ends
watches and logs cleanly, so that clients see an end of stream and not a broken connection; connections, streams, times and bodies are
bounded (`Limits`, `MAX_STREAMS`, `BODY_SECONDS`).
Caveats: bodies over 3 MiB are refused (413), as the real server does. No HTTP/2: exec, attach and port-forward do not exist here.
"""

import asyncio
import hmac
import ipaddress
import secrets
from base64 import b64encode
from typing import Any

from aiohttp import web

from kubekit.client.transport import Request, Response, Stream
from kubekit.runtime.listening import Limits, Listener
from localkube.store import answers
from localkube.store.apiserver import ApiServer
from localkube.store.certificate import Tls, self_signed
from localkube.store.statuses import StatusError, too_large, unauthorized
from localkube.store.watching import Watch
from localkube.transport import close_chunks

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request body that are read."""
BODY_SECONDS = 30.0
"""Seconds in which a body must have come."""
MAX_STREAMS = 512
"""Watches and logs that are open at a time; each costs memory until its client reads."""
_LIMITS = Limits(connections=1024)

_OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz"})


class HttpServer:
    """Serves an `ApiServer` over HTTP. `url` is where it listens."""

    def __init__(
        self,
        server: ApiServer,
        *,
        token: str,
        tls: Tls | None,
        limits: Limits = _LIMITS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._server = server
        self._limits = limits
        self._body_seconds = body_seconds
        self._token = token
        self._tls = tls
        self._readers: dict[asyncio.Task[Any], Stream] = {}
        self._listener: Listener | None = None
        self.url = ""

    def kubeconfig(self, name: str = "localkube") -> dict[str, Any]:
        """Return a kubeconfig with one context of that name. It holds the token: write it with mode 0600."""
        cluster: dict[str, Any] = {"server": self.url}
        if self._tls is not None:
            cluster["certificate-authority-data"] = b64encode(self._tls.authority).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": self._token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "current-context": name,
        }

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        application = web.Application(client_max_size=MAX_BODY + 1)
        application.router.add_route("*", "/{path:.*}", self._answer)
        listener = Listener(
            application, limits=self._limits, cancels=True
        )  # a watch may have nothing to write for an hour
        address, bound = await listener.open((host, port), tls=self._tls.context if self._tls else None)
        self._listener = listener
        shown = f"[{address}]" if ":" in address else address
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{bound}"

    async def close(self) -> None:
        """End the streams and stop listening. Safe to call twice."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        for reader, opened in list(self._readers.items()):
            if isinstance(opened.chunks, Watch):
                opened.chunks.end()
            else:
                reader.cancel()
        await listener.close()

    async def _answer(self, incoming: web.Request) -> web.StreamResponse:
        path = incoming.rel_url.raw_path
        body = b""
        if path not in _OPEN_PATHS:  # whoever asks for one of these has nothing to say
            if not self._admitted(incoming):
                return _complete(answers.refuse(unauthorized()))
            try:
                body = await self._read(incoming)
            except StatusError as error:
                return _complete(answers.refuse(error))
        request = Request(
            incoming.method,
            path,
            tuple((_ascii(name), _ascii(value)) for name, value in incoming.rel_url.query.items()),
            {name.lower(): _ascii(value) for name, value in incoming.headers.items()},
            body,
        )
        if self._server.streams(request):
            return await self._stream(incoming, request)
        return _complete(await self._server.handle(request))

    async def _read(self, incoming: web.Request) -> bytes:
        """Return the body. Raises StatusError 413 and 408."""
        if (incoming.content_length or 0) > MAX_BODY:
            raise too_large(MAX_BODY)
        try:
            async with asyncio.timeout(self._body_seconds):
                return await incoming.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large(MAX_BODY) from None
        except TimeoutError:
            raise StatusError(408, "Timeout", f"the body did not come within {self._body_seconds:g} s") from None

    def _admitted(self, incoming: web.Request) -> bool:
        scheme, _, given = incoming.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(_ascii(given.strip()).encode(), self._token.encode())

    async def _stream(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        if len(self._readers) >= MAX_STREAMS:
            refused = StatusError(
                429, "TooManyRequests", f"more than {MAX_STREAMS} watches and logs are open here: close some"
            )
            return _complete(answers.refuse(refused))
        opened = await self._server.stream(request)
        response = web.StreamResponse(status=opened.status, headers=dict(opened.headers))
        reader = asyncio.current_task()
        if reader is not None:
            self._readers[reader] = opened
        try:
            await response.prepare(incoming)
            async for chunk in opened.chunks:
                await response.write(chunk)
            await response.write_eof()
        except ConnectionError:
            pass  # the client left: nobody to tell
        finally:
            if reader is not None:
                del self._readers[reader]
            await close_chunks(opened.chunks)
        return response


def _ascii(text: str) -> str:
    """Return text that can be encoded: what came as no UTF-8 in a header is shown by its bytes."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _complete(response: Response) -> web.Response:
    return web.Response(status=response.status, headers=dict(response.headers), body=response.body)


async def serve(
    server: ApiServer,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: Tls | None = None,
    plain: bool = False,
    token: str | None = None,
) -> HttpServer:
    """Serve an API server on a loopback address and return what serves it.

    `port` 0 takes a free one. A certificate for loopback and a random `token` are made when none are given. `plain` goes without TLS; kubectl then sends no
    token and is not let in, other clients are. Raises ValueError for an address that is not loopback.
    """
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"the embedded API server listens on loopback only, not on {host}")
    if tls is None and not plain:
        tls = self_signed(("localhost", "127.0.0.1", "::1"), now=server.now())
    listening = HttpServer(server, token=token or secrets.token_urlsafe(32), tls=None if plain else tls)
    await listening.start(host, port)
    return listening
