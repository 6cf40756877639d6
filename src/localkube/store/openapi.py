"""OpenAPI documents, good enough for `kubectl explain` and for clients that ask what a server can do.

Version 3 has one document a group version; version 2 is the same definitions in one. Schemas of built-in kinds come from the condensed table,
those of custom resources from their CRD.
"""

from collections.abc import Iterable
from hashlib import sha256

from localkube.store.discovery import VERSION
from localkube.store.kinds import Kind, Registry
from localkube.store.openapi_protobuf import MEDIA_TYPE, write_document
from localkube.store.schemas.builtin import META, PREFIX, definition, kind_of
from localkube.store.schemas.nodes import UNSET, Node
from localkube.store.statuses import no_route
from localkube.store.trees import Tree, copy, encode, mapping


class OpenApi:
    """Makes and remembers documents until the kinds change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._documents: dict[str, bytes] = {}

    def index(self) -> Tree:
        """Return the document of `/openapi/v3`."""
        paths: Tree = {}
        for group, versions in self._registry.groups().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                digest = sha256(self.document(group, version)).hexdigest().upper()
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        return {"paths": paths}

    def document(self, group: str, version: str) -> bytes:
        """Return the document of one group version. Raises StatusError 404."""
        self._refresh()
        key = f"{group}/{version}"
        if key not in self._documents:
            kinds = [kind for kind in self._registry if (kind.group, kind.version) == (group, version)]
            if not kinds:
                raise no_route()
            schemas = _Schemas("#/components/schemas/")
            names = {kind: schemas.add_kind(kind) for kind in kinds}
            document: Tree = {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
                "paths": {path: item for kind in kinds for path, item in _paths(kind, schemas.prefix + names[kind])},
                "components": {"schemas": schemas.found},
            }
            self._documents[key] = encode(document)
        return self._documents[key]

    def swagger(self, *, protobuf: bool = False) -> bytes:
        """Return the document of `/openapi/v2`."""
        self._refresh()
        key = MEDIA_TYPE if protobuf else ""
        if key not in self._documents:
            schemas = _Schemas("#/definitions/", older=True)
            names = {kind: schemas.add_kind(kind) for kind in self._registry}
            document: Tree = {
                "swagger": "2.0",
                "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
                "paths": {path: item for kind in names for path, item in _paths(kind, schemas.prefix + names[kind])},
                "definitions": schemas.found,
            }
            self._documents[key] = write_document(document) if protobuf else encode(document)
        return self._documents[key]

    def _refresh(self) -> None:
        if self._generation != self._registry.generation:
            self._documents.clear()
            self._generation = self._registry.generation


class _Schemas:
    """Collects definitions and all that they refer to."""

    def __init__(self, prefix: str, *, older: bool = False) -> None:
        self.prefix = prefix
        self._older = older
        self.found: Tree = {}

    def add_kind(self, kind: Kind) -> str:
        """Add a kind and return the name of its definition."""
        if kind.custom:
            name = ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])
            schema = mapping(copy(kind.schema)) or {"type": "object"}
            fields = schema.setdefault("properties", {})
            fields["apiVersion"] = {"type": "string", "description": _API_VERSION}
            fields["kind"] = {"type": "string", "description": _KIND}
            fields["metadata"] = self._reference(META + "ObjectMeta", "Standard object's metadata.")
            schema["x-kubernetes-group-version-kind"] = [_identity(kind)]
            self.found[name] = schema
            return name
        if kind.node is not None:
            self.refer(kind.node.definition)
            return PREFIX + kind.node.definition
        return PREFIX + META + "Status"

    def refer(self, name: str) -> str:
        """Return the reference to a built-in definition, which is added when it is new."""
        full = PREFIX + name
        if full not in self.found:
            self.found[full] = {}
            node = definition(name)
            schema = self._inline(node)
            if (identity := kind_of(name)) is not None:
                group, version, kind = identity
                schema["x-kubernetes-group-version-kind"] = [{"group": group, "version": version, "kind": kind}]
            self.found[full] = schema
        return self.prefix + full

    def _schema(self, node: Node) -> Tree:
        schema = self._reference(node.definition, node.description) if node.definition else self._inline(node)
        if node.default is not UNSET:
            schema["default"] = node.default
        return schema

    def _reference(self, name: str, description: str) -> Tree:
        reference = {"$ref": self.refer(name)}
        said = {"description": description} if description else {}
        # beside a reference version 3 allows nothing, so it is wrapped there
        return {**reference, **said} if self._older else {"allOf": [reference], **said}

    def _inline(self, node: Node) -> Tree:
        schema: Tree = {}
        if node.description:
            schema["description"] = node.description
        if node.int_or_string and self._older:
            schema["type"] = "string"
        elif node.int_or_string:
            schema["oneOf"] = [{"type": "string"}, {"type": "integer" if node.format == "int-or-string" else "number"}]
        elif node.type:
            schema["type"] = node.type
        if node.format:
            schema["format"] = node.format
        if node.fields:
            schema["properties"] = {name: self._schema(below) for name, below in node.fields.items()}
        if node.required:
            schema["required"] = list(node.required)
        if node.values is not None:
            schema["additionalProperties"] = self._schema(node.values)
        if node.items is not None:
            schema["items"] = self._schema(node.items)
        if node.list_type:
            schema["x-kubernetes-list-type"] = node.list_type
        if node.list_keys:
            schema["x-kubernetes-list-map-keys"] = list(node.list_keys)
        if node.map_type:
            schema["x-kubernetes-map-type"] = node.map_type
        if node.merge_key:
            schema["x-kubernetes-patch-merge-key"] = node.merge_key
        if node.strategy:
            schema["x-kubernetes-patch-strategy"] = node.strategy
        return schema


_API_VERSION = "APIVersion defines the versioned schema of this representation of an object."
_KIND = "Kind is a string value representing the REST resource this object represents."


def _identity(kind: Kind) -> Tree:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


_ACTIONS = (
    ("get", "list", "list", False),
    ("post", "create", "post", False),
    ("get", "get", "get", True),
    ("put", "update", "put", True),
    ("patch", "patch", "patch", True),
    ("delete", "delete", "delete", True),
)


def _paths(kind: Kind, reference: str) -> Iterable[tuple[str, Tree]]:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    collection = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    for named in (False, True):
        item: Tree = {
            method: _operation(kind, action, reference)
            for method, verb, action, of_one in _ACTIONS
            if of_one == named and verb in kind.verbs
        }
        path = f"{collection}/{{name}}" if named else collection
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
            for name in ("namespace", "name")
            if f"{{{name}}}" in path
        ]
        yield path, item
        if named and kind.status:
            yield f"{path}/status", {method: _operation(kind, method, reference) for method in ("get", "put", "patch")}


_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


def _operation(kind: Kind, action: str, reference: str) -> Tree:
    operation: Tree = {
        "operationId": f"{action}{kind.version.capitalize()}{kind.kind}",
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _identity(kind),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"$ref": reference}}}}},
    }
    if action in {"post", "put", "patch"}:
        names = _WRITE_PARAMETERS if action == "patch" else _WRITE_PARAMETERS[:-1]
        operation["parameters"] = [
            {
                "name": name,
                "in": "query",
                "schema": {"type": "boolean" if name == "force" else "string", "uniqueItems": True},
            }
            for name in names
        ]
    return operation
