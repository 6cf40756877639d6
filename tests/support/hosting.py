"""Namespaces of hosted control planes as Velero finds them: the HostedControlPlane, its claims, which are bound to volumes of a CSI driver, a Pod.

The volumes are only said to be there: nobody mounts them. One driver and its classes serve all.
"""

import secrets
from typing import Any

from support.kubernetes import ControlPlane, wait_for
from support.velero import NODE, SNAPSHOT_CLASS_LABEL

DRIVER = "csi.velero.test"
CLASS = "velero-test"
HYPERSHIFT = "hypershift.openshift.io/v1beta1"


def define_driver(plane: ControlPlane) -> None:
    """Create the driver's StorageClass and VolumeSnapshotClass, where they are missing."""
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": DRIVER}
    snapshots = {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "driver": DRIVER}
    for path, manifest, labels in (
        ("/apis/storage.k8s.io/v1/storageclasses", storage, {}),
        (
            "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses",
            snapshots | {"deletionPolicy": "Delete"},
            {SNAPSHOT_CLASS_LABEL: "true"},
        ),
    ):
        status, answer = plane.call("POST", path, manifest | {"metadata": {"name": CLASS, "labels": labels}})
        assert status in (201, 409), answer


def make_namespace(plane: ControlPlane, prefix: str = "clusters") -> str:
    """Create a namespace with a ConfigMap in it, and return its name."""
    name = f"{prefix}-{secrets.token_hex(4)}"
    plane.create_namespace(name)
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": name}}
    plane.create(settings | {"data": {"key": "value"}})
    return name


def make_claims(plane: ControlPlane, namespace: str, *claims: str, labels: dict[str, str] | None = None) -> list[str]:
    """Create claims that are bound to volumes of the driver, and return their names."""
    for claim in claims:
        size = {"storage": "64Mi"}
        common = {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS}
        reference = {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim}
        source = {"claimRef": reference, "csi": {"driver": DRIVER, "volumeHandle": f"{namespace}-{claim}"}}
        volume = f"{namespace}-{claim}"
        plane.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": common | source | {"capacity": size, "persistentVolumeReclaimPolicy": "Retain"},
            }
        )
        plane.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim, "namespace": namespace, "labels": labels or {}},
                "spec": common | {"volumeName": volume, "resources": {"requests": size}},
            }
        )
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"

    def all_bound() -> bool:
        found = {each["metadata"]["name"]: each for each in plane.call("GET", path)[1]["items"]}
        return all(found[claim].get("status", {}).get("phase") == "Bound" for claim in claims)

    wait_for(all_bound, what="the binding of the claims")
    return list(claims)


def make_control_plane(
    plane: ControlPlane, namespace: str, platform: str, *, name: str = "hosted", policy: str = "SingleReplica"
) -> dict[str, Any]:
    """Create a HostedControlPlane of a platform, and return it as the server has it."""
    return plane.create(
        {
            "apiVersion": HYPERSHIFT,
            "kind": "HostedControlPlane",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"platform": {"type": platform}, "controllerAvailabilityPolicy": policy},
        }
    )


def make_pod(plane: ControlPlane, namespace: str, name: str, *, labels: dict[str, str]) -> None:
    """Create a Pod, which nobody runs."""
    meta = {"name": name, "namespace": namespace, "labels": labels}
    spec = {"containers": [{"name": "main", "image": "example.com/main"}]}
    plane.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def make_running_pod(plane: ControlPlane, namespace: str, name: str, *claims: str, labels: dict[str, str] | None = None) -> None:  # fmt: skip
    """Create a Pod that is said to run on the one node, with each claim in a volume of the claim's name."""
    mounts = [{"name": claim, "mountPath": f"/{claim}"} for claim in claims]
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    containers = [{"name": "main", "image": "example.com/main", "volumeMounts": mounts}]
    spec = {"nodeName": NODE, "containers": containers, "volumes": volumes, "automountServiceAccountToken": False}
    meta = {"name": name, "namespace": namespace, "labels": labels or {}}
    plane.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
    status, answer = plane.call("PATCH", path, {"status": {"phase": "Running"}}, kind="application/merge-patch+json")
    assert status == 200, answer
