"""Leader election by a Lease: of several replicas, one works.

A replica takes the Lease when nobody holds it, or when it has not seen it change for the duration that its holder wrote into it,
measured by its own monotonic clock; nobody's wall clock is compared with anybody's. The holder renews it by PUT with the
resourceVersion that it knows, so of two that try at once one gets a conflict.

With `one_term`, an elector whose Lease is lost raises `LeadershipLost` instead of standing for election again. An operator is run
so, and its process ends: what it counted, remembered and queued while it led is stale at once, and a new process is the one way to
be sure that none of it is exported or acted upon beside the next leader's. The kubelet starts it again.

    Exception
      LeadershipLost    somebody else may lead now; the work has ended

Guarantees: the work is cancelled `renew_deadline` seconds after the last renewal that succeeded was *sent*, whatever API, network
or hanging requests do, and so has `lease_seconds - renew_deadline` seconds to end before anybody else may begin. A graceful stop
releases the Lease after the work has ended.
Assumptions: `identity` is unique to this process, and not only to its Pod; monotonic clocks run at about one speed; cancelled
work ends in time (`overdue` is called when it does not: a place to end the process).
Caveats: a process that is frozen and thawed may act for an instant after its Lease lapsed, until its loop runs again. What work
writes must therefore be safe under races by itself: uid and resourceVersion preconditions (law L7).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, Conflict, KubeError, NotFound
from kubekit.runtime.clock import Clock, SystemClock, within
from kubekit.runtime.instruments import SILENCE, LeaderInstruments
from kubekit.words.coordination import LEASES, Lease, LeaseSpec
from kubekit.words.timestamps import micros

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A state of the Lease and when we first saw it, in monotonic seconds."""

    version: str
    at: float


class LeadershipLost(Exception):  # noqa: N818 - no defect: the cluster's decision, or an API server that was away too long
    """The Lease was lost and the work has ended: this process must not go on with what it knows."""


