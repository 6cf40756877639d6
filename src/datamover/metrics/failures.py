"""Failures that count until they are resolved, and other metrics with one series for each object whose labels change."""

from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry

from datamover.metrics.objects import ObjectGauge, ObjectName, SourceName


class FailureName(NamedTuple):
    """Labels of a failed DataMover's series."""

    namespace: str
    name: str
    source: str
    reason: str


class WaitName(NamedTuple):
    """Labels of a waiting DataMover's series."""

    namespace: str
    name: str
    reason: str
    data_safe: str
    severity: str


Owner = TypeVar("Owner", bound=tuple[str, ...])
L = TypeVar("L", bound=tuple[str, ...])


class OneSeries(Generic[Owner, L]):
    """At most one series for each object: new labels replace the former series."""

    def __init__(self, gauge: ObjectGauge[L]) -> None:
        self._gauge = gauge
        self._labels: dict[Owner, L] = {}

    def put(self, owner: Owner, labels: L, value: float) -> None:
        """Set an object's series."""
        if self._labels.get(owner) not in (None, labels):
            self.drop(owner)
        self._labels[owner] = labels
        self._gauge.set(labels, value)

    def keep(self, owner: Owner, labels: L, value: float) -> None:
        """Set an object's series; where it has these labels already, the lower of both numbers counts."""
        if self._labels.get(owner) == labels:
            self._gauge.lower_to(labels, value)
        else:
            self.put(owner, labels, value)

    def drop(self, owner: Owner) -> None:
        """Drop an object's series, if there is one."""
        labels = self._labels.pop(owner, None)
        if labels is not None:
            self._gauge.forget(labels)

    def __contains__(self, owner: object) -> bool:
        return owner in self._labels


class _Failure(NamedTuple):
    source: SourceName
    began: float


class Failures:
    """Failures by object. A later completed run of the same claim resolves them, for good. Moments are seconds since 1970."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._series: OneSeries[ObjectName, FailureName] = OneSeries(
            ObjectGauge(
                "datamover_failed_timestamp_seconds",
                "When a DataMover failed that was not dealt with since: by a retry or a later run of the same claim that completed.",
                key=FailureName,
                registry=registry,
            )
        )
        self._known: dict[ObjectName, _Failure] = {}
        self._of_source: dict[SourceName, set[ObjectName]] = {}
        self._completed: dict[SourceName, float] = {}
        self._gone: set[SourceName] = set()
        self._witnesses: dict[ObjectName, SourceName] = {}  # that have completed, of claims that are gone

    def fail(self, owner: ObjectName, source: SourceName, *, reason: str, at: float, began: float) -> None:
        """Note a failure. A failure that is resolved stays resolved."""
        self._note(owner, _Failure(source, began))
        if began < self._completed.get(source, began):
            self._series.drop(owner)
            return
        self._series.put(owner, FailureName(owner.namespace, owner.name, source.source, reason), at)

    def retry(self, owner: ObjectName, source: SourceName, *, reason: str, at: float, began: float) -> None:
        """Note that a failed run is being retried: its failure remains. When none is known, as after a restart, `reason` and `at` describe it."""
        known = self._known.get(owner)
        if known is None or known.source != source:
            self.fail(owner, source, reason=reason, at=at, began=began)

    def settle(self, owner: ObjectName, source: SourceName, *, began: float, exists: bool) -> None:
        """Drop the failures of runs of a claim that began before this one, which has completed. Of a claim that does not exist any more
        that is remembered for as long as the DataMover that says so is there: nobody will tell that such a claim goes.
        """
        if exists:
            self._gone.discard(source)
        self._witness(owner, None if exists else source)
        if began <= self._completed.get(source, float("-inf")):
            return
        self._completed[source] = began
        for other in self._of_source.get(source, ()):
            known = self._known.get(other)
            if known is not None and known.source == source and known.began < began:
                self._series.drop(other)

    def recover(self, owner: ObjectName) -> None:
        """Note that an object has no unresolved failure."""
        self._series.drop(owner)
        found = self._known.pop(owner, None)
        if found is not None:
            self._release(owner, found.source)

    def forget(self, owner: ObjectName) -> None:
        """Forget an object that is gone."""
        self.recover(owner)
        self._witness(owner, None)

    def forget_source(self, source: SourceName) -> None:
        """Forget what completed of a claim that is gone, as soon as no failure needs it."""
        if source in self._of_source:
            self._gone.add(source)
            return
        self._gone.discard(source)
        self._completed.pop(source, None)

    def _note(self, owner: ObjectName, failure: _Failure) -> None:
        known = self._known.get(owner)
        if known == failure:
            return
        self._witness(owner, None)
        if known is not None and known.source != failure.source:
            self.recover(owner)
        self._known[owner] = failure
        self._of_source.setdefault(failure.source, set()).add(owner)

    def _witness(self, owner: ObjectName, source: SourceName | None) -> None:
        """Let an object stand for what completed of a claim that is gone; of None when it does not."""
        before = self._witnesses.get(owner)
        if source is not None:
            self._gone.add(
                source
            )  # also when it stands for it already: another one may have seen a claim of that name since
        if before == source:
            return
        if before is not None:
            del self._witnesses[owner]
            self._release(owner, before)
        if source is not None:
            self._witnesses[owner] = source
            self._of_source.setdefault(source, set()).add(owner)

    def _release(self, owner: ObjectName, source: SourceName) -> None:
        """Forget what completed of a claim that is gone as soon as nobody needs it."""
        known = self._known.get(owner)
        if self._witnesses.get(owner) == source or (known is not None and known.source == source):
            return
        owners = self._of_source[source]
        owners.discard(owner)
        if not owners:
            del self._of_source[source]
            if source in self._gone:
                self.forget_source(source)
