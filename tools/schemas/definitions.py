"""Condenses the OpenAPI v3 documents of Kubernetes into the table `builtin.txt` of the embedded API server.

    python -m schemas.definitions DIRECTORY > builtin.txt

`DIRECTORY` is `api/openapi-spec/v3` of the Kubernetes source. Run it again to follow a new Kubernetes version. The format is
described at the top of the table; `localkube.store.schemas.builtin` reads it.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localkube.store.trees import Tree, is_list, is_tree, look, mapping, sequence, text

PREFIX = "io.k8s."
"""What all definition names begin with; left out in the table."""

ROOTS = (
    "api.core.v1.Namespace",
    "api.core.v1.Node",
    "api.core.v1.PersistentVolume",
    "api.core.v1.PersistentVolumeClaim",
    "api.core.v1.Pod",
    "api.core.v1.Secret",
    "api.core.v1.ConfigMap",
    "api.core.v1.ServiceAccount",
    "api.core.v1.Event",
    "api.batch.v1.Job",
    "api.storage.v1.StorageClass",
    "api.storage.v1.CSIDriver",
    "api.storage.v1.VolumeAttachment",
    "api.coordination.v1.Lease",
    "api.events.v1.Event",
    "api.scheduling.v1.PriorityClass",
    "api.rbac.v1.Role",
    "api.rbac.v1.RoleBinding",
    "api.rbac.v1.ClusterRole",
    "api.rbac.v1.ClusterRoleBinding",
    "api.authorization.v1.SelfSubjectAccessReview",
    "api.authorization.v1.SelfSubjectRulesReview",
    "api.authorization.v1.SubjectAccessReview",
    "api.authentication.v1.SelfSubjectReview",
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    "apimachinery.pkg.apis.meta.v1.Status",
    "apimachinery.pkg.apis.meta.v1.DeleteOptions",
)
"""The kinds whose definitions, with all that they refer to, go into the table."""

HEADER = """\
# The kinds of Kubernetes that the embedded world serves: names and types of their fields and how their lists merge.
# Made by tools/schemas/definitions.py from the OpenAPI documents of Kubernetes (Apache-2.0); descriptions are
# cut to their first sentence. Do not edit.
#
# NAME OPTION... : description             a definition; names lack the leading "io.k8s."
#  field[!] TYPE OPTION... : description   one of its fields; "!" marks a required one
#
# TYPE    string, integer, number, boolean, object, any, each perhaps with "/format"; [TYPE] a list; {TYPE} a map; NAME
# OPTION  map(KEY,...) set atomic   list type;  opaque   a map that merges as one value
#         always   a struct that is there even when nothing is in it
#         merge(KEY) patch(STRATEGY)   strategic merge;  default(JSON)   kind(GROUP/VERSION/KIND)
"""


def condense(definitions: Tree) -> Iterator[str]:
    """Yield the lines of the table for the roots among `definitions` (by full name) and everything that they refer to."""
    names = [PREFIX + root for root in ROOTS if PREFIX + root in definitions]
    seen = set(names)
    while names:
        name = names.pop(0)
        for found in sorted(_references(definitions[name])):
            if found not in seen and found in definitions:
                seen.add(found)
                names.append(found)
    for name in sorted(seen):
        yield from _definition(name, mapping(definitions[name]))


def _references(node: object) -> set[str]:
    if is_list(node):
        return set[str]().union(*(_references(item) for item in sequence(node)))
    if not is_tree(node):
        return set()
    tree = mapping(node)
    found = set[str]().union(*(_references(item) for item in tree.values()))
    if isinstance(tree.get("$ref"), str):
        found.add(_target(tree))
    return found


def _target(node: Tree) -> str:
    return text(node["$ref"]).rsplit("/", 1)[-1]


def _definition(name: str, schema: Tree) -> Iterator[str]:
    options = [
        f"kind({g['group']}/{g['version']}/{g['kind']})"
        for g in sequence(schema.get("x-kubernetes-group-version-kind"))[:1]
    ]
    if schema.get("x-kubernetes-map-type") == "atomic":
        options.append("opaque")
    if not schema.get("properties"):
        options.insert(0, f"= {_type(schema)}")
    yield _line(name.removeprefix(PREFIX), options, schema)
    needed = set(sequence(schema.get("required")))
    for field, node in sorted(mapping(schema.get("properties")).items()):
        mark = "!" if field in needed else ""
        yield _line(f" {field}{mark} {_type(mapping(node))}", _options(mapping(node)), mapping(node))


def _line(start: str, options: list[str], schema: Tree) -> str:
    said = first_sentence(text(schema.get("description")))
    return " ".join([start, *options]) + (f" : {said}" if said else "")


def first_sentence(description: str) -> str:
    """Return the first sentence of a description, at most 300 characters."""
    flat = " ".join(description.split())
    match = re.match(r"(.{15,}?[.!?])(?= [A-Z]|$)", flat)
    said = match[1] if match else flat
    return said if len(said) <= 300 else said[:297] + "..."


def _options(schema: Tree) -> list[str]:
    options = list[str]()
    match schema.get("x-kubernetes-list-type"):
        case "map":
            options.append(f"map({','.join(sequence(schema.get('x-kubernetes-list-map-keys')))})")
        case "set" | "atomic" as kind:
            options.append(str(kind))
        case _:
            pass
    if schema.get("x-kubernetes-map-type") == "atomic":
        options.append("opaque")
    if key := schema.get("x-kubernetes-patch-merge-key"):
        options.append(f"merge({key})")
    if strategy := schema.get("x-kubernetes-patch-strategy"):
        options.append(f"patch({strategy})")
    default = schema.get("default")
    if default == {} and "allOf" in schema:
        options.append("always")
    if default not in (None, "", 0, False, {}):
        options.append(f"default({json.dumps(default, separators=(',', ':'))})")
    return options


def _type(schema: Tree) -> str:
    if "allOf" in schema:
        return _type(mapping(sequence(schema["allOf"])[0]))
    if "$ref" in schema:
        return _target(schema).removeprefix(PREFIX)
    kind = text(schema.get("type"))
    if kind == "array":
        return f"[{_type(mapping(schema.get('items')))}]"
    if kind == "object" and is_tree(schema.get("additionalProperties")):
        return f"{{{_type(mapping(schema.get('additionalProperties')))}}}"
    if "oneOf" in schema:
        return "any/int-or-string" if schema.get("format") == "int-or-string" else "any/quantity"
    form = text(schema.get("format"))
    return (kind or "any") + (f"/{form}" if form else "")


def main(directory: str) -> None:
    """Read every document in `directory` and print the table."""
    definitions: dict[str, Any] = {}
    for path in sorted(Path(directory).glob("*_openapi.json")):
        definitions.update(mapping(look(json.loads(path.read_bytes()), "components", "schemas")))
    sys.stdout.write(HEADER)
    for line in condense(definitions):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
