"""Health, readiness and metrics over HTTP or HTTPS, for kubelets and scrapers. Plain text; no secrets, nothing to change.

Health and readiness are for everybody; the metrics too, unless a guard says otherwise.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from kubekit.runtime.access import Verdict
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.instruments import Check
from kubekit.runtime.listening import Limits, Listener, place_of

_log = logging.getLogger(__name__)

Metrics = Callable[[], tuple[bytes, str]]
"""Returns the exposition and its content type."""

Guard = Callable[[str | None], Awaitable[Verdict]]
"""Given the `Authorization` header of a request for the metrics, or None: decides."""


BEAT = 5.0
"""Seconds between two beats."""
LIMITS = Limits(connections=64, idle=45.0)
"""Of the status server: probes and scrapes are few, and a scrape comes every half minute."""
OVERDUE = 30.0
"""Seconds without a beat after which the event loop counts as stuck."""


class Heartbeat:
    """Beats as long as the event loop runs its tasks: a check of `/healthz`.

    A loop that is blocked altogether answers no probe at all; one that is blocked again and again, or that has lost its tasks, answers
    and says so here.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._last = self._clock.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = self._clock.monotonic()
            await self._clock.sleep(BEAT)
            if (late := self._clock.monotonic() - self._last - BEAT) > BEAT:
                _log.warning("the event loop was blocked for %.0f s", late)

    def check(self) -> str | None:
        """Return what is wrong, or None."""
        silent = self._clock.monotonic() - self._last
        return f"the event loop has not run its tasks for {silent:.0f} s" if silent > OVERDUE else None


class StatusServer:
    """Serves `/healthz`, `/readyz` and `/metrics`.

    `/readyz` and `/healthz` list each check and answer 200 when all pass, else 503. Lines of `/readyz` that begin with `[~]` are notes. Use as a context manager, or `start` and `stop`.
    """

    def __init__(
        self,
        *,
        host: str = "",
        port: int = 8080,
        alive: Mapping[str, Check] | None = None,
        ready: Callable[[], Mapping[str, Check]] | None = None,
        notes: Callable[[], Mapping[str, str]] | None = None,
        remarks: Callable[[], Mapping[str, str]] | None = None,
        metrics: Metrics | None = None,
        guard: Guard | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        """An empty `host` takes every address of every family; `port` 0 takes a free one; `ready` is asked at each request, so checks may come and go. What `notes` says of those who do nothing stands in its answer, and what `remarks` says of others; neither changes anything of it. `tls` is for all that is served."""
        self._host = host
        self._wanted_port = port
        self._alive: Mapping[str, Check] = alive or {}
        self._ready = ready
        self._notes = notes
        self._remarks = remarks
        self._metrics = metrics
        self._guard = guard
        self._tls = tls
        self._limits = limits
        self._listener: Listener | None = None
        self.port = 0
        """The port in use, 0 while not started."""

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/livez", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._expose)
        listener = Listener(app, limits=self._limits)
        _, self.port = await listener.open(place_of(self._host, self._wanted_port), tls=self._tls)
        self._listener = listener

    async def stop(self) -> None:
        """Stop listening. Safe to call twice."""
        listener, self._listener = self._listener, None
        self.port = 0
        if listener is not None:
            await listener.close()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with self:
            await asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return _report(self._alive)

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        return _report(
            self._ready() if self._ready else {},
            self._notes() if self._notes else {},
            self._remarks() if self._remarks else {},
        )

    async def _expose(self, request: web.Request) -> web.Response:
        if self._metrics is None:
            raise web.HTTPNotFound
        if self._guard is not None:
            verdict = await self._guard(request.headers.get("Authorization"))
            if verdict is not Verdict.ALLOWED:
                return _refuse(verdict)
        body, content_type = self._metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})


def _refuse(verdict: Verdict) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if verdict is Verdict.UNAUTHENTICATED else {}
    return web.Response(status=int(verdict), text=f"{verdict.name.lower()}\n", headers=headers)


def _report(
    checks: Mapping[str, Check], notes: Mapping[str, str] | None = None, remarks: Mapping[str, str] | None = None
) -> web.Response:
    problems = {name: _ask(check) for name, check in checks.items()}
    lines = [f"[-] {name}: {problem}" if problem else f"[+] {name}" for name, problem in sorted(problems.items())]
    lines += [f"[~] {name} does nothing: {note}" for name, note in sorted((notes or {}).items())]
    lines += [f"[~] {name}: {remark}" for name, remark in sorted((remarks or {}).items())]
    well = not any(problems.values())
    lines.append("ok" if well else "not ok")
    return web.Response(status=200 if well else 503, text="\n".join(lines) + "\n")


def _ask(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a check that fails is a failed check
        return type(error).__name__
