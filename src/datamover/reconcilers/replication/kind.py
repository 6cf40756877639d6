"""The kinds ReplicationSource and ReplicationDestination: what the reconciler of any kind needs of them."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.transfer import REASON_INTERNAL_ERROR
from datamover.api.volsync import names
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import ConditionType, Synchronizing
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.metrics.replication import Role
from datamover.movers.outcomes import read_outcome
from datamover.plans.kind import Kind, Line
from datamover.plans.known import UNSEEN, Known, Seen
from datamover.plans.learned import Learned
from datamover.plans.steps import Plan, Step
from datamover.reconcilers.cluster import View, find_owner
from datamover.reconcilers.replication import status as say
from datamover.reconcilers.replication.ask import Ask, Replication, ask_of, is_external
from datamover.reconcilers.replication.decide import decide
from datamover.reconcilers.replication.facts import Facts, Settings
from datamover.reconcilers.replication.gather import gather
from datamover.reconcilers.replication.mounts import named_claims
from datamover.reconcilers.replication.needs import KeyMakers
from datamover.reconcilers.replication.order import copy_of, job_of, status_of
from datamover.reconcilers.replication.references import custom_ca_of, named_secrets
from datamover.reconcilers.replication.report import Meter, report_present, report_status
from datamover.reconcilers.replication.sharing import sharer_of, writer_of
from datamover.reconcilers.replication.turns import Writer, count_running
from datamover.runs.attempts import newest_first
from datamover.runs.verdict import blocked
from datamover.volumes.copy_trigger import Sharer
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.words.batch import Job
from kubekit.words.core import SECRET_METAS, SERVICE_ACCOUNTS, SERVICES, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.rbac import ROLE_BINDINGS, ROLES

BY_CLAIM = "claim"
BY_MOUNT = "mount"
BY_REFERENCE = "reference"
BY_HELD_UP = "held up"
"""By namespace: whoever needs a name that somebody else has."""
CHILDREN: tuple[Resource[Any], ...] = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, SERVICES, SECRET_METAS)


class ReplicationKind(Kind[Any, Any, Facts]):
    """One of the two kinds. Reads from `view`, counts into `meter`."""

    created_by = (names.CREATED_BY_VALUE,)
    children = CHILDREN
    optional = True

    def __init__(
        self,
        resource: Resource[Any],
        objects: Informer[Any],
        *,
        view: View,
        meter: Meter,
        settings: Settings,
        keys: KeyMakers,
        now: Callable[[], datetime],
    ) -> None:
        self.resource = resource
        self.objects = objects
        self._view = view
        self._meter = meter
        self._settings = settings
        self._keys = keys
        self._now = now
        view.cluster.copiers.append(self._copiers)

    # Deciding.

    def gather(self, obj: Replication, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about an object."""
        return gather(
            obj,
            view=self._view,
            known=known,
            now=now,
            patience=self._settings.patience,
            running=self._count_running(obj) if self._settings.most_at_once is not None else 0,
            writers=tuple(self._writers_beside(obj, now)),
        )

    def decide(self, facts: Facts) -> Plan[Any]:
        """Return what to do next."""
        return decide(facts, settings=self._settings, keys=self._keys)

    def broken(self, obj: Replication, message: str, *, now: datetime) -> tuple[Step[Any], ...]:
        """Return the steps that tell of a defect of ours."""
        return say.tell(obj, blocked(REASON_INTERNAL_ERROR, message, action="Reconcile"), now=now).steps

    def seen(self, facts: Facts) -> Seen:
        """Return which children there were: of this synchronisation, for the next one's have the same names."""
        return facts.run.known.seen if status_of(facts.obj).last_sync_start_time else UNSEEN

    # What a status says.

    def stage(self, status: CommonStatus | None) -> str:
        """Return which synchronisation it is, and whether it goes on."""
        if status is None:
            return ""
        sync, copy = status.condition(Synchronizing.TYPE), status.condition(ConditionType.COPY_READY)
        reason = sync.reason if sync is not None else ""
        if status.last_sync_start_time and reason == Synchronizing.ERROR:
            # it waits: replicas whose caches differ correct each other no faster than people read
            reason = Synchronizing.IN_PROGRESS
        return f"{status.last_sync_start_time} {reason} {copy.message if copy else ''}"

    def says_same(self, one: CommonStatus | None, other: CommonStatus | None) -> bool:
        """Tell whether two statuses differ in nothing but times."""
        return one is not None and other is not None and _timeless(one) == _timeless(other)

    # Telling.

    def headline(self, before: CommonStatus | None, status: CommonStatus) -> Line | None:
        """Return what begins, what ended, and what went wrong."""
        old = before or CommonStatus()
        told, ready = status.condition(Synchronizing.TYPE), status.condition(ConditionType.READY)
        was = old.condition(Synchronizing.TYPE)
        if told is None or (was is not None and was.reason == told.reason):
            return None
        if told.reason == Synchronizing.ERROR:
            return Line(f"{told.reason}: {told.message}", logging.WARNING)
        why = f": {ready.message}" if ready is not None and told.reason == Synchronizing.CLEANING_UP else ""
        return Line(f"{told.reason}{why}")

    def is_told(self, obj: Replication) -> bool:
        """An error is told with the condition."""
        told = status_of(obj).condition(Synchronizing.TYPE)
        return told is not None and told.reason == Synchronizing.ERROR

    def report(self, learned: Learned[Any, Any], obj: Replication, *, now: datetime) -> None:
        """Count what was written."""
        for each in learned.written:
            report_status(each.before, each.status, meter=self._meter, now=now, size=self._moved(obj))

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake an object when its volume, its copy, its mover, or anything else of it changes."""
        cluster = self._view.cluster
        controller.watch(cluster.claims, self._of_claim)
        controller.watch(cluster.classes, self._of_any)
        controller.watch(cluster.snapshot_classes, self._of_any)
        controller.watch(cluster.jobs, self._of_child)
        controller.watch(cluster.pods, self._of_child)
        controller.watch(cluster.snapshots, self._of_child)
        for resource in CHILDREN:
            controller.watch(cluster.children(resource), self._of_child)
        controller.watch(self.objects, self._of_destination)
        cluster.secrets.add_handler(lambda key: controller.wake(self._of_reference("Secret", key)))
        cluster.config_maps.add_handler(lambda key: controller.wake(self._of_reference("ConfigMap", key)))
        cluster.namespaces.add_handler(lambda key: controller.wake(self._in_namespace(key.name)))

    def survey(self) -> None:
        """Set the gauges of all objects before anybody can read one of them."""
        for obj in self.objects.store.list():
            report_present(obj, meter=self._meter, now=self._now())

    def notice(self, key: Key, obj: Replication) -> None:
        """Set the gauges, and watch what the object points to while a synchronisation needs it: each such watch is a request that stays open."""
        ask = ask_of(obj)
        under_way = bool(status_of(obj).last_sync_start_time) and not obj.metadata.terminating
        self._want(key, ask if under_way and isinstance(ask, Ask) and not is_external(obj) else None)
        report_present(obj, meter=self._meter, now=self._now())

    def forget(self, key: Key) -> None:
        """End the gauges and the watches."""
        self._want(key, None)
        role = Role.SOURCE if self.resource is REPLICATION_SOURCES else Role.DESTINATION
        self._meter.forget(name=key.name, namespace=key.namespace, role=role)

    def _want(self, key: Key, ask: Ask | None) -> None:
        cluster, owner = self._view.cluster, (self.resource.kind, key)
        ca = custom_ca_of(ask) if ask is not None else None
        maps = (ca.config_map_name,) if ca is not None and ca.config_map_name else ()
        secrets = named_secrets(ask) if ask is not None else ()
        cluster.secrets.want(owner, tuple(Key(key.namespace, name) for name in secrets))
        cluster.config_maps.want(owner, tuple(Key(key.namespace, name) for name in maps))
        cluster.namespaces.want(owner, (Key("", key.namespace),) if ask is not None else ())

    def _moved(self, obj: Replication) -> int:
        """Return the bytes that the last mover says it has moved."""
        pods = newest_first(self._view.pods_of_mover(obj.metadata.namespace or "", obj.metadata.uid))
        ask = ask_of(obj)
        said = (read_outcome(pod, ask.method) for pod in pods) if isinstance(ask, Ask) else ()
        return next((outcome.transferred_bytes for outcome in said if outcome is not None), 0)

    def _count_running(self, obj: Replication) -> int:
        """Return how many movers of other objects of these kinds run."""
        view = self._view

        def listens(job: Job) -> bool:
            meta = job.metadata
            return view.child(SERVICES, meta.namespace or "", meta.name) is not None  # it is called the same

        return count_running(view.cluster.jobs.store.list(), but=obj.metadata.uid, listens=listens)

    def _writers_beside(self, obj: Replication, now: datetime) -> Iterable[Writer]:
        """The other destinations that write the claim of this one now."""
        for other in self._users_beside(obj):
            ask, namespace = ask_of(other), other.metadata.namespace or ""
            if isinstance(ask, Ask):
                pods = self._view.pods_of_mover(namespace, other.metadata.uid)
                found = writer_of(ask, self._view.job(namespace, job_of(ask)), pods, now=now)
                if found is not None:
                    yield found

    def _users_beside(self, obj: Replication) -> Iterable[Replication]:
        """The other objects that use the claim that this one writes; of one that only reads it none."""
        ask = ask_of(obj)
        if not isinstance(ask, Ask) or ask.is_source:
            return
        for other in self.objects.store.by_index(BY_CLAIM, f"{obj.metadata.namespace}/{copy_of(ask).source}"):
            if other.metadata.uid != obj.metadata.uid:
                yield other

    def _copiers(self, namespace: str, source: str) -> Iterable[tuple[str, Sharer]]:
        """The sources that copy a claim now, and what they have told of its copy trigger."""
        for obj in self.objects.store.by_index(BY_CLAIM, f"{namespace}/{source}"):
            ask = ask_of(obj)
            if not isinstance(ask, Ask) or not ask.is_source:
                continue
            copy = copy_of(ask)
            claim = self._view.claim(namespace, copy.claim) if copy.claim else None
            snapshot = self._view.snapshot(namespace, copy.snapshot) if copy.snapshot else None
            sharer = sharer_of(ask, claim=claim, snapshot=snapshot)
            if sharer is not None:
                yield obj.metadata.uid, sharer

    # Whom a change concerns.

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return
        meta = found.metadata
        for index in (BY_CLAIM, BY_MOUNT):
            for obj in self.objects.store.by_index(index, f"{meta.namespace}/{meta.name}"):
                yield key_of(obj.metadata)
        yield from self._of_child(old, new)

    def _of_child(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        yield from find_owner(self.resource, new or old, by_uid=self._of_uid)
        if new is None and old is not None:  # its name is free: whom it held up is not its owner
            held_up = self.objects.store.by_index(BY_HELD_UP, old.metadata.namespace or "")
            yield from (key_of(obj.metadata) for obj in held_up)

    def _of_destination(self, old: Replication | None, new: Replication | None) -> Iterable[Key]:
        """Who writes the same claim may wait for this one's end, or pause, or failure."""
        found = new or old
        return [] if found is None else [key_of(other.metadata) for other in self._users_beside(found)]

    def _of_uid(self, uid: str) -> Iterable[Key]:
        return (key_of(obj.metadata) for obj in self.objects.store.list() if obj.metadata.uid == uid)

    def _of_any(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        """A class that appears or changes may free whoever waits for one."""
        del old, new
        return tuple(key_of(obj.metadata) for obj in self.objects.store.list() if status_of(obj).last_sync_start_time)

    def _of_reference(self, kind: str, key: Key) -> Iterable[Key]:
        found = self.objects.store.by_index(BY_REFERENCE, f"{kind}/{key.namespace}/{key.name}")
        return tuple(key_of(obj.metadata) for obj in found)

    def _in_namespace(self, name: str) -> Iterable[Key]:
        return tuple(key_of(obj.metadata) for obj in self.objects.store.list() if obj.metadata.namespace == name)


def indexes() -> dict[str, Callable[[Any], Iterable[str]]]:
    """Return the indexes that the informer of either kind needs."""
    return {
        BY_CLAIM: _claim_index,
        BY_MOUNT: _mount_index,
        BY_REFERENCE: _reference_index,
        BY_HELD_UP: _held_up_index,
    }


def _claim_index(obj: Replication) -> Iterable[str]:
    ask = ask_of(obj)
    if isinstance(ask, Ask):
        yield f"{obj.metadata.namespace}/{copy_of(ask).source}"


def _mount_index(obj: Replication) -> Iterable[str]:
    ask = ask_of(obj)
    if isinstance(ask, Ask):
        yield from (f"{obj.metadata.namespace}/{name}" for name in named_claims(ask))


def _held_up_index(obj: Replication) -> Iterable[str]:
    ready = status_of(obj).condition(ConditionType.READY)
    if ready is not None and ready.reason == reasons.NAME_TAKEN:
        yield obj.metadata.namespace or ""


def _reference_index(obj: Replication) -> Iterable[str]:
    ask = ask_of(obj)
    if not isinstance(ask, Ask):
        return
    for name in named_secrets(ask):
        yield f"Secret/{obj.metadata.namespace}/{name}"
    ca = custom_ca_of(ask)
    if ca is not None and ca.config_map_name:
        yield f"ConfigMap/{obj.metadata.namespace}/{ca.config_map_name}"


def _timeless(status: Any) -> Any:
    conditions = tuple(replace(each, last_transition_time=None) for each in status.conditions or ())
    return replace(status, conditions=conditions)
