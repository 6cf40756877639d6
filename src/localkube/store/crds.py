"""CustomResourceDefinitions: served as objects, and turned into kinds.

Caveat: conversion between versions only changes `apiVersion` (strategy None); webhooks and CEL rules are not run.
"""

from collections.abc import Iterator

from localkube.store.kinds import Column, Kind
from localkube.store.metadata import label_faults, subdomain_faults
from localkube.store.schemas.custom import read_schema
from localkube.store.schemas.nodes import Node
from localkube.store.statuses import Fault, prohibited, required, wrong
from localkube.store.strategies.base import ServerView, Strategy
from localkube.store.trees import Tree, child, copy, entries, is_tree, look, mapping, same, sequence, text

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
"""The collection of CRDs."""


_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


class CustomStrategy(Strategy):
    """What custom resources get: the base, with the selectable fields of their CRD."""

    def __init__(self, selectable: dict[str, tuple[str, ...]]) -> None:
        self.selectable = selectable


class CrdStrategy(Strategy):
    """CRDs: names are defaulted, and accepted and established at once."""

    unconditional_update = False

    def default(self, obj: Tree) -> None:
        """Default names and conversion."""
        spec = child(obj, "spec")
        names = child(spec, "names")
        kind = text(names.get("kind"))
        if kind:
            names.setdefault("singular", kind.lower())
            names.setdefault("listKind", f"{kind}List")
        spec.setdefault("conversion", {"strategy": "None"})

    def admit_create(self, obj: Tree, server: ServerView) -> None:
        """Accept the names."""
        _accept(obj, server)

    def admit_update(self, obj: Tree, live: Tree, server: ServerView) -> None:
        """Accept the new names and remember the stored versions."""
        stored = [text(version) for version in sequence(look(live, "status", "storedVersions"))]
        _accept(obj, server, conditions=look(live, "status", "conditions"), stored=stored)

    def validate(self, obj: Tree) -> list[Fault]:
        """Check names, versions and schemas."""
        return list(_crd_faults(obj))

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """Group, scope, plural and kind stay."""
        faults = self.validate(obj)
        for path in (("group",), ("scope",), ("names", "kind"), ("names", "plural")):
            if not same(look(obj, "spec", *path), look(live, "spec", *path)):
                faults.append(wrong("spec." + ".".join(path), look(obj, "spec", *path), "field is immutable"))
        return faults


def _accept(obj: Tree, server: ServerView, *, conditions: object = None, stored: list[str] | None = None) -> None:
    now = server.stamp()
    spec = mapping(obj.get("spec"))
    versions = list(stored or [])
    for version in entries(spec.get("versions")):
        if version.get("storage") is True and text(version.get("name")) not in versions:
            versions.append(text(version.get("name")))
    obj["status"] = {
        "conditions": conditions
        or [
            {
                "lastTransitionTime": now,
                "message": "no conflicts found",
                "reason": "NoConflicts",
                "status": "True",
                "type": "NamesAccepted",
            },
            {
                "lastTransitionTime": now,
                "message": "the initial names have been accepted",
                "reason": "InitialNamesAccepted",
                "status": "True",
                "type": "Established",
            },
        ],
        "acceptedNames": copy(spec.get("names")),
        "storedVersions": versions,
    }


