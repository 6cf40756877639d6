"""Merge patch, JSON patch and strategic merge patch, and the status subresource."""

from typing import Any

import pytest

from support.manifests import claim, config_map, job, owned_by, pod
from support.widgets import widget
from support.worlds import JSON_PATCH, STRATEGIC, World


async def test_a_merge_patch_sets_removes_and_leaves(world: World) -> None:
    await world.create("configmaps", config_map("a", {"keep": "1", "change": "1", "drop": "1"}))

    patched = (
        (await world.patch("configmaps", "a", {"data": {"change": "2", "drop": None, "new": "1"}})).expect(200).body
    )

    assert patched["data"] == {"keep": "1", "change": "2", "new": "1"}
    assert await world.read("configmaps", "a") == patched


async def test_a_merge_patch_replaces_lists_whole(world: World) -> None:
    await world.create("widgets", widget("a", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))

    patched = (await world.patch("widgets", "a", {"spec": {"env": [{"name": "C"}]}})).expect(200).body

    assert patched["spec"]["env"] == [{"name": "C"}]


async def test_a_merge_patch_of_nothing_keeps_the_version(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    for patch in ({}, {"spec": {"size": 1}}, {"metadata": {"labels": {"absent": None}}}):
        patched = (await world.patch("widgets", "a", patch)).expect(200).body
        assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_a_merge_patch_with_an_old_version_is_a_conflict(world: World) -> None:
    created = await world.create("widgets", widget("a"))
    (await world.patch("widgets", "a", {"spec": {"size": 2}})).expect(200)

    stale = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "spec": {"size": 3}}
    answer = (await world.patch("widgets", "a", stale)).expect(409, "Conflict")

    assert "the object has been modified" in answer.message
    assert (await world.read("widgets", "a"))["spec"]["size"] == 2


async def test_a_merge_patch_of_nothing_with_an_old_version_is_a_conflict_too(world: World) -> None:
    """So a patch that changes nothing proves that what was decided on is still so."""
    created = await world.create("configmaps", config_map("a", {"a": "1"}))
    old = {"metadata": {"uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"]}}
    (await world.patch("configmaps", "a", {**old, "data": {"a": "1"}})).expect(200)
    (await world.patch("configmaps", "a", {"data": {"a": "2"}})).expect(200)
    (await world.patch("configmaps", "a", {**old, "data": {"a": "2"}})).expect(409)


async def test_a_merge_patch_with_the_present_version_is_taken(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    patch = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "spec": {"size": 3}}

    assert (await world.patch("widgets", "a", patch)).expect(200).body["spec"]["size"] == 3


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_a_merge_patch_with_another_uid_is_refused(world: World, plural: str) -> None:
    await world.create(plural, config_map("a") if plural == "configmaps" else widget("a"))

    answer = await world.patch(plural, "a", {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}})

    assert answer.expect(422, "Invalid").causes == {("FieldValueInvalid", "metadata.uid")}


async def test_a_merge_patch_cannot_rename(world: World) -> None:
    await world.create("widgets", widget("a"))

    answer = await world.patch("widgets", "a", {"metadata": {"name": "b"}})

    answer.expect(400, "BadRequest")


@pytest.mark.parametrize("patch", [b"[]", b"5", b"{"])
async def test_a_merge_patch_that_is_no_object_is_a_bad_request(world: World, patch: bytes) -> None:
    await world.create("widgets", widget("a"))

    assert (await world.patch("widgets", "a", patch)).status == 400


