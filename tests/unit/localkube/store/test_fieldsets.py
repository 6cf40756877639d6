import pytest
from hypothesis import given
from hypothesis import strategies as st

from localkube.store.fieldsets import (
    compare,
    difference,
    fields_of,
    intersection,
    item_key,
    paths,
    union,
    with_parents,
    without,
)
from localkube.store.schemas.nodes import Node

LEAF: dict = {}
ENV = Node(
    type="array",
    list_type="map",
    list_keys=("name",),
    items=Node(type="object", fields={"name": Node(type="string"), "value": Node(type="string")}),
)
PORTS = Node(
    type="array",
    list_type="map",
    list_keys=("port", "protocol"),
    items=Node(type="object", fields={"port": Node(type="integer"), "protocol": Node(type="string", default="TCP")}),
)
SCHEMA = Node(
    type="object",
    fields={
        "spec": Node(
            type="object",
            fields={
                "a": Node(type="string"),
                "env": ENV,
                "ports": PORTS,
                "tags": Node(type="array", list_type="set", items=Node(type="string")),
                "args": Node(type="array", list_type="atomic", items=Node(type="string")),
                "ref": Node(type="object", map_type="atomic", fields={"x": Node(type="string")}),
                "labels": Node(type="object", values=Node(type="string")),
            },
        )
    },
)


def members(trie, prefix=()):
    """The set as plain tuples: what the algebra must agree with."""
    found = {prefix} if prefix and (not trie or "." in trie) else set()
    for key, below in trie.items():
        if key != ".":
            found |= members(below, (*prefix, key))
    return found


def trie_of(members):
    root: dict = {}
    for path in members:
        node = root
        for key in path:
            node = node.setdefault(key, {})
        node["."] = {}
    return tidy(root)


def tidy(trie):
    below = {key: tidy(value) if key != "." else {} for key, value in trie.items()}
    return {} if set(below) == {"."} else below


SETS = st.sets(st.lists(st.sampled_from(["f:a", "f:b", "k:c"]), min_size=1, max_size=3).map(tuple), max_size=6)


@given(SETS, SETS)
def test_the_algebra_of_tries_is_that_of_sets(left, right):
    one, other = trie_of(left), trie_of(right)

    assert members(union(one, other)) == left | right
    assert members(intersection(one, other)) == left & right
    assert members(difference(one, other)) == left - right


@given(SETS, SETS)
def test_results_are_tidy_so_that_equal_sets_are_equal_tries(left, right):
    assert union(trie_of(left), trie_of(right)) == trie_of(left | right)
    assert difference(trie_of(left), trie_of(right)) == trie_of(left - right)


def test_cutting_a_prefix_takes_everything_below_it():
    fields = {"f:status": {"f:phase": LEAF}, "f:spec": {"f:a": LEAF}}

    assert without(fields, {"f:status": LEAF}) == {"f:spec": {"f:a": LEAF}}
    assert without(fields, {"f:spec": {"f:a": LEAF}}) == {"f:status": {"f:phase": LEAF}}


@pytest.mark.parametrize(
    ("spec", "claimed"),
    [
        ({"a": "x"}, {"f:a": LEAF}),
        ({"args": ["x", "y"]}, {"f:args": LEAF}),
        ({"ref": {"x": "y"}}, {"f:ref": LEAF}),
        ({"labels": {"k": "v"}}, {"f:labels": {"f:k": LEAF}}),
        ({"labels": {}}, {"f:labels": LEAF}),
        ({"tags": ["t"]}, {"f:tags": {'v:"t"': LEAF}}),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"f:env": {'k:{"name":"A"}': {".": LEAF, "f:name": LEAF, "f:value": LEAF}}},
        ),
        ({"ports": [{"port": 1}]}, {"f:ports": {'k:{"port":1,"protocol":"TCP"}': {".": LEAF, "f:port": LEAF}}}),
        ({"env": []}, None),
        ({"a": None}, {"f:a": LEAF}),
    ],
)
def test_an_applied_object_claims_its_leaves(spec, claimed):
    assert fields_of({"spec": spec}, SCHEMA) == ({"f:spec": claimed} if claimed is not None else {})


def test_without_a_schema_maps_are_granular_and_lists_are_not():
    claimed = fields_of({"a": {"b": {"c": 1}, "d": [1, 2]}}, None)

    assert claimed == {"f:a": {".": LEAF, "f:b": {".": LEAF, "f:c": LEAF}, "f:d": LEAF}}


def test_a_comparison_tells_what_came_went_and_changed():
    old = {"spec": {"a": "1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}], "args": ["x"]}}
    new = {"spec": {"env": [{"name": "B", "value": "2"}, {"name": "C"}], "args": ["y"], "labels": {"k": "v"}}}

    changed = compare(old, new, SCHEMA)

    assert changed.removed == {
        "f:spec": {"f:a": LEAF, "f:env": {'k:{"name":"A"}': {".": LEAF, "f:name": LEAF, "f:value": LEAF}}}
    }
    assert changed.modified == {"f:spec": {"f:env": {'k:{"name":"B"}': {"f:value": LEAF}}, "f:args": LEAF}}
    assert changed.added == {
        "f:spec": {"f:env": {'k:{"name":"C"}': {".": LEAF, "f:name": LEAF}}, "f:labels": {".": LEAF, "f:k": LEAF}}
    }


def test_equal_objects_compare_as_nothing():
    assert not compare({"spec": {"a": "1", "tags": ["x"]}}, {"spec": {"tags": ["x"], "a": "1"}}, SCHEMA)


def test_a_truth_value_is_no_number():
    assert compare({"x": True}, {"x": 1}, None).modified == {"f:x": LEAF}


def test_reordering_a_keyed_list_is_no_change_but_of_an_atomic_one_it_is():
    one, two = {"name": "A"}, {"name": "B"}

    assert not compare({"spec": {"env": [one, two]}}, {"spec": {"env": [two, one]}}, SCHEMA)
    assert compare({"spec": {"args": ["x", "y"]}}, {"spec": {"args": ["y", "x"]}}, SCHEMA).modified


def test_an_item_without_its_keys_has_no_path():
    assert item_key({"value": "1"}, ENV) is None
    assert item_key("text", ENV) is None
    assert item_key({"port": 80, "protocol": "UDP"}, PORTS) == 'k:{"port":80,"protocol":"UDP"}'


def test_paths_read_as_people_write_them():
    fields = fields_of({"spec": {"a": "x", "env": [{"name": "A", "value": "1"}], "tags": ["t"]}}, SCHEMA)

    assert list(paths(fields)) == [
        ".spec.a",
        '.spec.env[name="A"]',
        '.spec.env[name="A"].name',
        '.spec.env[name="A"].value',
        '.spec.tags[="t"]',
    ]


def test_named_fields_on_the_way_become_members_and_keys_of_maps_do_not():
    grown = with_parents({"f:spec": {"f:labels": {"f:k": LEAF}}}, SCHEMA)

    assert grown == {"f:spec": {".": LEAF, "f:labels": {".": LEAF, "f:k": LEAF}}}
    assert with_parents({"f:x": {"f:y": LEAF}}, None) == {"f:x": {"f:y": LEAF}}
