"""Ownership of fields: what the conformance suite does not hold against the real server."""

import pytest

from localkube.store.ownership import Manager, Ownership, apply, track_update
from localkube.store.statuses import StatusError

NOW = "2024-08-06T14:30:00Z"


def put(live, spec, manager="me", *, force=False):
    """Apply a spec; the object has no schema, so that maps are granular and lists are whole."""
    applied = {"metadata": {"name": "x"}, "spec": spec}
    return apply(
        live,
        applied,
        node=None,
        manager=Manager(manager, "Apply", "", ""),
        version="v1",
        now=NOW,
        force=force,
        ignored=("status",),
    )


def owners(obj):
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}


def test_objects_from_before_the_bookkeeping_get_an_owner_at_the_first_apply():
    live = {"metadata": {"name": "x", "uid": "u"}, "spec": {"a": 1}}

    with pytest.raises(StatusError, match="before-first-apply"):
        put(live, {"a": 2})

    obj, _ = put(live, {"a": 2}, force=True)
    assert set(owners(obj)) == {"before-first-apply", "me"}


def test_updaters_beyond_ten_are_merged_into_the_ancient_ones():
    obj = {"metadata": {"name": "x"}, "spec": {}}
    for number in range(13):
        new = {"metadata": dict(obj["metadata"]), "spec": {**obj["spec"], f"f{number}": 1}}
        manager = Manager(f"m{number}", "Update", "v1", "")
        track_update(
            obj, new, node=None, manager=manager, now=f"2024-08-06T14:30:{number:02}Z", ignored=(), created=number == 0
        )
        obj = new

    found = owners(obj)
    assert len(found) == 10
    assert set(found["ancient-changes"]["f:spec"]) - {"."} == {"f:f0", "f:f1", "f:f2", "f:f3"}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV2"},
        {"manager": "x", "operation": "Steal", "apiVersion": "v1", "fieldsType": "FieldsV1"},
        "text",
    ],
)
def test_entries_that_make_no_sense_are_dropped(entry):
    assert Ownership.of({"metadata": {"managedFields": [entry]}}).claims == {}
