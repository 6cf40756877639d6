"""CustomResourceDefinitions, generated from the types (structural schema, defaults, descriptions) and a few words here.

CEL rules are checked by the API server at admission; `datamover.api.validation` checks the same rules again in the operator, so
that an object that slipped past (or a server that does not evaluate CEL) is still caught.
"""

from typing import Any, cast

import yaml
from msgspec import inspect

from datamover.api import names
from datamover.api.pods import EnvVar, EnvVarSource, Image
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverSpec, Run
from kubekit.words.meta import Condition, Manifest

VALIDATIONS: dict[type, tuple[tuple[str, str], ...]] = {
    DataMoverSpec: (
        (
            "self.copyMethod == 'Snapshot' || !has(self.volumeSnapshotClassName)",
            "volumeSnapshotClassName is used with copyMethod Snapshot only: set copyMethod: Snapshot or remove volumeSnapshotClassName",
        ),
        (
            "self.copyMethod != 'Direct' || !has(self.storageClassName)",
            "copyMethod Direct makes no clone, so storageClassName has no effect: remove it, or choose Clone or Snapshot",
        ),
        (
            "self.copyMethod != 'Direct' || !self.deletePvcAfterBackup",
            "copyMethod Direct makes no clone, so there is none to delete: set deletePvcAfterBackup: false",
        ),
    ),
    EnvVar: (
        (
            "!(has(self.value) && self.value != '' && has(self.valueFrom))",
            "a variable has either value or valueFrom: remove one of them",
        ),
        (
            "!self.name.startsWith('DATAMOVER_')",
            "variables that begin with DATAMOVER_ belong to the operator: choose another name",
        ),
        ("!self.name.contains('=')", "the name of a variable cannot contain '=': put what follows it into value"),
    ),
    EnvVarSource: (
        (
            (
                "[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.fieldRef), has(self.resourceFieldRef), "
                "has(self.fileKeyRef)].filter(x, x).size() == 1"
            ),
            "valueFrom names exactly one source: configMapKeyRef, secretKeyRef, fieldRef or resourceFieldRef",
        ),
        (
            "!has(self.fileKeyRef)",
            "fileKeyRef needs a volume that the mover's Pod does not have: put the value into a Secret or ConfigMap and use its key",
        ),
    ),
    Image: (
        (
            "!self.repository.contains('@') && !self.repository.matches('^[^/]*//') && !self.repository.matches('[[:space:]]')",
            (
                "image.repository is an image name without scheme, spaces or digest, such as registry.example.com/team/mover: "
                "put a digest into image.tag"
            ),
        ),
        (
            "self.tag.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$') || self.tag.matches('^sha256:[0-9a-f]{64}$')",
            "image.tag is a tag such as v1.2.3 or a digest such as sha256: with 64 hex digits",
        ),
    ),
}
"""CEL rules by type: (rule, message). Each message says the fix."""

# The phase is the original operator's first column: scripts read it by position. What tells a stuck run from one that works, its reason, is
# within the first 80 columns of a terminal. What `-o wide` adds follows the age, as with Pods. Of a run that has not begun the documented phase is empty, and the reason says what it waits for.
PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "name": "Phase",
        "type": "string",
        "jsonPath": ".status.phase",
        "description": "Where the run is; empty before it begins.",
    },
    {
        "name": "Reason",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        "description": "What is going on, what is waited for, or why it failed.",
    },
    {
        "name": "Progress",
        "type": "string",
        "jsonPath": ".status.run.progress",
        "description": "Share moved and time left.",
    },
    {"name": "Source", "type": "string", "jsonPath": ".spec.sourcePvc", "description": "The volume that is backed up."},
    {
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": "Since the object was created.",
    },
    {"name": "Destination", "type": "string", "priority": 1, "jsonPath": ".status.run.destination"},
    {"name": "Files", "type": "integer", "priority": 1, "jsonPath": ".status.run.files"},
    {"name": "Bytes", "type": "integer", "format": "int64", "priority": 1, "jsonPath": ".status.run.bytes"},
    {"name": "Clone", "type": "string", "priority": 1, "jsonPath": ".status.restoredPvcName"},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.message"},
)

SELECTABLE_FIELDS: tuple[str, ...] = (".status.phase",)
"""What `kubectl get --field-selector` takes. API servers before Kubernetes 1.30 do not know these."""

_WRITTEN_BY_US = frozenset({Condition, Run})
"""Types of the status: the server must not add to what the operator applies."""
_INT32 = frozenset({"attempts", "maxDeletePercent"})


