"""The server that the API server asks: HTTPS, one kind of question, bounded in size, time and number.

Guarantees: `run` ends only when it is cancelled: what fails is told and tried again, and nothing else of the operator ends because of it. It listens
once there is a certificate. Whoever asks under the path that the API server alone is told is believed to be it; others are answered, and get no permit.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from datamover.api.outside import Unusable
from datamover.webhook.review import LIMIT
from datamover.webhook.stamping import Stamper
from kubekit.runtime.clock import Clock, SystemClock, within
from kubekit.runtime.listening import Limits, Listener, place_of
from kubekit.runtime.shared_certificate import SharedCertificate

_log = logging.getLogger(__name__)

LIMITS: Final = Limits(connections=128, idle=120.0)
BODY_SECONDS: Final = 5.0
"""Longest time for a question to come whole: the API server gives the answer no more either."""
MOST: Final = 64
"""Questions that are read and answered at a time. Their bodies are in memory."""
RETRY: Final = 30.0

Complain = Callable[[str, str], None]
"""Called with a reason and a sentence."""


class WebhookServer:
    """See the module's docstring."""

    def __init__(
        self,
        stamper: Stamper,
        certificate: SharedCertificate,
        *,
        host: str = "",
        port: int,
        complain: Complain,
        clock: Clock | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        """An empty `host` takes every address; `port` 0 takes a free one."""
        self._stamper = stamper
        self._certificate = certificate
        self._place = (host, port)
        self._complain = complain
        self._clock = clock or SystemClock()
        self._limits = limits
        self._answering = 0
        self.port = 0
        """The port in use, 0 while it does not listen."""
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._certificate.loaded.wait()
        while True:
            try:
                await self._serve()
            except OSError as error:
                self._complain("Server", f"the webhook cannot listen on port {self._place[1]}: {error.strerror}")
                await self._clock.sleep(RETRY)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=LIMIT)
        app.router.add_post("/{path:.*}", self._answer)
        listener = Listener(app, limits=self._limits)
        host, port = self._place
        _, self.port = await listener.open(place_of(host, port), tls=self._certificate.context)
        _log.info("the webhook listens on port %d", self.port)
        self.listening.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.port = 0
            self.listening.clear()
            await listener.close()

    async def _answer(self, request: web.Request) -> web.Response:
        if self._answering >= MOST:
            raise web.HTTPServiceUnavailable
        self._answering += 1
        try:
            body = await within(self._clock, BODY_SECONDS, request.read())
            answer = await self._stamper.answer(body, trusted=self._is_trusted(request.path))
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except Unusable as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        finally:
            self._answering -= 1
        return web.Response(body=answer, content_type="application/json")

    def _is_trusted(self, path: str) -> bool:
        told = self._certificate.path
        return told is not None and hmac.compare_digest(told.encode(), path.encode())
