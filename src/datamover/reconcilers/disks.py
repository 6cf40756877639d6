"""DataVolumes and DataSources as all kinds of group cdi.kubevirt.io share them: watched once, looked up by what they are made from and for.

Who reconciles one of these kinds takes a `Part` of its informer, so that it sleeps when its gates close; who only reads them reads on.
"""

from collections.abc import Iterable
from typing import Final

from datamover.api.cdi.data_source import DATA_SOURCES, DataSource
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.reconcilers.cluster import Cluster, import_index
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key

_BY_CRON: Final = "cron"
_BY_ORIGIN: Final = "origin"


class Disks:
    """The two caches, and what is read of them by name."""

    def __init__(self, cluster: Cluster) -> None:
        self.volumes = share_volumes(cluster)
        self.sources = cluster.whole(DATA_SOURCES, indexes={_BY_CRON: import_index, _BY_ORIGIN: _source_origins})

    def volume(self, namespace: str, name: str) -> DataVolume | None:
        """A DataVolume."""
        return self.volumes.store.get(Key(namespace, name))

    def source(self, namespace: str, name: str) -> DataSource | None:
        """A DataSource."""
        return self.sources.store.get(Key(namespace, name))

    def origins(self, volume: DataVolume) -> Iterable[tuple[str, str, str]]:
        """What a DataVolume is filled from: the field that says it, namespace and name."""
        for said in _volume_origins(volume):
            field, namespace, name = said.split("/", 2)
            yield field, namespace, name

    def imports(self, namespace: str, label: str) -> tuple[DataVolume, ...]:
        """The DataVolumes that the DataImportCron with this label has made."""
        return self.volumes.store.by_index(_BY_CRON, f"{namespace}/{label}")

    def managed(self, namespace: str, label: str) -> tuple[DataSource, ...]:
        """The DataSources that the DataImportCron with this label keeps."""
        return self.sources.store.by_index(_BY_CRON, f"{namespace}/{label}")

    def readers(self, kind: str, namespace: str, name: str) -> tuple[DataVolume, ...]:
        """The DataVolumes whose source is this object; `kind` is the field of the source, `pvc` or `snapshot`, or `dataSource`."""
        return self.volumes.store.by_index(_BY_ORIGIN, f"{kind}/{namespace}/{name}")

    def referrers(self, kind: str, namespace: str, name: str) -> tuple[DataSource, ...]:
        """The DataSources that stand for this object."""
        return self.sources.store.by_index(_BY_ORIGIN, f"{kind}/{namespace}/{name}")


def share_volumes(cluster: Cluster) -> Informer[DataVolume]:
    """Return the one cache of DataVolumes, for kinds that read no DataSources."""
    return cluster.whole(DATA_VOLUMES, indexes={_BY_CRON: import_index, _BY_ORIGIN: _volume_origins})


def _volume_origins(volume: DataVolume) -> Iterable[str]:
    spec, here = volume.spec, volume.metadata.namespace
    if spec is None:
        return
    source = spec.source
    if source is not None and source.pvc is not None:
        yield f"pvc/{source.pvc.namespace or here}/{source.pvc.name}"
    if source is not None and source.snapshot is not None:
        yield f"snapshot/{source.snapshot.namespace or here}/{source.snapshot.name}"
    if spec.source_ref is not None:
        yield f"dataSource/{spec.source_ref.namespace or here}/{spec.source_ref.name}"


def _source_origins(found: DataSource) -> Iterable[str]:
    spec, here = found.spec, found.metadata.namespace
    if spec is None:
        return
    source = spec.source
    if source.pvc is not None:
        yield f"pvc/{source.pvc.namespace or here}/{source.pvc.name}"
    if source.snapshot is not None:
        yield f"snapshot/{source.snapshot.namespace or here}/{source.snapshot.name}"
    if source.data_source is not None:
        yield f"dataSource/{source.data_source.namespace or here}/{source.data_source.name}"
