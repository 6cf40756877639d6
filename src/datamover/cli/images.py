"""Putting together, for the operator, what belongs to population beside DataVolumes: images that are kept up to date, and the configuration."""

import os
from collections.abc import Callable
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.cli.replication import proxies
from datamover.cli.surroundings import AnyKind, MakeKind, Surroundings
from datamover.metrics.images import ImageMetrics
from datamover.reconcilers.cdi_config.kinds import ConfigExistenceKind, ConfigKind, InstallationKind
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.data_source.kind import DataSourceKind
from datamover.reconcilers.disks import Disks
from datamover.reconcilers.import_cron.facts import Worker
from datamover.reconcilers.import_cron.kind import DataImportCronKind, indexes
from datamover.reconcilers.storage_profile.existence import ProfiledClassKind
from datamover.reconcilers.storage_profile.kind import StorageProfileKind
from kubekit.runtime.gate import Gate
from kubekit.runtime.informer import Informer

_METRICS: WeakKeyDictionary[CollectorRegistry, ImageMetrics] = WeakKeyDictionary()
_DISKS: WeakKeyDictionary[Cluster, Disks] = WeakKeyDictionary()


def disks_of(around: Surroundings) -> Disks:
    """Return the caches of DataVolumes and DataSources of an operator, made with the first of its kinds."""
    if around.cluster not in _DISKS:
        _DISKS[around.cluster] = Disks(around.cluster)
    return _DISKS[around.cluster]


def _sources(around: Surroundings) -> AnyKind:
    return DataSourceKind(around.client, view=View(around.cluster), disks=disks_of(around))


def _crons(around: Surroundings) -> AnyKind:
    options = around.options
    objects = Informer(
        around.client,
        DATA_IMPORT_CRONS,
        namespace=options.namespace,
        indexes=indexes(),
        clock=around.clock,
        metrics=around.metrics,
    )
    worker = Worker(
        image=options.mover_image or "",
        pull_policy=options.mover_pull_policy,
        defaults=options.mover_defaults,
        environment=proxies(os.environ),
    )
    meter = _METRICS.get(around.registry)
    if meter is None:
        meter = _METRICS[around.registry] = ImageMetrics(around.registry)
    return DataImportCronKind(objects, view=View(around.cluster), disks=disks_of(around), worker=worker, meter=meter)


def _profiles(around: Surroundings) -> AnyKind:
    return StorageProfileKind(around.client, view=View(around.cluster))


def _profiled(around: Surroundings) -> AnyKind:
    return ProfiledClassKind(around.client, cluster=around.cluster, clock=around.clock)


def _config(around: Surroundings) -> AnyKind:
    return ConfigKind(around.client, cluster=around.cluster)


def _config_existence(around: Surroundings) -> AnyKind:
    return ConfigExistenceKind(around.client, cluster=around.cluster, clock=around.clock)


def _installation(around: Surroundings) -> AnyKind:
    return InstallationKind(around.client, cluster=around.cluster)


def image_kinds(gate: Callable[[Surroundings], Gate]) -> tuple[MakeKind, ...]:
    """Return the makers of these kinds. `gate` is what population is behind."""

    def gated(make: Callable[[Surroundings], AnyKind]) -> MakeKind:
        def made(around: Surroundings) -> AnyKind:
            kind = make(around)
            kind.gates = (gate(around),)
            return kind

        return made

    kinds = (_sources, _crons, _profiles, _profiled, _config, _config_existence, _installation)
    return tuple(gated(each) for each in kinds)
