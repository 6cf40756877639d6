"""The cache of one kind: objects by key, secondary indexes, and what our own writes returned.

Guarantees:
- an object never goes back in time: an older resourceVersion than the cached one is ignored;
- a late answer to our own write never brings a deleted object back (deletions are remembered for a while, by UID);
- listeners see every change once, with the object before and after, in order.
Assumptions: one event loop; resourceVersions compare as integers (API machinery promises that since Kubernetes 1.35 and has
always done so); every object carries `metadata`.
Caveats: `observe` does not evaluate selectors: pass it only objects that the store's informer would see.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from kubekit.words.meta import HasMeta, ObjectMeta

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasMeta)

Listener = Callable[[T | None, T | None], None]
"""Called with the object before (None: it is new) and after (None: it is gone)."""

Index = Callable[[T], Iterable[str]]
"""Names the values under which an object is found."""

MAX_TOMBSTONES = 4096


class Key(NamedTuple):
    """Where an object lives. `namespace` is empty for kinds without namespaces."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(meta: ObjectMeta) -> Key:
    """Return the key of the object with this metadata."""
    return Key(meta.namespace or "", meta.name)


def version_of(meta: ObjectMeta) -> int:
    """Return the resourceVersion as a number; 0 when it is none."""
    return as_version(meta.resource_version)


def as_version(text: str) -> int:
    """Return a resourceVersion as a number; 0 when it is none."""
    return int(text) if text.isascii() and text.isdigit() else 0


