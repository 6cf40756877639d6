"""Tables: what `kubectl get` prints. Columns of custom resources come from their CRD, those of built-in kinds from `localkube.store.printers`."""

from datetime import datetime
from typing import Any

from localkube.store.durations import age
from localkube.store.jsonpaths import find_all
from localkube.store.kinds import Column, Kind
from localkube.store.printers import AGE, NAME, PRINTERS, Cells
from localkube.store.trees import Tree, encode

_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


def table(kind: Kind, trees: list[Tree], metadata: Tree, *, api_version: str, include: str, now: datetime) -> Tree:
    """Return a `meta.k8s.io` Table. `include` is Metadata, Object or None: what of each object goes along; Metadata when empty."""
    columns, cells = _columns(kind)
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [
            {"cells": cells(tree, now), **_object(tree, include)} if include != "None" else {"cells": cells(tree, now)}
            for tree in trees
        ],
    }


def _object(tree: Tree, include: str) -> Tree:
    return {"object": tree if include == "Object" else {**_PARTIAL, "metadata": tree.get("metadata")}}


def _definition(column: Column) -> Tree:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _columns(kind: Kind) -> "tuple[tuple[Column, ...], Cells]":
    if not kind.custom:
        return PRINTERS.get(kind.resource) or ((NAME, AGE), _plain)
    columns = kind.columns

    def cells(tree: Tree, now: datetime) -> list[Any]:
        return [tree["metadata"]["name"], *(_cell(tree, column, now) for column in columns)]

    return (NAME, *columns), cells


def _plain(tree: Tree, now: datetime) -> list[Any]:
    return [tree["metadata"]["name"], age(tree["metadata"].get("creationTimestamp"), now)]


def _cell(tree: Tree, column: Column, now: datetime) -> Any:
    found = find_all(tree, column.path)
    if not found or found[0] is None:
        return None
    value = found[0] if len(found) == 1 else found
    match column.type:
        case "date":
            return age(value, now)
        case "integer":
            return int(value) if isinstance(value, int | float) else None
        case "number":
            return value if isinstance(value, int | float) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case _:
            if isinstance(value, str):
                return value
            return encode(value).decode()
