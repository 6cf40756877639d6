"""Server-side apply: who owns which field, and what happens when two want the same."""

from typing import Any

import pytest
import yaml

from support.manifests import claim, config_map, job, owned_by, pod_spec
from support.widgets import API_VERSION, widget
from support.worlds import APPLY, World


def managers(thing: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The field sets by manager, operation and subresource."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in thing["metadata"].get("managedFields", ())
    }


async def test_applying_a_missing_object_creates_it(world: World) -> None:
    applied = await world.apply("configmaps", config_map("a", {"k": "v"}), manager="alice")

    created = applied.expect(201).body
    assert created["data"] == {"k": "v"}
    assert managers(created) == {("alice", "Apply", ""): {"f:data": {"f:k": {}}}}
    entry = created["metadata"]["managedFields"][0]
    assert (entry["apiVersion"], entry["fieldsType"]) == ("v1", "FieldsV1")
    assert entry["time"] == created["metadata"]["creationTimestamp"]


async def test_applying_the_same_again_changes_nothing(world: World) -> None:
    manifest = config_map("a", {"k": "v"}, labels={"x": "1"})
    first = (await world.apply("configmaps", manifest)).expect(201).body

    again = (await world.apply("configmaps", manifest)).expect(200).body

    assert again == first


@pytest.mark.parametrize("plural", ["widgets", "jobs", "persistentvolumeclaims"])
async def test_applying_the_same_again_changes_nothing_for_kinds_with_defaults(world: World, plural: str) -> None:
    manifest = {
        "widgets": widget("a", env=[{"name": "A", "value": "1"}], note=None),
        "jobs": job("a", suspend=True),
        "persistentvolumeclaims": claim("a", storageClassName="none"),
    }[plural]
    # The second may still write: a real server stores a claim that was created by apply slightly differently then, and the job
    # controller reports its first status meanwhile.
    await world.apply(plural, manifest)
    await world.apply(plural, manifest)
    if plural == "jobs" and world.has_controllers:
        await world.eventually(lambda: suspended(world, "a"), what="the job's first status")
    first = await world.read(plural, "a")

    again = (await world.apply(plural, manifest)).expect(200).body

    assert again == first


async def suspended(world: World, name: str) -> bool:
    return bool((await world.read("jobs", name)).get("status", {}).get("conditions"))


async def test_apply_needs_a_field_manager(world: World) -> None:
    answer = await world.send("PATCH", world.path("configmaps", "a"), config_map("a"), kind=APPLY)

    answer.expect(422, "Invalid")
    assert ("FieldValueRequired", "fieldManager") in answer.causes


async def test_apply_refuses_managed_fields_in_its_body(world: World) -> None:
    answer = await world.apply("configmaps", config_map("a", managedFields=[{"manager": "x"}]))

    answer.expect(400, "BadRequest")
    assert "metadata.managedFields must be nil" in answer.message


async def test_apply_needs_kind_and_version(world: World) -> None:
    manifest = config_map("a")
    del manifest["kind"], manifest["apiVersion"]

    assert (await world.apply("configmaps", manifest)).status in {400, 422}


async def test_force_is_refused_for_other_patches(world: World) -> None:
    await world.create("configmaps", config_map("a"))

    answer = await world.patch("configmaps", "a", {}, force="true")

    answer.expect(422, "Invalid")
    assert ("FieldValueForbidden", "force") in answer.causes


async def test_apply_takes_yaml(world: World) -> None:
    body = yaml.safe_dump(widget("a", size=3)).encode()

    answer = await world.send("PATCH", world.path("widgets", "a"), body, kind=APPLY, fieldManager="alice")

    assert answer.expect(201).body["spec"]["size"] == 3


async def test_apply_of_another_name_is_a_bad_request(world: World) -> None:
    answer = await world.send("PATCH", world.path("configmaps", "b"), config_map("a"), kind=APPLY, fieldManager="x")

    answer.expect(400, "BadRequest")


async def test_two_managers_own_different_fields(world: World) -> None:
    await world.apply("configmaps", config_map("a", {"one": "1"}), manager="alice")

    both = (await world.apply("configmaps", config_map("a", {"two": "2"}), manager="bob")).expect(200).body

    assert both["data"] == {"one": "1", "two": "2"}
    assert managers(both) == {
        ("alice", "Apply", ""): {"f:data": {"f:one": {}}},
        ("bob", "Apply", ""): {"f:data": {"f:two": {}}},
    }


