"""Gauges with one number for each object, cheap enough for many thousand objects."""

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class ObjectName(NamedTuple):
    """Labels of an object's series."""

    name: str
    namespace: str


class SourceName(NamedTuple):
    """Labels of the series of a claim that is backed up."""

    namespace: str
    source: str


K = TypeVar("K", bound=tuple[str, ...])


class ObjectGauge(Collector, Generic[K]):
    """A gauge labelled with the fields of its keys.

    The numbers are kept in a dict: a labelled child of the library takes a kilobyte, and there may be ten thousand objects.
    """

    def __init__(self, name: str, documentation: str, *, key: type[K], registry: CollectorRegistry) -> None:
        """`key` is a NamedTuple: its fields are the labels."""
        self._name = name
        self._documentation = documentation
        self._labels: tuple[str, ...] = getattr(key, "_fields", ())
        self._values: dict[K, float] = {}
        registry.register(self)

    def set(self, key: K, value: float) -> None:
        """Set an object's number."""
        self._values[key] = value

    def raise_to(self, key: K, value: float) -> None:
        """Set an object's number unless it is higher already."""
        self._values[key] = max(value, self._values.get(key, value))

    def lower_to(self, key: K, value: float) -> None:
        """Set an object's number unless it is lower already."""
        self._values[key] = min(value, self._values.get(key, value))

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def forget(self, key: K) -> None:
        """Drop an object's series, if there is one."""
        self._values.pop(key, None)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the family without samples: the registry checks names by it."""
        return (self._family(),)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the family with all samples."""
        family = self._family()
        for key, value in tuple(self._values.items()):
            family.add_metric(key, value)
        return (family,)

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
