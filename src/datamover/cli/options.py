"""How the operator runs: what its flags say, and what cannot be."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from datamover.movers.defaults import NONE, MoverDefaults
from datamover.reconcilers.collection.facts import Machines
from datamover.reconcilers.hosted_control_plane.facts import PATIENT


class StartError(Exception):
    """The operator cannot start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """How the status server is reached, and who may read the metrics.

    With `authenticated`, only those whom the API server lets `get` the non-resource URL /metrics. A bearer token over plain HTTP can be
    read by whoever is on the way, so that this needs `certificate` and `key` unless `plain_tokens` says that the way is safe.
    """

    authenticated: bool = False
    certificate: Path | None = None
    key: Path | None = None
    plain_tokens: bool = False

    def check(self) -> None:
        """Raise StartError when it cannot be had."""
        if (self.certificate is None) != (self.key is None):
            raise StartError("--metrics-tls-cert and --metrics-tls-key belong together: give both or none")
        if self.authenticated and self.certificate is None and not self.plain_tokens:
            raise StartError(
                "--metrics-auth needs --metrics-tls-cert and --metrics-tls-key, for tokens must not travel in the open. Where something "
                "else encrypts the way to this port (a sidecar, a mesh), say so with --metrics-auth-without-tls"
            )


@dataclass(frozen=True, slots=True)
class ReplicationOptions:
    """Whether and how ReplicationSources and ReplicationDestinations are reconciled. Durations are in seconds.

    `volsync_namespace` is where VolSync's own operator has its Lease: while that is alive, ours does nothing of this. None looks for nobody.
    `jitter` delays each scheduled synchronisation by up to so much, `max_concurrent` is how many may run at a time, and `deadline` ends one
    that takes longer. None, or no jitter, is as VolSync does it.
    """

    enabled: bool = False
    volsync_namespace: str | None = None
    jitter: float = 0.0
    max_concurrent: int | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class DataVolumeOptions:
    """What is done about DataVolumes: whether completed ones are collected, and whether they are filled where no CDI does it.

    `ttl` is how many seconds a completed one stays, negative for ever; None leaves it to CDIConfig. `stamp` lets those that are made while such a
    setting holds ask for their collection. `deadline` ends a worker that fills a disk for more seconds; None never. `cdi_namespace` is where a CDI's controller has its Lease, empty any namespace: while that is alive
    nothing is filled here; None looks for nobody. `home` is the namespace of what the operator itself has to remember.
    """

    collection: bool = False
    ttl: int | None = None
    dry_run: bool = False
    stamp: bool = True
    machines: Machines = Machines.SKIP
    population: bool = False
    deadline: float | None = None
    cdi_namespace: str | None = None
    home: str = "default"


@dataclass(frozen=True, slots=True)
class HostedControlPlaneOptions:
    """Whether backups of hosted control planes are followed, in which namespace Velero has them, and after what time without a change one is stalled."""

    enabled: bool = False
    velero_namespace: str = "velero"
    stalled_after: timedelta = PATIENT.stall


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Whether and where the admission webhook of DataVolumes is served.

    `address` is `host:port`, None for no webhook. `service` is its Service in the operator's namespace, and the name of its Secret there;
    `configuration` is the MutatingWebhookConfiguration by which the API server finds it.
    """

    address: str | None = None
    service: str = ""
    configuration: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How the operator runs. Addresses are `host:port`, or None for none; durations in seconds."""

    namespace: str | None = None
    workers: int = 4
    mover_image: str | None = None
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    cluster_id: str | None = None
    progress_interval: float = 10.0
    status_address: str | None = None
    metrics_access: MetricsAccess = MetricsAccess()
    leader_namespace: str | None = None
    """Namespace of the Lease; None runs without leader election."""
    identity: str = ""
    restore_population: bool = True
    """Whether claims are filled that name a DataMoverRestore in their dataSourceRef."""
    replication: ReplicationOptions = ReplicationOptions()
    data_volumes: DataVolumeOptions = DataVolumeOptions()
    hosted_control_planes: HostedControlPlaneOptions = HostedControlPlaneOptions()
    webhook: WebhookOptions = WebhookOptions()
    check_definitions: bool = False
    """Wait, not ready, until the cluster's CustomResourceDefinition has all that this version needs."""
