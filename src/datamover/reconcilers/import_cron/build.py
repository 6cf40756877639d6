"""What a DataImportCron makes: DataVolumes, and its DataSource. Pure."""

from typing import Any

import msgspec
from msgspec.structs import replace

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS, DataImportCron, DataImportCronSpec
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolumeSpec
from datamover.reconcilers.import_cron.asking import Wanted, goes_along, label_of
from kubekit.words.meta import Manifest, ObjectMeta, owner_reference


def labels_of(cron: DataImportCron, spec: DataImportCronSpec) -> dict[str, str]:
    """Return the labels of what it makes."""
    cleanup = {names.CRON_CLEANUP_LABEL: "true"} if goes_along(spec) else {}
    return {names.CRON_LABEL: label_of(cron), **cleanup}


def marks_of(cron: DataImportCron, *, used_at: str) -> dict[str, str]:
    """Return the annotations of an import: whose it is, and since when it is the newest."""
    return {names.IMPORT_OF: cron.metadata.uid, names.LAST_USE: used_at}


def build_volume(cron: DataImportCron, spec: DataImportCronSpec, wanted: Wanted, *, used_at: str) -> Manifest:
    """Return the DataVolume that imports what there is now. It is filled at once: nobody consumes an image."""
    given = spec.template.metadata or {}
    made = spec.template.spec or DataVolumeSpec()
    if spec.service_account_name and made.service_account_name is None:
        made = replace(made, service_account_name=spec.service_account_name)
    metadata = _metadata(cron, spec, wanted.name)
    metadata["labels"] = {**_texts(given.get("labels")), **metadata["labels"]}
    metadata["annotations"] = {
        **_texts(given.get("annotations")),
        names.BIND_IMMEDIATELY: "true",
        **marks_of(cron, used_at=used_at),
    }
    return {
        "apiVersion": DATA_VOLUMES.api_version,
        "kind": DATA_VOLUMES.kind,
        "metadata": metadata,
        "spec": msgspec.to_builtins(made),
    }


def build_source(cron: DataImportCron, spec: DataImportCronSpec, claim: str) -> Manifest:
    """Return the DataSource that stands for an import."""
    return {
        "apiVersion": DATA_SOURCES.api_version,
        "kind": DATA_SOURCES.kind,
        "metadata": _metadata(cron, spec, spec.managed_data_source),
        "spec": {"source": {"pvc": {"name": claim, "namespace": cron.metadata.namespace}}},
    }


def build_move(cron: DataImportCron, claim: str) -> Manifest:
    """Return the patch of its DataSource that lets it stand for another import."""
    source = {"pvc": {"name": claim, "namespace": cron.metadata.namespace}, "snapshot": None, "dataSource": None}
    return {"spec": {"source": source}}


def build_release(cron: DataImportCron, held: ObjectMeta) -> Manifest:
    """Return the patch that lets something outlive its DataImportCron."""
    kept = [each for each in held.owner_references or () if each.uid != cron.metadata.uid]
    return {"metadata": {"ownerReferences": msgspec.to_builtins(kept), "labels": {names.CRON_CLEANUP_LABEL: None}}}


def _metadata(cron: DataImportCron, spec: DataImportCronSpec, name: str) -> dict[str, Any]:
    owners = [owner_reference(DATA_IMPORT_CRONS, cron.metadata)] if goes_along(spec) else []
    return {
        "name": name,
        "namespace": cron.metadata.namespace,
        "labels": labels_of(cron, spec),
        **({"ownerReferences": owners} if owners else {}),
    }


def _texts(given: Any) -> dict[str, str]:
    """Return labels or annotations of a template, which may hold anything."""
    return {key: value for key, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}  # pyright: ignore[reportUnknownVariableType] - a user's words
