"""Families with one number for each object, cheap enough for many thousand objects."""

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
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
Family = GaugeMetricFamily | CounterMetricFamily


class ObjectFamily(Collector, Generic[K]):
    """A family labelled with the fields of its keys.

    The numbers are kept in a dict: a labelled child of the library takes a kilobyte, and there may be ten thousand objects.
    """

    kind: type[GaugeMetricFamily] | type[CounterMetricFamily]

    def __init__(self, name: str, documentation: str, *, key: type[K], registry: CollectorRegistry) -> None:
        """`key` is a NamedTuple: its fields are the labels."""
        self._name = name
        self._documentation = documentation
        self.labels: tuple[str, ...] = getattr(key, "_fields", ())
        self._values: dict[K, float] = {}
        registry.register(self)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def forget(self, key: K) -> None:
        """Drop an object's series, if there is one."""
        self._values.pop(key, None)

    def describe(self) -> Iterable[Family]:
        """Return the family without samples: the registry checks names by it."""
        return (self._family(),)

    def collect(self) -> Iterable[Family]:
        """Return the family with all samples."""
        family = self._family()
        for key, value in tuple(self._values.items()):
            family.add_metric(key, self._shown(value))
        return (family,)

    def _shown(self, value: float) -> float:
        return value

    def _family(self) -> Family:
        return self.kind(self._name, self._documentation, labels=self.labels)


class ObjectGauge(ObjectFamily[K]):
    """A gauge of objects."""

    kind = GaugeMetricFamily

    def set(self, key: K, value: float) -> None:
        """Set an object's number."""
        self._values[key] = value

    def raise_to(self, key: K, value: float) -> None:
        """Set an object's number unless it is higher already."""
        self._values[key] = max(value, self._values.get(key, value))

    def lower_to(self, key: K, value: float) -> None:
        """Set an object's number unless it is lower already."""
        self._values[key] = min(value, self._values.get(key, value))


class LatenessGauge(ObjectGauge[K]):
    """A gauge of objects that is set to a deadline, and shows 1 when that has passed, else 0: nobody has to look again at that moment."""

    def __init__(
        self, name: str, documentation: str, *, key: type[K], registry: CollectorRegistry, now: Callable[[], float]
    ) -> None:
        """`now` is the time in seconds since 1970, as the deadlines are."""
        super().__init__(name, documentation, key=key, registry=registry)
        self._now = now

    def _shown(self, value: float) -> float:
        return 1.0 if self._now() > value else 0.0


class ObjectCounter(ObjectFamily[K]):
    """A counter of objects, which goes with its object."""

    kind = CounterMetricFamily

    def add(self, key: K, amount: float) -> None:
        """Count. Of 0 as well: the series begins with it, so that its first increase is visible."""
        self._values[key] = self._values.get(key, 0.0) + amount
