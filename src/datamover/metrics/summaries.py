"""A summary with quantiles for each object, over the time that has just passed. The library's own summary has none."""

import math
from array import array
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

K = TypeVar("K", bound=tuple[str, ...])

QUANTILES: Final = (0.5, 0.9, 0.99)
KEPT: Final = 256
"""Observations of an object that count for its quantiles: the last ones. They take four kilobytes."""


class _Window:
    """The last observations of one object, with their moments, and the sum and count of all."""

    __slots__ = ("_moments", "_values", "count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._moments = array("d")
        self._values = array("d")

    def observe(self, value: float, at: float) -> None:
        """Keep an observation, in the place of the oldest where all are taken."""
        if len(self._values) < KEPT:
            self._moments.append(at)
            self._values.append(value)
        else:
            self._moments[self.count % KEPT] = at
            self._values[self.count % KEPT] = value
        self.count += 1
        self.total += value

    def quantiles(self, since: float) -> Iterable[float]:
        """Return the quantiles of what was observed since then, each a value that was observed; NaN of nothing."""
        values = sorted(value for value, at in zip(self._values, self._moments, strict=True) if at > since)
        for quantile in QUANTILES:
            yield values[math.ceil(quantile * len(values)) - 1] if values else math.nan


class ObjectSummary(Collector, Generic[K]):
    """A summary labelled with the fields of its keys."""

    def __init__(
        self,
        name: str,
        documentation: str,
        *,
        key: type[K],
        registry: CollectorRegistry,
        window: float,
        now: Callable[[], float],
    ) -> None:
        """Quantiles are of the last `window` seconds; `now` is a time in seconds."""
        self._name = name
        self._documentation = documentation
        self.labels: tuple[str, ...] = getattr(key, "_fields", ())
        self._window = window
        self._now = now
        self._windows: dict[K, _Window] = {}
        registry.register(self)

    def begin(self, key: K) -> None:
        """Let an object's series begin, with nothing observed."""
        self._windows.setdefault(key, _Window())

    def observe(self, key: K, value: float) -> None:
        """Count an observation of now."""
        self.begin(key)
        self._windows[key].observe(value, self._now())

    def forget(self, key: K) -> None:
        """Drop an object's series, if there are any."""
        self._windows.pop(key, None)

    def describe(self) -> Iterable[Metric]:
        """Return the family without samples: the registry checks names by it."""
        return (self._family(),)

    def collect(self) -> Iterable[Metric]:
        """Return the family with all samples."""
        family = self._family()
        since = self._now() - self._window
        for key, window in tuple(self._windows.items()):
            labels = dict(zip(self.labels, key, strict=True))
            for quantile, value in zip(QUANTILES, window.quantiles(since), strict=True):
                family.add_sample(self._name, {**labels, "quantile": str(quantile)}, value)
            family.add_sample(f"{self._name}_sum", labels, window.total)
            family.add_sample(f"{self._name}_count", labels, window.count)
        return (family,)

    def _family(self) -> Metric:
        return Metric(self._name, self._documentation, "summary")