async def test_a_field_that_its_only_manager_no_longer_applies_is_removed(world: World) -> None:
    await world.apply("configmaps", config_map("a", {"one": "1", "two": "2"}, labels={"x": "1"}), manager="alice")

    left = (await world.apply("configmaps", config_map("a", {"two": "2"}), manager="alice")).expect(200).body

    assert left["data"] == {"two": "2"}
    assert "labels" not in left["metadata"]


async def test_a_field_that_two_applied_stays_until_both_let_go(world: World) -> None:
    await world.apply("configmaps", config_map("a", {"k": "v", "own": "1"}), manager="alice")
    await world.apply("configmaps", config_map("a", {"k": "v"}), manager="bob")

    after_alice = (await world.apply("configmaps", config_map("a", {"own": "1"}), manager="alice")).expect(200).body
    after_bob = (await world.apply("configmaps", {**config_map("a"), "data": {}}, manager="bob")).expect(200).body

    assert after_alice["data"] == {"k": "v", "own": "1"}
    assert after_bob["data"] == {"own": "1"}


async def test_another_managers_value_is_a_conflict_that_names_the_manager(world: World) -> None:
    await world.apply("widgets", widget("a", size=1), manager="alice")

    answer = (await world.apply("widgets", widget("a", size=2), manager="bob")).expect(409, "Conflict")

    assert answer.message == 'Apply failed with 1 conflict: conflict with "alice": .spec.size'
    assert answer.details["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "alice"', "field": ".spec.size"}
    ]
    assert (await world.read("widgets", "a"))["spec"]["size"] == 1


async def test_several_conflicts_are_all_told(world: World) -> None:
    await world.apply("widgets", widget("a", size=1, label="x", env=[{"name": "A", "value": "1"}]), manager="alice")

    wanted = widget("a", size=2, label="y", env=[{"name": "A", "value": "2"}])
    answer = (await world.apply("widgets", wanted, manager="bob")).expect(409, "Conflict")

    assert "Apply failed with 3 conflicts" in answer.message
    assert {cause["field"] for cause in answer.details["causes"]} == {
        ".spec.size",
        ".spec.label",
        '.spec.env[name="A"].value',
    }


async def test_a_conflict_with_an_updater_names_the_update(world: World) -> None:
    await world.apply("widgets", widget("a", size=1), manager="alice")
    (await world.patch("widgets", "a", {"spec": {"size": 2}}, fieldManager="editor")).expect(200)

    answer = (await world.apply("widgets", widget("a", size=3), manager="alice")).expect(409, "Conflict")

    assert f'conflict with "editor" using {API_VERSION}' in answer.message


async def test_force_takes_the_field_over(world: World) -> None:
    await world.apply("widgets", widget("a", size=1), manager="alice")

    forced = (await world.apply("widgets", widget("a", size=2), manager="bob", force="true")).expect(200).body

    assert forced["spec"]["size"] == 2
    assert managers(forced)["bob", "Apply", ""]["f:spec"] == {"f:size": {}}
    assert ("alice", "Apply", "") not in managers(forced)


async def test_applying_an_equal_value_shares_the_field(world: World) -> None:
    await world.apply("widgets", widget("a", size=1), manager="alice")

    shared = (await world.apply("widgets", widget("a", size=1), manager="bob")).expect(200).body

    assert managers(shared)["alice", "Apply", ""] == managers(shared)["bob", "Apply", ""]


async def test_an_update_takes_ownership_of_what_it_changes(world: World) -> None:
    await world.apply("configmaps", config_map("a", {"one": "1", "two": "2"}), manager="alice")

    patched = (await world.patch("configmaps", "a", {"data": {"one": "x"}}, fieldManager="editor")).expect(200).body

    assert managers(patched) == {
        ("alice", "Apply", ""): {"f:data": {"f:two": {}}},
        ("editor", "Update", ""): {"f:data": {"f:one": {}}},
    }


async def test_an_update_that_removes_a_field_removes_its_ownership(world: World) -> None:
    await world.apply("configmaps", config_map("a", {"one": "1", "two": "2"}), manager="alice")

    patched = (await world.patch("configmaps", "a", {"data": {"one": None}}, fieldManager="editor")).expect(200).body

    assert managers(patched) == {("alice", "Apply", ""): {"f:data": {"f:two": {}}}}


