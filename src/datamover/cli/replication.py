"""Putting together the kinds ReplicationSource and ReplicationDestination for the operator."""

import asyncio
import base64
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry

from datamover.api.volsync.definition import replication_destination_crd, replication_source_crd
from datamover.api.volsync.names import CREATED_BY_VALUE
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.ssh_keys import generate_pair
from datamover.cli.surroundings import Surroundings
from datamover.metrics.replication import ReplicationMetrics
from datamover.movers import rsync_ssh, rsync_tls
from datamover.reconcilers.cluster import View
from datamover.reconcilers.replication.facts import Settings
from datamover.reconcilers.replication.kind import CHILDREN, ReplicationKind, indexes
from datamover.reconcilers.replication.needs import KeyMakers
from datamover.runs.facts import Patience
from kubekit.client.client import Client
from kubekit.runtime.informer import Informer
from kubekit.words.meta import Manifest, Model, ObjectMeta, Resource

PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""Variables of the operator that its movers get as well: what it needs to get out of the cluster, they do."""
_DEFINITIONS: Final = {
    REPLICATION_SOURCES.plural: replication_source_crd,
    REPLICATION_DESTINATIONS.plural: replication_destination_crd,
}


@dataclass(slots=True)
class _Shared:
    """What both kinds have together: the metrics of one registry."""

    metrics: WeakKeyDictionary[CollectorRegistry, ReplicationMetrics] = field(default_factory=WeakKeyDictionary)

    def meter(self, around: Surroundings) -> ReplicationMetrics:
        """Return the metrics of this operator, made with the first of its kinds."""
        made = self.metrics.get(around.registry)
        if made is None:
            clock = around.clock
            made = self.metrics[around.registry] = ReplicationMetrics(
                around.registry, now=lambda: clock.now().timestamp()
            )
        return made


@dataclass(frozen=True, slots=True)
class MakeReplication:
    """Makes one of the two kinds."""

    resource: Resource[Any]
    shared: _Shared
    created_by: ClassVar[Collection[str]] = (CREATED_BY_VALUE,)
    children: ClassVar[Collection[Resource[Any]]] = CHILDREN

    def __call__(self, around: Surroundings) -> ReplicationKind:
        """Return the kind."""
        options, wanted = around.options, around.options.replication
        objects: Informer[Any] = Informer(
            around.client,
            self.resource,
            namespace=options.namespace,
            indexes=indexes(),
            clock=around.clock,
            metrics=around.metrics,
        )
        settings = Settings(
            mover_image=options.mover_image or "",
            mover_pull_policy=options.mover_pull_policy,
            mover_defaults=options.mover_defaults,
            environment=proxies(os.environ),
            patience=Patience(sample=options.progress_interval),
            jitter=timedelta(seconds=wanted.jitter),
            deadline=round(wanted.deadline) if wanted.deadline else None,
            most_at_once=wanted.max_concurrent,
        )
        kind = ReplicationKind(
            self.resource,
            objects,
            view=View(around.cluster),
            meter=self.shared.meter(around),
            settings=settings,
            keys=keys_of(around.client),
            now=around.clock.now,
        )
        kind.gates = around.beside_volsync
        kind.definition = _DEFINITIONS[self.resource.plural]()
        return kind


def replication_kinds() -> tuple[MakeReplication, ...]:
    """Return the makers of both kinds."""
    shared = _Shared()
    return tuple(MakeReplication(resource, shared) for resource in (REPLICATION_SOURCES, REPLICATION_DESTINATIONS))


def proxies(environ: Mapping[str, str]) -> tuple[Manifest, ...]:
    """Return the operator's proxies as variables of a mover."""
    return tuple({"name": name, "value": environ[name]} for name in PROXIES if environ.get(name))


class _SecretData(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None


_SECRETS: Final = Resource("", "v1", "secrets", "Secret", _SecretData)


def keys_of(client: Client) -> KeyMakers:
    """Return how keys are made, and how those that were made are read again to make another Secret of them."""

    async def read(namespace: str, name: str) -> Mapping[str, bytes]:
        found = await client.get(_SECRETS, name, namespace=namespace)
        return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}

    return KeyMakers(psk=_make_psk, ssh=_make_ssh, read=read)


def _make_psk() -> Mapping[str, bytes]:
    return rsync_tls.secret_of(os.urandom(rsync_tls.KEY_BYTES))


async def _make_ssh() -> Mapping[str, bytes]:
    source, destination = await asyncio.gather(
        asyncio.to_thread(generate_pair, "volsync-source"), asyncio.to_thread(generate_pair, "volsync-destination")
    )
    return rsync_ssh.secrets_of(source=source, destination=destination)