def _crd_faults(obj: Tree) -> Iterator[Fault]:
    spec = mapping(obj.get("spec"))
    names = mapping(spec.get("names"))
    group, plural = text(spec.get("group")), text(names.get("plural"))
    if not group:
        yield required("spec.group")
    for fault in subdomain_faults(group) if group else []:
        yield wrong("spec.group", group, fault)
    for field in ("plural", "singular", "kind", "listKind"):
        if not names.get(field):
            yield required(f"spec.names.{field}")
    for fault in label_faults(plural) if plural else []:
        yield wrong("spec.names.plural", plural, fault)
    if group and plural and look(obj, "metadata", "name") != f"{plural}.{group}":
        yield wrong("metadata.name", look(obj, "metadata", "name"), 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        yield Fault(
            "FieldValueNotSupported", "spec.scope", text(spec.get("scope")), 'supported values: "Cluster", "Namespaced"'
        )
    versions = list(entries(spec.get("versions")))
    if not versions or sum(1 for version in versions if version.get("storage") is True) != 1:
        yield wrong("spec.versions", versions, "must have exactly one version marked as storage version")
    for position, version in enumerate(versions):
        path = f"spec.versions[{position}]"
        schema = look(version, "schema", "openAPIV3Schema")
        if not is_tree(schema):
            yield required(f"{path}.schema.openAPIV3Schema")
        else:
            if mapping(schema).get("type") != "object":
                yield wrong(
                    f"{path}.schema.openAPIV3Schema.type", mapping(schema).get("type"), "must be object at the root"
                )
            # a single version's schema is named as the older API had it
            where = "spec.validation.openAPIV3Schema" if len(versions) == 1 else f"{path}.schema.openAPIV3Schema"
            yield from _structural_faults(mapping(schema), where)


def _structural_faults(schema: Tree, path: str) -> Iterator[Fault]:
    loose = (
        schema.get("x-kubernetes-int-or-string") is True or schema.get("x-kubernetes-preserve-unknown-fields") is True
    )
    if not schema.get("type") and not loose:
        yield required(f"{path}.type", "must not be empty for specified object fields" if path else "")
    if is_tree(schema.get("additionalProperties")) and schema.get("properties"):
        yield prohibited(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if schema.get("type") == "array" and not is_tree(schema.get("items")):
        yield required(f"{path}.items", "must be specified")
    if schema.get("x-kubernetes-list-type") == "map" and not sequence(schema.get("x-kubernetes-list-map-keys")):
        yield required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    for name, below in mapping(schema.get("properties")).items():
        yield from _structural_faults(mapping(below), f"{path}.properties[{name}]")
    if is_tree(schema.get("items")):
        yield from _structural_faults(mapping(schema["items"]), f"{path}.items")
    if is_tree(schema.get("additionalProperties")):
        yield from _structural_faults(mapping(schema["additionalProperties"]), f"{path}.additionalProperties")


def kinds_of(crd: Tree) -> list[Kind]:
    """Return the kinds that a CRD serves, one a version."""
    spec = mapping(crd.get("spec"))
    names = mapping(spec.get("names"))
    group, plural = text(spec.get("group")), text(names.get("plural"))
    versions = [version for version in entries(spec.get("versions")) if version.get("served") is True]
    stored: Tree = next((v for v in entries(spec.get("versions")) if v.get("storage") is True), spec)
    kinds = list[Kind]()
    for version in sorted(versions, key=lambda v: _rank(text(v.get("name")))):
        schema = mapping(look(version, "schema", "openAPIV3Schema"))
        selectable = {
            text(field.get("jsonPath")).lstrip("."): tuple(text(field.get("jsonPath")).strip(".").split("."))
            for field in entries(version.get("selectableFields"))
        }
        kinds.append(
            Kind(
                group=group,
                version=text(version.get("name")),
                plural=plural,
                kind=text(names.get("kind")),
                node=_node(schema),
                strategy=CustomStrategy(selectable),
                singular=text(names.get("singular")),
                list_kind=text(names.get("listKind")),
                short_names=tuple(text(name) for name in sequence(names.get("shortNames"))),
                categories=tuple(text(name) for name in sequence(names.get("categories"))),
                namespaced=spec.get("scope") == "Namespaced",
                status=is_tree(look(version, "subresources", "status")),
                columns=_columns(version),
                stored=f"{group}/{text(stored.get('name'))}",
                verbs=_VERBS,
                custom=True,
                schema=schema,
            )
        )
    return kinds


def _rank(version: str) -> tuple[int, str]:
    # v2 before v1 before v1beta1 before v1alpha1, then anything else by name
    for rank, word in enumerate(("", "beta", "alpha")):
        head, sep, tail = version.removeprefix("v").partition(word) if word else (version.removeprefix("v"), "", "")
        if version.startswith("v") and head.isdigit() and (not word or (sep and tail.isdigit())):
            return (rank, f"{10_000 - int(head):05d}{10_000 - int(tail or 0):05d}")
    return (3, version)


def _node(schema: Tree) -> Node:
    return read_schema(schema)


def _columns(version: Tree) -> tuple[Column, ...]:
    columns = tuple(
        Column(
            name=text(column.get("name")),
            type=text(column.get("type")),
            format=text(column.get("format")),
            description=text(column.get("description")),
            priority=int(column.get("priority") or 0),
            path=text(column.get("jsonPath")),
        )
        for column in entries(version.get("additionalPrinterColumns"))
    )
    return columns or (Column("Age", "date", path=".metadata.creationTimestamp"),)
