"""Deleting: preconditions, finalizers, grace, collections."""

import pytest

from support.manifests import claim, config_map, job, pod
from support.widgets import widget
from support.worlds import World

OTHER_UID = "00000000-0000-0000-0000-000000000000"


async def test_deleting_answers_with_a_status_that_names_the_object(world: World) -> None:
    created = await world.create("configmaps", config_map("a"))

    answer = (await world.delete("configmaps", "a")).expect(200)

    assert (answer.body["kind"], answer.body["status"]) == ("Status", "Success")
    assert answer.details == {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    (await world.get("configmaps", "a")).expect(404, "NotFound")


async def test_deleting_a_custom_resource_names_its_group(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    answer = (await world.delete("widgets", "a")).expect(200)

    assert answer.details == {
        "name": "a",
        "group": "testing.datamover.example",
        "kind": "widgets",
        "uid": created["metadata"]["uid"],
    }


async def test_deleting_twice_is_not_found(world: World) -> None:
    await world.create("configmaps", config_map("a"))
    (await world.delete("configmaps", "a")).expect(200)

    (await world.delete("configmaps", "a")).expect(404, "NotFound")


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_a_uid_precondition_that_does_not_hold_is_a_conflict(world: World, plural: str) -> None:
    await world.create(plural, config_map("a") if plural == "configmaps" else widget("a"))

    answer = await world.delete(plural, "a", {"preconditions": {"uid": OTHER_UID}})

    answer.expect(409, "Conflict")
    assert f"the UID in the precondition ({OTHER_UID}) does not match the UID in record" in answer.message
    await world.read(plural, "a")


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_a_version_precondition_that_does_not_hold_is_a_conflict(world: World, plural: str) -> None:
    old = await world.create(plural, config_map("a") if plural == "configmaps" else widget("a"))
    (await world.patch(plural, "a", {"metadata": {"labels": {"x": "1"}}})).expect(200)

    answer = await world.delete(plural, "a", {"preconditions": {"resourceVersion": old["metadata"]["resourceVersion"]}})

    answer.expect(409, "Conflict")
    assert "does not match the ResourceVersion in record" in answer.message
    await world.read(plural, "a")


async def test_preconditions_that_hold_delete(world: World) -> None:
    metadata = (await world.create("configmaps", config_map("a")))["metadata"]

    preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    (await world.delete("configmaps", "a", {"preconditions": preconditions})).expect(200)

    (await world.get("configmaps", "a")).expect(404)


async def test_a_finalizer_keeps_a_deleted_object_until_it_is_removed(world: World) -> None:
    created = await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})

    answer = (await world.delete("widgets", "a")).expect(200)
    kept = await world.read("widgets", "a")

    assert answer.body["kind"] == "Widget"
    assert kept["metadata"]["deletionTimestamp"]
    assert kept["metadata"]["deletionGracePeriodSeconds"] == 0
    assert int(kept["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    assert kept["metadata"]["generation"] == created["metadata"]["generation"] + 1
    (await world.patch("widgets", "a", {"metadata": {"finalizers": None}})).expect(200)
    (await world.get("widgets", "a")).expect(404)


async def test_deleting_a_deleted_object_again_changes_nothing(world: World) -> None:
    await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})
    (await world.delete("widgets", "a")).expect(200)
    first = await world.read("widgets", "a")

    (await world.delete("widgets", "a")).expect(200)

    assert await world.read("widgets", "a") == first


async def test_a_deleted_object_takes_no_new_finalizer(world: World) -> None:
    await world.create(
        "widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f", "y.example/f"]}}
    )
    await world.delete("widgets", "a")

    more = await world.patch(
        "widgets", "a", {"metadata": {"finalizers": ["x.example/f", "y.example/f", "z.example/f"]}}
    )
    fewer = await world.patch("widgets", "a", {"metadata": {"finalizers": ["y.example/f"]}})

    assert more.expect(422, "Invalid").causes == {("FieldValueForbidden", "metadata.finalizers")}
    assert "no new finalizers can be added if the object is being deleted" in more.message
    assert fewer.expect(200).body["metadata"]["finalizers"] == ["y.example/f"]


async def test_a_deleted_object_can_still_be_changed(world: World) -> None:
    await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})
    deleted = (await world.delete("widgets", "a")).body["metadata"]["deletionTimestamp"]

    patch = {"spec": {"size": 2}, "metadata": {"deletionTimestamp": None}}
    changed = (await world.patch("widgets", "a", patch)).expect(200).body

    assert changed["spec"]["size"] == 2
    assert changed["metadata"]["deletionTimestamp"] == deleted


