"""DataSource: a name for what new disks are made of, which others keep up to date. Pure."""

from typing import Annotated

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DataVolumeCondition, ObjectSource
from datamover.api.pods import doc
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown


class DataSourceSource(Model, frozen=True):
    """What it stands for. One is set."""

    pvc: Annotated[ObjectSource | None, doc("A claim.")] = None
    snapshot: Annotated[ObjectSource | None, doc("A VolumeSnapshot.")] = None
    data_source: Annotated[ObjectSource | None, doc("Another DataSource, which stands for none of these itself.")] = None  # fmt: skip


class DataSourceSpec(Model, frozen=True):
    """What it stands for."""

    source: Annotated[DataSourceSource, doc("What it stands for.")] = DataSourceSource()


class DataSourceStatus(Model, frozen=True):
    """Whether what it stands for can be used."""

    source: Annotated[DataSourceSource | None, doc("What it comes to in the end.")] = None
    conditions: Annotated[tuple[DataVolumeCondition, ...] | None, doc("Ready.")] = None


class DataSource(KeepsUnknown, frozen=True):
    """A name for what new disks are made of."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataSourceSpec | None = None
    status: DataSourceStatus | None = None


DATA_SOURCES = Resource(names.GROUP, names.VERSION, "datasources", "DataSource", DataSource)
