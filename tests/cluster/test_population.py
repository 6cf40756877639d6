"""Claims that are filled from a ReplicationDestination, or by a DataMoverRestore, with a real driver, snapshotter, binder and scheduler.

The image is a snapshot of a volume that a Pod has written; the destination's status names it, as its mover would have left it.
"""

import copy
import hashlib
import json
from typing import Any

import pytest

from datamover.api import names, reasons
from datamover.api.names import FillingReason
from datamover.api.volsync.names import (
    POPULATED_FROM_ANNOTATION,
    POPULATING_LABEL_PREFIX,
    POPULATOR_NAME,
    PRIME_PREFIX,
    PopulatorReason,
)
from kubekit.words.populator import VOLUME_POPULATORS
from support.cluster import DEFAULT_CLASS, PATIENCE, TEST_LABEL, wait_for
from support.definitions import POPULATORS
from support.place import TREE, Place
from support.pods import restricted_pod
from support.request_counts import count_audit_lines
from support.rights import asked

_READ = """
import hashlib, json, os
found = {}
for folder, _, files in os.walk("/data"):
    for name in files:
        path = os.path.join(folder, name)
        found[os.path.relpath(path, "/data")] = hashlib.sha256(open(path, "rb").read()).hexdigest()
print(json.dumps(found))
"""
DIGESTS = {path: hashlib.sha256(content).hexdigest() for path, content in TREE.items()}


@pytest.fixture
def filling(place: Place) -> Place:
    """A place with a destination that has no image yet."""
    if not place.cluster.has_snapshots():
        pytest.skip("needs the kinds of external-snapshotter")
    place.kubectl.apply(
        {
            "apiVersion": "volsync.backube/v1alpha1",
            "kind": "ReplicationDestination",
            "metadata": {"name": "restore"},
            "spec": {"external": {}},
        },
        namespace=place.namespace,
    )
    return place


def take_image(place: Place, name: str, *, source: str = "app-data") -> None:
    """Take a snapshot and wait until it holds its data."""
    labels = {"app.kubernetes.io/created-by": "volsync"}
    place.kubectl.apply(
        {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "labels": labels},
            "spec": {"source": {"persistentVolumeClaimName": source}},
        },
        namespace=place.namespace,
    )
    seconds = f"{PATIENCE:.0f}s"
    place.run("wait", "--for=jsonpath={.status.readyToUse}=true", f"volumesnapshot/{name}", f"--timeout={seconds}")


def publish(place: Place, name: str) -> None:
    latest = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}
    patch = json.dumps({"status": {"latestImage": latest}})
    place.run("patch", "replicationdestination/restore", "--subresource=status", "--type=merge", "-p", patch)


def ask(place: Place, name: str, *, storage_class: str = DEFAULT_CLASS) -> None:
    source = {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "restore"}
    place.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": place.cluster.storage_class(storage_class),
                "resources": {"requests": {"storage": "1Gi"}},
                "dataSourceRef": source,
            },
        },
        namespace=place.namespace,
    )


def begin_reading(place: Place, claim: str) -> None:
    """Create a Pod that reads all files of a claim, bound or not."""
    pod = restricted_pod(
        f"read-{claim}", image=place.cluster.images.mover, command=["python3", "-c", _READ], claim=claim
    )
    place.kubectl.apply(pod, namespace=place.namespace)


def read(place: Place, claim: str) -> dict[str, str]:
    """Return what that Pod has found."""
    pod = f"read-{claim}"
    place.run("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", f"--timeout={PATIENCE:.0f}s")
    found = json.loads(place.run("logs", pod))
    place.run("delete", f"pod/{pod}", "--wait=true")
    return {path: digest for path, digest in found.items() if not path.startswith("lost+found")}


def wait_told(place: Place, claim: str, reason: str) -> None:
    def reasons() -> list[str]:
        events = place.kubectl.items("events", "-n", place.namespace)
        return [each["reason"] for each in events if each["involvedObject"]["name"] == claim]

    wait_for(lambda: reason in reasons(), what=lambda: f"{reasons()}\n{place.run('describe', 'pvc', check=False)}")


