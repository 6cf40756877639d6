import pytest

from localkube.store.merging import merge, remove
from localkube.store.schemas.nodes import Node

ITEM = Node(type="object", fields={"name": Node(type="string"), "value": Node(type="string")})
SCHEMA = Node(
    type="object",
    fields={
        "env": Node(type="array", list_type="map", list_keys=("name",), items=ITEM),
        "tags": Node(type="array", list_type="set", items=Node(type="string")),
        "args": Node(type="array", list_type="atomic", items=Node(type="string")),
        "map": Node(type="object", values=Node(type="string")),
        "whole": Node(type="object", map_type="atomic", values=Node(type="string")),
    },
)


def named(*names):
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        ({"map": {"a": "1"}}, {"map": {"b": "2"}}, {"map": {"a": "1", "b": "2"}}),
        ({"whole": {"a": "1"}}, {"whole": {"b": "2"}}, {"whole": {"b": "2"}}),
        ({"args": ["x"]}, {"args": ["y", "z"]}, {"args": ["y", "z"]}),
        ({"tags": ["x", "y"]}, {"tags": ["z"]}, {"tags": ["x", "y", "z"]}),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": named("A")}, {"env": [{"name": "A", "value": "1"}]}),
        ({"map": {"a": "1"}}, {"map": None}, {"map": {"a": "1"}}),
        ({"args": ["x"]}, {"args": None}, {"args": None}),
    ],
)
def test_what_is_applied_is_merged_by_the_schema(live, applied, merged):
    assert merge(live, applied, SCHEMA) == merged


@pytest.mark.parametrize(
    ("live", "applied", "order"),
    [
        ("AB", "CD", "ABCD"),
        ("ABC", "CA", "BCA"),
        ("ABC", "ABC", "ABC"),
        ("AXB", "AB", "AXB"),
        ("XAB", "BA", "XBA"),
        ("", "AB", "AB"),
        ("AB", "BA", "BA"),
    ],
)
def test_items_that_both_have_come_in_the_applied_order(live, applied, order):
    merged = merge({"env": named(*live)}, {"env": named(*applied)}, SCHEMA)

    assert [item["name"] for item in merged["env"]] == list(order)


def test_nothing_given_is_changed():
    live, applied = {"map": {"a": "1"}, "env": named("A")}, {"map": {"b": "2"}, "env": named("B")}

    merge(live, applied, SCHEMA)
    remove(live, {"f:map": {"f:a": {}}}, SCHEMA)

    assert live == {"map": {"a": "1"}, "env": named("A")}
    assert applied == {"map": {"b": "2"}, "env": named("B")}


def test_members_are_taken_out_and_what_lies_beside_them_stays():
    value = {"env": [{"name": "A", "value": "1"}, {"name": "B"}], "tags": ["x", "y"], "map": {"a": "1", "b": "2"}}
    fields = {
        "f:env": {'k:{"name":"A"}': {"f:value": {}}, 'k:{"name":"B"}': {".": {}, "f:name": {}}},
        "f:tags": {'v:"x"': {}},
        "f:map": {"f:a": {}},
    }

    assert remove(value, fields, SCHEMA) == {"env": [{"name": "A"}], "tags": ["y"], "map": {"b": "2"}}
