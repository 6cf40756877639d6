"""Field numbers: gnostic's `openapiv2/OpenAPIv2.proto`. The stock kubectl reads it whole in the conformance suite."""

import json

import pytest

from localkube.store.openapi_protobuf import MEDIA_TYPE, write_document

ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

DOCUMENT = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "v1.32.0"},
    "paths": {
        "/api/v1/things/{name}": {
            "get": {"operationId": "readThing"},
            "patch": {
                "operationId": "patchThing",
                "parameters": [{"name": "dryRun", "in": "query", "schema": {"type": "string"}}],
                "x-kubernetes-group-version-kind": {"group": "", "version": "v1", "kind": "Thing"},
            },
        }
    },
    "definitions": {
        "Thing": {
            "description": "T" * 300,
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "format": "int32"},
                "parts": {"type": "array", "items": {"$ref": "#/definitions/Part"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
        },
        "Part": {"type": "object"},
    },
}


def read(data):
    """Return {field number: [bytes]} of a message of length-delimited fields."""
    found, at = {}, 0

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        tag = varint()
        assert tag & 7 == 2
        size = varint()
        found.setdefault(tag >> 3, []).append(data[at : at + size])
        assert at + size <= len(data)
        at += size
    return found


def dig(data, *path):
    """Return the first field at each number of the path."""
    for number in path:
        data = read(data)[number][0]
    return data


def named(data):
    """Return {name: value} of a list of named values."""
    pairs = [read(each) for each in read(data)[1]]
    return {pair[1][0].decode(): pair[2][0] for pair in pairs}


def test_definitions_keep_their_form():
    things = named(dig(write_document(DOCUMENT), 9))
    assert set(things) == {"Thing", "Part"}
    thing = read(things["Thing"])

    assert thing[4] == [b"T" * 300]
    assert thing[19] == [b"size"]
    assert dig(things["Thing"], 22, 1) == b"object"
    fields = named(thing[25][0])
    assert set(fields) == {"size", "parts", "labels"}
    assert (dig(fields["size"], 22, 1), dig(fields["size"], 2)) == (b"integer", b"int32")
    assert dig(fields["parts"], 23, 1, 1) == b"#/definitions/Part"
    assert dig(fields["labels"], 21, 1, 22, 1) == b"string"
    extension = read(thing[31][0])
    assert extension[1] == [b"x-kubernetes-group-version-kind"]
    kinds = DOCUMENT["definitions"]["Thing"]["x-kubernetes-group-version-kind"]
    assert json.loads(dig(extension[2][0], 2)) == kinds


def test_patch_operations_name_their_query_parameters():
    data = write_document(DOCUMENT)
    assert (dig(data, 1), dig(data, 2, 1), dig(data, 2, 2)) == (b"2.0", b"Kubernetes", b"v1.32.0")
    path = read(dig(data, 8, 2))
    assert path[1] == [b"/api/v1/things/{name}"]
    item = read(path[2][0])
    assert set(item) == {8}  # PATCH alone
    operation = read(item[8][0])
    assert operation[6] == [b"patchThing"]
    query = read(dig(operation[8][0], 1, 2, 3))
    assert (query[2], query[4], query[6]) == ([b"query"], [b"dryRun"], [b"string"])
    assert set(read(operation[13][0])) == {1, 2}


@pytest.mark.parametrize("accept", [ASKED, MEDIA_TYPE])
def test_the_server_writes_it_for_those_who_ask(api, accept):
    answer = api.send("GET", "/openapi/v2", accept=accept)

    assert answer.headers["content-type"] == MEDIA_TYPE
    definitions = named(dig(answer.raw, 9))
    assert set(definitions) == set(api.send("GET", "/openapi/v2").body["definitions"])


def test_a_form_that_nobody_writes_is_refused(api):
    assert api.send("GET", "/openapi/v2", accept="text/html").status == 406
