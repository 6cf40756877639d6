"""The transport over HTTP and TLS: one pool for requests, one for watches.

Guarantees: at most `connections` requests run at once, watches aside; after a 401 the credentials are renewed and the request
is sent once more; a stream's bytes pass through unsplit, so no line is too long.
Assumptions: one event loop.
Caveats: a changed certificate authority needs a new transport.
"""

import asyncio
import io
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from kubekit.client.auth import Identity
from kubekit.client.cluster import ClusterConfig
from kubekit.client.errors import ConfigError, TransportError, TransportTimeout
from kubekit.client.transport import Request, Response, Stream

CONNECTIONS = 64
CONNECT_TIMEOUT = 10.0
REQUEST_TIMEOUT = 30.0
KEEP_ALIVE = 75.0

_LARGE = 1 << 20
"""A body of so many bytes goes to the socket piece by piece, so that the event loop is not held up."""
_FAREWELL = 1.0
"""Seconds that connections get to open which nobody wants any more, before the transport closes."""


class HttpTransport:
    """Speaks to the API server of `config`."""

    def __init__(
        self,
        config: ClusterConfig,
        *,
        connections: int = CONNECTIONS,
        connect_timeout: float = CONNECT_TIMEOUT,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        """Times are in seconds. Nothing is opened before the first request."""
        self._config = config
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._proxy = config.proxy_url or _environment_proxy(config.server)
        self._sessions: _Sessions | None = None
        self._retired: list[_Sessions] = []
        self._closed = False
        self._opening: set[asyncio.Task[aiohttp.ClientResponse]] = set()

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109 - see Transport
        """Send one request and read the whole answer."""
        limit = self._request_timeout if timeout is None else timeout
        timeouts = aiohttp.ClientTimeout(total=limit, sock_connect=self._connect_timeout)
        with _Translated(self._config.server, limit):
            identity = await self._config.auth.identity()
            answer = await self._exchange(request, identity, timeouts)
            if answer.status == 401 and await self._config.auth.renew(identity):
                answer = await self._exchange(request, await self._config.auth.identity(), timeouts)
            return answer

    async def _exchange(self, request: Request, identity: Identity, timeouts: aiohttp.ClientTimeout) -> Response:
        session = self._session(identity).requests
        async with await self._send(session, request, identity, timeouts) as answer:
            return Response(answer.status, _headers(answer.headers), await answer.read())

    async def send(
        self, request: Request, chunks: AsyncIterable[bytes], *, idle_timeout: float, answer_timeout: float
    ) -> Response:
        """Send a body of any length, and read the whole answer.

        A header Content-Length says how long the body is; without one it goes in pieces that tell. The server is asked before the first byte goes, so that
        a refusal is heard. It is given up when nothing goes on for `idle_timeout` seconds, or no answer comes for `answer_timeout` after the last byte.
        Nothing is sent twice: whoever has the body decides that.
        """
        timeouts = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=None)
        body = _Body(chunks, idle_timeout=idle_timeout, answer_timeout=answer_timeout)
        with _Translated(self._config.server, idle_timeout):
            identity = await self._config.auth.identity()
            headers = dict(request.headers)
            if identity.authorization:
                headers["Authorization"] = identity.authorization
            asking = asyncio.create_task(
                self._session(identity).streams.request(
                    request.method,
                    URL(f"{self._config.server}{request.path}{_encode(request.query)}", encoded=True),
                    headers=headers,
                    data=body.chunks(),
                    timeout=timeouts,
                    proxy=self._proxy,
                    server_hostname=self._config.tls_server_name,
                    allow_redirects=False,
                    expect100=True,
                )
            )
            try:
                async with await body.wait(asking) as answer:
                    content = await asyncio.wait_for(answer.read(), idle_timeout)
                    return Response(answer.status, _headers(answer.headers), content)
            finally:
                asking.cancel()

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float | None = None) -> AsyncGenerator[Stream, None]:
        """Open a stream; leaving the context closes its connection."""
        timeouts = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=idle_timeout)
        limit = idle_timeout or self._connect_timeout
        with _Translated(self._config.server, limit):
            identity = await self._config.auth.identity()
            answer = await self._open(request, identity, timeouts)
            try:
                again = answer.status == 401 and await self._config.auth.renew(identity)
            except BaseException:
                answer.close()
                raise
            if again:
                answer.close()
                identity = await self._config.auth.identity()
                answer = await self._open(request, identity, timeouts)
        chunks = self._chunks(answer, limit)
        try:
            yield Stream(answer.status, _headers(answer.headers), chunks)
        finally:
            await chunks.aclose()
            answer.close()

    async def _open(
        self, request: Request, identity: Identity, timeouts: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send, and return the answer. Who is cancelled meanwhile does not wait: the connection is closed once it is open.

        uvloop tells a connection that is closed amid its TLS handshake as a fatal error, with a traceback in the log.
        """
        sending = asyncio.create_task(self._send(self._session(identity).streams, request, identity, timeouts))
        self._opening.add(sending)
        sending.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            sending.add_done_callback(_close_answer)
            raise

    async def _chunks(self, answer: aiohttp.ClientResponse, limit: float) -> AsyncGenerator[bytes, None]:
        while True:
            with _Translated(self._config.server, limit):
                chunk = await answer.content.readany()
            if not chunk:
                return
            yield chunk

    async def close(self) -> None:
        """Close pooled connections. Safe to call twice."""
        self._closed = True
        sessions = [*self._retired, *([self._sessions] if self._sessions else [])]
        self._sessions = None
        self._retired = []
        if self._opening:  # nobody waits for these any more
            _, late = await asyncio.wait(self._opening, timeout=_FAREWELL)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for each in sessions:
            await each.requests.close()
            await each.streams.close()

    async def _send(
        self, session: aiohttp.ClientSession, request: Request, identity: Identity, timeouts: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = dict(request.headers)
        headers["Accept-Encoding"] = "identity"  # within a cluster, compressing costs more time than it saves
        if identity.authorization:
            headers["Authorization"] = identity.authorization
        body = request.body if len(request.body) < _LARGE else io.BytesIO(request.body)
        return await session.request(
            request.method,
            URL(f"{self._config.server}{request.path}{_encode(request.query)}", encoded=True),
            headers=headers,
            data=body or None,
            timeout=timeouts,
            proxy=self._proxy,
            server_hostname=self._config.tls_server_name,
            allow_redirects=False,
        )

    def _session(self, identity: Identity) -> "_Sessions":
        if self._closed:
            raise TransportError("the transport is closed")
        certificate = (identity.certificate, identity.key)
        if self._sessions is None or self._sessions.certificate != certificate:
            context = tls_context(self._config, identity)
            if self._sessions is not None:  # watches on the old certificate go on until they end by themselves
                self._retired.append(self._sessions)
            self._sessions = _Sessions(certificate, context, self._connections)
        return self._sessions


class _Body:
    """A body on its way: as long as some of it goes, the server has time."""

    def __init__(self, chunks: AsyncIterable[bytes], *, idle_timeout: float, answer_timeout: float) -> None:
        self._chunks = chunks
        self._idle = idle_timeout
        self._answer = answer_timeout
        self._steps = 0
        self._whole = False

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body, and note that it is taken."""
        async for chunk in self._chunks:
            self._steps += 1
            yield chunk
            self._steps += 1
        self._whole = True

    async def wait(self, asking: asyncio.Task[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
        """Return the answer. Raises TimeoutError when for too long neither the body went on nor an answer came."""
        waited, before = 0.0, -1
        while True:
            done, _ = await asyncio.wait({asking}, timeout=self._idle)
            if done:
                return asking.result()
            waited = waited + self._idle if self._steps == before else 0.0
            before = self._steps
            if waited >= (self._answer if self._whole else self._idle):
                raise TimeoutError


def _close_answer(sending: asyncio.Task[aiohttp.ClientResponse]) -> None:
    """Close what nobody wants any more. That it failed concerns nobody either."""
    if not sending.cancelled() and sending.exception() is None:
        sending.result().close()


class _Sessions:
    """The two pools that share one TLS identity."""

    def __init__(self, certificate: tuple[bytes | None, bytes | None], context: ssl.SSLContext, limit: int) -> None:
        self.certificate = certificate
        self.requests = _open(
            aiohttp.TCPConnector(limit=0, limit_per_host=limit, ssl=context, keepalive_timeout=KEEP_ALIVE)
        )
        self.streams = _open(aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=KEEP_ALIVE))


def _open(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)


def tls_context(config: ClusterConfig, identity: Identity) -> ssl.SSLContext:
    """Return the TLS settings. Raises ConfigError when the authority or the client certificate cannot be used."""
    context = ssl.create_default_context()
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca is not None:
        context = _trust(config, config.ca)
    # Python 3.13 refuses certificates without an authority key identifier, which many clusters have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if identity.certificate and identity.key:
        _load_certificate(context, config, identity.certificate, identity.key)
    return context


def _trust(config: ClusterConfig, ca: bytes) -> ssl.SSLContext:
    refusal = ConfigError(f"{config.source}: the certificate authority is not PEM; give the cluster's ca.crt as it is")
    if b"-----BEGIN" not in ca:  # an empty text would mean the system's authorities
        raise refusal
    try:
        return ssl.create_default_context(cadata=ca.decode("ascii", "ignore"))
    except ssl.SSLError:
        raise refusal from None


def _load_certificate(context: ssl.SSLContext, config: ClusterConfig, certificate: bytes, key: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="kubekit-") as folder:  # mode 0700; ssl reads key pairs from files only
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(certificate + b"\n" + key)
        try:
            context.load_cert_chain(pair, password=lambda: b"")
        except (ssl.SSLError, OSError, ValueError):
            raise ConfigError(
                f"{config.source}: the client certificate and key cannot be used; "
                "both must be PEM, belong together, and have no passphrase"
            ) from None


class _Translated:
    """Turns what aiohttp, TLS and sockets raise into TransportError."""

    def __init__(self, server: str, limit: float) -> None:
        self._server = server
        self._limit = limit

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            raise TransportTimeout(
                f"{self._server} gave no answer within {self._limit:g} s"
            ) from None  # aiohttp's errors carry our headers
        closed = isinstance(error, RuntimeError) and "closed" in str(error)  # so aiohttp says when a session was closed
        if closed or isinstance(error, aiohttp.ClientError | OSError):
            raise TransportError(f"{self._server}: {str(error) or type(error).__name__}") from None


@lru_cache(maxsize=256)
def _encode(query: tuple[tuple[str, str], ...]) -> str:
    """Return a query with its question mark. Most requests of a controller carry one of a few."""
    return f"?{urlencode(query)}" if query else ""


def _headers(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _environment_proxy(server: str) -> str | None:
    """Return the proxy that the environment names for `server`. Loopback is never proxied."""
    url = urlsplit(server)
    host = url.hostname or ""
    if host == "localhost" or proxy_bypass(url.netloc):
        return None
    try:
        if ip_address(host).is_loopback:
            return None
    except ValueError:
        pass
    return getproxies().get(url.scheme)
