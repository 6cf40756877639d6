"""DataVolumes in a real cluster where no CDI is: filled by real workers, used by Pods, and collected under them.

Two long scenarios: most of the time is waiting for Pods and volumes, and several DataVolumes wait together.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from datamover.api.cdi import names
from support.cluster import wait_for
from support.cookbook import demand_documented
from support.machines import (
    DISK,
    EMPTY,
    FILES,
    WHOLE,
    DiskUser,
    ask_collection,
    collect_at_once,
    data_volume,
    demand_collected,
    demand_no_workers,
    digest,
    explain,
    identities,
    phases,
    serve_images,
    upload,
    volumes,
    wait_gone,
    wait_phase,
    wait_reason,
)
from support.place import Place
from support.replicas import Stopwatch, create_authority, create_secret
from support.store import ACCESS_KEY, SECRET_KEY

GUEST = "jane"


@pytest.fixture
def disks(place: Place) -> Place:
    """A place whose cluster has a driver that clones, takes snapshots and makes devices."""
    if place.cluster.rig is None:
        pytest.skip("needs the rig's storage classes, and devices that belong to their Pod's user")
    return place


def remove_all(place: Place) -> None:
    place.run("delete", "datavolumes,volumesnapshots", "--all", "--wait=true", "--timeout=60s")
    place.run("delete", "pods,pvc", "--all", "--wait=true", "--timeout=60s")


def test_disks_are_filled_from_every_source_and_collected_while_a_pod_uses_them(disks: Place) -> None:
    """The namespace admits what is restricted only: each worker is such a Pod. Copies of what was collected are made, and collected themselves."""
    place, watch = disks, Stopwatch()
    web = serve_images(place)
    create_secret(place, "bucket", {"accessKeyId": ACCESS_KEY, "secretKey": SECRET_KEY})
    create_authority(place)
    file = place.scratch / "disk.img"
    file.write_bytes(DISK)
    place.store.rclone("copyto", str(file), f"s3:{place.bucket}/disk.img")
    s3 = {
        "url": f"https://{place.store.host}/{place.bucket}/disk.img",
        "secretRef": "bucket",
        "certConfigMap": "authority",
    }
    packed = web.source("disk.img.gz", checksum=web.sums["disk.img.gz"])
    place.kubectl.apply(
        data_volume("late", packed, storage_class="rig-wait"),
        data_volume("blank", {"blank": {}}, storage_class="rig"),
        data_volume("packed", packed, storage_class="rig"),
        data_volume("device", packed, storage_class="rig", mode="Block"),
        data_volume("image", web.source("disk.qcow2"), storage_class="rig"),
        data_volume("files", web.source("files.tar"), storage_class="rig", contentType="archive"),
        data_volume("bucket", {"s3": s3}, storage_class="rig"),
        data_volume("sent", {"upload": {}}, storage_class="rig"),
        data_volume("wrong", web.source("disk.img", checksum="0" * 64), storage_class="rig"),
        namespace=place.namespace,
    )
    made = {"blank", "packed", "device", "image", "files", "bucket"}
    wait_phase(place, ["late"], "PendingPopulation")
    wait_phase(place, ["sent"], "UploadReady")
    watch.lap("a receiver waits for an upload")
    upload(place, "sent", file)
    watch.lap("it is sent")
    machine = DiskUser(place, "machine", ["late"])  # its Pod is what the volume waits for
    wait_phase(place, {*made, "late", "sent"})
    watch.lap("all are filled")
    message = wait_reason(place, "wrong", "ChecksumMismatch")
    demand_documented("ChecksumMismatch", message)
    assert phases(place)["wrong"] != "Succeeded"
    place.run("delete", "datavolume/wrong", "--wait=true", "--timeout=60s")

    machine.wait()
    reader = DiskUser(place, "reader", sorted({*made, "sent"} - {"device"}), devices=["device"])
    reader.wait()
    expected = {f"{name}/disk.img": WHOLE for name in ("packed", "image", "bucket", "sent")}
    expected |= {f"files/{path}": digest(content) for path, content in FILES.items()}
    expected |= {"blank/disk.img": EMPTY, "disk-device": WHOLE}
    assert reader.read() == expected
    assert machine.read() == {"late/disk.img": WHOLE}
    watch.lap("all are read")

    before, users = identities(place), (machine.identity(), reader.identity())
    collect_at_once(place)
    ask_collection(place, sorted(phases(place)))
    wait_gone(place, {*made, "late", "sent"})
    watch.lap("all are collected")
    demand_collected(place, before)
    assert identities(place) == before
    assert (machine.identity(), reader.identity()) == users
    assert reader.read() == expected
    assert machine.read() == {"late/disk.img": WHOLE}
    reader.remove()
    demand_no_workers(place)

    snapshot = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": "moment"},
        "spec": {"source": {"persistentVolumeClaimName": "image"}},
    }
    place.kubectl.run("patch", "storageprofile", "rig", "--type=merge", "-p", '{"spec":{"cloneStrategy":"csi-clone"}}')
    try:
        source = {"namespace": place.namespace, "name": "packed"}
        cloned = data_volume("cloned", {"pvc": source}, storage_class="rig")
        # another mode than its source's: a worker copies it
        copied = data_volume("copied", {"pvc": source}, storage_class="rig", mode="Block")
        frozen = data_volume("frozen", {"snapshot": source | {"name": "moment"}}, storage_class="rig")
        place.kubectl.apply(snapshot, cloned, copied, frozen, namespace=place.namespace)
        # nobody asks for their collection: they are stamped
        wait_for(
            lambda: {"cloned", "copied", "frozen"} <= identities(place).keys() and not volumes(place),
            seconds=360,
            what=lambda: explain(place),
        )
    finally:
        place.kubectl.run("patch", "storageprofile", "rig", "--type=merge", "-p", '{"spec":{"cloneStrategy":null}}')
    watch.lap("copies are made and collected")
    demand_collected(place, ["cloned", "copied", "frozen"])
    assert {name: identities(place)[name] for name in before} == before
    reader = DiskUser(place, "reader", ["cloned", "frozen"], devices=["copied"])
    reader.wait()
    assert reader.read() == {"cloned/disk.img": WHOLE, "frozen/disk.img": WHOLE, "disk-copied": WHOLE}
    source = place.kubectl.get("pvc", "cloned", "-n", place.namespace)["spec"]["dataSource"]
    assert (source["kind"], source["name"]) == ("PersistentVolumeClaim", "packed"), "no driver has cloned it"
    assert machine.identity() == users[0]
    demand_no_workers(place)
    with place.beside("guest") as guest:
        copy_to_another_namespace(place, guest)
        watch.lap("copies are made in another namespace")
        assert {name: identities(place)[name] for name in before} == before
        remove_all(guest)
    remove_all(place)


def copy_to_another_namespace(place: Place, guest: Place) -> None:
    """A user of the other namespace copies a claim and a snapshot: the driver where it can, else a worker beside the source. Nothing is left there."""
    allow(guest, "making", "datavolumes.cdi.kubevirt.io")
    source = {"namespace": place.namespace, "name": "packed"}
    create_as_guest(guest, data_volume("early", {"pvc": source}, storage_class="rig"))
    message = wait_reason(guest, "early", "CloneAcrossNamespaces")
    assert f"may create datavolumes/source in namespace {place.namespace}" in message
    allow(place, "copying", "datavolumes.cdi.kubevirt.io/source")
    made = {
        "driven": data_volume("driven", {"pvc": source}, storage_class="rig"),
        # another mode than its source's: a worker copies it
        "worked": data_volume("worked", {"pvc": source}, storage_class="rig", mode="Block"),
        "frozen": data_volume("frozen", {"snapshot": source | {"name": "moment"}}, storage_class="rig"),
    }
    place.kubectl.run("patch", "storageprofile", "rig", "--type=merge", "-p", '{"spec":{"cloneStrategy":"csi-clone"}}')
    try:
        create_as_guest(guest, *made.values())
        wait_phase(guest, made)
    finally:
        place.kubectl.run("patch", "storageprofile", "rig", "--type=merge", "-p", '{"spec":{"cloneStrategy":null}}')
    ways = {
        name: json.loads(guest.kubectl.get("pvc", name, "-n", guest.namespace)["metadata"]["annotations"][names.COPIES])
        for name in made
    }
    assert {name: each["by"] for name, each in ways.items()} == {
        "driven": "driver",
        "worked": "worker",
        "frozen": "driver",
    }
    reader = DiskUser(guest, "reader", ["driven", "frozen"], devices=["worked"])
    reader.wait()
    assert reader.read() == {"driven/disk.img": WHOLE, "frozen/disk.img": WHOLE, "disk-worked": WHOLE}
    assert phases(guest)["early"] == "Pending", "the right counts for what is created with it"
    demand_no_workers(place)
    demand_no_workers(guest)


def allow(place: Place, name: str, resource: str) -> None:
    """Let the guest create a resource in a namespace."""
    place.run("create", "role", name, "--verb=create", f"--resource={resource}")
    place.run("create", "rolebinding", name, f"--role={name}", f"--user={GUEST}")


def create_as_guest(place: Place, *manifests: Mapping[str, Any]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [dict(each) for each in manifests]})
    place.kubectl.run("create", f"--as={GUEST}", "-n", place.namespace, "-f", "-", text=text)


@pytest.mark.disrupts
def test_an_operator_that_is_killed_while_it_fills_and_while_it_collects_is_followed_by_one_that_goes_on(
    disks: Place,
) -> None:
    place = disks
    web = serve_images(place)
    empty = [f"blank-{number}" for number in range(4)]
    place.kubectl.apply(
        data_volume("held", web.source("held.img"), storage_class="rig"),
        *(data_volume(name, {"blank": {}}, storage_class="rig") for name in empty),
        namespace=place.namespace,
    )
    wait_phase(place, ["held"], "ImportInProgress")
    place.wait_running()
    (worker,) = place.mover_pods()[:1]
    place.cluster.kill_operator()
    web.let_go()
    wait_phase(place, ["held", *empty])
    before = identities(place)
    user = DiskUser(place, "user", sorted(before))
    user.wait()
    found = user.read()
    assert found == {f"{name}/disk.img": WHOLE if name == "held" else EMPTY for name in before}, worker
    identity = user.identity()
    place.cluster.renew_operator()

    collect_at_once(place)
    ask_collection(place, sorted(before))
    wait_for(
        lambda: (
            any(each["metadata"].get("finalizers") for each in volumes(place).values())
            or len(phases(place)) < len(before)
        )
    )
    place.cluster.kill_operator()
    wait_gone(place, before)
    demand_collected(place, before)
    assert identities(place) == before
    assert (user.read(), user.identity()) == (found, identity)
    demand_no_workers(place)
    remove_all(place)
    place.cluster.renew_operator()