@pytest.mark.parametrize(
    ("operations", "spec"),
    [
        ([{"op": "replace", "path": "/spec/size", "value": 4}], {"size": 4}),
        ([{"op": "add", "path": "/spec/tags", "value": ["x"]}], {"tags": ["x"]}),
        ([{"op": "add", "path": "/spec/steps/-", "value": "c"}], {"steps": ["a", "b", "c"]}),
        ([{"op": "add", "path": "/spec/steps/0", "value": "c"}], {"steps": ["c", "a", "b"]}),
        ([{"op": "remove", "path": "/spec/steps/0"}], {"steps": ["b"]}),
        ([{"op": "copy", "from": "/spec/steps", "path": "/spec/tags"}], {"steps": ["a", "b"], "tags": ["a", "b"]}),
        ([{"op": "move", "from": "/spec/steps", "path": "/spec/tags"}], {"tags": ["a", "b"]}),
        (
            [{"op": "test", "path": "/spec/size", "value": 1}, {"op": "replace", "path": "/spec/size", "value": 2}],
            {"size": 2},
        ),
    ],
)
async def test_a_json_patch_does_its_operations(world: World, operations: list[Any], spec: dict[str, Any]) -> None:
    await world.create("widgets", widget("a", steps=["a", "b"]))

    patched = (await world.patch("widgets", "a", operations, kind=JSON_PATCH)).expect(200).body

    assert {key: patched["spec"].get(key) for key in spec} == spec


async def test_a_json_patch_path_is_escaped(world: World) -> None:
    await world.create("widgets", widget("a"))

    operations = [
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/example.com~1key", "value": "v"},
    ]
    patched = (await world.patch("widgets", "a", operations, kind=JSON_PATCH)).expect(200).body

    assert patched["metadata"]["annotations"] == {"example.com/key": "v"}


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "test", "path": "/spec/size", "value": 9}, {"op": "replace", "path": "/spec/size", "value": 2}],
        [{"op": "remove", "path": "/spec/steps"}],
        [{"op": "replace", "path": "/spec/nothing/there", "value": 1}],
    ],
)
async def test_a_json_patch_that_does_not_fit_changes_nothing(world: World, operations: list[Any]) -> None:
    created = await world.create("widgets", widget("a"))

    answer = await world.patch("widgets", "a", operations, kind=JSON_PATCH)

    answer.expect(422, "Invalid")
    assert await world.read("widgets", "a") == created


@pytest.mark.parametrize("body", [b"{}", b'[{"op":"fly","path":"/x"}]', b"["])
async def test_a_json_patch_that_is_none_is_refused(world: World, body: bytes) -> None:
    await world.create("widgets", widget("a"))

    assert (await world.patch("widgets", "a", body, kind=JSON_PATCH)).status in {400, 422}


async def test_a_strategic_merge_patch_merges_lists_by_key(world: World) -> None:
    await world.create(
        "jobs",
        job(
            "a",
            suspend=True,
            template={
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "one",
                        "image": "example.com/one",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    },
                ],
            },
        ),
    )
    owners = [owned_by(await world.create("configmaps", config_map(name))) for name in "ab"]
    (await world.patch("jobs", "a", {"metadata": {"ownerReferences": owners[:1]}}, kind=STRATEGIC)).expect(200)

    patched = (
        await world.patch(
            "jobs", "a", {"metadata": {"ownerReferences": owners[1:], "finalizers": ["x.example/f"]}}, kind=STRATEGIC
        )
    ).expect(200)

    assert {each["name"] for each in patched.body["metadata"]["ownerReferences"]} == {"a", "b"}
    assert patched.body["metadata"]["finalizers"] == ["x.example/f"]


async def test_a_strategic_merge_patch_deletes_by_directive(world: World) -> None:
    owner = owned_by(await world.create("configmaps", config_map("owner")))
    await world.create(
        "configmaps", config_map("x", ownerReferences=[owner], finalizers=["a.example/f", "b.example/f"])
    )

    patch = {
        "metadata": {
            "ownerReferences": [{"$patch": "delete", "uid": owner["uid"]}],
            "$deleteFromPrimitiveList/finalizers": ["a.example/f"],
        }
    }
    patched = (await world.patch("configmaps", "x", patch, kind=STRATEGIC)).expect(200).body

    assert "ownerReferences" not in patched["metadata"]
    assert patched["metadata"]["finalizers"] == ["b.example/f"]


