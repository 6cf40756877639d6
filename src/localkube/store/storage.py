"""The revisioned map: every object once, as the bytes that go on the wire, with a bounded history for watches and pages.

Guarantees: one global revision; a collection's records are sorted as etcd sorts them; an event reaches the watches of its collection before the
write returns; the history of a collection covers every revision after `floor`.
Assumptions: used from one event loop, so no call here can be interrupted.
Caveats: nothing is written to disk; see `localkube.store.persistence`.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Record:
    """An object at one revision. `data` is its JSON; labels and selectable fields lie beside it, so that selecting needs no decoding."""

    __slots__ = ("data", "fields", "labels", "name", "namespace", "revision", "uid")

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        revision: int,
        data: bytes,
        labels: Mapping[str, str] | None,
        fields: Mapping[str, str] | None,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.revision = revision
        self.data = data
        self.labels = labels
        self.fields = fields

    @property
    def key(self) -> str:
        """The key in the collection."""
        return key_of(self.namespace, self.name)


def key_of(namespace: str, name: str) -> str:
    """Return the key in a collection. The separator is etcd's, so that lists come in the same order."""
    return f"{namespace}/{name}"


class Change:
    """One change. `before` is None for a creation; `after` is the new state, or for a deletion the last state with the deletion's revision."""

    __slots__ = ("_lines", "after", "before", "deleted", "revision")

    def __init__(self, *, revision: int, before: Record | None, after: Record, deleted: bool) -> None:
        self.revision = revision
        self.before = before
        self.after = after
        self.deleted = deleted
        self._lines: dict[str, bytes] = {}

    def line(self, word: str) -> bytes:
        """Return the watch line; encoded once for all watches that want the plain object."""
        line = self._lines.get(word)
        if line is None:
            line = self._lines[word] = watch_line(word, self.after.data)
        return line


def watch_line(word: str, data: bytes) -> bytes:
    """Return one line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (word.encode(), data)


class Listener(Protocol):
    """Who hears of the changes of one collection."""

    def offer(self, event: Change) -> None:
        """Take one event. Must not raise and must not write to the storage."""
        ...


@dataclass(slots=True)
class _Audience:
    """Listeners, reached without asking those who cannot care."""

    all: dict[Listener, None] = field(default_factory=dict[Listener, None])
    by_namespace: dict[str, dict[Listener, None]] = field(default_factory=dict[str, dict[Listener, None]])
    by_key: dict[str, dict[Listener, None]] = field(default_factory=dict[str, dict[Listener, None]])


class Collection:
    """All objects of one resource."""

    def __init__(self, *, history: int) -> None:
        self.records: dict[str, Record] = {}
        self.floor = 0
        self._keys: list[str] = []
        self._events: deque[Change] = deque()
        self._history = history
        self._audience = _Audience()

    def get(self, namespace: str, name: str) -> Record | None:
        """Return the record, or None."""
        return self.records.get(key_of(namespace, name))

    def scan(self, namespace: str, *, after: str = "") -> list[Record]:
        """Return the records of a namespace (all of them for the empty one) in key order, from behind the key `after`."""
        keys = self._keys
        start, stop = 0, len(keys)
        if namespace:
            start, stop = bisect_left(keys, f"{namespace}/"), bisect_left(keys, f"{namespace}0")  # "0" follows "/"
        if after:
            start = max(start, bisect_left(keys, after + "\0"))
        records = self.records
        return [records[key] for key in keys[start:stop]]

    def count(self, namespace: str) -> int:
        """Return how many records a namespace has (all of them for the empty one)."""
        keys = self._keys
        return bisect_left(keys, f"{namespace}0") - bisect_left(keys, f"{namespace}/") if namespace else len(keys)

    def scan_at(self, namespace: str, *, revision: int, after: str = "") -> list[Record]:
        """Return the records as they were at `revision`, which must not lie below `floor`."""
        then: dict[str, Record | None] = {}
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            then[event.after.key] = event.before
        now = {record.key: record for record in self.scan(namespace, after=after)}
        if not then:
            return list(now.values())
        prefix = f"{namespace}/" if namespace else ""
        for key, record in then.items():
            if not key.startswith(prefix) or key <= after:
                continue
            if record is None:
                now.pop(key, None)
            else:
                now[key] = record
        return [now[key] for key in sorted(now)]

    def events_after(self, revision: int) -> Iterator[Change]:
        """Yield the remembered events that are newer than `revision`, oldest first."""
        newer = list[Change]()
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            newer.append(event)
        return reversed(newer)

    def apply(self, event: Change) -> None:
        """Record a change and tell the listeners."""
        key = event.after.key
        if event.deleted:
            del self.records[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if event.before is None:
                insort(self._keys, key)
            self.records[key] = event.after
        self._events.append(event)
        if len(self._events) > self._history:
            self.floor = self._events.popleft().revision
        audience = self._audience
        for listeners in (
            audience.all,
            audience.by_namespace.get(event.after.namespace),
            audience.by_key.get(key),
        ):
            if listeners:
                for listener in tuple(listeners):
                    listener.offer(event)

    def compact(self, revision: int) -> None:
        """Forget the events up to and including `revision`."""
        while self._events and self._events[0].revision <= revision:
            self._events.popleft()
        self.floor = max(self.floor, revision)

    def listen(self, listener: Listener, *, namespace: str, name: str | None) -> None:
        """Add a listener for one object, one namespace or everything."""
        self._listeners(namespace, name)[listener] = None

    def leave(self, listener: Listener, *, namespace: str, name: str | None) -> None:
        """Remove a listener. Safe to call twice."""
        listeners = self._listeners(namespace, name)
        listeners.pop(listener, None)
        if not listeners and namespace and name:
            del self._audience.by_key[key_of(namespace, name)]
        elif not listeners and namespace:
            del self._audience.by_namespace[namespace]

    def _listeners(self, namespace: str, name: str | None) -> dict[Listener, None]:
        if namespace and name:
            return self._audience.by_key.setdefault(key_of(namespace, name), {})
        if namespace:
            return self._audience.by_namespace.setdefault(namespace, {})
        return self._audience.all


class Storage:
    """Collections under one revision. `history` is how many events each collection remembers."""

    def __init__(self, *, history: int = 5000) -> None:
        self.revision = 1
        self.compacted = 0
        self._history = history
        self._collections: dict[str, Collection] = {}

    def collection(self, resource: str) -> Collection:
        """Return the collection of a `plural.group`, made at first use."""
        collection = self._collections.get(resource)
        if collection is None:
            collection = self._collections[resource] = Collection(history=self._history)
            collection.floor = self.compacted
        return collection

    def collections(self) -> Mapping[str, Collection]:
        """Return all collections by resource."""
        return self._collections

    def clear(self) -> None:
        """Forget everything but the revision. Nobody may be listening."""
        self._collections.clear()

    def next_revision(self) -> int:
        """Return the revision that the next write will have. The writer puts it into the object before it commits."""
        return self.revision + 1

    def commit(self, collection: Collection, event: Change) -> None:
        """Make a change visible under the next revision, which the event must carry."""
        self.revision = event.revision
        collection.apply(event)

    def compact(self, revision: int) -> None:
        """Forget history up to `revision`; watches and pages from before it answer 410."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        for collection in self._collections.values():
            collection.compact(self.compacted)
