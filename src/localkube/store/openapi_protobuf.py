"""The protobuf form of the OpenAPI v2 document: kubectl asks for nothing else when it validates a `List` by itself.

Only what clients read of it is written: definitions, and of the paths the PATCH operations with their query parameters.
Source of the field numbers: gnostic's `openapiv2/OpenAPIv2.proto`.
"""

from collections.abc import Iterable

from localkube.store.trees import Tree, encode, entries, is_tree, mapping, sequence, text

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""How the answer is labelled."""
_ASKED = (MEDIA_TYPE, MEDIA_TYPE.replace("v2.v1", "v2@v1"))  # older clients ask with an @, which is no valid media type

_EXTENSION = "x-kubernetes-"


def wanted(accept: str) -> bool:
    """Tell whether this Accept header asks for protobuf."""
    return any(name in accept for name in _ASKED)


def write_document(document: Tree) -> bytes:
    """Return a swagger document in protobuf."""
    info = mapping(document.get("info"))
    return b"".join(
        (
            _text(1, document.get("swagger")),
            _message(2, _text(1, info.get("title")) + _text(2, info.get("version"))),
            _message(8, b"".join(_path(name, mapping(item)) for name, item in mapping(document.get("paths")).items())),
            _message(9, _named(mapping(document.get("definitions")))),
        )
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, value: object) -> bytes:
    return _message(number, text(value).encode()) if value else b""


def _texts(number: int, values: Iterable[object]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _extensions(number: int, schema: Tree) -> bytes:
    # a value is YAML, and JSON is that
    return b"".join(
        _message(number, _text(1, name) + _message(2, _message(2, encode(value))))
        for name, value in schema.items()
        if name.startswith(_EXTENSION)
    )


def _named(schemas: Tree) -> bytes:
    return b"".join(_message(1, _text(1, name) + _message(2, _schema(mapping(s)))) for name, s in schemas.items())


def _schema(schema: Tree) -> bytes:
    parts = [
        _text(1, schema.get("$ref")),
        _text(2, schema.get("format")),
        _text(4, schema.get("description")),
        _texts(19, sequence(schema.get("required"))),
    ]
    if is_tree(schema.get("additionalProperties")):
        parts.append(_message(21, _message(1, _schema(mapping(schema["additionalProperties"])))))
    if schema.get("type"):
        parts.append(_message(22, _text(1, schema["type"])))
    if is_tree(schema.get("items")):
        parts.append(_message(23, _message(1, _schema(mapping(schema["items"])))))
    if is_tree(schema.get("properties")):
        parts.append(_message(25, _named(mapping(schema["properties"]))))
    return b"".join((*parts, _extensions(31, schema)))


def _path(name: str, item: Tree) -> bytes:
    patch = item.get("patch")
    if not is_tree(patch):
        return b""
    parameters = b"".join(_message(8, _parameter(each)) for each in entries(patch.get("parameters")))
    operation = _text(6, patch.get("operationId")) + parameters + _extensions(13, patch)
    return _message(2, _text(1, name) + _message(2, _message(8, operation)))


def _parameter(parameter: Tree) -> bytes:
    kind = text(mapping(parameter.get("schema")).get("type"))
    query = _text(2, "query") + _text(4, parameter.get("name")) + _text(6, kind)
    # ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema
    return _message(1, _message(2, _message(3, query)))
