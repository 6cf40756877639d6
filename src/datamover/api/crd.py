"""CustomResourceDefinitions, generated from any kind's types: structural schema, defaults, descriptions, rules and columns. Pure.

Descriptions are those of the fields (`Annotated[..., doc(...)]`), and of types their docstrings. The API server checks the CEL rules at
admission. A kind checks the same rules again in the operator: an object may be older than the rule, and the embedded API server does not
evaluate CEL.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
import yaml
from msgspec import inspect

from datamover.api import names
from kubekit.words.meta import Condition, Manifest, Resource
from kubekit.words.unknown import never_on_the_wire

Rules = Mapping[type, tuple[tuple[str, str], ...]]
"""CEL rules by the type that they stand at: (rule, message). Each message says the fix."""


def generated_once(make: Callable[[], Manifest]) -> Callable[[], Manifest]:
    """Let a definition be generated when it is first asked for; each caller gets a copy of their own."""

    @functools.cache
    def encoded() -> bytes:
        return msgspec.json.encode(make())

    @functools.wraps(make)
    def copy() -> Manifest:
        return msgspec.json.decode(encoded())

    return copy


def crd(
    resource: Resource[Any],
    *,
    rules: Rules,
    columns: Sequence[Mapping[str, Any]] = (),
    selectable_fields: Sequence[str] = (),
    short_names: Sequence[str] = (),
    categories: Sequence[str] = (),
    required: Sequence[str] = ("spec",),
) -> Manifest:
    """Return the CustomResourceDefinition of a kind, from the type that its objects decode into.

    `columns` are what `kubectl get` shows. `selectable_fields` are what its `--field-selector` takes; API servers before Kubernetes 1.30
    do not know these. `required` are the fields that an object cannot be without.
    """
    fields = cast("inspect.StructType", inspect.type_info(resource.type)).fields
    properties = {
        # The server must not add defaults to the status, nor judge it: it is the operator's alone.
        field.encode_name: _schema(field.type, rules, defaults=True)
        if field.encode_name != "status"
        else _schema(field.type, {}, defaults=False)
        for field in fields
        if field.encode_name != "metadata" and field.name not in never_on_the_wire(resource.type)
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": resource.group_resource,
            "labels": {names.PART_OF_LABEL: names.PART_OF_VALUE, "app.kubernetes.io/name": names.PART_OF_VALUE},
        },
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                **({"shortNames": list(short_names)} if short_names else {}),
                **({"categories": list(categories)} if categories else {}),
            },
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    **({"additionalPrinterColumns": [dict(column) for column in columns]} if columns else {}),
                    **(
                        {"selectableFields": [{"jsonPath": path} for path in selectable_fields]}
                        if selectable_fields
                        else {}
                    ),
                    **({"subresources": {"status": {}}} if "status" in properties else {}),
                    "schema": {"openAPIV3Schema": _root(resource.type, properties, required)},
                }
            ],
        },
    }


def _root(type_: type, properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": " ".join((type_.__doc__ or "").split()),
        **({"required": list(required)} if required else {}),
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            **properties,
        },
    }


def render(manifests: tuple[Manifest, ...]) -> str:
    """Return the manifests as YAML documents, each preceded by a separator."""
    return "".join(
        "---\n" + yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120) for manifest in manifests
    )


def _schema(info: inspect.Type, rules: Rules, *, defaults: bool) -> dict[str, Any]:
    match info:
        case inspect.Metadata():
            schema = _schema(info.type, rules, defaults=defaults)
            schema.update(cast("dict[str, Any]", info.extra_json_schema or {}))  # pyright: ignore[reportUnknownMemberType] - untyped in msgspec
            return schema
        case inspect.StructType():
            return _object(info, rules, defaults=defaults)
        case inspect.UnionType():
            return _union(info, rules, defaults=defaults)
        case inspect.StrType():
            return {"type": "string"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", "format": "int64"}
        case inspect.VarTupleType():
            return _array(info, rules, defaults=defaults)
        case inspect.DictType():
            return _map(info, rules, defaults=defaults)
        case _:
            raise TypeError(f"no schema for {info!r}")


def _object(info: inspect.StructType, rules: Rules, *, defaults: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in info.fields:
        properties[field.encode_name] = _schema(field.type, rules, defaults=defaults)
        if field.required:
            required.append(field.encode_name)
        elif defaults and isinstance(field.default, (str, int, bool)):
            properties[field.encode_name]["default"] = field.default
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if info.cls.__doc__:
        schema["description"] = " ".join(info.cls.__doc__.split())
    if info.cls is Condition:
        _describe_condition(properties)
        required = ["type", "status"]
    if required:
        schema["required"] = required
    if info.cls in rules:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in rules[info.cls]]
    return schema


def _union(info: inspect.UnionType, rules: Rules, *, defaults: bool) -> dict[str, Any]:
    """Optional fields are absent rather than null; a number or a string is a quantity."""
    arms = [arm for arm in info.types if not isinstance(arm, inspect.NoneType)]
    if len(arms) == 1:
        return _schema(arms[0], rules, defaults=defaults)
    return {"x-kubernetes-int-or-string": True}


def _array(info: inspect.VarTupleType, rules: Rules, *, defaults: bool) -> dict[str, Any]:
    items = _schema(info.item_type, rules, defaults=defaults)
    schema: dict[str, Any] = {"type": "array", "items": items}
    if isinstance(info.item_type, inspect.StructType) and info.item_type.cls is Condition:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    else:
        # The order of variables decides which one wins, so a list is one value: whoever applies it owns it whole.
        schema["x-kubernetes-list-type"] = "atomic"
    return schema


def _map(info: inspect.DictType, rules: Rules, *, defaults: bool) -> dict[str, Any]:
    if isinstance(info.value_type, inspect.AnyType):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"type": "object", "additionalProperties": _schema(info.value_type, rules, defaults=defaults)}


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