async def test_a_strategic_merge_patch_of_conditions_merges_by_type(world: World) -> None:
    await world.create("pods", pod("a"))
    for kind in ("One", "Two"):
        patch = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
        answer = (await world.patch("pods", "a", patch, kind=STRATEGIC, sub="status")).expect(200)

    assert {"One", "Two"} <= {each["type"] for each in answer.body["status"]["conditions"]}


async def test_status_given_on_create_is_dropped(world: World) -> None:
    created = await world.create("widgets", widget("a") | {"status": {"phase": "On"}})
    bound = await world.create("persistentvolumeclaims", claim("a") | {"status": {"phase": "Bound"}})

    assert "status" not in created
    assert bound["status"] == {"phase": "Pending"}


async def test_a_change_of_the_object_leaves_status_alone(world: World) -> None:
    created = await world.create("widgets", widget("a"))
    (await world.patch("widgets", "a", {"status": {"phase": "On"}}, sub="status")).expect(200)

    patched = (await world.patch("widgets", "a", {"spec": {"size": 2}, "status": {"phase": "Off"}})).expect(200).body
    current = await world.read("widgets", "a")
    without = {key: current[key] for key in current if key != "status"}
    replaced = (await world.put("widgets", without | {"status": {"phase": "Off"}})).expect(200).body
    dropped = (await world.put("widgets", without | {"metadata": replaced["metadata"]})).expect(200).body

    assert [each["status"] for each in (patched, replaced, dropped)] == [{"phase": "On"}] * 3
    assert patched["spec"]["size"] == 2
    assert patched["metadata"]["uid"] == created["metadata"]["uid"]


async def test_a_change_of_status_leaves_the_object_alone(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    patch = {"spec": {"size": 9}, "status": {"phase": "On"}}
    patched = (await world.patch("widgets", "a", patch, sub="status")).expect(200).body
    replaced = (
        (await world.put("widgets", patched | {"spec": {"size": 8}, "status": {"phase": "Off"}}, sub="status"))
        .expect(200)
        .body
    )

    assert [each["spec"]["size"] for each in (patched, replaced)] == [1, 1]
    assert [each["status"]["phase"] for each in (patched, replaced)] == ["On", "Off"]
    assert patched["metadata"]["generation"] == created["metadata"]["generation"]


async def test_metadata_beside_status_changes_only_with_status_for_core_kinds(world: World) -> None:
    """What a status update may do to metadata: nothing for a custom resource but managedFields."""
    await world.create("widgets", widget("a"))

    patch = {"metadata": {"labels": {"x": "1"}, "annotations": {"x": "1"}, "finalizers": ["x.example/f"]}}
    patched = (await world.patch("widgets", "a", patch | {"status": {"phase": "On"}}, sub="status")).expect(200).body

    assert not {"labels", "annotations", "finalizers"} & patched["metadata"].keys()


async def test_status_is_read_through_its_path(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    answer = (await world.send("GET", world.path("widgets", "a", "status"))).expect(200)

    assert answer.body == created


async def test_a_status_is_validated_and_pruned(world: World) -> None:
    await world.create("widgets", widget("a"))

    wrong = await world.patch("widgets", "a", {"status": {"count": "three"}}, sub="status")
    pruned = await world.patch("widgets", "a", {"status": {"count": 3, "bogus": 1}}, sub="status")

    assert ("FieldValueTypeInvalid", "status.count") in wrong.expect(422, "Invalid").causes
    assert pruned.expect(200).body["status"] == {"count": 3}


async def test_the_status_of_pods_jobs_and_claims_is_kept_apart(world: World) -> None:
    await world.create("pods", pod("a"))
    await world.create("persistentvolumeclaims", claim("a"))
    await world.create("jobs", job("a", suspend=True))

    for plural, status in [
        ("pods", {"phase": "Running"}),
        ("persistentvolumeclaims", {"phase": "Lost"}),
        ("jobs", {"active": 3}),
    ]:
        ignored = (await world.patch(plural, "a", {"status": status})).expect(200).body
        taken = (await world.patch(plural, "a", {"status": status}, sub="status")).expect(200).body
        assert status.items() <= taken["status"].items()
        assert not status.items() <= ignored["status"].items()