def demand_nothing_left(place: Place, claim: str) -> None:
    """The temporary claim and the mark are gone; the volume is the claim's, and says where it is from."""

    def left() -> list[str]:
        claims = [name for name in place.claims() if name.startswith(PRIME_PREFIX)]
        images: list[dict[str, Any]] = place.kubectl.items("volumesnapshots", "-n", place.namespace)
        labels = [label for each in images for label in each["metadata"].get("labels", {})]
        return claims + [label for label in labels if label.startswith(POPULATING_LABEL_PREFIX)]

    wait_for(lambda: not left(), what=lambda: str(left()))
    found = place.kubectl.get("pvc", claim, "-n", place.namespace)
    volume = place.kubectl.get("pv", found["spec"]["volumeName"])
    assert volume["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    assert volume["metadata"]["annotations"][POPULATED_FROM_ANNOTATION] == f"{place.namespace}/restore"
    assert (found["status"]["phase"], volume["status"]["phase"]) == ("Bound", "Bound")


def remove_images(place: Place) -> None:
    place.run("delete", "pvc,volumesnapshots,replicationdestinations", "--all", "--wait=true", "--timeout=60s")


def test_a_claim_waits_for_the_first_image_and_has_its_files(filling: Place) -> None:
    ask(filling, "filled")
    wait_told(filling, "filled", PopulatorReason.NO_IMAGE)
    filling.create_volume()
    take_image(filling, "image-1")
    publish(filling, "image-1")
    filling.run("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/filled", f"--timeout={PATIENCE:.0f}s")
    begin_reading(filling, "filled")
    assert read(filling, "filled") == DIGESTS
    wait_told(filling, "filled", PopulatorReason.FINISHED)
    demand_nothing_left(filling, "filled")
    remove_images(filling)


def test_a_class_that_binds_on_first_use_is_filled_where_its_first_pod_runs(filling: Place) -> None:
    filling.cluster.storage_class("rig-wait")
    filling.create_volume(storage_class="rig-wait")
    take_image(filling, "image-1")
    publish(filling, "image-1")
    ask(filling, "filled", storage_class="rig-wait")
    wait_told(filling, "filled", PopulatorReason.WAITING_FOR_CONSUMER)
    assert not [name for name in filling.claims() if name.startswith(PRIME_PREFIX)]
    begin_reading(filling, "filled")
    assert read(filling, "filled") == DIGESTS
    demand_nothing_left(filling, "filled")
    remove_images(filling)


def test_a_claim_that_is_deleted_while_it_is_filled_takes_all_of_it_along(filling: Place) -> None:
    filling.create_volume(storage_class="rig-slow")
    take_image(filling, "image-1")
    publish(filling, "image-1")
    ask(filling, "filled", storage_class="rig-slow")
    wait_told(filling, "filled", PopulatorReason.CLAIM_CREATED)
    filling.run("delete", "pvc/filled", "--wait=true")
    wait_for(lambda: filling.claims() == {"app-data"}, what=lambda: str(filling.claims()))

    def volumes() -> list[str]:
        found = filling.kubectl.items("pv")
        mine = [each for each in found if each["spec"].get("claimRef", {}).get("namespace") == filling.namespace]
        return [each["metadata"]["name"] for each in mine if each["spec"]["claimRef"]["name"] != "app-data"]

    wait_for(lambda: not volumes(), what=lambda: str(volumes()))
    image = filling.kubectl.get("volumesnapshot", "image-1", "-n", filling.namespace)
    assert not [key for key in image["metadata"]["labels"] if key.startswith(POPULATING_LABEL_PREFIX)]
    remove_images(filling)


def test_the_operator_registers_itself_once_the_cluster_has_the_kind_for_it(place: Place) -> None:
    """The definition comes, as with an installation of the validator of data sources, and goes again."""
    definition = copy.deepcopy(POPULATORS)
    # one that a session which was killed has left is taken away before the next one, so that it is not met here
    definition["metadata"]["labels"] = TEST_LABEL
    if place.kubectl.get("crd", VOLUME_POPULATORS.group_resource):
        pytest.skip("the cluster has that kind already")

    rig = place.cluster.rig
    since = count_audit_lines(rig.layout.audit) if rig is not None else 0

    def verbs() -> set[str]:
        found = asked(place.cluster, since=since)
        return {each.verb for each in found if each.resource == VOLUME_POPULATORS.plural and each.code < 400}

    place.kubectl.apply(definition)
    try:
        place.kubectl.run(
            "wait", "--for=condition=Established", f"crd/{VOLUME_POPULATORS.group_resource}", "--timeout=30s"
        )
        name = f"volumepopulators/{POPULATOR_NAME}"
        wait_for(lambda: "sourceKind" in place.kubectl.run("get", name, "-o", "yaml", check=False))
        assert "kind: ReplicationDestination" in place.kubectl.run("get", name, "-o", "yaml")
        if rig is not None:
            wait_for(lambda: "create" in verbs(), what=lambda: str(verbs()))
    finally:
        place.kubectl.run("delete", "crd", VOLUME_POPULATORS.group_resource, "--wait=true")


def test_a_pod_starts_with_all_of_its_data_when_a_restore_fills_its_claim(place: Place) -> None:
    """With a class that binds on first use: nothing is made before the Pod is there, and it runs no sooner than all has come back."""
    place.create_volume()
    place.create_secret()
    place.create_mover("nightly", deletePvcAfterBackup=True)
    place.wait_complete("nightly")
    place.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "filled"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": place.cluster.storage_class("rig-wait"),
                "resources": {"requests": {"storage": "1Gi"}},
                "dataSourceRef": {"apiGroup": names.GROUP, "kind": "DataMoverRestore", "name": "back"},
            },
        },
        namespace=place.namespace,
    )
    wait_told(place, "filled", FillingReason.RESTORE_NOT_FOUND)
    place.kubectl.apply(
        {
            "apiVersion": f"{names.GROUP}/v1alpha1",
            "kind": "DataMoverRestore",
            "metadata": {"name": "back"},
            "spec": {"source": {"dataMover": "nightly"}, "target": {"claimName": "filled"}},
        },
        namespace=place.namespace,
    )
    wait_told(place, "filled", reasons.WAITING_FOR_CONSUMER)
    assert not [name for name in place.claims() if name.startswith(names.RESTORE_PRIME_PREFIX)]
    begin_reading(place, "filled")
    assert read(place, "filled") == DIGESTS
    place.run("wait", "--for=condition=Complete", "dmr/back", f"--timeout={PATIENCE:.0f}s")
    wait_told(place, "filled", FillingReason.POPULATED)
    assert not [name for name in place.claims() if name.startswith(names.RESTORE_PRIME_PREFIX)]
    restore = place.kubectl.get("datamoverrestore", "back", "-n", place.namespace)
    found = place.kubectl.get("pvc", "filled", "-n", place.namespace)
    volume = place.kubectl.get("pv", found["spec"]["volumeName"])
    assert volume["spec"]["claimRef"]["uid"] == found["metadata"]["uid"] == restore["status"]["run"]["claimUid"]
    assert volume["metadata"]["annotations"][names.POPULATED_BY_ANNOTATION] == restore["metadata"]["uid"]
    place.run("delete", "dmr/back", "--wait=true")
    assert place.kubectl.get("pvc", "filled", "-n", place.namespace)["status"]["phase"] == "Bound"
