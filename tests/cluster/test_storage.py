"""Storage that is slow, fails, keeps what is deleted, or has somebody's finalizer on it."""

import time

import pytest

from datamover.api import reasons
from datamover.api.names import Phase
from support.cluster import condition, wait_for
from support.place import TREE, Place, digests_of
from support.pods import restricted_pod

on_demand = pytest.mark.xdist_group("rig-failing")
"""The switches are the class's, so these run one after the other."""


def test_a_driver_that_takes_its_time_is_waited_for(place: Place) -> None:
    place.create_volume(storage_class="rig-slow")
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    place.wait_phase("backup", Phase.CREATING_CLONE)
    assert place.ready("backup")["reason"] == reasons.CLONING
    place.wait_complete("backup")
    assert place.store.digests(place.bucket) == digests_of(TREE)


@on_demand
@pytest.mark.parametrize(
    ("method", "operation"), [("Clone", "clone"), ("Snapshot", "restore"), ("Snapshot", "snapshot")]
)
def test_a_driver_that_fails_is_quoted_and_the_run_goes_on_when_it_works_again(
    place: Place, method: str, operation: str
) -> None:
    place.create_volume(storage_class="rig-failing")
    place.create_secret()
    reason = reasons.SNAPSHOT_FAILED if operation == "snapshot" else reasons.CLONE_PROVISIONING_FAILED
    with place.cluster.failing(operation, words="Internal: the array has lost a disk"):
        place.create_mover("backup", copyMethod=method, deletePvcAfterBackup=True)
        assert "the array has lost a disk" in place.wait_reason("backup", reason)["message"]
    place.wait_complete("backup", seconds=180)
    assert place.store.digests(place.bucket) == digests_of(TREE)
    assert place.claims() == {"app-data"}


@on_demand
def test_a_volume_that_cannot_be_mounted_is_told_and_heals(place: Place) -> None:
    place.create_volume(storage_class="rig-failing", tree={"a": b"a"})
    place.create_secret()
    with place.cluster.failing("publish", words="Internal: no path to the array"):
        place.create_mover("backup", deletePvcAfterBackup=True)
        assert "no path to the array" in place.wait_reason("backup", reasons.MOVER_CANNOT_START)["message"]
    place.wait_complete("backup", seconds=180)


@on_demand
def test_storage_that_is_not_freed_keeps_the_run_from_being_complete(place: Place) -> None:
    place.create_volume(storage_class="rig-failing", tree={"a": b"a"})
    place.create_secret()
    with place.cluster.failing("delete", words="Internal: the array is read-only"):
        place.create_mover("backup", deletePvcAfterBackup=True)
        ready = place.wait_reason("backup", reasons.CLEANUP_WAITING, seconds=120)
        assert place.mover("backup")["status"]["phase"] == Phase.CLEANING_UP
        assert "the array is read-only" in ready["message"]
    place.wait_complete("backup", seconds=180)


def test_a_volume_of_no_csi_driver_is_read_directly_and_never_cloned(place: Place) -> None:
    """Its provisioner would not look at what to clone, and deliver an empty volume."""
    if place.cluster.rig is None:
        pytest.skip("needs a directory of the node")
    directory, name = place.scratch / "disk", f"by-hand-{place.namespace}"
    directory.mkdir()
    directory.chmod(0o777)
    volume = {
        "storageClassName": name,
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(directory)},
        "claimRef": {"namespace": place.namespace, "name": "app-data"},
    }
    place.kubectl.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "example.com/host-path",
        },
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
    )
    try:
        place.create_volume(storage_class=name)
        place.create_secret()
        place.create_mover("cloned")
        assert name in place.wait_reason("cloned", reasons.CLASS_CANNOT_CLONE)["message"]
        assert place.claims() == {"app-data"}
        place.create_mover("direct", copyMethod="Direct")
        place.wait_complete("direct")
        assert place.store.digests(place.bucket) == digests_of(TREE)
        place.run("delete", "datamover/cloned")
    finally:
        place.kubectl.run("delete", f"storageclass/{name}", f"pv/{name}", "--wait=false")


def test_a_class_that_keeps_volumes_is_told_at_the_end(place: Place) -> None:
    place.create_volume(storage_class="rig-retain", tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    found = place.wait_complete("backup")
    said = [each for each in found["status"]["conditions"] if each["reason"] == reasons.VOLUME_RETAINED]
    assert said
    kept = [
        volume["metadata"]["name"]
        for volume in place.kubectl.items("pv")
        if volume["spec"]["claimRef"]["namespace"] == place.namespace
    ]
    assert any(name in said[0]["message"] for name in kept)
    place.run("delete", "pvc/app-data", "--wait=true")
    for name in kept:  # what an administrator does who wants the storage back
        patch = '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'
        place.kubectl.run("patch", "pv", name, "--type=merge", "-p", patch)


def test_a_finalizer_of_somebody_elses_is_named_and_the_run_completes_without_it(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    place.wait_phase("backup", Phase.CREATING_POD)
    clone = place.mover("backup")["status"]["restoredPvcName"]
    place.run("patch", "pvc", clone, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/keep"]}}')
    message = place.wait_reason("backup", reasons.CLEANUP_WAITING, seconds=120)["message"]
    assert "example.com/keep" in message
    assert clone in message
    # as printed in the documents
    place.run_shell(
        """kubectl patch pvc <cloned-pvc-name> -p '{"metadata":{"finalizers":[]}}' --type=merge""".replace(
            "<cloned-pvc-name>", f"{clone} -n {place.namespace}"
        )
    )
    place.wait_complete("backup")


def test_a_pod_that_uses_the_clone_holds_the_clean_up_and_is_named(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    place.wait_phase("backup", Phase.CREATING_POD)
    clone = place.mover("backup")["status"]["restoredPvcName"]
    command = ["python3", "-c", "import time; time.sleep(600)"]
    guest = restricted_pod("guest", image=place.cluster.images.mover, command=command, claim=clone)
    place.kubectl.apply(guest, namespace=place.namespace)
    message = place.wait_reason("backup", reasons.CLEANUP_WAITING, seconds=120)["message"]
    assert "guest" in message, message
    place.run("delete", "pod/guest", "--wait=true")
    place.wait_complete("backup")


def test_a_clone_that_is_deleted_before_its_data_were_moved_fails_the_run_and_touches_nothing(place: Place) -> None:
    place.create_volume(storage_class="rig-wait")
    place.create_secret()
    place.create_mover("backup", mover={"nodeSelector": {"disk": "none-such"}}, deletePvcAfterBackup=True)
    place.wait_reason("backup", reasons.MOVER_UNSCHEDULABLE)
    clone = place.mover("backup")["status"]["restoredPvcName"]
    place.run("delete", f"pvc/{clone}", "--wait=false")
    place.run("delete", "pods", "-l", "app.kubernetes.io/component=mover", "--wait=true")
    wait_for(lambda: place.mover("backup")["status"]["phase"] == Phase.FAILED, what=place.explain)
    place.wait_reason("backup", reasons.CLONE_LOST)
    assert condition(place.mover("backup"), "Complete").get("status") != "True"
    assert place.claims() == {"app-data"}


def test_a_deadline_ends_a_run_that_cannot_go_on(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", mover={"nodeSelector": {"disk": "none-such"}}, deadlineSeconds=5)
    begun = time.monotonic()
    place.wait_reason("backup", reasons.DEADLINE_EXCEEDED)
    assert time.monotonic() - begun < 60
