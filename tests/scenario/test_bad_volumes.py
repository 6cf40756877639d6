"""Volumes that cannot be copied, or not yet: each is told with its reason, and what appears later heals the run.

Quotas are not here: the embedded world evaluates none (docs/local.md). The refusal of a clone by one is a 403 like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from datamover.api import reasons
from datamover.cli.embedded.world import PROVISIONER
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import PartialObject, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CLASSES
from kubekit.words.storage import STORAGE_CLASSES
from support.scenario import CLASS, TREE
from support.stage import SOURCE, Act, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad volumes")]

CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
FINALIZER = "example.com/hold"
VOLUMES = Resource("", "v1", PERSISTENT_VOLUMES.plural, PERSISTENT_VOLUMES.kind, PartialObject, namespaced=False)


async def create_class(act: Act, name: str, provisioner: str, **parameters: str) -> None:
    manifest = {"metadata": {"name": name}, "provisioner": provisioner, "parameters": parameters}
    await act.client.apply(STORAGE_CLASSES, manifest, field_manager="test")


async def create_claim(act: Act, name: str, **spec: Any) -> None:
    await act.cluster.create(PERSISTENT_VOLUME_CLAIMS, name, spec={**CLAIM, **spec})


@dataclass(frozen=True)
class Row:
    """A class by its provisioner (None: it does not exist), what the spec says, the reason and words of the sentence."""

    reason: str
    words: tuple[str, ...]
    provisioner: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)


CANNOT = reasons.CLASS_CANNOT_CLONE
WAYS_OUT = ("Set spec.storageClassName to a class of a CSI driver", "copyMethod: Direct")
CLASSES = {
    "a class that does not exist": Row(reasons.STORAGE_CLASS_NOT_FOUND, ("does not exist", "create it, or set")),
    "volumes that are made by hand": Row(CANNOT, ("made by hand", *WAYS_OUT), "kubernetes.io/no-provisioner"),
    "the local-path provisioner": Row(
        CANNOT, ("local-path provisioner has no cloning", *WAYS_OUT), "rancher.io/local-path"
    ),
    "an in-tree provisioner": Row(CANNOT, ("in-tree provisioners have no cloning", *WAYS_OUT), "kubernetes.io/aws-ebs"),
    "minikube's provisioner": Row(CANNOT, ("minikube", *WAYS_OUT), "k8s.io/minikube-hostpath"),
    "a provisioner that nobody knows, and not the volume's": Row(
        CANNOT,
        ("(example.com/nfs) cannot clone", f"is of driver {PROVISIONER}", "copyMethod: Direct"),
        "example.com/nfs",
    ),
}


@pytest.mark.parametrize("case", CLASSES)
async def test_a_class_that_cannot_clone_is_told_before_anything_is_made(case: str, stage: Stage) -> None:
    row = CLASSES[case]
    async with stage.act(case) as act:
        name = f"class-{act.namespace}"
        if row.provisioner is not None:
            await create_class(act, name, row.provisioner)
        await act.create_secret()
        await act.start(storageClassName=name)
        await act.expect_blocked(row.reason, f"StorageClass {name}", *row.words)
        if row.provisioner is None:
            await create_class(act, name, PROVISIONER)
            assert await act.copied() == TREE


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"cloning": "false"}, "cannot clone volumes"),
        ({"fail": "the array says no"}, "the array says no"),
    ],
    ids=["a driver without cloning", "a driver that fails"],
)
async def test_a_driver_that_refuses_is_quoted(parameters: dict[str, str], words: str, stage: Stage) -> None:
    async with stage.act(words) as act:
        name = f"class-{act.namespace}"
        await create_class(act, name, PROVISIONER, **parameters)
        await act.create_secret()
        await act.start(storageClassName=name)
        await act.expect_blocked(
            reasons.CLONE_PROVISIONING_FAILED,
            "does not get ready",
            "ProvisioningFailed",
            words,
            left=("PersistentVolumeClaim",),
        )


async def test_a_volume_of_no_csi_driver_is_told_before_an_empty_clone_is_made_of_it(stage: Stage) -> None:
    async with stage.act("an NFS volume") as act:
        shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": f"nfs-{act.namespace}"}
        await create_class(act, shared["storageClassName"], "example.com/nfs")
        name = f"nfs-{act.namespace}"
        volume = {
            **shared,
            "capacity": {"storage": "1Gi"},
            "nfs": {"server": "nas.example.com", "path": "/export"},
            "claimRef": {"namespace": act.namespace, "name": "shared-files"},
        }
        await act.client.create(PERSISTENT_VOLUMES, {"metadata": {"name": name}, "spec": volume}, field_manager="test")
        await create_claim(act, "shared-files", storageClassName=shared["storageClassName"], volumeName=name)
        await act.create_secret()
        await act.start(sourcePvc="shared-files")
        await act.expect_blocked(CANNOT, f"PersistentVolume {name} is not of a CSI driver", "set copyMethod: Direct")
        await act.client.delete(PERSISTENT_VOLUMES, name)


async def test_a_source_that_is_missing_and_then_comes(stage: Stage) -> None:
    async with stage.act("a missing source") as act:
        await act.create_secret()
        await act.start(sourcePvc="missing-data")
        await act.expect_blocked(
            reasons.SOURCE_NOT_FOUND, "PersistentVolumeClaim missing-data does not exist", "correct spec.sourcePvc"
        )
        await act.create_volume("missing-data", {"late.txt": b"late"})
        assert await act.copied() == {"late.txt": b"late"}


async def test_a_source_that_is_being_deleted(stage: Stage) -> None:
    async with stage.act("a terminating source") as act:
        await act.create_secret()
        hold = {"metadata": {"finalizers": [FINALIZER]}}
        await act.client.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, hold, namespace=act.namespace, field_manager="test")
        await act.client.delete(PERSISTENT_VOLUME_CLAIMS, SOURCE, namespace=act.namespace)
        await act.start()
        await act.expect_blocked(reasons.SOURCE_TERMINATING, "is being deleted", "a new one of that name")
        let_go = {"metadata": {"finalizers": None}}
        await act.client.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, let_go, namespace=act.namespace, field_manager="test")
        await act.expect_blocked(reasons.SOURCE_NOT_FOUND, "does not exist")


async def test_a_source_that_has_lost_its_volume(stage: Stage) -> None:
    async with stage.act("a lost source") as act:
        await act.create_secret()
        claim = await act.client.get(PERSISTENT_VOLUME_CLAIMS, SOURCE, namespace=act.namespace)
        volume = (claim.spec and claim.spec.volume_name) or ""
        await act.client.patch(VOLUMES, volume, {"metadata": {"finalizers": None}}, field_manager="test")
        await act.client.delete(VOLUMES, volume)

        async def lost() -> bool:
            found = await act.client.get(PERSISTENT_VOLUME_CLAIMS, SOURCE, namespace=act.namespace)
            return found.status is not None and found.status.phase == "Lost"

        await act.cluster.wait_for(lost)
        await act.start()
        await act.expect_blocked(reasons.SOURCE_LOST, "has lost its volume", "nothing to back up")


async def test_a_source_of_blocks(stage: Stage) -> None:
    async with stage.act("a Block source") as act:
        await act.create_secret()
        await create_claim(act, "blocks", volumeMode="Block", storageClassName=CLASS)
        await act.start(sourcePvc="blocks")
        await act.expect_blocked(reasons.BLOCK_NOT_SUPPORTED, "is a Block volume", "use a Filesystem volume")


@pytest.mark.parametrize("method", ["Clone", "Direct"])
async def test_a_source_that_nobody_provisions(method: str, stage: Stage) -> None:
    async with stage.act(f"a pending source {method}") as act:
        await act.create_secret()
        await create_claim(act, "pending", storageClassName="nowhere")
        await act.start(sourcePvc="pending", copyMethod=method)
        await act.expect_blocked(reasons.SOURCE_NOT_BOUND, "is not bound yet (phase Pending)", "begins when it is")


async def test_a_source_without_a_class(stage: Stage) -> None:
    async with stage.act("a source without a class") as act:
        await act.create_secret()
        volume = f"by-hand-{act.namespace}"
        await act.client.create(
            VOLUMES,
            {
                "metadata": {"name": volume},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "csi": {
                        "driver": PROVISIONER,
                        "volumeHandle": volume,
                        "volumeAttributes": {"path": str(act.source)},
                    },
                    "claimRef": {"namespace": act.namespace, "name": "by-hand"},
                },
            },
        )
        await create_claim(act, "by-hand", storageClassName="", volumeName=volume)
        await act.start(sourcePvc="by-hand")
        await act.expect_blocked(CANNOT, "has no StorageClass", "set spec.storageClassName", "copyMethod: Direct")


SNAPSHOTS = {
    "a snapshot class that does not exist": (
        "nowhere",
        ("VolumeSnapshotClass nowhere does not exist", "create it or correct"),
    ),
    "several snapshot classes and no default": (None, ("several VolumeSnapshotClasses", "name one in")),
}


@pytest.mark.parametrize("case", SNAPSHOTS)
async def test_a_snapshot_class_that_cannot_be_chosen(case: str, stage: Stage) -> None:
    wanted, words = SNAPSHOTS[case]
    async with stage.act(case) as act:
        await act.create_secret()
        spec: dict[str, Any] = {"copyMethod": "Snapshot"}
        second = f"snapshots-{act.namespace}"
        default = {"metadata": {"annotations": {"snapshot.storage.kubernetes.io/is-default-class": "false"}}}
        if wanted is not None:
            spec["volumeSnapshotClassName"] = wanted
        else:
            manifest = {"metadata": {"name": second}, "driver": PROVISIONER, "deletionPolicy": "Delete"}
            await act.client.create(VOLUME_SNAPSHOT_CLASSES, manifest)
            await act.client.patch(VOLUME_SNAPSHOT_CLASSES, "local", default, field_manager="test")
        await act.start(**spec)
        await act.expect_blocked(reasons.SNAPSHOT_CLASS_NOT_FOUND, *words)
        if wanted is None:
            await act.client.delete(VOLUME_SNAPSHOT_CLASSES, second)
            default["metadata"]["annotations"]["snapshot.storage.kubernetes.io/is-default-class"] = "true"
            await act.client.patch(VOLUME_SNAPSHOT_CLASSES, "local", default, field_manager="test")
            assert await act.copied() == TREE


async def test_a_snapshot_class_of_another_driver(stage: Stage) -> None:
    async with stage.act("another driver's snapshots") as act:
        await act.create_secret()
        name = f"snapshots-{act.namespace}"
        manifest = {"metadata": {"name": name}, "driver": "csi.example.com", "deletionPolicy": "Delete"}
        await act.client.create(VOLUME_SNAPSHOT_CLASSES, manifest)
        await act.start(copyMethod="Snapshot", volumeSnapshotClassName=name)
        await act.expect_blocked(
            reasons.SNAPSHOT_CLASS_NOT_FOUND,
            f"{name} is of driver csi.example.com",
            PROVISIONER,
            "name one of that driver",
        )
        await act.client.delete(VOLUME_SNAPSHOT_CLASSES, name)
