import asyncio
import os

import pytest

from kubekit.words.snapshot import VOLUME_SNAPSHOT_CLASSES
from localkube.node.kinds import CLAIMS
from localkube.node.names import DRIVER
from localkube.node.snapshot_kinds import CONTENTS, SNAPSHOTS


@pytest.fixture
async def world(offline):
    await offline.start_node()
    await offline.storage_class()
    await offline.claim("src")
    directory = await offline.bound("src")
    (directory / "file").write_text("then")
    return offline


async def snapshot_class(world, name="snap", *, policy="Delete", default=False, driver=DRIVER):
    annotations = {"snapshot.storage.kubernetes.io/is-default-class": "true"} if default else {}
    manifest = {"metadata": {"name": name, "annotations": annotations}, "driver": driver, "deletionPolicy": policy}
    await world.create(VOLUME_SNAPSHOT_CLASSES, manifest)


async def snapshot(world, name="s", *, cls="snap", **source):
    spec = {"source": source or {"persistentVolumeClaimName": "src"}}
    if cls:
        spec["volumeSnapshotClassName"] = cls
    return await world.create(SNAPSHOTS, {"metadata": {"name": name}, "spec": spec})


async def until_ready(world, name="s"):
    async def ready():
        made = await world.get(SNAPSHOTS, name)
        return made if made.status.ready_to_use else None

    return await world.until(ready, what=f"{name} is ready")


async def until_error(world, part, name="s"):
    async def has():
        made = await world.get(SNAPSHOTS, name)
        return part in ((made.status.error or {}).get("message") or "")

    await world.until(has, what=part)


async def test_a_snapshot_keeps_what_was_there_and_can_be_restored(world):
    await snapshot_class(world)
    await snapshot(world)
    made = await until_ready(world)
    assert made.status.restore_size == str(1 << 30)
    assert made.status.creation_time
    content = await world.get(CONTENTS, made.status.bound_volume_snapshot_content_name)
    assert content.spec.volume_snapshot_ref.uid == made.metadata.uid
    assert content.status.snapshot_handle == content.metadata.name
    (await world.bound("src") / "file").write_text("now")
    source = {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "s"}
    await world.claim("restored", dataSource=source)
    assert (await world.bound("restored") / "file").read_text() == "then"


async def test_a_restore_waits_for_its_snapshot(world):
    source = {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "s"}
    await world.claim("restored", dataSource=source)
    assert "error getting snapshot s" in await world.told("ProvisioningFailed")
    await snapshot_class(world, default=True)
    await snapshot(world, cls=None)
    assert (await world.bound("restored") / "file").read_text() == "then"


async def test_delete_takes_content_and_directory_along(world):
    await snapshot_class(world)
    await snapshot(world)
    made = await until_ready(world)
    await world.delete(SNAPSHOTS, "s")
    await world.until_gone(SNAPSHOTS, "s")
    assert await world.get(CONTENTS, made.status.bound_volume_snapshot_content_name) is None
    assert [name for name in os.listdir(world.state / "volumes") if "snapcontent" in name] == []


async def test_retain_keeps_content_and_directory(world):
    await snapshot_class(world, policy="Retain")
    await snapshot(world)
    made = await until_ready(world)
    name = made.status.bound_volume_snapshot_content_name
    await world.delete(SNAPSHOTS, "s")
    await world.until_gone(SNAPSHOTS, "s")
    await world.quiet()
    assert await world.get(CONTENTS, name) is not None
    assert (world.state / "volumes" / name / "file").read_text() == "then"


async def test_an_existing_snapshot_can_be_bound_by_hand(world):
    await snapshot_class(world, policy="Retain")
    await snapshot(world)
    handle = (await until_ready(world)).status.bound_volume_snapshot_content_name
    await world.delete(SNAPSHOTS, "s")
    await world.until_gone(SNAPSHOTS, "s")
    reference = {
        "namespace": "default",
        "name": "again",
        "kind": "VolumeSnapshot",
        "apiVersion": "snapshot.storage.k8s.io/v1",
    }
    spec = {
        "driver": DRIVER,
        "deletionPolicy": "Retain",
        "source": {"snapshotHandle": handle},
        "volumeSnapshotRef": reference,
    }
    await world.create(CONTENTS, {"metadata": {"name": "by-hand"}, "spec": spec})
    await snapshot(world, "again", volumeSnapshotContentName="by-hand")
    await until_ready(world, "again")
    source = {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "again"}
    await world.claim("restored", dataSource=source)
    assert (await world.bound("restored") / "file").read_text() == "then"


@pytest.mark.parametrize(
    ("cls", "source", "part"),
    [
        ("none", {}, 'volumesnapshotclass "none" not found'),
        (None, {}, "0 default snapshot classes"),
        ("snap", {"persistentVolumeClaimName": "nobody"}, "the source claim nobody is not found"),
        ("snap", {"volumeSnapshotContentName": "gone"}, "VolumeSnapshotContent gone is missing"),
    ],
)
async def test_what_is_wrong_with_a_snapshot_is_in_its_status(world, cls, source, part):
    await snapshot_class(world)
    await snapshot(world, cls=cls, **source)
    await until_error(world, part)


async def test_a_snapshot_of_a_claim_that_comes_later_heals(world):
    await snapshot_class(world)
    await snapshot(world, persistentVolumeClaimName="late")
    await until_error(world, "the source claim late is not found")
    await world.claim("late")
    made = await until_ready(world)
    assert made.status.error is None


async def test_a_snapshot_of_another_driver_is_left_alone(world):
    await snapshot_class(world, driver="other.example.com")
    await snapshot(world)
    await asyncio.sleep(0.2)
    assert (await world.get(SNAPSHOTS, "s")).status.ready_to_use is None
    await world.delete(SNAPSHOTS, "s")
    await world.until_gone(SNAPSHOTS, "s")


async def test_deleting_the_source_leaves_the_snapshot(world):
    await snapshot_class(world)
    await snapshot(world)
    made = await until_ready(world)
    await world.delete(CLAIMS, "src")
    await world.until_gone(CLAIMS, "src")
    await world.quiet()
    place = world.state / "volumes" / made.status.bound_volume_snapshot_content_name
    assert (place / "file").read_text() == "then"
