import pytest

from localkube.store.metadata import (
    check_metadata,
    check_metadata_update,
    finalizer_warnings,
    label_faults,
    label_value_faults,
    qualified_faults,
    subdomain_faults,
)


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63])
def test_good_labels(name):
    assert label_faults(name) == []


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "ä", "a\n"])
def test_bad_labels(name):
    assert label_faults(name)


@pytest.mark.parametrize("name", ["", ".a", "a..b", "a_b", "A", "a" * 254, "a\n"])
def test_bad_subdomains(name):
    assert subdomain_faults(name)


@pytest.mark.parametrize("key", ["a", "A.b_c-d", "x.io/a", "a" * 63, "x.io/" + "b" * 63])
def test_good_keys(key):
    assert qualified_faults(key) == []


@pytest.mark.parametrize("key", ["", "/a", "x.io/", "a/b/c", "-a", "X_Y/a", "a b", "a" * 64, "a\n"])
def test_bad_keys(key):
    assert qualified_faults(key)


@pytest.mark.parametrize("value", ["-a", "a b", "a" * 64, "a/b", "a\n"])
def test_bad_label_values(value):
    assert label_value_faults(value)


def fields(meta, **options):
    return [fault.field for fault in check_metadata(meta, **{"builtin": False, **options})]


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({}, "metadata.name"),
        ({"name": "A"}, "metadata.name"),
        ({"name": "a", "labels": {"a b": "c"}}, "metadata.labels"),
        ({"name": "a", "labels": {"a": "b c"}}, "metadata.labels"),
        ({"name": "a", "annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"name": "a", "annotations": {"a": "x" * (256 * 1024)}}, "metadata.annotations"),
        ({"name": "a", "finalizers": ["a b"]}, "metadata.finalizers"),
        ({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}, "metadata.finalizers"),
        (
            {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
            "metadata.ownerReferences.uid",
        ),
        (
            {"name": "a", "ownerReferences": [{"kind": "Pod", "name": "p", "uid": "u"}]},
            "metadata.ownerReferences.apiVersion",
        ),
    ],
)
def test_wrong_metadata_is_told_with_its_field(meta, field):
    assert fields(meta) == [field]


def test_two_controllers_are_one_too_many():
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}

    assert fields({"name": "a", "ownerReferences": [owner, {**owner, "uid": "v"}]}) == ["metadata.ownerReferences"]


def test_keys_of_annotations_may_have_capitals_before_the_slash():
    assert fields({"name": "a", "annotations": {"X.io/a": "b"}}) == []


def test_builtin_kinds_want_qualified_finalizers_and_others_are_warned_of():
    meta = {"name": "a", "finalizers": ["plain", "x.io/y", "orphan"]}

    assert fields(meta, builtin=True) == ["metadata.finalizers[0]"]
    assert fields(meta) == []
    assert len(finalizer_warnings(meta)) == 1
    assert "prefer a domain-qualified finalizer name" in finalizer_warnings(meta)[0]


def test_names_may_be_held_to_other_rules():
    assert fields({"name": "a.b"}, label_name=True) == ["metadata.name"]
    assert fields({"name": "system:Node_x"}, path_name=True) == []
    assert fields({"name": "a/b"}, path_name=True) == ["metadata.name"]


def test_an_object_that_is_going_takes_no_new_finalizers():
    live = {"name": "a", "uid": "u", "deletionTimestamp": "t", "finalizers": ["x.io/a", "x.io/b"]}

    assert check_metadata_update({**live, "finalizers": ["x.io/b"]}, live) == []
    assert [f.field for f in check_metadata_update({**live, "finalizers": ["x.io/c"]}, live)] == ["metadata.finalizers"]


@pytest.mark.parametrize("field", ["name", "namespace", "uid", "deletionTimestamp"])
def test_what_an_object_is_cannot_change(field):
    live = {"name": "a", "uid": "u", "namespace": "n"}

    faults = check_metadata_update({**live, field: "other"}, live)

    assert [fault.field for fault in faults] == [f"metadata.{field}"]