async def test_apply_with_an_old_resource_version_is_a_conflict(world: World) -> None:
    old = (await world.apply("configmaps", config_map("a", {"k": "1"}))).expect(201).body["metadata"]["resourceVersion"]
    new = (await world.apply("configmaps", config_map("a", {"k": "2"}))).expect(200).body["metadata"]["resourceVersion"]

    stale = await world.apply("configmaps", config_map("a", {"k": "3"}, resourceVersion=old), force="true")
    fresh = await world.apply("configmaps", config_map("a", {"k": "4"}, resourceVersion=new), force="true")

    stale.expect(409, "Conflict")
    assert fresh.expect(200).body["data"] == {"k": "4"}


async def test_a_uid_keeps_apply_from_creating_but_a_resource_version_does_not(world: World) -> None:
    """Who must not bring a deleted object back by applying to it has to say the uid."""
    by_uid = await world.apply("configmaps", config_map("a", uid="00000000-0000-0000-0000-000000000000"))
    by_version = await world.apply("configmaps", config_map("b", resourceVersion="1"))

    by_uid.expect(409, "Conflict")
    by_version.expect(201)


async def test_apply_to_another_uid_is_refused(world: World) -> None:
    await world.apply("configmaps", config_map("a"))

    answer = await world.apply("configmaps", config_map("a", uid="00000000-0000-0000-0000-000000000000"))

    assert answer.expect(422, "Invalid").causes == {("FieldValueInvalid", "metadata.uid")}


async def test_status_is_applied_apart_from_spec(world: World) -> None:
    await world.apply("widgets", widget("a", size=1) | {"status": {"phase": "ignored"}}, manager="alice")
    status = {"phase": "On", "conditions": [{"type": "Ready", "status": "True"}]}
    manifest = {"apiVersion": API_VERSION, "kind": "Widget", "metadata": {"name": "a"}, "status": status}

    applied = (await world.apply("widgets", manifest, manager="alice", sub="status")).expect(200).body

    assert applied["status"] == status
    assert applied["spec"]["size"] == 1
    owned = managers(applied)
    assert owned["alice", "Apply", ""] == {"f:spec": {"f:size": {}}}
    assert owned["alice", "Apply", "status"] == {
        "f:status": {
            "f:phase": {},
            "f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}}},
        }
    }


async def test_applying_spec_again_keeps_the_applied_status(world: World) -> None:
    await world.apply("widgets", widget("a", size=1))
    manifest = {"apiVersion": API_VERSION, "kind": "Widget", "metadata": {"name": "a"}, "status": {"phase": "On"}}
    await world.apply("widgets", manifest, sub="status")

    again = (await world.apply("widgets", widget("a", size=2))).expect(200).body

    assert again["status"] == {"phase": "On"}


async def test_applying_status_of_a_missing_object_is_not_found(world: World) -> None:
    manifest = {"apiVersion": API_VERSION, "kind": "Widget", "metadata": {"name": "a"}, "status": {"phase": "On"}}

    (await world.apply("widgets", manifest, sub="status")).expect(404, "NotFound")


async def test_conditions_of_two_managers_live_side_by_side(world: World) -> None:
    await world.apply("widgets", widget("a"))

    def manifest(*kinds: str) -> dict[str, Any]:
        conditions = [{"type": kind, "status": "True"} for kind in kinds]
        return {
            "apiVersion": API_VERSION,
            "kind": "Widget",
            "metadata": {"name": "a"},
            "status": {"conditions": conditions},
        }

    await world.apply("widgets", manifest("Ready", "Done"), manager="alice", sub="status")
    both = (await world.apply("widgets", manifest("Seen"), manager="bob", sub="status")).expect(200).body
    fewer = (await world.apply("widgets", manifest("Done"), manager="alice", sub="status")).expect(200).body

    assert [each["type"] for each in both["status"]["conditions"]] == ["Ready", "Done", "Seen"]
    assert {each["type"] for each in fewer["status"]["conditions"]} == {"Done", "Seen"}


