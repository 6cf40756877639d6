"""Kubernetes Events (events.k8s.io/v1) without ever holding up a reconcile.

The same thing said again about the same object is one Event with a series: its count and last time are patched, at most once per
`series_interval`, however often it is said. What is the same is decided by UIDs, type, reason, action and message; the Event's name
is made from these, so a restarted operator continues the series that the last one began instead of writing it twice.

Guarantees: `record` returns at once and never raises; an object may write `burst` times and then once per 5 minutes; at most
`max_pending` Events wait; whatever is dropped is counted; a failing API costs a few retries and then the Event, nothing else.
Assumptions: `run` is running; `flush` is called before the end.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from kubekit.client.client import Client
from kubekit.client.errors import (
    AlreadyExists,
    Conflict,
    Gone,
    KubeError,
    NotFound,
    ServerError,
    TooManyRequests,
    TransportError,
)
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.instruments import SILENCE, EventInstruments
from kubekit.runtime.ratelimit import TokenBucket
from kubekit.runtime.workqueue import Workqueue
from kubekit.words.meta import Manifest, Model, ObjectMeta, Reference, Resource
from kubekit.words.timestamps import micros

_log = logging.getLogger(__name__)

V = TypeVar("V")

BURST = 25
REFILL = 1 / 300
MAX_PENDING = 1000
MAX_REMEMBERED = 4096
MAX_NOTE = 1024
MAX_ATTEMPTS = 5
SERIES_INTERVAL = 30.0


class EventSeries(Model, frozen=True, gc=False):
    """How often an Event was seen."""

    count: int | None = None
    last_observed_time: str | None = None


class Event(Model, frozen=True, gc=False):
    """The part of an Event that a recorder reads back."""

    metadata: ObjectMeta = ObjectMeta()
    series: EventSeries | None = None


EVENTS = Resource("events.k8s.io", "v1", "events", "Event", Event)


class _Same(NamedTuple):
    uid: str
    type: str
    reason: str
    action: str
    message: str
    related: str


@dataclass(slots=True)
class _Series:
    manifest: Manifest
    count: int = 1
    written: int = 0
    """How many of `count` the server knows; 0: the Event is not created yet."""
    last: str = ""
    written_at: float = 0.0
    attempts: int = 0
    pending: bool = True


class EventRecorder:
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        *,
        component: str,
        instance: str = "",
        clock: Clock | None = None,
        burst: int = BURST,
        refill: float = REFILL,
        max_pending: int = MAX_PENDING,
        series_interval: float = SERIES_INTERVAL,
        metrics: EventInstruments = SILENCE,
    ) -> None:
        """`component` is the reporting controller, `instance` this replica; `refill` is in writes a second, for each object."""
        self._client = client
        self._component = component
        self._instance = (instance or component)[:128]
        self._clock = clock or SystemClock()
        self._burst = burst
        self._refill = refill
        self._max_pending = max_pending
        self._series_interval = series_interval
        self._metrics = metrics
        self._series: OrderedDict[_Same, _Series] = OrderedDict()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._queue: Workqueue[_Same] = Workqueue("events", clock=self._clock, base_delay=1.0, max_delay=60.0)
        self._pending = 0
        self._writing = asyncio.Lock()
        self._complaints: set[str] = set()

    def record(
        self,
        regarding: ObjectMeta,
        resource: Resource[Any],
        type_: str,
        reason: str,
        message: str,
        action: str,
        *,
        related: Reference | None = None,
    ) -> None:
        """Note that something happened to an object. `type_` is Normal or Warning; `reason` and `action` are CamelCase.

        `related` is a second object that the Event is about, such as the claim that the first one waits for.
        """
        message = cut(message, MAX_NOTE)
        same = _Same(regarding.uid, type_, reason, action, message, related.metadata.uid if related else "")
        series = self._series.get(same)
        now = micros(self._clock.now())
        if series is None:
            if self._admitted(regarding.uid):
                manifest = self._manifest(Reference(resource, regarding), related, same, now)
                self._series[same] = _Series(manifest, last=now)
                self._pending += 1
                self._queue.add(same)
                self._trim()
            return
        series.count += 1
        series.last = now
        self._series.move_to_end(same)
        if series.pending:
            self._metrics.recorded("merged")
        elif self._admitted(regarding.uid):
            series.pending = True
            self._pending += 1
            self._queue.add_after(same, series.written_at + self._series_interval - self._clock.monotonic())

    async def run(self) -> None:
        """Write Events until cancelled; to be run once."""
        try:
            while True:
                same = await self._queue.get()
                try:
                    await self._settle(same)
                finally:
                    self._queue.done(same)
        finally:
            self._queue.shutdown()

    async def flush(self) -> None:
        """Write now what waits, series included, each once."""
        for same in [same for same, series in self._series.items() if series.pending]:
            await self._settle(same, last=True)

    @property
    def pending(self) -> int:
        """How many Events wait to be written."""
        return self._pending

    def _admitted(self, uid: str) -> bool:
        bucket = _remember(self._buckets, uid, lambda: TokenBucket(self._refill, self._burst))
        if self._pending < self._max_pending and bucket.take(self._clock.monotonic()):
            return True
        self._metrics.recorded("dropped")
        return False

    def _trim(self) -> None:
        while len(self._series) > MAX_REMEMBERED:
            same, oldest = self._series.popitem(last=False)
            if oldest.pending:
                self._forget(same, oldest, "dropped")

    async def _settle(self, same: _Same, *, last: bool = False) -> None:
        async with self._writing:
            series = self._series.get(same)
            if series is None or not series.pending:
                return
            series.attempts += 1
            try:
                outcome = await self._write(series)
            except (TransportError, TooManyRequests, ServerError, Conflict, Gone) as error:
                if last or series.attempts >= MAX_ATTEMPTS:
                    self._complain(error)
                    self._forget(same, series, "failed")
                else:
                    self._queue.add_rate_limited(same)
            except KubeError as error:
                self._complain(error)
                self._forget(same, series, "failed")
            else:
                self._queue.forget(same)
                series.written_at = self._clock.monotonic()
                series.attempts = 0
                self._metrics.recorded(outcome)
                if series.count > series.written and not last:  # said again while we wrote
                    self._queue.add_after(same, self._series_interval)
                else:
                    series.pending = False
                    self._pending -= 1

    async def _write(self, series: _Series) -> str:
        """Bring the server up to date; return what was done."""
        place: str = series.manifest["metadata"]["namespace"]
        name: str = series.manifest["metadata"]["name"]
        count, when = series.count, series.last
        if series.written == 0:
            try:
                manifest = dict(series.manifest)
                if count > 1:
                    manifest["series"] = {"count": count, "lastObservedTime": when}
                await self._client.create(EVENTS, manifest, field_manager=self._component)
            except AlreadyExists:  # a replica before us began the series
                known = await self._client.get(EVENTS, name, namespace=place)
                before = (known.series and known.series.count) or 1
                series.count += before
                count += before
            else:
                series.written = count
                return "created"
        patch = {"series": {"count": count, "lastObservedTime": when}}
        try:
            await self._client.patch(EVENTS, name, patch, namespace=place, field_manager=self._component)
        except NotFound:  # the server forgets Events after an hour
            series.manifest["eventTime"] = when
            series.written = 0
            series.count -= count - 1
            await self._client.create(EVENTS, series.manifest, field_manager=self._component)
            series.written = 1
            return "created"
        series.written = count
        return "series"

    def _forget(self, same: _Same, series: _Series, outcome: str) -> None:
        self._series.pop(same, None)
        self._queue.forget(same)
        series.pending = False
        self._pending -= 1
        self._metrics.recorded(outcome)

    def _complain(self, error: KubeError) -> None:
        kind = type(error).__name__
        (_log.debug if kind in self._complaints else _log.warning)("an event could not be written: %s", error)
        self._complaints.add(kind)

    def _manifest(self, regarding: Reference, related: Reference | None, same: _Same, now: str) -> Manifest:
        parts = [*same[:-1], self._component]
        if related is not None:  # without one, the name is what it was before Events had related objects: series go on
            parts.append(same.related)
        digest = sha256("\0".join(parts).encode()).hexdigest()[:16]
        about = regarding.metadata
        manifest: Manifest = {
            "metadata": {
                "name": f"{about.name[:200].rstrip('.-')}.{digest}",
                "namespace": about.namespace or "default",
            },
            "eventTime": now,
            "type": same.type,
            "reason": same.reason[:128],
            "action": (same.action or same.reason)[:128],
            "note": same.message,
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "regarding": _refer(regarding),
        }
        if related is not None:
            manifest["related"] = _refer(related)
        return manifest


def _refer(to: Reference) -> Manifest:
    """Return a reference as Events write it; what is not known is left out."""
    metadata = to.metadata
    reference = {
        "apiVersion": to.resource.api_version,
        "kind": to.resource.kind,
        "name": metadata.name,
        "namespace": metadata.namespace,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }
    return {key: value for key, value in reference.items() if value}


def cut(text: str, limit: int) -> str:
    """Return `text` in at most `limit` bytes of UTF-8, with an ellipsis when something was cut; no character is split."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "…"


def _remember(memory: OrderedDict[str, V], key: str, make: Callable[[], V]) -> V:
    found = memory.get(key)
    if found is None:
        found = memory[key] = make()
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
    return found
