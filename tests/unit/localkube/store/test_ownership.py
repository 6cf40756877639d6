import pytest

from localkube.store.ownership import Manager, Ownership, apply, track_update
from localkube.store.statuses import StatusError

NOW = "2024-08-06T14:30:00Z"
LATER = "2024-08-06T15:00:00Z"


def put(live, spec, manager="me", *, force=False, now=NOW):
    """Apply a spec; the object has no schema, so that maps are granular and lists are whole."""
    applied = {"metadata": {"name": "x"}, "spec": spec}
    return apply(
        live,
        applied,
        node=None,
        manager=Manager(manager, "Apply", "", ""),
        version="v1",
        now=now,
        force=force,
        ignored=("status",),
    )


def owners(obj):
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}


def test_a_field_that_nobody_applies_any_more_goes():
    first, _ = put({}, {"a": 1, "b": 2})
    second, changed = put(first, {"a": 1})

    assert changed
    assert second["spec"] == {"a": 1}


def test_a_field_that_another_applies_as_well_stays():
    obj, _ = put({}, {"a": 1, "b": 2})
    obj, _ = put(obj, {"b": 2}, "you")
    obj, _ = put(obj, {"a": 1})

    assert obj["spec"] == {"a": 1, "b": 2}
    assert "f:b" not in owners(obj)["me"]["f:spec"]


def test_another_value_for_an_owned_field_is_a_conflict_that_names_owner_and_field():
    obj, _ = put({}, {"a": 1})

    with pytest.raises(StatusError) as refused:
        put(obj, {"a": 2}, "you")

    assert refused.value.code == 409
    assert refused.value.status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".spec.a"}
    ]
    assert refused.value.status["message"] == 'Apply failed with 1 conflict: conflict with "me": .spec.a'


def test_force_takes_the_field_from_its_owner():
    obj, _ = put({}, {"a": 1, "b": 1})
    obj, _ = put(obj, {"a": 2}, "you", force=True)

    assert obj["spec"] == {"a": 2, "b": 1}
    assert "f:a" not in owners(obj)["me"]["f:spec"]
    assert "f:a" in owners(obj)["you"]["f:spec"]


def test_the_same_value_is_shared_without_conflict():
    obj, _ = put({}, {"a": 1})
    obj, changed = put(obj, {"a": 1}, "you")

    assert changed  # of ownership, not of the object
    assert set(owners(obj)) == {"me", "you"}


def test_applying_the_same_again_changes_nothing():
    obj, _ = put({}, {"a": 1})
    _, changed = put(obj, {"a": 1}, now=LATER)

    assert not changed


def test_an_update_takes_ownership_of_what_it_changes_only():
    live, _ = put({}, {"a": 1, "b": 1})
    new = {"metadata": {"name": "x"}, "spec": {"a": 2, "b": 1}}

    track_update(
        live, new, node=None, manager=Manager("editor", "Update", "v1", ""), now=LATER, ignored=(), created=False
    )

    assert owners(new)["editor"] == {"f:spec": {"f:a": {}}}
    assert owners(new)["me"] == {"f:spec": {".": {}, "f:b": {}}}


def test_objects_from_before_the_bookkeeping_get_an_owner_at_the_first_apply():
    live = {"metadata": {"name": "x", "uid": "u"}, "spec": {"a": 1}}

    with pytest.raises(StatusError, match="before-first-apply"):
        put(live, {"a": 2})

    obj, _ = put(live, {"a": 2}, force=True)
    assert set(owners(obj)) == {"before-first-apply", "me"}


def test_an_empty_list_resets_the_bookkeeping():
    live, _ = put({}, {"a": 1})
    new = {"metadata": {"name": "x", "managedFields": []}, "spec": {"a": 1}}

    track_update(live, new, node=None, manager=Manager("e", "Update", "v1", ""), now=LATER, ignored=(), created=False)

    assert "managedFields" not in new["metadata"]


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


def test_status_is_not_owned_through_the_main_resource():
    obj, _ = apply(
        {},
        {"metadata": {"name": "x"}, "spec": {"a": 1}, "status": {"p": 1}},
        node=None,
        manager=Manager("me", "Apply", "", ""),
        version="v1",
        now=NOW,
        force=False,
        ignored=("status",),
    )

    assert owners(obj)["me"] == {"f:spec": {".": {}, "f:a": {}}}
