"""Metrics of ReplicationSources and ReplicationDestinations.

Names, labels and types of the first three are those of the operator that these kinds come from, so that its dashboards and alerts go on. The
others have the same labels, so that they can be joined. Here every series is of one object: it goes with the object, or when its mover is
replaced by one of another method.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from datamover.metrics.failures import OneSeries
from datamover.metrics.objects import LatenessGauge, ObjectCounter, ObjectGauge
from datamover.metrics.summaries import ObjectSummary

_DAY: Final = 86400.0


class Role:
    """The label `role`."""

    SOURCE: Final = "source"
    DESTINATION: Final = "destination"


class ReplicaName(NamedTuple):
    """Labels of the series of one ReplicationSource or ReplicationDestination."""

    obj_name: str
    obj_namespace: str
    role: str
    method: str


class ReplicaFailure(NamedTuple):
    """The same, and why it failed."""

    obj_name: str
    obj_namespace: str
    role: str
    method: str
    reason: str


class ReplicaWait(NamedTuple):
    """The same, what it waits for, and how urgent that is. `method` is empty where none can be carried out."""

    obj_name: str
    obj_namespace: str
    role: str
    method: str
    reason: str
    severity: str


class ReplicationMetrics:
    """Counts what happens to objects of both kinds. `now` and all moments are in seconds since 1970."""

    def __init__(self, registry: CollectorRegistry, *, now: Callable[[], float]) -> None:
        self._missed = ObjectCounter(
            "volsync_missed_intervals",
            "Synchronisations that ended after the second time of their schedule.",
            key=ReplicaName,
            registry=registry,
        )
        self._late = LatenessGauge(
            "volsync_volume_out_of_sync",
            "1 as long as an object was never synchronised, and when it has missed an interval of its schedule; else 0.",
            key=ReplicaName,
            registry=registry,
            now=now,
        )
        self._durations = ObjectSummary(
            "volsync_sync_duration_seconds",
            "How long synchronisations took; quantiles are of the last 24 hours.",
            key=ReplicaName,
            registry=registry,
            window=_DAY,
            now=now,
        )
        self._bytes = ObjectCounter(
            "datamover_replication_transferred_bytes",
            "Bytes moved by synchronisations that succeeded, as far as the engine tells.",
            key=ReplicaName,
            registry=registry,
        )
        self._success = ObjectGauge(
            "datamover_replication_last_sync_timestamp_seconds",
            "When an object was last synchronised, in seconds since 1970.",
            key=ReplicaName,
            registry=registry,
        )
        self._triggers = ObjectGauge(
            "datamover_replication_copy_trigger_waiting_since_timestamp_seconds",
            "Since when a copy waits for the copy trigger of its claim, in seconds since 1970.",
            key=ReplicaName,
            registry=registry,
        )
        self._waits: OneSeries[tuple[str, str, str], ReplicaWait] = OneSeries(
            ObjectGauge(
                "datamover_replication_waiting_since_timestamp_seconds",
                "Since when a synchronisation waits, in seconds since 1970, and what for.",
                key=ReplicaWait,
                registry=registry,
            )
        )
        self._failures = ObjectCounter(
            "datamover_replication_failures", "Movers that failed.", key=ReplicaFailure, registry=registry
        )
        self._failing: OneSeries[ReplicaName, ReplicaFailure] = OneSeries(
            ObjectGauge(
                "datamover_replication_consecutive_failures",
                "How often an object has failed since it last succeeded, and the reason of the last time.",
                key=ReplicaFailure,
                registry=registry,
            )
        )
        self._methods: dict[tuple[str, str, str], str] = {}
        self._reasons: dict[ReplicaName, set[str]] = {}

    def seen(self, replica: ReplicaName) -> None:
        """Let the series of an object begin, out of sync until something else is known. Those of its former method end."""
        owner = replica[:3]
        before = self._methods.get(owner)
        if before == replica.method:
            return
        if before is not None:
            self._drop(ReplicaName(*owner, before))
        self._methods[owner] = replica.method
        self._late.set(replica, -math.inf)
        self._durations.begin(replica)
        for counter in (self._missed, self._bytes):
            counter.add(replica, 0)

    def forget(self, *, name: str, namespace: str, role: str) -> None:
        """Drop the series of an object that is gone, or that is not ours to move any more."""
        self._waits.drop((name, namespace, role))
        method = self._methods.pop((name, namespace, role), None)
        if method is not None:
            self._drop(ReplicaName(name, namespace, role, method))

    def synced(self, replica: ReplicaName, *, seconds: float, size: int, missed: bool) -> None:
        """A synchronisation succeeded: how long it took, the bytes it moved, and whether it missed an interval."""
        self.seen(replica)
        self._durations.observe(replica, seconds)
        self._bytes.add(replica, size)
        self._missed.add(replica, 1 if missed else 0)
        self._failing.drop(replica)

    def in_sync(self, replica: ReplicaName, *, last: float, until: float | None) -> None:
        """An object was last synchronised at a moment, and that is enough until another; None is for ever."""
        self.seen(replica)
        self._success.set(replica, last)
        self._late.set(replica, math.inf if until is None else until)

    def failed(self, replica: ReplicaName, *, reason: str, consecutive: int) -> None:
        """A mover failed; `consecutive`: how many did since one succeeded."""
        self.seen(replica)
        failure = ReplicaFailure(*replica, reason)
        self._reasons.setdefault(replica, set()).add(reason)
        self._failures.add(failure, 1)
        self._failing.put(replica, failure, consecutive)

    def waits(self, replica: ReplicaName, *, reason: str, severity: str, since: float) -> None:
        """A synchronisation stands still. What cannot be carried out has no method, and no series but this one."""
        self._waits.put(replica[:3], ReplicaWait(*replica, reason, severity), since)

    def waits_for_trigger(self, replica: ReplicaName, *, since: float) -> None:
        """A copy waits for the copy trigger of its claim."""
        self._triggers.set(replica, since)

    def goes_on(self, replica: ReplicaName) -> None:
        """Nothing is waited for any more, nor a trigger."""
        self._waits.drop(replica[:3])
        self._triggers.forget(replica)

    def _drop(self, replica: ReplicaName) -> None:
        for family in (self._missed, self._late, self._durations, self._bytes, self._success, self._triggers):
            family.forget(replica)
        self._waits.drop(replica[:3])
        self._failing.drop(replica)
        for reason in self._reasons.pop(replica, ()):
            self._failures.forget(ReplicaFailure(*replica, reason))
