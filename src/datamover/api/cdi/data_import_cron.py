"""DataImportCron: imports a disk again when its source has changed, and keeps the last few. Pure."""

from typing import Annotated, Any

from msgspec import field

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DataVolumeCondition, DataVolumeSpec, ObjectSource
from datamover.api.pods import doc
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown


class Template(Model, frozen=True):
    """The DataVolumes that it makes."""

    metadata: Annotated[dict[str, Any] | None, doc("Labels and annotations.")] = None
    spec: Annotated[DataVolumeSpec | None, doc("What is imported, into what claim.")] = None
    status: Annotated[dict[str, Any] | None, doc("Has no meaning.")] = None


class DataImportCronSpec(Model, frozen=True):
    """What is imported, when, and how many imports stay."""

    template: Annotated[Template, doc("The DataVolumes that it makes.")] = Template()
    schedule: Annotated[str, doc("Cron expression; empty when somebody else says that there is something new.")] = ""
    garbage_collect: Annotated[str | None, doc("Outdated, when unset, or Never.")] = None
    imports_to_keep: Annotated[int | None, doc("How many imports stay; 3 when unset.", format="int32")] = None
    managed_data_source: Annotated[str, doc("DataSource that stands for the last import.")] = ""
    retention_policy: Annotated[str | None, doc("All, when unset: imports outlive it; None: they go with it.")] = None
    service_account_name: Annotated[str | None, doc("ServiceAccount of the workers' Pods.")] = None
    created_by: Annotated[str | None, doc("User who made it.")] = None


class ImportStatus(Model, frozen=True):
    """An import. These two keys begin with a capital."""

    data_volume_name: Annotated[str, doc("Its DataVolume, and claim.")] = field(name="DataVolumeName", default="")
    digest: Annotated[str, doc("Digest of what is imported.")] = field(name="Digest", default="")


class DataImportCronStatus(Model, frozen=True):
    """What was imported."""

    current_imports: Annotated[tuple[ImportStatus, ...] | None, doc("Imports that are under way, or are the last.")] = None  # fmt: skip
    last_imported_pvc: Annotated[ObjectSource | None, doc("Claim of the last import.")] = field(
        name="lastImportedPVC", default=None
    )
    last_execution_timestamp: Annotated[str | None, doc("When it was looked last.", format="date-time")] = None
    last_import_timestamp: Annotated[str | None, doc("When something was imported last.", format="date-time")] = None
    source_format: Annotated[str | None, doc("pvc or snapshot.")] = None
    conditions: Annotated[tuple[DataVolumeCondition, ...] | None, doc("Progressing and UpToDate.")] = None


class DataImportCron(KeepsUnknown, frozen=True):
    """Imports a disk again when its source has changed, and keeps the last few."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataImportCronSpec | None = None
    status: DataImportCronStatus | None = None


DATA_IMPORT_CRONS = Resource(names.GROUP, names.VERSION, "dataimportcrons", "DataImportCron", DataImportCron)