class Store(Generic[T]):
    """A read-only view for everybody, a place to write for the informer that owns it."""

    def __init__(
        self,
        *,
        indexes: Mapping[str, Index[T]] | None = None,
        project: Callable[[T], T] | None = None,
        max_tombstones: int = MAX_TOMBSTONES,
    ) -> None:
        """`project` shrinks each object before it is kept; it must leave name, namespace, uid and resourceVersion as they are,
        and an object that it has shrunk already.

        An object that `project` or an index fails on counts as one that cannot be read.
        """
        self._objects: dict[Key, T] = {}
        self._poisoned: dict[Key, ObjectMeta] = {}
        self._rebased: dict[Key, int] = {}
        """Versions of objects that are kept although the server's history began anew; all others carry their own."""
        self._indexers: Mapping[str, Index[T]] = dict(indexes or {})
        self._indexes: dict[str, dict[str, _Keys]] = {name: {} for name in self._indexers}
        self._tombstones: OrderedDict[str, int] = OrderedDict()
        self._project = project
        self._max_tombstones = max_tombstones
        self._listeners: list[Listener[T]] = []
        self._high_water = 0
        self._complete_to = 0

    def get(self, key: Key) -> T | None:
        """Return the object, or None when it is not cached."""
        return self._objects.get(key)

    def list(self) -> tuple[T, ...]:
        """Return all objects, in the order in which they came."""
        return tuple(self._objects.values())

    def keys(self) -> Collection[Key]:
        """Return a live view of all keys."""
        return self._objects.keys()

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """Return the objects that the index `name` puts under `value`. Raises KeyError for an unknown index."""
        keys = self._indexes[name].get(value, ())
        return (self._objects[keys],) if isinstance(keys, Key) else tuple(self._objects[key] for key in keys)

    def poisoned(self) -> Mapping[Key, ObjectMeta]:
        """Return the metadata of objects that the server has but that could not be read; their last readable state stays cached."""
        return self._poisoned

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    @property
    def high_water(self) -> int:
        """Return the highest resourceVersion seen."""
        return self._high_water

    def add_listener(self, listener: Listener[T]) -> None:
        """Call `listener` for each change from now on. Exceptions that it raises are logged and do not stop the others."""
        self._listeners.append(listener)

    def observe(self, obj: T) -> bool:
        """Take in what our own write returned, so that we read our own writes; tell whether it was news.

        Older events of the same object that are still under way are then skipped. An object that the store should know by its
        version, and does not, is gone again, and our news of it comes too late. Law L7.
        """
        meta = obj.metadata
        if version_of(meta) <= self._complete_to and key_of(meta) not in self._objects:
            return False
        return self.put(obj)

    def shrink(self, obj: T) -> T:
        """Return an object as it would be kept; one that cannot be shrunk as it is, and `put` finds that out again."""
        try:
            return self._project(obj) if self._project is not None else obj
        except Exception:  # noqa: BLE001 - whatever it does, the informer goes on
            return obj

    def advance(self, version: int) -> None:
        """Note that all events up to `version` have been taken in."""
        self._complete_to = max(self._complete_to, version)

    def put(self, obj: T) -> bool:
        """Take in an added or modified object unless it is older than what is known; tell whether it was news."""
        change = self._admit(obj)
        self._tell([change])
        return change is not None

    def remove(self, meta: ObjectMeta) -> bool:
        """Take in a deletion; tell whether it was news. A younger object of that name stays."""
        key = key_of(meta)
        version = version_of(meta)
        self._bury(meta.uid, version)
        self._high_water = max(self._high_water, version)
        poison = self._poisoned.get(key)
        if poison is not None and version >= version_of(poison):
            del self._poisoned[key]
        old = self._objects.get(key)
        if old is None or version < self._version(key, old):  # unknown, or replayed from before what we hold
            return False
        self._tell([self._commit(key, None)])
        return True

    def poison(self, meta: ObjectMeta) -> None:
        """Note that the server's present state of an object cannot be read. What is cached of it stays as it was."""
        key = key_of(meta)
        version = version_of(meta)
        old = self._objects.get(key)
        if version > self._tombstones.get(meta.uid, -1) and (old is None or version > self._version(key, old)):
            self._poisoned[key] = meta
            self._high_water = max(self._high_water, version)

    def replace(
        self, objects: Iterable[T], *, version: int, poison: Iterable[ObjectMeta] = (), reset: bool = False
    ) -> None:
        """Make the store what a list at `version` says, in one step, and then tell listeners the difference.

        Objects that are missing in the list are removed, unless they are newer than the list (our own writes; the watch from
        `version` decides about them). With `reset` the list is the truth whatever its version: the server's history began anew.
        """
        listed = {key_of(obj.metadata): obj for obj in objects}
        unreadable = {key_of(meta): meta for meta in poison}
        gone = [
            key
            for key, old in self._objects.items()
            if key not in listed and key not in unreadable and (reset or self._version(key, old) <= version)
        ]
        self._poisoned.clear()
        changes = [self._commit(key, None) for key in gone]
        if reset:
            self._tombstones.clear()
            self._high_water = self._complete_to = 0
            self._rebased = dict.fromkeys((key for key in unreadable if key in self._objects), 0)
            changes += [self._commit(key, obj) for key, obj in listed.items() if not _same(self._objects.get(key), obj)]
        else:
            changes += [self._admit(obj) for obj in listed.values()]
        for meta in unreadable.values():
            self.poison(meta)
        self._high_water = max(self._high_water, version)
        self.advance(version)
        self._tell(changes)

    def _admit(self, obj: T) -> "Change[T] | None":
        meta = obj.metadata
        version = version_of(meta)
        if version <= self._tombstones.get(meta.uid, -1):
            return None
        key = key_of(meta)
        old = self._objects.get(key)
        if old is not None and version <= self._version(key, old):
            return None
        self._tombstones.pop(meta.uid, None)
        poison = self._poisoned.get(key)
        if poison is not None and version >= version_of(poison):
            del self._poisoned[key]
        return self._commit(key, obj)

    def _version(self, key: Key, obj: T) -> int:
        return self._rebased[key] if key in self._rebased else version_of(obj.metadata)

    def _bury(self, uid: str, version: int) -> None:
        self._tombstones[uid] = max(version, self._tombstones.get(uid, -1))
        self._tombstones.move_to_end(uid)
        if len(self._tombstones) > self._max_tombstones:
            self._tombstones.popitem(last=False)

    def _commit(self, key: Key, new: T | None) -> "Change[T] | None":
        """Set or remove an object. What cannot be projected or indexed is noted as poison, and nothing changes."""
        old = self._objects.get(key)
        try:
            kept = self._project(new) if new is not None and self._project is not None else new
            moves = [
                (self._indexes[name], _values(index, old), _values(index, kept))
                for name, index in self._indexers.items()
            ]
        except Exception:  # noqa: BLE001 - whatever they do, the informer goes on
            _log.exception("%s cannot be projected or indexed", key)
            if new is not None:
                self._poisoned[key] = new.metadata
            return None
        self._rebased.pop(key, None)
        if kept is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = kept
            self._high_water = max(self._high_water, version_of(kept.metadata))
        for index, before, after in moves:
            _reindex(index, key, before, after)
        return old, kept

    def _tell(self, changes: Iterable["Change[T] | None"]) -> None:
        for change in changes:
            if change is None:
                continue
            old, new = change
            for listener in self._listeners:
                try:
                    listener(old, new)
                except Exception:  # noqa: BLE001 - a listener's failure is its own
                    present = new if new is not None else old
                    _log.exception("a listener failed on %s", present and key_of(present.metadata))


Change = tuple[T | None, T | None]

_Keys = Key | dict[Key, None]
"""The keys under one value of an index: most values have one, for which a dict would take a quarter of a kilobyte."""


def _same(left: HasMeta | None, right: HasMeta) -> bool:
    if left is None:
        return False
    one, other = left.metadata, right.metadata
    return (one.uid, one.resource_version) == (other.uid, other.resource_version)


def _values(index: Index[T], obj: T | None) -> set[str]:
    return set() if obj is None else set(index(obj))


def _reindex(index: dict[str, _Keys], key: Key, before: set[str], after: set[str]) -> None:
    for value in before - after:
        keys = index[value]
        if isinstance(keys, dict) and len(keys) > 1:
            del keys[key]
        else:
            del index[value]
    for value in after - before:
        keys = index.get(value)
        if keys is None:
            index[value] = key
        elif isinstance(keys, dict):
            keys[key] = None
        else:
            index[value] = {keys: None, key: None}
