"""The snapshot kinds: the published definitions, and what a server does with them."""

from typing import Any

import pytest

from support.manifests import meta
from support.worlds import World

API = "snapshot.storage.k8s.io/v1"


def snapshot(name: str = "s", *, source: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    spec = {"source": {"persistentVolumeClaimName": "data"} if source is None else source, **fields.pop("spec", {})}
    return {"apiVersion": API, "kind": "VolumeSnapshot", "metadata": meta(name), "spec": spec, **fields}


def content(world: World, name: str) -> dict[str, Any]:
    reference = {"apiVersion": API, "kind": "VolumeSnapshot", "name": "s", "namespace": world.namespace}
    return {
        "apiVersion": API,
        "kind": "VolumeSnapshotContent",
        "metadata": meta(name),
        "spec": {
            "driver": "csi.example.com",
            "deletionPolicy": "Retain",
            "source": {"snapshotHandle": "s-1"},
            "volumeSnapshotRef": reference,
        },
    }


@pytest.mark.parametrize(
    ("name", "kind", "namespaced", "short", "status"),
    [
        ("volumesnapshots", "VolumeSnapshot", True, ["vs"], True),
        ("volumesnapshotclasses", "VolumeSnapshotClass", False, ["vsclass", "vsclasses"], False),
        ("volumesnapshotcontents", "VolumeSnapshotContent", False, ["vsc", "vscs"], True),
    ],
)
async def test_the_snapshot_kinds_are_described(
    world: World, name: str, kind: str, namespaced: bool, short: list[str], status: bool
) -> None:
    listed = (await world.send("GET", f"/apis/{API}")).expect(200).body["resources"]

    resource = next(each for each in listed if each["name"] == name)
    assert (resource["kind"], resource["namespaced"], resource["shortNames"]) == (kind, namespaced, short)
    assert any(each["name"] == f"{name}/status" for each in listed) == status


async def test_the_status_of_a_snapshot_is_written_by_its_subresource_alone(world: World) -> None:
    created = await world.create("volumesnapshots", snapshot(status={"readyToUse": True}))
    assert "status" not in created

    ready = {"readyToUse": True, "restoreSize": "1Gi", "boundVolumeSnapshotContentName": "c", "bogus": 1}
    patched = (await world.patch("volumesnapshots", "s", {"status": ready}, sub="status")).expect(200).body

    del ready["bogus"]
    assert patched["status"] == ready
    assert patched["metadata"]["generation"] == created["metadata"]["generation"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"spec": {}}, "spec.source"),
        ({"spec": {"source": {"persistentVolumeClaimName": 1}}}, "spec.source.persistentVolumeClaimName"),
        ({"spec": None}, "spec"),
    ],
)
async def test_a_wrong_snapshot_is_invalid_with_its_field(world: World, wrong: dict[str, Any], field: str) -> None:
    answer = await world.post("volumesnapshots", snapshot() | wrong)

    assert field in {each for _, each in answer.expect(422, "Invalid").causes}


async def test_a_size_that_is_no_quantity_is_invalid(world: World) -> None:
    await world.create("volumesnapshots", snapshot())

    answer = await world.patch("volumesnapshots", "s", {"status": {"restoreSize": "lots"}}, sub="status")

    assert ("FieldValueInvalid", "status.restoreSize") in answer.expect(422, "Invalid").causes


async def test_a_class_of_snapshots_needs_a_driver_and_a_known_policy(world: World) -> None:
    manifest = {"apiVersion": API, "kind": "VolumeSnapshotClass", "metadata": meta(f"c-{world.namespace}")}

    bare = (await world.post("volumesnapshotclasses", manifest)).expect(422, "Invalid")
    wrong = {"driver": "csi.example.com", "deletionPolicy": "Keep"}
    unknown = (await world.post("volumesnapshotclasses", manifest | wrong)).expect(422, "Invalid")

    assert {field for _, field in bare.causes} >= {"driver", "deletionPolicy"}
    assert ("FieldValueNotSupported", "deletionPolicy") in unknown.causes


async def test_a_finalizer_holds_a_content_of_the_whole_cluster(world: World) -> None:
    name = f"content-{world.namespace}"
    manifest = content(world, name)
    manifest["metadata"]["finalizers"] = ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"]
    await world.create("volumesnapshotcontents", manifest)

    (await world.delete("volumesnapshotcontents", name)).expect(200)

    assert (await world.read("volumesnapshotcontents", name))["metadata"]["deletionTimestamp"]
    (await world.patch("volumesnapshotcontents", name, {"metadata": {"finalizers": None}})).expect(200)
    await world.gone("volumesnapshotcontents", name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "exactly one of volumeSnapshotContentName and persistentVolumeClaimName must be set"),
        (
            {"persistentVolumeClaimName": "data", "volumeSnapshotContentName": "c"},
            "exactly one of volumeSnapshotContentName and persistentVolumeClaimName must be set",
        ),
    ],
    ids=["none", "both"],
)
async def test_a_snapshot_has_one_source(world: World, source: dict[str, str], message: str) -> None:
    answer = await world.post("volumesnapshots", snapshot(source=source))

    assert message in answer.expect(422, "Invalid").message


async def test_the_source_of_a_snapshot_cannot_change(world: World) -> None:
    await world.create("volumesnapshots", snapshot())

    answer = await world.patch("volumesnapshots", "s", {"spec": {"source": {"persistentVolumeClaimName": "other"}}})

    assert "persistentVolumeClaimName is immutable" in answer.expect(422, "Invalid").message
