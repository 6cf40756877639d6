"""From the caches to one frozen Facts. Reads nothing but caches, so that a reconcile costs the API server no read."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import ResticDestination
from datamover.api.volsync.replication_source import ResticSource
from datamover.plans.known import Known
from datamover.reconcilers.replication.ask import Ask, Replication, ask_of
from datamover.reconcilers.replication.ends import conclude
from datamover.reconcilers.replication.facts import Belongings, Facts
from datamover.reconcilers.replication.image import image_of
from datamover.reconcilers.replication.mounts import named_claims
from datamover.reconcilers.replication.needs import account_of, generated_secrets, serves
from datamover.reconcilers.replication.order import copy_of, job_of
from datamover.reconcilers.replication.references import custom_ca_of, named_secrets
from datamover.reconcilers.replication.turns import Writer
from datamover.runs import gather as runs
from datamover.runs.facts import Patience, RunFacts, Unread
from datamover.volumes.copy_trigger import Sharer
from kubekit.words.core import SECRET_METAS, SERVICE_ACCOUNTS, SERVICES, PersistentVolumeClaim, SecretKeys
from kubekit.words.meta import HasMeta, PartialObject, Resource
from kubekit.words.rbac import ROLE_BINDINGS, ROLES
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot


class View(runs.View, Protocol):
    """The caches, read by name."""

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        ...

    def config_map(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a ConfigMap."""
        ...

    def namespace(self, name: str) -> PartialObject | Unread:
        """A namespace."""
        ...

    def child(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        """A child of a further kind, such as a Service; None when it is not there."""
        ...

    def sharers(self, source: PersistentVolumeClaim | None, uid: str) -> tuple[Sharer, ...]:
        """The owners, of any kind, but the one with this UID, that copy a claim whose user triggers copies."""
        ...

    def restorers(self, namespace: str, claim: str) -> tuple[str, ...]:
        """What restores into a claim now, or has left it half restored."""
        ...

    def children_of(self, owner_uid: str) -> tuple[tuple[Resource[Any], HasMeta], ...]:
        """The Jobs, claims and snapshots of ours that an owner controls."""
        ...


def gather(
    obj: Replication,
    *,
    view: View,
    known: Known,
    now: datetime,
    patience: Patience,
    running: int = 0,
    writers: tuple[Writer, ...] = (),
) -> Facts:
    """Return what there is to know about one object. `running` and `writers` are what there is of others."""
    ask = ask_of(obj)
    if isinstance(ask, str):
        return Facts(obj, ask, RunFacts(now, known=known, patience=patience))
    namespace, uid = obj.metadata.namespace or "", obj.metadata.uid
    copy = copy_of(ask)
    restorers = view.restorers(namespace, copy.source) if ask.is_source else ()
    run = runs.gather_run(
        obj.metadata, copy, job_of(ask), view=view, known=known, now=now, patience=patience, restorers=restorers
    )
    run = replace(run, job=conclude(run.job, run.pods))
    if not ask.is_source:
        # An image is taken of what a destination has written, so snapshots matter although its run makes no copy.
        run = replace(run, snapshot_classes=view.snapshot_classes())
    # Anybody can write a UID on what is his: an owner is of the same namespace.
    children = tuple(each for each in view.children_of(uid) if (each[1].metadata.namespace or "") == namespace)
    image = image_of(ask, run.job)
    return Facts(
        obj,
        ask,
        run,
        belongings=_belongings(ask, view, namespace),
        namespace=view.namespace(namespace),
        temporaries=tuple(
            (resource, child) for resource, child in children if child.metadata.label(names.CLEANUP_LABEL) == uid
        ),
        images=tuple(
            child for resource, child in children if resource is VOLUME_SNAPSHOTS and isinstance(child, VolumeSnapshot)
        ),
        image=view.snapshot(namespace, image) if image is not None else None,
        running=running,
        sharers=view.sharers(run.source, uid) if ask.is_source else (),
        writers=writers,
    )


def _belongings(ask: Ask, view: View, namespace: str) -> Belongings:
    account, name = account_of(ask), ask.metadata.name
    generated = {each: view.child(SECRET_METAS, namespace, each) for each in generated_secrets(ask)}
    cached = isinstance(ask.options, ResticSource | ResticDestination)
    ca = custom_ca_of(ask)
    cache = view.claim(namespace, names.cache_claim(ask.role, name)) if cached else None
    cache_class = cache.spec.storage_class_name if cache is not None and cache.spec is not None else None
    return Belongings(
        account=view.child(SERVICE_ACCOUNTS, namespace, account),
        role=view.child(ROLES, namespace, account),
        binding=view.child(ROLE_BINDINGS, namespace, account),
        cache=cache,
        cache_class=view.storage_class(cache_class) if cache_class else None,
        old_cache=view.claim(namespace, names.old_cache_claim(name)) if cached else None,
        service=view.child(SERVICES, namespace, names.job_name(ask.method, ask.role, name)) if serves(ask) else None,
        secrets={each: view.secret(namespace, each) for each in named_secrets(ask)},
        generated={each: child for each, child in generated.items() if child is not None},
        config_map=view.config_map(namespace, ca.config_map_name) if ca and ca.config_map_name else Unread.MISSING,
        mounted=frozenset(each for each in named_claims(ask) if view.claim(namespace, each) is not None),
    )
