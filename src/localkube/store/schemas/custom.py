"""Reads the structural schema of a CustomResourceDefinition into nodes.

Caveat: CEL rules (`x-kubernetes-validations`) are kept for publishing but never evaluated; the operator checks the same rules itself.
"""

from localkube.store.schemas.builtin import META, definition
from localkube.store.schemas.nodes import Node
from localkube.store.trees import Tree, copy, is_tree, mapping, sequence, text

_RULES = (
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "x-kubernetes-validations",
)


def read_schema(schema: Tree) -> Node:
    """Return the node of the whole object: `schema` is `openAPIV3Schema`. apiVersion, kind and metadata are those of every kind."""
    root = read_part(schema)
    root.type = "object"
    root.nullable = False
    fields = root.fields if root.fields is not None else {}
    for name in ("apiVersion", "kind"):
        fields[name] = Node(type="string", description=fields[name].description if name in fields else "")
    described = fields["metadata"].description if "metadata" in fields else ""
    meta = definition(META + "ObjectMeta")
    fields["metadata"] = Node(
        type="object",
        fields=meta.fields,
        definition=meta.definition,
        description=described or "Standard object's metadata.",
    )
    root.fields = fields
    return root


def read_part(schema: Tree) -> Node:
    """Return the node of one value of the object."""
    node = Node(
        type=text(schema.get("type")),
        format=text(schema.get("format")),
        description=text(schema.get("description")),
        required=tuple(str(name) for name in sequence(schema.get("required"))),
        list_type=text(schema.get("x-kubernetes-list-type")) or ("atomic" if schema.get("type") == "array" else ""),
        list_keys=tuple(str(key) for key in sequence(schema.get("x-kubernetes-list-map-keys"))),
        map_type="atomic" if schema.get("x-kubernetes-map-type") == "atomic" else "",
        nullable=schema.get("nullable") is True,
        preserve=schema.get("x-kubernetes-preserve-unknown-fields") is True,
        embedded=schema.get("x-kubernetes-embedded-resource") is True,
        int_or_string=schema.get("x-kubernetes-int-or-string") is True,
        rules={name: schema[name] for name in _RULES if name in schema},
    )
    if "default" in schema:
        node.default = copy(schema["default"])
    if "properties" in schema:
        node.fields = {name: read_part(mapping(below)) for name, below in mapping(schema["properties"]).items()}
    additional = schema.get("additionalProperties")
    if is_tree(additional):
        node.values = read_part(mapping(additional))
    elif additional is True:
        node.values = Node(preserve=True)
    if is_tree(schema.get("items")):
        node.items = read_part(mapping(schema["items"]))
    if node.embedded:
        meta = definition(META + "ObjectMeta")
        embedded: dict[str, Node] = {
            "apiVersion": Node(type="string"),
            "kind": Node(type="string"),
            "metadata": Node(type="object", fields=meta.fields),
        }
        node.fields = {**embedded, **(node.fields or {})}
        node.required = (*node.required, *(name for name in ("apiVersion", "kind") if name not in node.required))
    return node
