"""Every object of every kind that the server lists, metadata only: what owner-reference collection and namespace deletion stand on.

Kinds are found by discovery; when a CustomResourceDefinition comes or goes, discovery is asked again. Each kind has an informer with
indexes by UID, owner UID and namespace, and a worker that looks at its changed objects.

Guarantees: nobody's `reconcile` runs before all kinds that were there at the start are known completely; an idle world costs open
watches and nothing else (law L9).
Caveat: Events are left out, as kube-controller-manager leaves them out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import Controller, Result
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words.meta import ObjectMeta, OwnerReference, PartialObject, Resource
from localkube.node.racing import yielding

_log = logging.getLogger(__name__)

CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)
_LEFT_OUT = {"events", "events.events.k8s.io", "componentstatuses"}
_NEEDED_VERBS = {"list", "watch", "delete"}
_RETRY = 1.0

Kind = Resource[PartialObject]
Look = Callable[[Kind, Key], Awaitable[Result]]
Hear = Callable[[Kind, PartialObject | None, PartialObject | None], None]


@dataclass(slots=True)
class _Entry:
    kind: Kind
    informer: Informer[PartialObject]
    controller: Controller
    task: "asyncio.Task[None] | None" = None


async def discover(client: Client) -> tuple[tuple[Kind, ...], tuple[str, ...]]:
    """Return the kinds whose objects can be listed, watched and deleted, each in the server's preferred version; and what failed.

    Raises KubeError when the server cannot be asked at all.
    """
    failures: list[str] = []
    found = _kinds("", "v1", await client.request_json("GET", "/api/v1"))
    for group in (await client.request_json("GET", "/apis")).get("groups") or ():
        version = group["preferredVersion"]["version"]
        path = f"/apis/{group['name']}/{version}"
        try:
            found += _kinds(group["name"], version, await client.request_json("GET", path))
        except KubeError as error:
            failures.append(f"{group['name']}/{version}: {error}")
    return tuple(found), tuple(failures)


def _kinds(group: str, version: str, listing: dict[str, Any]) -> list[Kind]:
    kinds: list[Kind] = []
    for item in listing.get("resources") or ():
        kind = Resource(group, version, item["name"], item["kind"], PartialObject, namespaced=bool(item["namespaced"]))
        if "/" not in kind.plural and kind.group_resource not in _LEFT_OUT and set(item["verbs"]) >= _NEEDED_VERBS:
            kinds.append(kind)
    return kinds


class Census:
    """See the module's docstring. Set `look` and add `hear`s before `run`."""

    def __init__(self, client: Client, *, clock: Clock, look: Look) -> None:
        self._client = client
        self._clock = clock
        self._look = look
        self._hearers: list[Hear] = []
        self._entries: dict[str, _Entry] = {}
        self._by_name: dict[tuple[str, str], _Entry] = {}
        self._definitions: Informer[PartialObject] = Informer(
            client, CUSTOM_RESOURCE_DEFINITIONS, clock=clock, optional=True
        )
        self._changed = asyncio.Event()
        self.complete = asyncio.Event()
        """Set when all kinds that were there at the start are known completely."""
        self.failures: tuple[str, ...] = ()
        """API groups that discovery could not be had of: nothing is known of what is in them."""

    def add_handler(self, hear: Hear) -> None:
        """Call `hear(kind, old, new)` for every change of any object."""
        self._hearers.append(hear)

    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds that are known now."""
        return tuple(entry.kind for entry in self._entries.values())

    def kind_of(self, reference: OwnerReference) -> Kind | None:
        """Return the kind that an owner reference names, whatever its version; None when the server does not list it."""
        entry = self._by_name.get((reference.api_version.rpartition("/")[0], reference.kind))
        return entry.kind if entry else None

    def get(self, kind: Kind, key: Key) -> PartialObject | None:
        """Return an object of the cache."""
        entry = self._entries.get(kind.group_resource)
        return entry.informer.store.get(key) if entry else None

    def find(self, kind: Kind, uid: str) -> PartialObject | None:
        """Return the object with this UID, or None when it is not cached."""
        entry = self._entries.get(kind.group_resource)
        return next(iter(entry.informer.store.by_index("uid", uid)), None) if entry else None

    def dependents(self, uid: str) -> Iterator[tuple[Kind, PartialObject]]:
        """Yield the objects that refer to this UID as an owner."""
        for entry in self._entries.values():
            for obj in entry.informer.store.by_index("owner", uid):
                yield entry.kind, obj

    def in_namespace(self, namespace: str) -> Iterator[tuple[Kind, PartialObject]]:
        """Yield the objects of a namespace."""
        for entry in self._entries.values():
            for obj in entry.informer.store.by_index("namespace", namespace):
                yield entry.kind, obj

    def look_at(self, kind: Kind, meta: ObjectMeta) -> None:
        """Have an object looked at."""
        entry = self._entries.get(kind.group_resource)
        if entry is not None:
            entry.controller.queue.add(key_of(meta))

    async def run(self) -> None:
        """Follow the kinds until cancelled."""
        self._definitions.add_handler(lambda _old, _new: self._changed.set())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._definitions.run(), name="census of definitions")
            await self._definitions.settled.wait()
            while True:
                self._changed.clear()
                missing = await self._refresh(group)
                if not missing:
                    self.complete.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY if missing else None):
                        await self._changed.wait()

    async def _refresh(self, group: asyncio.TaskGroup) -> bool:
        """Start what is new, stop what is gone; tell whether it has to be tried again."""
        try:
            found, self.failures = await discover(self._client)
        except KubeError as error:
            self.failures = (str(error),)
            _log.warning("discovery failed: %s", error)
            return True
        for failure in self.failures:
            _log.warning("discovery of %s", failure)
        kinds = {kind.group_resource: kind for kind in found}
        gone = [name for name in self._entries if name not in kinds]
        for name in gone if not self.failures else ():
            entry = self._entries.pop(name)
            self._by_name.pop((entry.kind.group, entry.kind.kind), None)
            if entry.task is not None:
                entry.task.cancel()
        fresh = [self._enter(kind) for name, kind in kinds.items() if name not in self._entries]
        for entry in fresh:
            entry.task = group.create_task(self._follow(entry), name=f"census of {entry.kind.group_resource}")
        for entry in fresh:
            await entry.informer.settled.wait()
        defined = {definition.metadata.name for definition in self._definitions.store.list()}
        return bool(self.failures) or bool(defined - set(kinds))

    def _enter(self, kind: Kind) -> _Entry:
        informer: Informer[PartialObject] = Informer(
            self._client,
            kind,
            clock=self._clock,
            optional=True,
            project=_slim,
            indexes={
                "uid": lambda obj: [obj.metadata.uid],
                "owner": lambda obj: {r.uid for r in obj.metadata.owner_references or ()},
                "namespace": lambda obj: [obj.metadata.namespace or ""],
            },
        )
        controller = Controller(
            f"census {kind.group_resource}",
            reconcile=yielding(lambda key: self._look(kind, key)),
            queue=Workqueue(f"census {kind.group_resource}", clock=self._clock, base_delay=0.05, max_delay=60.0),
            workers=2,
            clock=self._clock,
        )
        controller.watch(informer, _changed_key)
        informer.add_handler(lambda old, new: self._tell(kind, old, new))
        entry = _Entry(kind, informer, controller)
        self._entries[kind.group_resource] = entry
        self._by_name[kind.group, kind.kind] = entry
        return entry

    async def _follow(self, entry: _Entry) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(entry.informer.run())
                await self.complete.wait()
                group.create_task(entry.controller.run())
        finally:
            entry.controller.queue.shutdown()

    def _tell(self, kind: Kind, old: PartialObject | None, new: PartialObject | None) -> None:
        for hear in self._hearers:
            hear(kind, old, new)


def _slim(obj: PartialObject) -> PartialObject:
    """Keep what collection needs; labels and annotations go."""
    meta = obj.metadata
    return PartialObject(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            resource_version=meta.resource_version,
            deletion_timestamp=meta.deletion_timestamp,
            owner_references=meta.owner_references,
            finalizers=meta.finalizers,
        )
    )


def _changed_key(old: PartialObject | None, new: PartialObject | None) -> list[Key]:
    """Name the object when something changed that collection looks at."""
    if new is None:
        return []
    if old is not None and _what_counts(old) == _what_counts(new):
        return []
    return [key_of(new.metadata)]


def _what_counts(obj: PartialObject) -> tuple[Any, ...]:
    meta = obj.metadata
    return meta.uid, meta.owner_references, meta.finalizers, meta.deletion_timestamp
