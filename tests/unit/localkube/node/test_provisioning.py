from pathlib import Path

import msgspec
import pytest

from localkube.node.kinds import Claim, PersistentVolume, StorageClass
from localkube.node.names import DRIVER
from localkube.node.provisioning import (
    NotOurs,
    Provision,
    ProvisionFacts,
    Refused,
    Snapshot,
    decide,
    deletable,
    volume_manifest,
)

CLONE = {"kind": "PersistentVolumeClaim", "name": "src"}
RESTORE = {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "snap"}


def claim(name="c", *, size="2Gi", asked=DRIVER, node=None, deleting=False, phase=None, volume=None, **spec):
    annotations = {"volume.kubernetes.io/storage-provisioner": asked}
    if node:
        annotations["volume.kubernetes.io/selected-node"] = node
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "ns",
                "uid": f"uid-{name}",
                "annotations": annotations,
                "deletionTimestamp": "2026-01-01T00:00:00Z" if deleting else None,
            },
            "spec": {
                "storageClassName": "local",
                "resources": {"requests": {"storage": size}},
                "volumeName": volume,
                **spec,
            },
            "status": {"phase": phase} if phase else None,
        },
        Claim,
    )


def storage_class(mode="Immediate", provisioner=DRIVER, **parameters):
    return msgspec.convert(
        {
            "metadata": {"name": "local"},
            "provisioner": provisioner,
            "volumeBindingMode": mode,
            "parameters": parameters,
        },
        StorageClass,
    )


def volume(size="1Gi", path="/vol/src", **spec):
    return msgspec.convert(
        {
            "metadata": {"name": "v"},
            "spec": {"capacity": {"storage": size}, "local": {"path": path} if path else None, **spec},
        },
        PersistentVolume,
    )


def facts(made, cls=None, **sources):
    return ProvisionFacts(claim=made, storage_class=cls or storage_class(), node="n", **sources)


SOURCE = {"source_claim": claim("src", phase="Bound", volume="v"), "source_volume": volume()}
READY = Snapshot(directory="/vol/snap", restore_size=1 << 30, driver=DRIVER, ready=True)


@pytest.mark.parametrize(
    "made",
    [
        facts(claim(asked="other.example.com")),
        facts(claim(volume="v")),
        facts(claim(deleting=True)),
        facts(claim(), storage_class(provisioner="other.example.com")),
        facts(claim(), storage_class("WaitForFirstConsumer")),
        facts(claim(node="elsewhere"), storage_class("WaitForFirstConsumer")),
        ProvisionFacts(claim=claim(), storage_class=None, node="n"),
        facts(claim(dataSourceRef={"kind": "Thing", "apiGroup": "x.example", "name": "t"})),  # a populator fills it
    ],
)
def test_what_is_not_ours_is_left_alone(made):
    assert decide(made) == NotOurs()


def test_an_empty_volume_gets_a_name_from_the_claims_uid():
    assert decide(facts(claim())) == Provision("pvc-uid-c", None, 0.0)
    assert decide(facts(claim(node="n"), storage_class("WaitForFirstConsumer", slow="1.5"))) == Provision(
        "pvc-uid-c", None, 1.5
    )


