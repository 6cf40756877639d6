"""`datamover operator`: its flags, and what they become."""

import sys
from datetime import timedelta
from pathlib import Path

import click

from datamover.cli.credentials import credential_options
from datamover.cli.durations import DurationType
from datamover.cli.namespaces import parse_namespace, parse_namespace_or_any

_EXIT_CODES = """
\b
Exit codes:
  0    stopped in order
  1    it cannot start or go on; the last line says why
  2    the command line is wrong
"""


@click.command(epilog=_EXIT_CODES, short_help="Run the controllers against a cluster.")
@credential_options
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    envvar="WATCH_NAMESPACE",
    show_envvar=True,
    callback=parse_namespace,
    help="Watch this namespace only. [default: all]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="DataMovers that are worked on at a time.",
)
@click.option(
    "--mover-image",
    metavar="IMAGE",
    envvar="MOVER_IMAGE",
    show_envvar=True,
    help="Image for DataMovers that name none. Required: the documented default is the original operator's.",
)
@click.option(
    "--mover-image-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    envvar="MOVER_IMAGE_PULL_POLICY",
    show_envvar=True,
    help="Pull policy of that image where a DataMover asks for none but the default.  [default: Always, as documented]",
)
@click.option(
    "--mover-defaults",
    metavar="YAML",
    envvar="MOVER_DEFAULTS",
    show_envvar=True,
    help="How movers run whose DataMover does not say: the fields of spec.mover, labels and annotations.",
)
@click.option(
    "--cluster-id",
    metavar="TEXT",
    help="Identity of the cluster at destinations. [default: UID of the namespace kube-system]",
)
@click.option(
    "--replication/--no-replication",
    envvar="REPLICATION",
    show_envvar=True,
    default=False,
    show_default=True,
    help="Reconcile ReplicationSource and ReplicationDestination (volsync.backube) too.",
)
@click.option(
    "--volsync-namespace",
    metavar="NAME",
    envvar="VOLSYNC_NAMESPACE",
    show_envvar=True,
    callback=parse_namespace,
    default="volsync-system",
    show_default=True,
    help="Namespace of VolSync's own operator: while it is alive there, --replication does nothing.",
)
@click.option(
    "--replication-jitter",
    type=DurationType(),
    envvar="REPLICATION_JITTER",
    show_envvar=True,
    help="Begin each scheduled synchronisation later by up to this, such as 5m. [default: none]",
)
@click.option(
    "--replication-max-concurrent",
    type=click.IntRange(1, 100_000),
    envvar="REPLICATION_MAX_CONCURRENT",
    show_envvar=True,
    help="Synchronisations that may run at a time. [default: no limit]",
)
@click.option(
    "--replication-deadline",
    type=DurationType(),
    envvar="REPLICATION_DEADLINE",
    show_envvar=True,
    help="End a synchronisation that takes longer than this, such as 12h. [default: none]",
)
@click.option(
    "--restore-population/--no-restore-population",
    envvar="RESTORE_POPULATION",
    show_envvar=True,
    default=True,
    show_default=True,
    help="Fill claims that name a DataMoverRestore in their dataSourceRef.",
)
@click.option(
    "--datavolume-collection/--no-datavolume-collection",
    envvar="DATAVOLUME_COLLECTION",
    show_envvar=True,
    default=False,
    show_default=True,
    help="Collect completed DataVolumes (cdi.kubevirt.io) that ask for it: they go, and their claims stay.",
)
@click.option(
    "--datavolume-ttl",
    type=click.IntRange(-1, 999_999_999),
    metavar="SECONDS",
    envvar="DATAVOLUME_TTL",
    show_envvar=True,
    help="How long a completed DataVolume stays: 0 goes at once, -1 never. [default: what CDIConfig says]",
)
@click.option(
    "--datavolume-stamp/--no-datavolume-stamp",
    envvar="DATAVOLUME_STAMP",
    show_envvar=True,
    default=True,
    show_default=True,
    help="Let DataVolumes ask for their collection that are made while such a time is set.",
)
@click.option(
    "--datavolume-virtual-machines",
    type=click.Choice(["Skip", "Collect"]),
    envvar="DATAVOLUME_VIRTUAL_MACHINES",
    show_envvar=True,
    default="Skip",
    show_default=True,
    help="What becomes of those that a virtual machine owns whose KubeVirt would make them again.",
)
@click.option(
    "--datavolume-dry-run/--no-datavolume-dry-run",
    envvar="DATAVOLUME_DRY_RUN",
    show_envvar=True,
    default=False,
    show_default=True,
    help="Say on each DataVolume that it would be collected, and do not do it.",
)
@click.option(
    "--datavolume-population/--no-datavolume-population",
    envvar="DATAVOLUME_POPULATION",
    show_envvar=True,
    default=False,
    show_default=True,
    help="Fill the claims of DataVolumes where the definitions are datamover's, that is, where no CDI is.",
)
@click.option(
    "--datavolume-deadline",
    type=DurationType(),
    envvar="DATAVOLUME_DEADLINE",
    show_envvar=True,
    help="End a worker that fills a disk for longer than this, such as 12h; another one follows. [default: none]",
)
@click.option(
    "--cdi-namespace",
    metavar="NAME",
    envvar="CDI_NAMESPACE",
    show_envvar=True,
    callback=parse_namespace_or_any,
    default="",
    help="Look for a CDI's controller in this namespace only: while one is alive, nothing is filled. [default: in all namespaces]",
)
@click.option(
    "--hosted-control-planes/--no-hosted-control-planes",
    envvar="HOSTED_CONTROL_PLANES",
    show_envvar=True,
    default=False,
    show_default=True,
    help="Follow Velero's backups of hosted control planes (HyperShift): a ConfigMap beside each, events and metrics.",
)
@click.option(
    "--velero-namespace",
    metavar="NAME",
    envvar="VELERO_NAMESPACE",
    show_envvar=True,
    callback=parse_namespace,
    default="velero",
    show_default=True,
    help="Namespace of Velero, whose backups are followed.",
)
@click.option(
    "--hosted-control-plane-stalled-after",
    type=DurationType(least=timedelta(minutes=1), most=timedelta(days=365)),
    envvar="HOSTED_CONTROL_PLANE_STALLED_AFTER",
    show_envvar=True,
    default="10m",
    show_default=True,
    help="Call a volume of such a backup stalled of which nothing has gone on for this long. Nothing is given up for that.",
)
@click.option(
    "--webhook-bind-address",
    metavar="HOST:PORT",
    envvar="WEBHOOK_BIND_ADDRESS",
    show_envvar=True,
    default="0",
    show_default=True,
    help="Address of the admission webhook that stamps DataVolumes as they are created, over TLS; 0 for none.",
)
@click.option(
    "--webhook-service",
    metavar="NAME",
    envvar="WEBHOOK_SERVICE",
    show_envvar=True,
    default="datamover-operator-webhook-service",
    show_default=True,
    help="Its Service in the operator's namespace. The Secret with its certificate has the same name.",
)
@click.option(
    "--webhook-configuration",
    metavar="NAME",
    envvar="WEBHOOK_CONFIGURATION",
    show_envvar=True,
    default="datamover-operator-webhook",
    show_default=True,
    help="MutatingWebhookConfiguration by which the API server finds it.",
)
@click.option(
    "--leader-elect/--no-leader-elect", default=False, show_default=True, help="Run as one of several replicas."
)
@click.option(
    "--leader-namespace",
    metavar="NAME",
    envvar="POD_NAMESPACE",
    show_envvar=True,
    callback=parse_namespace,
    default="datamover-operator-system",
    show_default=True,
    help="Namespace of the Lease.",
)
@click.option(
    "--metrics-bind-address",
    metavar="HOST:PORT",
    default=":8082",
    show_default=True,
    help="Address of /metrics, /healthz and /readyz; 0 for none.",
)
@click.option(
    "--metrics-auth/--no-metrics-auth",
    envvar="METRICS_AUTH",
    show_envvar=True,
    default=False,
    show_default=True,
    help="Answer /metrics only to bearer tokens that the API server lets get it.",
)
@click.option(
    "--metrics-tls-cert",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="METRICS_TLS_CERT",
    show_envvar=True,
    help="Certificate to serve that address over TLS, PEM; read again when it is renewed. [default: plain HTTP]",
)
@click.option(
    "--metrics-tls-key",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="METRICS_TLS_KEY",
    show_envvar=True,
    help="Its key, PEM, not encrypted.",
)
@click.option(
    "--metrics-auth-without-tls",
    is_flag=True,
    help="Take tokens over plain HTTP: something else encrypts the way to this port.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="json", show_default=True, help="Form of log lines."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is logged.",
)
def operator(
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
    workers: int,
    mover_image: str | None,
    mover_image_pull_policy: str | None,
    mover_defaults: str | None,
    cluster_id: str | None,
    replication: bool,
    volsync_namespace: str,
    replication_jitter: timedelta | None,
    replication_max_concurrent: int | None,
    replication_deadline: timedelta | None,
    restore_population: bool,
    datavolume_collection: bool,
    datavolume_ttl: int | None,
    datavolume_stamp: bool,
    datavolume_virtual_machines: str,
    datavolume_dry_run: bool,
    datavolume_population: bool,
    datavolume_deadline: timedelta | None,
    cdi_namespace: str,
    hosted_control_planes: bool,
    velero_namespace: str,
    hosted_control_plane_stalled_after: timedelta,
    webhook_bind_address: str,
    webhook_service: str,
    webhook_configuration: str,
    leader_elect: bool,
    leader_namespace: str,
    metrics_bind_address: str,
    metrics_auth: bool,
    metrics_tls_cert: Path | None,
    metrics_tls_key: Path | None,
    metrics_auth_without_tls: bool,
    log_format: str,
    log_level: str,
) -> None:
    """Run the controllers, against a cluster or against `datamover local up`.

    Stops in order on SIGTERM and SIGINT: what is under way is finished or left to the next one.
    """
    from datamover.cli import logs
    from datamover.cli.loop import start
    from datamover.cli.operator import read_mover_defaults, serve
    from datamover.cli.options import (
        DataVolumeOptions,
        HostedControlPlaneOptions,
        MetricsAccess,
        Options,
        ReplicationOptions,
        StartError,
        WebhookOptions,
    )
    from datamover.reconcilers.collection.facts import Machines
    from kubekit.client.errors import KubeError
    from kubekit.runtime.leader import LeadershipLost
    from kubekit.runtime.precondition import PreconditionLost

    logs.set_up(level=log_level, form="json" if log_format == "json" else "text")
    try:
        defaults = read_mover_defaults(mover_defaults or "")
    except StartError as error:
        click.echo(f"datamover operator: {error}", err=True)
        sys.exit(1)
    options = Options(
        namespace=namespace,
        workers=workers,
        mover_image=mover_image,
        mover_pull_policy=mover_image_pull_policy,
        mover_defaults=defaults,
        cluster_id=cluster_id,
        restore_population=restore_population,
        replication=ReplicationOptions(
            enabled=replication,
            volsync_namespace=volsync_namespace,
            jitter=replication_jitter.total_seconds() if replication_jitter else 0.0,
            max_concurrent=replication_max_concurrent,
            deadline=replication_deadline.total_seconds() if replication_deadline else None,
        ),
        data_volumes=DataVolumeOptions(
            collection=datavolume_collection,
            ttl=datavolume_ttl,
            dry_run=datavolume_dry_run,
            stamp=datavolume_stamp,
            machines=Machines(datavolume_virtual_machines),
            population=datavolume_population,
            deadline=datavolume_deadline.total_seconds() if datavolume_deadline else None,
            cdi_namespace=cdi_namespace,
            home=leader_namespace,
        ),
        hosted_control_planes=HostedControlPlaneOptions(
            enabled=hosted_control_planes,
            velero_namespace=velero_namespace,
            stalled_after=hosted_control_plane_stalled_after,
        ),
        webhook=WebhookOptions(
            address=None if webhook_bind_address == "0" else webhook_bind_address,
            service=webhook_service,
            configuration=webhook_configuration,
        ),
        status_address=None if metrics_bind_address == "0" else metrics_bind_address,
        metrics_access=MetricsAccess(
            authenticated=metrics_auth,
            certificate=metrics_tls_cert,
            key=metrics_tls_key,
            plain_tokens=metrics_auth_without_tls,
        ),
        leader_namespace=leader_namespace if leader_elect else None,
    )
    try:
        start(serve(options, kubeconfig=kubeconfig, context=context))
    except (StartError, KubeError, LeadershipLost, PreconditionLost, OSError) as error:
        click.echo(f"datamover operator: {error}", err=True)
        sys.exit(1)