def data_mover_crd() -> Manifest:
    """Return the CustomResourceDefinition of DataMover."""
    schema = _schema(inspect.type_info(DataMover))
    properties: dict[str, Any] = schema["properties"]
    properties["metadata"] = {"type": "object"}
    properties["spec"]["description"] = "What to back up, and where to."
    properties["status"]["description"] = "What has become of it. Written by the operator only."
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": DATA_MOVERS.group_resource,
            "labels": {names.PART_OF_LABEL: names.PART_OF_VALUE, "app.kubernetes.io/name": names.PART_OF_VALUE},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": DATA_MOVERS.kind,
                "listKind": "DataMoverList",
                "plural": DATA_MOVERS.plural,
                "singular": "datamover",
                "shortNames": ["dm"],
                "categories": ["datamover", "backup"],
            },
            "versions": [
                {
                    "name": DATA_MOVERS.version,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [dict(column) for column in PRINTER_COLUMNS],
                    "selectableFields": [{"jsonPath": path} for path in SELECTABLE_FIELDS],
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": " ".join((DataMover.__doc__ or "").split()),
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {
                                    "type": "string",
                                    "description": "Version of the schema of this object.",
                                },
                                "kind": {"type": "string", "description": "Kind of this object."},
                                **properties,
                            },
                        }
                    },
                }
            ],
        },
    }


def crds() -> tuple[Manifest, ...]:
    """Return every CustomResourceDefinition of the project."""
    return (data_mover_crd(),)


def render(manifests: tuple[Manifest, ...]) -> str:
    """Return the manifests as YAML documents, each preceded by a separator."""
    return "".join(
        "---\n" + yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120) for manifest in manifests
    )


def _schema(info: inspect.Type, *, name: str = "") -> dict[str, Any]:
    match info:
        case inspect.Metadata():
            schema = _schema(info.type, name=name)
            schema.update(cast("dict[str, Any]", info.extra_json_schema or {}))  # pyright: ignore[reportUnknownMemberType] - untyped in msgspec
            return schema
        case inspect.StructType():
            return _object(info)
        case inspect.UnionType():
            return _union(info, name)
        case inspect.StrType():
            return {"type": "string"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            kind = "int32" if name in _INT32 else "int64"
            return {"type": "integer", "format": kind}
        case inspect.VarTupleType():
            return _array(info)
        case inspect.DictType():
            return _map(info)
        case _:
            raise TypeError(f"no schema for {info!r}")


def _object(info: inspect.StructType) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in info.fields:
        properties[field.encode_name] = _schema(field.type, name=field.encode_name)
        if field.required:
            required.append(field.encode_name)
        elif info.cls not in _WRITTEN_BY_US and isinstance(field.default, (str, int, bool)):
            properties[field.encode_name]["default"] = field.default
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if info.cls.__doc__:
        schema["description"] = " ".join(info.cls.__doc__.split())
    if info.cls is Condition:
        _describe_condition(properties)
        required = ["type", "status"]
    if required:
        schema["required"] = required
    rules = VALIDATIONS.get(info.cls)
    if rules:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in rules]
    return schema


def _union(info: inspect.UnionType, name: str) -> dict[str, Any]:
    """Optional fields are absent rather than null; a number or a string is a quantity."""
    arms = [arm for arm in info.types if not isinstance(arm, inspect.NoneType)]
    if len(arms) == 1:
        return _schema(arms[0], name=name)
    return {"x-kubernetes-int-or-string": True}


def _array(info: inspect.VarTupleType) -> dict[str, Any]:
    items = _schema(info.item_type)
    schema: dict[str, Any] = {"type": "array", "items": items}
    if isinstance(info.item_type, inspect.StructType) and info.item_type.cls is Condition:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    else:
        # The order of variables decides which one wins, so a list is one value: whoever applies it owns it whole.
        schema["x-kubernetes-list-type"] = "atomic"
    return schema


def _map(info: inspect.DictType) -> dict[str, Any]:
    if isinstance(info.value_type, inspect.AnyType):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"type": "object", "additionalProperties": _schema(info.value_type)}


def _describe_condition(properties: dict[str, Any]) -> None:
    for field, description in {
        "type": "Type of the condition.",
        "status": "True, False or Unknown.",
        "reason": "Constant that programs may rely on.",
        "message": "Sentence for people.",
        "lastTransitionTime": "When the status last changed.",
        "observedGeneration": "Generation of the spec that the condition speaks of.",
    }.items():
        properties[field]["description"] = description
    properties["status"]["enum"] = ["True", "False", "Unknown"]
    properties["lastTransitionTime"]["format"] = "date-time"
