"""`datamover migrate volsync`: shows what would be taken over from VolSync's operator, and takes it over by scaling that one down.

Nothing of the objects is changed: this operator, started with `--replication`, begins by itself when the other's Lease has run out.

MigrationError    it cannot be done; the message says what to do
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from datamover.api.ownership import select_children
from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.takeover import Row, judge
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, NotFound
from kubekit.words.apps import DEPLOYMENTS, Deployment
from kubekit.words.batch import JOBS
from kubekit.words.coordination import LEASES
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

FIELD_MANAGER: Final = "datamover-migrate"
LABEL: Final = "app.kubernetes.io/name"
WORD: Final = "volsync"
_NAMES: Final = frozenset({"volsync", "volsync-controller-manager"})
"""What its Deployment is called where it carries no such label. A part of a name is no proof: the repository's server may be called after VolSync."""
_TICK: Final = 1.0
_LEASE_SECONDS: Final = 15


class MigrationError(Exception):
    """It cannot be done."""


@dataclass(frozen=True, slots=True)
class Other:
    """VolSync's operator. `holder` has its Lease, which is renewed within `duration` seconds; `deployments` run it."""

    namespace: str
    holder: str
    version: str
    duration: int
    deployments: tuple[Deployment, ...]

    @property
    def replicas(self) -> int:
        """How many replicas are wanted of it."""
        wanted = (each.spec.replicas if each.spec is not None else None for each in self.deployments)
        return sum(1 if replicas is None else replicas for replicas in wanted)


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to take over, and from whom."""

    other: Other
    rows: tuple[Row, ...]


async def survey(client: Client, *, namespace: str | None, volsync_namespace: str) -> Survey:
    """Look at both kinds, their children, and VolSync's operator. Raises MigrationError and KubeError."""
    rows: list[Row] = []
    children = await _children(client, namespace)
    kinds: list[Any] = [REPLICATION_SOURCES, REPLICATION_DESTINATIONS]
    for resource in kinds:
        try:
            found = await client.list(resource, namespace=namespace)
        except NotFound:
            raise MigrationError(
                f"the cluster has no kind {resource.kind}: there is nothing to take over. To begin anew: datamover crds --replication"
            ) from None
        rows += [judge(obj, resource.kind, children.get(obj.metadata.namespace or "", ())) for obj in found]
    other = await _find_other(client, volsync_namespace)
    return Survey(other, tuple(sorted(rows, key=lambda row: (row.namespace, row.kind, row.name))))


async def take_over(client: Client, other: Other, *, say: Callable[[str], None]) -> None:
    """Scale VolSync's operator down, and wait until its Lease has run out. Raises MigrationError and KubeError."""
    if other.holder and not other.deployments:
        raise MigrationError(
            f"VolSync's operator works ({other.holder} holds its Lease), and no Deployment of it is in namespace {other.namespace}: name the right one "
            "with --volsync-namespace, or stop it as it was installed (an operator of OLM by its Subscription)"
        )
    for deployment in other.deployments:
        replicas = deployment.spec.replicas if deployment.spec is not None else None
        if replicas != 0:
            name = deployment.metadata.name
            meta = {"uid": deployment.metadata.uid, "resourceVersion": deployment.metadata.resource_version}
            patch = {"metadata": meta, "spec": {"replicas": 0}}
            await client.patch(DEPLOYMENTS, name, patch, namespace=other.namespace, field_manager=FIELD_MANAGER)
            say(f"scaled down: Deployment {other.namespace}/{name}, which had {1 if replicas is None else replicas}")
    await _await_expiry(client, other, say=say)


async def _await_expiry(client: Client, other: Other, *, say: Callable[[str], None]) -> None:
    """Wait until the Lease stays as it is for as long as it says: by our own clock, for theirs may differ."""
    version, quiet = None, 0.0
    while True:
        now = await _find_other(client, other.namespace)
        if not now.holder:
            return
        if now.version != version:
            version, quiet = now.version, 0.0
            say(f"waiting until {now.holder} lets go of the Lease, for {now.duration} s without a sign of it")
        if quiet >= now.duration:
            return
        await asyncio.sleep(_TICK)
        quiet += _TICK


async def _find_other(client: Client, namespace: str) -> Other:
    try:
        lease = await client.get(LEASES, names.LEASE_NAME, namespace=namespace)
    except NotFound:
        lease = None
    listed: tuple[Deployment, ...] = ()
    with suppress(Forbidden, NotFound):
        listed = await client.list(DEPLOYMENTS, namespace=namespace)
    deployments = tuple(each for each in listed if each.metadata.name in _NAMES or each.metadata.label(LABEL) == WORD)
    spec = lease.spec if lease is not None else None
    if lease is None or spec is None:
        return Other(namespace, "", "", _LEASE_SECONDS, deployments)
    duration = spec.lease_duration_seconds or _LEASE_SECONDS
    return Other(namespace, spec.holder_identity or "", lease.metadata.resource_version, duration, deployments)


async def _children(client: Client, namespace: str | None) -> dict[str, set[tuple[str, str]]]:
    selector = select_children((names.CREATED_BY_VALUE,))
    resources: list[Any] = [JOBS, PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS]
    found: dict[str, set[tuple[str, str]]] = {}
    for resource in resources:
        try:
            listed = await client.list(resource, namespace=namespace, label_selector=selector)
        except NotFound:
            continue  # not every cluster has snapshots
        for child in listed:
            found.setdefault(child.metadata.namespace or "", set()).add((resource.kind, child.metadata.name))
    return found
