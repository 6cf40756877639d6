"""The operator's own caches, filled by hand: for what is decided from them, without a server."""

from typing import Any

from msgspec.structs import replace

from datamover.api.v1alpha1.datamover import DataMover
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.datamover.caches import Caches
from support import builders
from support.clock import VirtualClock


def cached(*objects: Any) -> Caches:
    """Return caches with these objects, the usual source and its class in them."""
    clock = VirtualClock(builders.NOW)
    nobody: Any = None
    cluster = Cluster(nobody, clock=clock)
    caches = Caches(nobody, cluster=cluster, clock=clock)
    for obj in (builders.persistent_volume_claim(), builders.storage_class(), *objects):
        put(caches, obj)
    return caches


def put(caches: Caches, obj: Any) -> None:
    """Put an object into the cache of its kind, as the newest of its name."""
    stores = {each.resource.type: each.store for each in (caches.movers, *caches.cluster.informers())}
    store = stores[DataMover if isinstance(obj, DataMover) else type(obj)]
    meta = replace(obj.metadata, resource_version=str(store.high_water + 1))
    store.put(replace(obj, metadata=meta))
