"""The node's HTTPS endpoint, as a real API server wants it for `kubectl logs`: `/containerLogs/{namespace}/{pod}/{container}`.

The embedded API server reads logs in the process and needs none of this.

Who may ask: only who shows a client certificate of the authority that the node was given (`client_ca`, the one that signed the API server's
`--kubelet-client-certificate`) *and* whom the API server itself lets `get` the resource `nodes/proxy` of this node, as kubelet asks
it by SubjectAccessReview. Without `client_ca` there is no endpoint at all: loopback alone would let every local user read every log.
The serving certificate is made at each start and signs itself; API servers do not check it unless told to.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.runtime.clock import Clock
from kubekit.runtime.listening import Limits, Listener
from kubekit.words import timestamps
from localkube.node.environment import LOOPBACK
from localkube.store.certificate import self_signed
from localkube.store.logs import LogOptions

ReadLog = Callable[[str, str, str, LogOptions], Awaitable[AsyncIterator[bytes]]]

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_TRUSTED_SECONDS = 60.0
_TRUE = {"1", "t", "T", "true", "True", "TRUE"}


class EndpointError(Exception):
    """The endpoint cannot be opened; the message says what is missing."""


class LogEndpoint:
    """Serves logs to API servers. `open` returns the port."""

    def __init__(self, client: Client, *, node: str, read_log: ReadLog, client_ca: Path, clock: Clock) -> None:
        self._client = client
        self._node = node
        self._read_log = read_log
        self._client_ca = client_ca
        self._clock = clock
        self._listener: Listener | None = None
        self._trusted: dict[tuple[str, tuple[str, ...]], float] = {}

    async def open(self) -> int:
        """Listen on a free loopback port and return it. Raises EndpointError."""
        context = self._tls()
        application = web.Application(middlewares=[self._admit])
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        application.router.add_route("*", "/{rest:.*}", self._refuse)
        self._listener = Listener(application, limits=Limits())
        _, port = await self._listener.open((LOOPBACK, 0), tls=context)
        return port

    async def close(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def _tls(self) -> ssl.SSLContext:
        try:
            context = self_signed((LOOPBACK, "localhost"), now=self._clock.now()).context
        except ModuleNotFoundError as error:
            raise EndpointError("the log endpoint needs the package cryptography: install datamover[local]") from error
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self._client_ca)
        except (OSError, ssl.SSLError) as error:
            raise EndpointError(f"client CA {self._client_ca} cannot be used: {error}") from error
        return context

    @web.middleware
    async def _admit(self, request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        peer = request.transport.get_extra_info("peercert") if request.transport is not None else None
        user, groups = subject(peer or {})
        if not user or not await self._may(user, groups):
            return web.Response(
                status=403, text=f"Forbidden (user={user}, verb=get, resource=nodes, subresource=proxy)"
            )
        return await handler(request)

    async def _may(self, user: str, groups: tuple[str, ...]) -> bool:
        now = self._clock.monotonic()
        if self._trusted.get((user, groups), 0.0) > now:
            return True
        attributes = {"verb": "get", "resource": "nodes", "subresource": "proxy", "name": self._node}
        spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        try:
            answer = await self._client.request_json("POST", _REVIEWS, body=review)
        except KubeError:
            return False
        allowed = bool(answer["status"].get("allowed"))
        if allowed:
            self._trusted[user, groups] = now + _TRUSTED_SECONDS
        return allowed

    async def _serve_log(self, request: web.Request) -> web.StreamResponse:
        place = (request.match_info["namespace"], request.match_info["pod"], request.match_info["container"])
        try:
            options = read_options(request.query)
            pieces = await self._read_log(*place, options)
        except KeyError as error:
            return web.Response(status=400, text=str(error.args[0]))
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    async def _refuse(self, request: web.Request) -> web.Response:
        return web.Response(status=501, text=f"this node serves logs only, not {request.path.split('/')[1] or '/'}")


def read_options(query: Any) -> LogOptions:
    """Return what a kubelet's query asks for. Raises ValueError."""

    def number(name: str) -> int | None:
        return int(query[name]) if query.get(name) else None

    moment = query.get("sinceTime")
    return LogOptions(
        follow=query.get("follow") in _TRUE,
        previous=query.get("previous") in _TRUE,
        timestamps=query.get("timestamps") in _TRUE,
        tail=number("tailLines"),
        limit=number("limitBytes"),
        since_seconds=number("sinceSeconds"),
        since=timestamps.parse(moment) if moment else None,
    )


def subject(peer: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return user and groups of a client certificate as Kubernetes reads them: common name and organizations."""
    pairs = [pair for part in peer.get("subject", ()) for pair in part]
    user = next((value for name, value in pairs if name == "commonName"), "")
    return user, tuple(value for name, value in pairs if name == "organizationName")
