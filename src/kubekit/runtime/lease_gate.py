"""A gate that is closed while another program holds its Lease: two that do the same must not work beside each other.

A Lease is alive until it was not seen to change for the duration that its holder wrote into it, by our own monotonic clock, as in leader
election; nobody's wall clock is compared with anybody's. So a Lease that is found at the start counts as alive for that long.

Guarantees: before the gate opens because a Lease has run out, it is read once more, for a watch may be silent. Where it may not be read
the gate is closed: nobody gets in by accident. Where there is none, it is open. Looked for in all namespaces, any that is alive closes it.
Caveats: a holder that comes to life while our watch hangs is seen when that is given up (`informer.IDLE_TIMEOUT`).
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, KubeError, NotFound
from kubekit.runtime.clock import Clock, SystemClock, within
from kubekit.runtime.gate import Gate
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key, key_of
from kubekit.words.coordination import LEASES, Lease, LeaseSpec
from kubekit.words.text import clean

_log = logging.getLogger(__name__)

_DURATION: Final = 15
"""Seconds where the Lease says none, as client-go's default."""
_LONGEST: Final = 3600
_RETRY: Final = 5.0
"""Seconds between two tries to read a Lease that has run out."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A version of the Lease, and when it was first seen, in monotonic seconds."""

    version: str
    at: float


class LeaseGate(Gate):
    """See the module's docstring."""

    def __init__(
        self, client: Client, *, namespace: str | None, name: str, whose: str, clock: Clock | None = None
    ) -> None:
        """`whose` is the name of the other program, for people. `namespace` None looks for a Lease of that name in all namespaces."""
        super().__init__("lease")
        self._client = client
        self._name = name
        self._where = f"{namespace}/{name}" if namespace else f"{name} of any namespace"
        self._whose = whose
        self._clock = clock or SystemClock()
        self._seen: dict[Key, _Seen] = {}
        self._expired: dict[Key, str] = {}
        """The versions that are known to have run out."""
        self._stir = asyncio.Event()
        self._informer: Informer[Lease] = Informer(
            client, LEASES, namespace=namespace, field_selector=f"metadata.name={name}", optional=True, clock=clock
        )
        self._informer.add_handler(lambda _old, _new: self._stir.set())
        self._informer.add_state_handler(lambda _state: self._stir.set())

    async def run(self) -> None:
        """Watch the Lease until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run(), name=f"lease {self._where}")
            group.create_task(self._follow(), name=f"judge of lease {self._where}")

    async def _follow(self) -> None:
        while True:
            self._stir.clear()
            wait = await self._judge()
            if wait is None:
                await self._stir.wait()
                continue
            with suppress(TimeoutError):
                await within(self._clock, wait, self._stir.wait())

    async def _judge(self) -> float | None:
        """Look at all Leases; return in how many seconds to look again, None when only a change counts."""
        informer = self._informer
        if informer.state is State.FORBIDDEN:
            self._forbid()
        elif informer.synced.is_set() or informer.state is State.ABSENT:
            try:
                return await self._weigh(informer.store.list())
            except Forbidden:
                self._forbid()
        return None

    async def _weigh(self, leases: Iterable[Lease]) -> float | None:
        found = {key_of(each.metadata): each for each in leases}
        self._seen = {key: seen for key, seen in self._seen.items() if key in found}
        self._expired = {key: version for key, version in self._expired.items() if key in found}
        held: list[str] = []
        waits: list[float] = []
        for key, lease in sorted(found.items()):
            left = await self._lives(key, lease)
            if left is not None:
                waits.append(left)
                holder = clean((lease.spec.holder_identity if lease.spec is not None else None) or "", limit=100)
                held.append(f"{holder} holds the Lease {key}")
        self._note(f"{self._whose} works here: {held[0]}" if held else None)
        return min(waits, default=None)

    async def _lives(self, key: Key, lease: Lease) -> float | None:
        """Return in how many seconds to look again at a Lease that counts as held; None where it does not. Raises Forbidden."""
        spec = lease.spec
        if spec is None or not spec.holder_identity:
            return None
        version, now = lease.metadata.resource_version, self._clock.monotonic()
        if version == self._expired.get(key):
            return None
        seen = self._seen.get(key)
        if seen is None or version != seen.version:
            seen = self._seen[key] = _Seen(version, now)
        left = seen.at + _duration(spec) - now
        return left if left > 0 else await self._confirm(key, version)

    async def _confirm(self, key: Key, version: str) -> float | None:
        """Ask the server whether it, too, has no later version of a Lease that has run out."""
        try:
            found = await self._client.get(LEASES, key.name, namespace=key.namespace)
        except NotFound:
            return None
        except Forbidden:
            raise
        except KubeError as error:
            _log.info("lease %s cannot be read, so it still counts as held: %s", key, error)
            return _RETRY
        if found.metadata.resource_version != version:
            self._informer.store.observe(found)
            return 0.0
        self._expired[key] = version
        return None

    def _forbid(self) -> None:
        self._note(
            f"the Lease {self._where} may not be read, so it is not known whether {self._whose} works here: "
            "grant get, list and watch on leases of coordination.k8s.io with this name"
        )


def _duration(spec: LeaseSpec) -> int:
    """Return for how many seconds a version of the Lease counts; anybody may have written it (law L11)."""
    return min(max(spec.lease_duration_seconds or _DURATION, 1), _LONGEST)
