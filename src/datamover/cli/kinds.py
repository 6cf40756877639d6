"""The kinds that the operator reconciles."""

from typing import Final

from datamover.cli.datavolumes import data_volume_kinds
from datamover.cli.hosted_control_planes import hosted_control_plane_kinds
from datamover.cli.options import Options
from datamover.cli.population import population_kinds
from datamover.cli.replication import replication_kinds
from datamover.cli.restores import restore_population_kinds
from datamover.cli.surroundings import AnyKind, MakeKind, Surroundings
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.restores import RestoreMetrics
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.facts import Settings
from datamover.reconcilers.datamover.kind import DataMoverKind
from datamover.reconcilers.restore import caches as restores
from datamover.reconcilers.restore.facts import Settings as RestoreSettings
from datamover.reconcilers.restore.kind import RestoreKind
from datamover.runs.facts import Patience


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


def data_mover_restores(around: Surroundings) -> AnyKind:
    """Return the kind DataMoverRestore."""
    options = around.options
    caches = restores.Caches(
        around.client,
        cluster=around.cluster,
        clock=around.clock,
        namespace=options.namespace,
        metrics=around.metrics,
    )
    settings = RestoreSettings(
        mover_image=options.mover_image,
        mover_pull_policy=options.mover_pull_policy,
        mover_defaults=options.mover_defaults,
        patience=Patience(sample=options.progress_interval),
        population=options.restore_population,
    )
    return RestoreKind(caches=caches, meter=RestoreMetrics(around.registry), settings=settings)


_TELLING, _REGISTERING = restore_population_kinds()
KINDS: Final[tuple[MakeKind, ...]] = (data_movers, data_mover_restores, _TELLING, _REGISTERING)
"""What the operator reconciles always; another kind joins here. Who fills claims for restores is registered unless its options say otherwise."""

REPLICATION_KINDS: Final[tuple[MakeKind, ...]] = (*replication_kinds(), *population_kinds())
"""What it reconciles with `--replication`, beside those. Each of them is optional, and behind the gates `beside_volsync`."""


def kinds_for(options: Options) -> tuple[MakeKind, ...]:
    """Return what an operator with these options reconciles."""
    replication = REPLICATION_KINDS if options.replication.enabled else ()
    # an operator that fills no claims still says so at each of them
    ours = KINDS if options.restore_population else tuple(each for each in KINDS if each is not _REGISTERING)
    return (*ours, *replication, *data_volume_kinds(options), *hosted_control_plane_kinds(options))