class LeaderElector:
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_seconds: int = 15,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        overdue: Callable[[], None] | None = None,
        one_term: bool = False,
        field_manager: str = "leader-election",
        metrics: LeaderInstruments = SILENCE,
    ) -> None:
        """Times are in seconds. Raises ValueError unless lease_seconds > renew_deadline > retry_period > 0."""
        if not lease_seconds > renew_deadline > retry_period > 0:
            raise ValueError("a lease needs lease_seconds > renew_deadline > retry_period > 0")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._overdue = overdue
        self._one_term = one_term
        self._field_manager = field_manager
        self._metrics = metrics
        self._held: Lease | None = None
        self._seen: _Seen | None = None
        self._renewed_at = 0.0
        self._leading = False
        self.holder: str | None = None
        """Who holds the Lease, as far as we know."""

    @property
    def leading(self) -> bool:
        """Tell whether the work runs."""
        return self._leading

    async def run(self, while_leading: Callable[[], Awaitable[None]]) -> None:
        """Call `while_leading` whenever we lead. Returns when it returns, raises what it raises; when leadership is lost it is
        cancelled and called again after the next election. Cancelling stops the work, then releases the Lease.

        Raises LeadershipLost instead of standing again when there is only `one_term`.
        """
        while True:
            await self._acquire()
            if await self._lead(while_leading):
                return
            if self._one_term:
                raise LeadershipLost(
                    f"{self._identity} lost the lease {self._name}: another replica may lead now, so this process ends and has to be "
                    "started anew. If that happens often, the API server is slow or out of reach"
                )

    async def _acquire(self) -> None:
        while True:
            try:
                if await within(self._clock, self._renew_deadline / 2, self._claim()):
                    return
            except (KubeError, TimeoutError) as error:
                _log.warning("lease %s: %s", self._name, str(error) or "no answer in time")
            await self._clock.sleep(self._pause())

    async def _lead(self, while_leading: Callable[[], Awaitable[None]]) -> bool:
        """Work and renew; tell whether the work ended by itself."""
        _log.info("%s leads by lease %s", self._identity, self._name)
        self._set_leading(True)
        work = asyncio.create_task(_call(while_leading), name="leader's work")
        renewal = asyncio.create_task(self._renew(), name="lease renewal")
        guard = asyncio.create_task(self._guard(), name="lease guard")
        try:
            await asyncio.wait((work, renewal, guard), return_when=asyncio.FIRST_COMPLETED)
            ended = work.done()
        finally:
            try:
                await self._stop(work)  # the renewal goes on meanwhile
            finally:
                self._set_leading(False)
                await _cancel(work, renewal, guard)
            await self._release()
            self._held = None
        if ended:
            await work
        else:
            _log.warning("%s no longer leads by lease %s", self._identity, self._name)
        return ended

    async def _renew(self) -> None:
        """Renew until somebody else holds the Lease."""
        while True:
            await self._clock.sleep(self._pause())
            try:
                if not await within(self._clock, self._renew_deadline / 2, self._claim()):
                    return
            except (KubeError, TimeoutError) as error:
                _log.warning("lease %s was not renewed: %s", self._name, str(error) or "no answer in time")

    async def _guard(self) -> None:
        """Return when the last renewal is too long ago."""
        while (left := self._renewed_at + self._renew_deadline - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

    async def _stop(self, work: "asyncio.Task[None]") -> None:
        work.cancel()
        left = self._renewed_at + self._lease_seconds - self._clock.monotonic()
        lapse = asyncio.create_task(self._clock.sleep(max(0.0, left)))
        try:
            await asyncio.wait((work, lapse), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                _log.critical("%s still works although lease %s lapses", self._identity, self._name)
                if self._overdue is not None:
                    self._overdue()
                await asyncio.wait((work,))
        finally:
            await _cancel(lapse)

    async def _claim(self) -> bool:
        """Take or renew the Lease; tell whether it is ours now."""
        sent = self._clock.monotonic()
        lease, self._held = self._held, None  # whatever fails below, the next try reads before it writes
        try:
            if lease is None:
                lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
            if not self._free(lease):
                return False
            stored = await self._write(lease, self._identity, self._lease_seconds)
        except NotFound:
            stored = await self._create()
        except Conflict:
            return self._leading  # somebody was faster, or our own lost write arrived: the next try reads and knows
        if stored is None:
            return False
        self._held = stored
        self._renewed_at = sent
        self.holder = self._identity
        return True

    def _free(self, lease: Lease) -> bool:
        """Tell whether we may write: it is ours, nobody's, or lapsed as far as we could watch."""
        spec = lease.spec or LeaseSpec()
        self.holder = spec.holder_identity or None
        if self.holder in (None, self._identity):
            return True
        now = self._clock.monotonic()
        if self._seen is None or self._seen.version != lease.metadata.resource_version:
            self._seen = _Seen(lease.metadata.resource_version, now)
        return now - self._seen.at > (spec.lease_duration_seconds or self._lease_seconds)

    async def _create(self) -> Lease | None:
        now = micros(self._clock.now())
        spec = LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=self._lease_seconds,
            acquire_time=now,
            renew_time=now,
            lease_transitions=0,
        )
        manifest = {
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": msgspec.to_builtins(spec),
        }
        try:
            return await self._client.create(LEASES, manifest, field_manager=self._field_manager)
        except AlreadyExists:
            return None

    async def _write(self, lease: Lease, holder: str, seconds: int) -> Lease:
        spec = lease.spec or LeaseSpec()
        now = micros(self._clock.now())
        changed = spec.holder_identity != holder
        spec = msgspec.structs.replace(
            spec,
            holder_identity=holder,
            lease_duration_seconds=seconds,
            acquire_time=now if changed else spec.acquire_time,
            renew_time=now,
            lease_transitions=(spec.lease_transitions or 0) + (1 if changed and holder else 0),
        )
        metadata: dict[str, Any] = msgspec.to_builtins(lease.metadata)
        manifest = {"metadata": metadata, "spec": msgspec.to_builtins(spec)}
        return await self._client.replace(LEASES, manifest, field_manager=self._field_manager)

    async def _release(self) -> None:
        """Let the next one begin at once. Failing is harmless: the Lease lapses."""
        try:
            await within(self._clock, self._retry_period, self._give_up())
        except (KubeError, TimeoutError) as error:
            _log.info("lease %s was not released and will lapse: %s", self._name, str(error) or "no answer in time")

    async def _give_up(self) -> None:
        lease = self._held or await self._client.get(LEASES, self._name, namespace=self._namespace)
        if lease.spec is not None and lease.spec.holder_identity == self._identity:
            await self._write(lease, "", 1)
            self.holder = None

    def _pause(self) -> float:
        return self._retry_period * (1 + 0.2 * self._jitter())

    def _set_leading(self, yes: bool) -> None:
        self._leading = yes
        self._metrics.leading(self._name, yes)


async def _call(work: Callable[[], Awaitable[None]]) -> None:
    await work()  # begun by its own task: one that is cancelled before that leaves nothing unawaited


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