def test_a_clone_and_a_restore_know_their_source():
    assert decide(facts(claim(dataSource=CLONE), **SOURCE)) == Provision("pvc-uid-c", Path("/vol/src"), 0.0)
    assert decide(facts(claim(dataSourceRef=RESTORE), source_snapshot=READY)) == Provision(
        "pvc-uid-c", Path("/vol/snap"), 0.0
    )


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (facts(claim(), storage_class(fail="out of paper")), "out of paper"),
        (facts(claim(), storage_class(slow="soon")), "must be a number of seconds"),
        (facts(claim(volumeMode="Block")), "cannot provide volumeMode Block"),
        (facts(claim(selector={})), "claim Selector is not supported"),
        (facts(claim(dataSource=CLONE), storage_class(cloning="false"), **SOURCE), "cannot clone volumes"),
        (
            facts(claim(dataSource=RESTORE), storage_class(snapshots="false"), source_snapshot=READY),
            "cannot restore snapshots",
        ),
        (
            facts(claim(dataSource={"kind": "Thing", "apiGroup": "x.example", "name": "t"})),
            "kind Thing is not supported",
        ),
        (facts(claim(dataSource=CLONE)), "error getting PVC src"),
        (
            facts(claim(dataSource=CLONE), source_claim=claim("src", deleting=True), source_volume=volume()),
            "currently being deleted",
        ),
        (
            facts(claim(dataSource=CLONE), source_claim=claim("src", phase="Pending")),
            "must be in bound state, it is Pending",
        ),
        (
            facts(claim(dataSource=CLONE), source_claim=SOURCE["source_claim"], source_volume=volume(path=None)),
            "not a directory of this node",
        ),
        (facts(claim(dataSource=CLONE, size="1Mi"), **SOURCE), "requested 1Mi but source is 1Gi"),
        (
            facts(
                claim(dataSource=CLONE),
                source_claim=claim("src", phase="Bound", volumeMode="Block"),
                source_volume=volume(),
            ),
            "volume modes",
        ),
        (facts(claim(dataSource=RESTORE)), "error getting snapshot snap"),
        (facts(claim(dataSource=RESTORE), source_snapshot=Snapshot(None, None, DRIVER, ready=False)), "is not Ready"),
        (
            facts(claim(dataSource=RESTORE), source_snapshot=Snapshot(None, None, "x.example", ready=True)),
            "belongs to driver x.example",
        ),
        (facts(claim(dataSource=RESTORE, size="1Mi"), source_snapshot=READY), "requested 1Mi but source is"),
    ],
)
def test_what_cannot_be_done_is_said(made, part):
    decision = decide(made)
    assert isinstance(decision, Refused)
    assert decision.message.startswith('failed to provision volume with StorageClass "local": ')
    assert part in decision.message


def test_the_volume_is_reserved_for_its_claim():
    made = volume_manifest(claim(), storage_class(), name="pvc-x", directory=Path("/vol/pvc-x"), node="n")
    assert made["spec"]["claimRef"]["uid"] == "uid-c"
    assert made["spec"]["csi"] == {
        "driver": DRIVER,
        "volumeHandle": "pvc-x",
        "volumeAttributes": {"path": "/vol/pvc-x"},
    }
    assert msgspec.convert(made, PersistentVolume).directory == "/vol/pvc-x"
    made["spec"]["csi"]["driver"] = "other.example.com"
    assert msgspec.convert(made, PersistentVolume).directory == "", "a path of somebody else's is not ours to read"
    assert made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["n"]
    assert made["metadata"]["finalizers"]


def ours(*, path="/root/pvc-x", phase="Released", annotations=None, policy="Delete", deleting=False):
    return msgspec.convert(
        {
            "metadata": {
                "name": "pvc-x",
                "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER, **(annotations or {})},
                "deletionTimestamp": "2026-01-01T00:00:00Z" if deleting else None,
            },
            "spec": {"persistentVolumeReclaimPolicy": policy, "local": {"path": path}},
            "status": {"phase": phase},
        },
        PersistentVolume,
    )


@pytest.mark.parametrize(
    ("made", "removed"),
    [
        (ours(), True),
        (ours(phase="Failed"), True),
        (ours(phase="Available", deleting=True), True),
        (ours(phase="Bound"), False),
        (ours(phase="Bound", deleting=True), False),
        (ours(phase="Available"), False),
        (ours(policy="Retain"), False),
        (ours(path="/home/user/photos"), False),
        (ours(path="/root/pvc-x/../pvc-y"), False),
        (ours(annotations={f"{DRIVER}/adopted": "true"}), False),
        (ours(annotations={"pv.kubernetes.io/provisioned-by": "other.example.com"}), False),
    ],
)
def test_only_our_own_released_directories_are_removed(made, removed):
    assert (deletable(made, Path("/root/pvc-x")) is None) is removed
