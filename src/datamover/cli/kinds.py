"""The kinds that the operator reconciles, and what they are made in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry

from datamover.cli.options import Options
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.runtime import RuntimeMetrics
from datamover.plans.kind import Kind
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.facts import Settings
from datamover.reconcilers.datamover.kind import DataMoverKind
from datamover.runs.facts import Patience
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.gate import Gate


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a kind is made in. `cluster` is what is watched for all kinds, `cluster_uid` says which cluster it is.

    `beside_volsync` are the gates (`Kind.gates`) of kinds that VolSync's own operator may be at work on: closed while it is.
    """

    client: Client
    cluster: Cluster
    cluster_uid: str
    options: Options
    registry: CollectorRegistry
    metrics: RuntimeMetrics
    clock: Clock
    beside_volsync: tuple[Gate, ...] = ()


AnyKind = Kind[Any, Any, Any]
MakeKind = Callable[[Surroundings], AnyKind]
"""Makes a kind. What is watched for its children it says before it is made: by the attributes `created_by` and `children`, as a `Kind` has."""


def data_movers(around: Surroundings) -> AnyKind:
    """Return the kind DataMover."""
    options = around.options
    caches = Caches(
        around.client,
        cluster=around.cluster,
        clock=around.clock,
        namespace=options.namespace,
        metrics=around.metrics,
    )
    settings = Settings(
        cluster=around.cluster_uid,
        mover_image=options.mover_image,
        mover_pull_policy=options.mover_pull_policy,
        mover_defaults=options.mover_defaults,
        patience=Patience(sample=options.progress_interval),
    )
    return DataMoverKind(caches=caches, meter=DataMoverMetrics(around.registry), settings=settings)


KINDS: Final[tuple[MakeKind, ...]] = (data_movers,)
"""What the operator reconciles always. Another kind joins here."""

REPLICATION_KINDS: Final[tuple[MakeKind, ...]] = ()
"""What it reconciles with `--replication`, beside those. Each of them is optional, and behind the gates `beside_volsync`."""


def kinds_for(options: Options) -> tuple[MakeKind, ...]:
    """Return what an operator with these options reconciles."""
    return (*KINDS, *REPLICATION_KINDS) if options.replication.enabled else KINDS
