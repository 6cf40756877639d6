"""What the definitions (CRDs) of group cdi.kubevirt.io say beyond their types: columns and short names. Pure.

They are installed only where nobody else has installed such, bear our labels (`is_ours`), and keep what they do not know: objects that were written
for a real CDI are accepted as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from datamover.api import names as ours
from datamover.api.cdi.config import CDI_CONFIGS, CDIS
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolumeSpec
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from datamover.api.crd import Rules, crd, generated_once
from kubekit.words.meta import Manifest, Resource

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
_INSTALLERS: Final = frozenset({ours.PART_OF_VALUE, "Helm"})
_KEEP: Final = "x-kubernetes-preserve-unknown-fields"


def is_ours(labels: Mapping[str, str]) -> bool:
    """Tell whether labels are those of a definition that was installed by us, and that nobody has taken over.

    Helm writes its own name into `managed-by` of all that it installs, whatever the chart says: so ours are known by what they are part of. A
    CDI that takes a definition over writes its name there, and may leave our other labels.
    """
    return labels.get(ours.PART_OF_LABEL) == ours.PART_OF_VALUE and labels.get(MANAGED_BY_LABEL) in _INSTALLERS


def _column(name: str, path: str, type_: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "jsonPath": path, **more}


_WIDE: Final[dict[str, Any]] = {"priority": 1}
"""Shown by `-o wide` only: the columns before are CDI's, and scripts read them by position."""


def _ready(part: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{part}'


NO_RULES: Final[Rules] = {}
_CHANGEABLE: Final = frozenset({"checkpoints", "finalCheckpoint"})
"""What of a spec goes on when an import is made in several steps."""


def _stays(field: str) -> tuple[str, str]:
    rule = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return rule, f"{field} cannot be changed: delete the DataVolume and create it anew"


_IMMUTABLE: Final = {
    DataVolumeSpec: tuple(
        _stays(each.encode_name)
        for each in msgspec.structs.fields(DataVolumeSpec)
        if each.encode_name not in _CHANGEABLE
    )
}
_AGE: Final = _column("Age", ".metadata.creationTimestamp", "date")
_VOLUME: Final = (
    _column("Phase", ".status.phase", description="How far it is."),
    _column("Progress", ".status.progress", description="Share of the data that is there."),
    _column("Restarts", ".status.restartCount", "integer", description="How often the worker was started again."),
    _AGE,
    _column("Reason", _ready("reason"), description="What it waits for.", **_WIDE),
    _column("Message", _ready("message"), description="The same in a sentence.", **_WIDE),
    _column(
        "Collection",
        ".metadata.annotations.datamover\\.a-cup-of\\.coffee/collection",
        description="Why it is not collected.",
        **_WIDE,
    ),
)
_SOURCE: Final = (
    _AGE,
    _column("Ready", _ready("status"), description="Whether what it stands for can be used.", **_WIDE),
    _column("Reason", _ready("reason"), description="Why it cannot.", **_WIDE),
    _column("Claim", ".status.source.pvc.name", description="Claim that it stands for.", **_WIDE),
)
_CRON: Final = (
    _column("Format", ".status.sourceFormat", description="Format of the imports."),
    _column("Last", ".status.lastImportedPVC.name", description="Claim of the last import.", **_WIDE),
    _column("Message", '.status.conditions[?(@.type=="UpToDate")].message', description="How it stands.", **_WIDE),
)
_PROFILE: Final = (
    _AGE,
    _column("Provisioner", ".status.provisioner", description="Provisioner of the class.", **_WIDE),
)

_INSTALLATION: Final = (_AGE, _column("Phase", ".status.phase", description="Deployed when its configuration counts."))


@generated_once
def data_volume_crd() -> Manifest:
    """Return the CustomResourceDefinition of DataVolume."""
    return _define(DATA_VOLUMES, columns=_VOLUME, short_names=("dv", "dvs"), rules=_IMMUTABLE)


@generated_once
def data_source_crd() -> Manifest:
    """Return the CustomResourceDefinition of DataSource."""
    return _define(DATA_SOURCES, columns=_SOURCE, short_names=("das",))


@generated_once
def data_import_cron_crd() -> Manifest:
    """Return the CustomResourceDefinition of DataImportCron."""
    return _define(DATA_IMPORT_CRONS, columns=_CRON, short_names=("dic", "dics"))


@generated_once
def storage_profile_crd() -> Manifest:
    """Return the CustomResourceDefinition of StorageProfile."""
    return _define(STORAGE_PROFILES, columns=_PROFILE)


@generated_once
def cdi_config_crd() -> Manifest:
    """Return the CustomResourceDefinition of CDIConfig."""
    return _define(CDI_CONFIGS)


@generated_once
def cdi_crd() -> Manifest:
    """Return the CustomResourceDefinition of CDI."""
    return _define(CDIS, columns=_INSTALLATION, short_names=("cdi", "cdis"))


def _define(
    resource: Resource[Any],
    *,
    columns: tuple[dict[str, Any], ...] = (),
    short_names: tuple[str, ...] = (),
    rules: Rules = NO_RULES,
) -> Manifest:
    definition = crd(resource, rules=rules, columns=columns, short_names=short_names, categories=(), required=())
    definition["metadata"]["labels"][MANAGED_BY_LABEL] = ours.PART_OF_VALUE
    schema: dict[str, Manifest] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        _keep_unknown(schema.get(part))
    return definition


def _keep_unknown(schema: dict[str, Any] | None) -> None:
    """Let every object within keep what it does not know."""
    if schema is None:
        return
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        schema[_KEEP] = True
    within: dict[str, dict[str, Any]] = schema.get("properties", {})
    for each in within.values():
        _keep_unknown(each)
    _keep_unknown(schema.get("items"))
