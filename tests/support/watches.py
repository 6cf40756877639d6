"""In the place of a controller, for tests of whom a change concerns."""

from collections.abc import Callable, Iterable
from typing import Any

from kubekit.runtime.store import Key


class Watches:
    """Remembers what it is asked to watch, and who is woken."""

    def __init__(self) -> None:
        self.maps: dict[int, Callable[[Any, Any], Iterable[Key]]] = {}
        self.woken: list[Key] = []
        self.queue = self

    def watch(self, informer: Any, concerned: Callable[[Any, Any], Iterable[Key]]) -> None:
        self.maps[id(informer)] = concerned

    def add(self, key: Key) -> None:
        self.woken.append(key)

    def of(self, informer: Any, new: Any, old: Any = None) -> list[Key]:
        return list(dict.fromkeys(self.maps[id(informer)](old, new)))