async def test_maps_lists_by_key_and_sets_merge_but_atomic_lists_are_replaced(world: World) -> None:
    await world.apply(
        "widgets",
        widget("a", env=[{"name": "A", "value": "1"}], tags=["x"], steps=["s"], options={"o": "1"}),
        manager="alice",
    )

    wanted = widget("a", env=[{"name": "B", "value": "2"}], tags=["y"], steps=["t"], options={"p": "2"})
    refused = await world.apply("widgets", wanted, manager="bob")
    forced = (await world.apply("widgets", wanted, manager="bob", force="true")).expect(200).body

    assert [cause["field"] for cause in refused.expect(409).details["causes"]] == [".spec.steps"]
    spec = forced["spec"]
    assert spec["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert (sorted(spec["tags"]), spec["steps"], spec["options"]) == (["x", "y"], ["t"], {"o": "1", "p": "2"})
    owned = managers(forced)["bob", "Apply", ""]["f:spec"]
    assert owned["f:env"] == {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}
    assert owned["f:tags"] == {'v:"y"': {}}
    assert owned["f:steps"] == {}
    assert owned["f:options"] == {"f:p": {}}


async def test_duplicate_keys_in_a_keyed_list_are_refused(world: World) -> None:
    wanted = widget("a", env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])

    assert (await world.apply("widgets", wanted)).status in {422, 500}
    created = (await world.post("widgets", wanted)).expect(422, "Invalid")
    assert ("FieldValueDuplicate", "spec.env[1]") in created.causes


async def test_owner_references_merge_by_uid_and_finalizers_as_a_set(world: World) -> None:
    owners = {name: owned_by(await world.create("configmaps", config_map(name))) for name in "ab"}

    def manifest(letter: str) -> dict[str, Any]:
        return config_map("x", ownerReferences=[owners[letter]], finalizers=[f"{letter}.example/f"])

    await world.apply("configmaps", manifest("a"), manager="alice")
    both = (await world.apply("configmaps", manifest("b"), manager="bob")).expect(200).body["metadata"]
    left = (await world.apply("configmaps", config_map("x"), manager="alice")).expect(200).body["metadata"]

    assert [each["name"] for each in both["ownerReferences"]] == ["a", "b"]
    assert set(both["finalizers"]) == {"a.example/f", "b.example/f"}
    assert [each["name"] for each in left["ownerReferences"]] == ["b"]
    assert left["finalizers"] == ["b.example/f"]


async def test_containers_and_env_of_a_job_merge_by_name(world: World) -> None:
    template = pod_spec(containers=[{"name": "c", "image": "example.com/one", "env": [{"name": "A", "value": "1"}]}])
    await world.apply("jobs", job("a", suspend=True, template=template))

    owned = managers(await world.read("jobs", "a"))["alice", "Apply", ""]

    containers = owned["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert containers['k:{"name":"c"}']["f:env"] == {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}


async def test_defaults_belong_to_nobody(world: World) -> None:
    applied = (await world.apply("widgets", widget("a"))).expect(201).body

    assert applied["spec"]["color"] == "red"
    assert managers(applied)["alice", "Apply", ""] == {"f:spec": {"f:size": {}}}
    taken = (await world.apply("widgets", widget("a", color="blue"), manager="bob")).expect(200).body
    assert taken["spec"]["color"] == "blue"


async def test_letting_go_of_a_field_with_a_default_brings_the_default_back(world: World) -> None:
    await world.apply("widgets", widget("a", color="blue"))

    applied = (await world.apply("widgets", widget("a"))).expect(200).body

    assert applied["spec"]["color"] == "red"


async def test_emptied_managed_fields_are_cleared(world: World) -> None:
    await world.apply("configmaps", config_map("a"))

    patched = (await world.patch("configmaps", "a", {"metadata": {"managedFields": [{}]}})).expect(200).body

    assert "managedFields" not in patched["metadata"]


async def test_apply_refuses_fields_that_the_schema_does_not_have(world: World) -> None:
    answer = await world.apply("widgets", widget("a", bogus=1))

    assert answer.status in {400, 422, 500}  # a real server says 500
    assert ".spec.bogus: field not declared in schema" in answer.message


async def test_apply_validates(world: World) -> None:
    wrong = await world.apply("widgets", widget("b", color="pink"))

    assert ("FieldValueNotSupported", "spec.color") in wrong.expect(422, "Invalid").causes
