"""Putting together, for the operator, what populates DataVolumes where no CDI is."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry

from datamover.api.cdi.definition import data_volume_crd
from datamover.cli.replication import proxies
from datamover.cli.surroundings import AnyKind, Surroundings
from datamover.cli.upload_keys import make_keys
from datamover.metrics.population import PopulationMetrics
from datamover.reconcilers.cdi_mode import ModeWatch
from datamover.reconcilers.cluster import View
from datamover.reconcilers.datavolume.ask import Kind
from datamover.reconcilers.datavolume.facts import Settings
from datamover.reconcilers.datavolume.filling import Filler
from datamover.reconcilers.datavolume.kind import DataVolumeKind, fillers_with
from datamover.reconcilers.datavolume.receiving import CHILDREN
from datamover.reconcilers.datavolume.remains import RemainsKind
from datamover.reconcilers.disks import Disks
from datamover.runs.facts import Patience
from kubekit.words.meta import Resource

_METRICS: WeakKeyDictionary[CollectorRegistry, PopulationMetrics] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class MakeRemains:
    """Makes the kind that removes temporary claims in namespaces of sources. It stands back with the one that makes them."""

    watch: Callable[[Surroundings], ModeWatch]

    def __call__(self, around: Surroundings) -> AnyKind:
        """Return the kind."""
        kind = RemainsKind(around.client, view=View(around.cluster), disks=Disks(around.cluster))
        kind.gates = (self.watch(around).population,)
        return kind


@dataclass(frozen=True, slots=True)
class MakePopulate:
    """Makes the kind that makes the claims of DataVolumes and fills them. `watch` tells where it has to stand back, for a CDI is at work; `instead` are
    ways to fill a claim that take the place of the usual ones.
    """

    children: ClassVar[Collection[Resource[Any]]] = CHILDREN
    watch: Callable[[Surroundings], ModeWatch] | None = None
    instead: Mapping[Kind, Filler] = field(default_factory=dict[Kind, Filler])

    def __call__(self, around: Surroundings) -> AnyKind:
        """Return the kind."""
        options = around.options
        settings = Settings(
            mover_image=options.mover_image or "",
            mover_pull_policy=options.mover_pull_policy,
            mover_defaults=options.mover_defaults,
            environment=proxies(os.environ),
            patience=Patience(sample=options.progress_interval),
            deadline=round(options.data_volumes.deadline) if options.data_volumes.deadline else None,
        )
        meter = _METRICS.get(around.registry)
        if meter is None:
            meter = _METRICS[around.registry] = PopulationMetrics(around.registry)
        kind = DataVolumeKind(
            around.client,
            view=View(around.cluster),
            disks=Disks(around.cluster),
            settings=settings,
            meter=meter,
            fillers={**fillers_with(make_keys), **self.instead},
            permit_keys=around.permit_keys,
        )
        kind.definition = data_volume_crd()
        if self.watch is not None:
            watch = self.watch(around)
            kind.gates = (watch.population,)
            kind.note = watch.describe
        return kind
