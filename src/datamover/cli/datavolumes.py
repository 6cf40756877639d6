"""Putting together, for the operator, what is done about DataVolumes."""

from weakref import WeakKeyDictionary

from datamover.cli.disks import MakePopulate, MakeRemains
from datamover.cli.images import image_kinds
from datamover.cli.options import Options
from datamover.cli.surroundings import AnyKind, MakeKind, Surroundings
from datamover.metrics.datavolumes import CollectionMetrics, ModeMetrics
from datamover.reconcilers.cdi_mode import Mode, ModeWatch
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.collection.facts import Settings
from datamover.reconcilers.collection.gather import Around
from datamover.reconcilers.collection.kind import CollectionKind
from datamover.reconcilers.collection.switch import SwitchKind
from datamover.reconcilers.disks import share_volumes

_WATCHES: WeakKeyDictionary[Cluster, ModeWatch] = WeakKeyDictionary()
_AROUND: WeakKeyDictionary[Cluster, Around] = WeakKeyDictionary()


def mode_of(around: Surroundings) -> ModeWatch:
    """Return what tells whether a CDI is beside an operator: one watch for all its kinds, made with the first of them."""
    made = _WATCHES.get(around.cluster)
    if made is None:
        metrics = ModeMetrics(around.registry, Mode)
        made = _WATCHES[around.cluster] = ModeWatch(
            around.client,
            cdi_namespace=around.options.data_volumes.cdi_namespace,
            clock=around.clock,
            show=metrics.show,
        )
    return made


def collection(around: Surroundings) -> AnyKind:
    """Return the kind that collects completed DataVolumes."""
    wanted = around.options.data_volumes
    settings = Settings(ttl=wanted.ttl, dry_run=wanted.dry_run, machines=wanted.machines, stamp=wanted.stamp)
    watch = mode_of(around)
    kind = CollectionKind(
        around.client, around=_around(around), settings=settings, meter=CollectionMetrics(around.registry)
    )
    kind.gates = (watch.collection,)
    kind.note = watch.describe
    return kind


def lifetime(around: Surroundings) -> AnyKind:
    """Return the kind that writes down since when completed ones are collected."""
    kind = SwitchKind(
        around.client,
        around=_around(around),
        volumes=share_volumes(around.cluster),
        own=around.options.data_volumes.ttl,
        clock=around.clock,
    )
    kind.gates = (mode_of(around).collection,)
    return kind


def _around(around: Surroundings) -> Around:
    made = _AROUND.get(around.cluster)
    if made is None:
        made = _AROUND[around.cluster] = Around(View(around.cluster), home=around.options.data_volumes.home)
    return made


def data_volume_kinds(options: Options) -> tuple[MakeKind, ...]:
    """Return what an operator with these options does about DataVolumes."""
    wanted = options.data_volumes
    collecting = (
        (collection, *((lifetime,) if wanted.stamp and not wanted.dry_run else ())) if wanted.collection else ()
    )
    if not wanted.population:
        return collecting
    return (
        *collecting,
        MakePopulate(mode_of),
        MakeRemains(mode_of),
        *image_kinds(lambda around: mode_of(around).population),
    )
