"""Objects that are forgotten some time after their last change: events."""

from collections import OrderedDict
from collections.abc import Iterator

from localkube.store.strategies.events import TTL_SECONDS


class Expiry:
    """Remembers when each key was last touched. Times are the clock's monotonic seconds."""

    def __init__(self, *, seconds: float = TTL_SECONDS) -> None:
        self._seconds = seconds
        self._touched: OrderedDict[tuple[str, str], float] = OrderedDict()

    def touch(self, namespace: str, name: str, *, now: float) -> None:
        """Note a change."""
        self._touched[namespace, name] = now
        self._touched.move_to_end((namespace, name))

    def forget(self, namespace: str, name: str) -> None:
        """Note that it is gone."""
        self._touched.pop((namespace, name), None)

    def pop_due(self, *, now: float) -> Iterator[tuple[str, str]]:
        """Yield, and forget, the keys whose time is over."""
        while self._touched:
            key, touched = next(iter(self._touched.items()))
            if now - touched < self._seconds:
                return
            del self._touched[key]
            yield key