async def test_the_name_of_a_deleted_object_is_taken_until_it_is_gone(world: World) -> None:
    await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})
    await world.delete("widgets", "a")

    (await world.post("widgets", widget("a"))).expect(409, "AlreadyExists")


async def test_a_finalizer_needs_a_qualified_name(world: World) -> None:
    answer = await world.post("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["not ok"]}})

    assert answer.expect(422, "Invalid").causes == {("FieldValueInvalid", "metadata.finalizers")}


async def test_an_unscheduled_pod_goes_at_once(world: World) -> None:
    await world.create("pods", pod("a"))

    (await world.delete("pods", "a")).expect(200)

    (await world.get("pods", "a")).expect(404)


async def test_a_pod_on_a_node_waits_for_its_grace_period(world: World) -> None:
    await world.create("pods", pod("a", nodeName="nowhere", terminationGracePeriodSeconds=17))

    answer = (await world.delete("pods", "a")).expect(200).body

    assert answer["kind"] == "Pod"
    kept = await world.read("pods", "a")
    assert kept["metadata"]["deletionTimestamp"] > kept["metadata"]["creationTimestamp"]
    assert kept["metadata"]["deletionGracePeriodSeconds"] == 17
    (await world.delete("pods", "a", {"gracePeriodSeconds": 0})).expect(200)
    (await world.get("pods", "a")).expect(404)


async def test_a_grace_period_can_only_be_shortened(world: World) -> None:
    await world.create("pods", pod("a", nodeName="nowhere"))

    seconds = []
    for grace in (20, 40, 5):
        (await world.delete("pods", "a", {"gracePeriodSeconds": grace})).expect(200)
        seconds.append((await world.read("pods", "a"))["metadata"]["deletionGracePeriodSeconds"])

    assert seconds == [20, 20, 5]


async def test_a_grace_period_may_come_as_query(world: World) -> None:
    await world.create("pods", pod("a", nodeName="nowhere"))

    (await world.delete("pods", "a", gracePeriodSeconds=0)).expect(200)

    (await world.get("pods", "a")).expect(404)


async def test_a_finished_pod_goes_at_once(world: World) -> None:
    await world.create("pods", pod("a", nodeName="nowhere"))
    (await world.patch("pods", "a", {"status": {"phase": "Succeeded"}}, sub="status")).expect(200)

    (await world.delete("pods", "a")).expect(200)

    (await world.get("pods", "a")).expect(404)


async def test_a_negative_or_unknown_option_is_refused(world: World) -> None:
    await world.create("configmaps", config_map("a"))

    (await world.delete("configmaps", "a", {"propagationPolicy": "Sideways"})).expect(422, "Invalid")
    assert (
        await world.delete("configmaps", "a", {"propagationPolicy": "Orphan", "orphanDependents": True})
    ).status in {400, 422}
    await world.read("configmaps", "a")


async def test_deleting_a_collection_takes_what_the_selector_chooses(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.create("configmaps", config_map(name, labels={"own": "1", "kept": str(name == "c").lower()}))

    answer = (await world.delete("configmaps", labelSelector="own,kept!=true")).expect(200)

    assert {item["metadata"]["name"] for item in answer.body["items"]} == {"a", "b"}
    assert await world.names("configmaps", labelSelector="own") == ["c"]


async def test_deleting_a_collection_respects_finalizers(world: World) -> None:
    await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})
    await world.create("widgets", widget("b"))

    (await world.delete("widgets")).expect(200)

    assert await world.names("widgets") == ["a"]
    assert (await world.read("widgets", "a"))["metadata"]["deletionTimestamp"]


async def test_foreground_deletion_adds_its_finalizer(world: World) -> None:
    await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})

    (await world.delete("widgets", "a", {"propagationPolicy": "Foreground"})).expect(200)

    kept = await world.read("widgets", "a")
    assert kept["metadata"]["deletionTimestamp"]
    assert "x.example/f" in kept["metadata"]["finalizers"]


async def test_the_default_for_jobs_is_orphaning_and_for_others_background(world: World) -> None:
    """The old default of batch/v1, so that a client has to say `Background`; kubectl always does."""
    await world.create("jobs", job("a", suspend=True))
    await world.create("persistentvolumeclaims", claim("a"))

    answer = (await world.delete("jobs", "a")).expect(200)

    assert answer.body["kind"] == "Job"
    assert "orphan" in answer.body["metadata"]["finalizers"]
