"""Owner references: what collection does to children, under each policy. Needs the controllers of either world."""

import asyncio

import pytest

from support.manifests import config_map, job, owned_by, pod
from support.widgets import widget
from support.worlds import World


@pytest.mark.parametrize("policy", ["Background", "Foreground", None])
async def test_children_go_with_their_owner(world: World, policy: str | None) -> None:
    owner = await world.create("widgets", widget("owner"))
    await world.create("configmaps", config_map("child", ownerReferences=[owned_by(owner)]))

    (await world.delete("widgets", "owner", {"propagationPolicy": policy} if policy else None)).expect(200)

    await world.gone("widgets", "owner")
    await world.gone("configmaps", "child")


async def test_grandchildren_go_too(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    child = await world.create("configmaps", config_map("child", ownerReferences=[owned_by(owner)]))
    await world.create("configmaps", config_map("grandchild", ownerReferences=[owned_by(child)]))

    (await world.delete("widgets", "owner")).expect(200)

    await world.gone("configmaps", "grandchild")


async def test_orphaning_leaves_the_children_without_the_reference(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    await world.create("configmaps", config_map("child", ownerReferences=[owned_by(owner)]))

    (await world.delete("widgets", "owner", {"propagationPolicy": "Orphan"})).expect(200)

    await world.gone("widgets", "owner")
    child = await world.read("configmaps", "child")
    assert "ownerReferences" not in child["metadata"]
    assert "deletionTimestamp" not in child["metadata"]


async def test_foreground_deletion_waits_for_children_that_block(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    blocking = config_map(
        "child", ownerReferences=[owned_by(owner, blockOwnerDeletion=True)], finalizers=["x.example/f"]
    )
    await world.create("configmaps", blocking)

    (await world.delete("widgets", "owner", {"propagationPolicy": "Foreground"})).expect(200)

    async def terminating() -> bool:
        return "deletionTimestamp" in (await world.read("configmaps", "child"))["metadata"]

    await world.eventually(terminating, what="the child's deletion")
    assert "foregroundDeletion" in (await world.read("widgets", "owner"))["metadata"]["finalizers"]
    (await world.patch("configmaps", "child", {"metadata": {"finalizers": None}})).expect(200)
    await world.gone("widgets", "owner")


async def test_foreground_deletion_does_not_wait_for_children_that_do_not_block(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    free = config_map("child", ownerReferences=[owned_by(owner, blockOwnerDeletion=False)], finalizers=["x.example/f"])
    await world.create("configmaps", free)

    (await world.delete("widgets", "owner", {"propagationPolicy": "Foreground"})).expect(200)

    await world.gone("widgets", "owner")
    await world.read("configmaps", "child")
    (await world.patch("configmaps", "child", {"metadata": {"finalizers": None}})).expect(200)


async def test_a_child_with_another_living_owner_stays(world: World) -> None:
    first = await world.create("widgets", widget("first"))
    second = await world.create("widgets", widget("second"))
    await world.create("configmaps", config_map("child", ownerReferences=[owned_by(first), owned_by(second)]))

    (await world.delete("widgets", "first")).expect(200)

    async def released() -> bool:
        child = await world.read("configmaps", "child")
        return [each["name"] for each in child["metadata"]["ownerReferences"]] == ["second"]

    await world.eventually(released, what="the release")


async def test_a_child_whose_owner_never_was_is_collected(world: World) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "00000000-0000-0000-0000-00000000dead"}

    await world.create("configmaps", config_map("child", ownerReferences=[ghost]))

    await world.gone("configmaps", "child")


async def test_a_child_whose_owner_has_the_name_but_another_uid_is_collected(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    reference = owned_by(owner) | {"uid": "00000000-0000-0000-0000-00000000dead"}

    await world.create("configmaps", config_map("child", ownerReferences=[reference]))

    await world.gone("configmaps", "child")
    await world.read("widgets", "owner")


async def test_an_owner_in_another_namespace_does_not_keep_a_child(world: World) -> None:
    other = await world.new_namespace()
    owner = (await world.send("POST", world.path("configmaps", namespace=other), config_map("owner"))).expect(201).body

    await world.create("configmaps", config_map("child", ownerReferences=[owned_by(owner)]))

    await world.gone("configmaps", "child")


async def test_a_finalizer_of_a_child_holds_it_but_not_its_owner(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    await world.create("configmaps", config_map("child", ownerReferences=[owned_by(owner)], finalizers=["x.example/f"]))

    (await world.delete("widgets", "owner")).expect(200)

    await world.gone("widgets", "owner")

    async def terminating() -> bool:
        return "deletionTimestamp" in (await world.read("configmaps", "child"))["metadata"]

    await world.eventually(terminating, what="the child's deletion")
    (await world.patch("configmaps", "child", {"metadata": {"finalizers": None}})).expect(200)
    await world.gone("configmaps", "child")


async def test_deleting_a_job_in_the_background_takes_its_pods(world: World) -> None:
    await world.create("jobs", job("a"))

    async def pods() -> list[str]:
        return await world.names("pods", labelSelector="job-name=a")

    created = await world.eventually(pods, what="the Pod")
    (await world.delete("jobs", "a", {"propagationPolicy": "Background"})).expect(200)

    await world.gone("pods", created[0])


async def test_an_owner_reference_needs_all_its_parts(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    reference = owned_by(owner)
    for missing in ("uid", "name", "kind", "apiVersion"):
        partial = {key: value for key, value in reference.items() if key != missing}
        answer = await world.post("configmaps", config_map("child", ownerReferences=[partial]))
        answer.expect(422, "Invalid")
        assert any(field.startswith("metadata.ownerReferences") for _, field in answer.causes)


async def test_only_one_owner_may_be_the_controller(world: World) -> None:
    owners = [owned_by(await world.create("widgets", widget(name)), controller=True) for name in "ab"]

    answer = (await world.post("configmaps", config_map("child", ownerReferences=owners))).expect(422, "Invalid")

    assert answer.causes == {("FieldValueInvalid", "metadata.ownerReferences")}
    assert "Only one reference can have Controller set to true" in answer.message


async def test_unowned_objects_are_left_alone(world: World) -> None:
    owner = await world.create("widgets", widget("owner"))
    await world.create("configmaps", config_map("child", ownerReferences=[owned_by(owner)]))
    await world.create("configmaps", config_map("stranger"))
    await world.create("pods", pod("stranger"))

    await world.delete("widgets", "owner")
    await world.gone("configmaps", "child")
    await asyncio.sleep(0)

    await world.read("configmaps", "stranger")
    await world.read("pods", "stranger")
