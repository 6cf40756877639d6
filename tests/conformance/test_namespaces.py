"""Namespaces: what may be created in which, and how they end."""

import pytest

from support.manifests import claim, config_map, meta
from support.widgets import widget
from support.worlds import World


def namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name)}


async def test_a_namespace_is_active_and_labelled_with_its_name(world: World) -> None:
    name = await world.new_namespace()

    created = await world.read("namespaces", name)

    assert created["status"] == {"phase": "Active"}
    assert created["metadata"]["labels"]["kubernetes.io/metadata.name"] == name
    assert created["spec"]["finalizers"] == ["kubernetes"]


@pytest.mark.parametrize("name", ["Upper", "with.dot", "x" * 64])
async def test_a_namespace_name_is_a_dns_label(world: World, name: str) -> None:
    answer = (await world.post("namespaces", namespace(name))).expect(422, "Invalid")

    assert ("FieldValueInvalid", "metadata.name") in answer.causes


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_creating_in_a_missing_namespace_is_not_found(world: World, plural: str) -> None:
    path = world.path(plural, namespace="no-such-namespace")

    answer = (await world.send("POST", path, config_map() if plural == "configmaps" else widget())).expect(
        404, "NotFound"
    )

    assert answer.message == 'namespaces "no-such-namespace" not found'
    assert answer.details == {"name": "no-such-namespace", "kind": "namespaces"}


async def test_listing_in_a_missing_namespace_is_empty(world: World) -> None:
    answer = await world.send("GET", world.path("configmaps", namespace="no-such-namespace"))

    assert answer.expect(200).body["items"] == []


async def test_applying_in_a_missing_namespace_is_not_found(world: World) -> None:
    path = world.path("configmaps", "a", namespace="no-such-namespace")

    answer = await world.send("PATCH", path, config_map("a"), kind="application/apply-patch+yaml", fieldManager="x")

    answer.expect(404, "NotFound")


async def test_the_default_namespace_is_there(world: World) -> None:
    assert (await world.read("namespaces", "default"))["status"]["phase"] == "Active"


async def test_deleting_a_namespace_deletes_everything_in_it(world: World) -> None:
    other = await world.new_namespace()
    for plural, manifest in [
        ("configmaps", config_map("a")),
        ("widgets", widget("a")),
        ("persistentvolumeclaims", claim("a")),
    ]:
        (await world.send("POST", world.path(plural, namespace=other), manifest)).expect(201)

    deleted = (await world.delete("namespaces", other)).expect(200).body

    assert deleted["kind"] == "Namespace"
    assert deleted["status"]["phase"] == "Terminating"
    await world.gone("namespaces", other, seconds=40)
    for plural in ("configmaps", "widgets", "persistentvolumeclaims"):
        listed = (await world.send("GET", world.path(plural, namespace=other))).body["items"]
        assert [item for item in listed if item["metadata"]["name"] == "a"] == []


async def test_a_terminating_namespace_takes_nothing_new_and_waits_for_finalizers(world: World) -> None:
    other = await world.new_namespace()
    held = config_map("held", finalizers=["x.example/f"])
    (await world.send("POST", world.path("configmaps", namespace=other), held)).expect(201)
    (await world.delete("namespaces", other)).expect(200)

    refused = await world.send("POST", world.path("configmaps", namespace=other), config_map("late"))

    refused.expect(403, "Forbidden")
    assert ("NamespaceTerminating", "metadata.namespace") in refused.causes
    assert "because it is being terminated" in refused.message

    async def terminating() -> bool:
        current = (await world.send("GET", world.path("configmaps", "held", namespace=other))).body
        return "deletionTimestamp" in current["metadata"]

    await world.eventually(terminating, what="the content's deletion")
    assert (await world.read("namespaces", other))["status"]["phase"] == "Terminating"
    patch = {"metadata": {"finalizers": None}}
    path = world.path("configmaps", "held", namespace=other)
    (await world.send("PATCH", path, patch, kind="application/merge-patch+json")).expect(200)
    await world.gone("namespaces", other, seconds=40)


async def test_objects_in_a_terminating_namespace_can_still_change(world: World) -> None:
    other = await world.new_namespace()
    path = world.path("configmaps", "held", namespace=other)
    held = config_map("held", finalizers=["x.example/f"])
    (await world.send("POST", world.path("configmaps", namespace=other), held)).expect(201)
    (await world.delete("namespaces", other)).expect(200)

    patched = await world.send("PATCH", path, {"data": {"k": "w"}}, kind="application/merge-patch+json")

    assert patched.expect(200).body["data"] == {"k": "w"}
    await world.send("PATCH", path, {"metadata": {"finalizers": None}}, kind="application/merge-patch+json")


async def test_a_namespace_that_must_stay_is_forbidden_to_delete(world: World) -> None:
    (await world.delete("namespaces", "default")).expect(403, "Forbidden")
