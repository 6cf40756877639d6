"""What must not be left after a scenario: in the cluster, on the driver's disk, in the bucket, and in what can be read."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datamover.api.names import CREATED_BY_VALUE, OWNER_UID_LABEL, Phase
from datamover.api.ownership import select_children
from datamover.api.volsync import names as volsync
from support.cluster import Kubectl, RealCluster, wait_for
from support.place import Place
from support.store import SECRET_KEY

_UNHANDLED = ("Traceback (most recent call last)", "Task exception was never retrieved", "never awaited")
_FORMS = (
    SECRET_KEY,
    *(base64.b64encode(b"?" * lead + SECRET_KEY.encode())[lead + (lead > 0) : -4].decode() for lead in range(3)),
)
"""The key itself, and what is the same of it in base64 whatever stands before it."""
_NOT_KEPT = {
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "componentstatuses",
    "csinodes.storage.k8s.io",
    "ipaddresses.networking.k8s.io",
    # the operator keeps one for each StorageClass, and one of the cluster
    "storageprofiles.cdi.kubevirt.io",
    "cdiconfigs.cdi.kubevirt.io",
}
"""Kinds that come and go by themselves, or belong to the node."""


def demand_no_secret(place: Place) -> None:
    """Search the secret key in every object, event and log that is not a Secret's own (law L8)."""
    kinds = ",".join(place.kubectl.kinds(namespaced=True) - {"secrets"})
    objects = place.kubectl.items(kinds, "-n", place.namespace) + place.kubectl.items("pv,events", "-n", "default")
    for name, text in {"an object or event": json.dumps(objects), **place.mover_logs()}.items():
        found = any(form in text for form in _FORMS)
        assert not found, f"the secret key is in {name}"


def demand_cleaned_up(place: Place) -> None:
    """Demand that of runs that are complete and clean up nothing is there, while their DataMovers still are (laws L2, L5)."""
    kinds = ",".join(place.kubectl.kinds(namespaced=True) - _NOT_KEPT)
    for mover in place.kubectl.items("datamovers", "-n", place.namespace):
        done = mover.get("status", {}).get("phase") == Phase.COMPLETED
        if done and mover["spec"].get("deletePvcAfterBackup"):
            label = f"{OWNER_UID_LABEL}={mover['metadata']['uid']}"
            left = _names(place.kubectl.items(kinds, "-n", place.namespace, "-l", label))
            assert not left, f"left by {mover['metadata']['name']}, which is complete: {left}"


def demand_no_children(place: Place) -> None:
    """Demand that nothing of the operator's own is left of any kind, once the objects that it is for are gone."""
    kinds = ",".join(place.kubectl.kinds(namespaced=True) - _NOT_KEPT)

    def children() -> list[str]:
        return place.run(
            "get",
            kinds,
            "-l",
            select_children((CREATED_BY_VALUE, volsync.CREATED_BY_VALUE)),
            "-o",
            "name",
            "--ignore-not-found",
        ).split()

    wait_for(lambda: not children(), seconds=30, what=lambda: str(children()))


def demand_nothing(place: Place) -> None:
    """Demand that everything that the scenario made is gone."""
    wait_for(lambda: not _of(place), seconds=60, what=lambda: str(_of(place)))
    if place.cluster.rig is not None:
        _demand_gone(lambda: _volumes_of_nobody(place.cluster))
        _demand_gone(lambda: _mounts_of_nobody(place.cluster))


def demand_no_uploads(place: Place, *, bucket: str = "") -> None:
    """Demand that no upload in parts waits for an end: it would be stored, and paid for, and seen by nobody."""
    pending = place.store.pending_uploads(bucket or place.bucket)
    assert not pending, f"uploads that nobody ended: {pending}"


def demand_good_log(cluster: RealCluster, *, since: Mapping[str, int]) -> None:
    """Demand that the operator has met nothing that it does not handle `since` then, and does not tell secrets."""
    log = cluster.operator_log(since=since)
    for words in (*_UNHANDLED, *_FORMS):
        assert words not in log, f"{words!r} in the operator's log:\n{_around(log, words)}"


def cluster_wide(kubectl: Kubectl) -> set[str]:
    """Return the names of all objects that are in no namespace, but for kinds that come and go by themselves."""
    return set(_names(kubectl.items(",".join(kubectl.kinds(namespaced=False) - _NOT_KEPT))))


# Inner ----------------------------------------------------------------------------------------------------------------


def _of(place: Place) -> list[str]:
    """Return what is there of a scenario's namespaces, in no namespace."""
    kubectl, prefix = place.kubectl, place.namespace
    found = [
        f"PersistentVolume/{each['metadata']['name']}"
        for each in kubectl.items("pv")
        if each["spec"].get("claimRef", {}).get("namespace", "").startswith(prefix)
    ]
    contents = kubectl.items("volumesnapshotcontents") if place.cluster.has_snapshots() else []
    found += [
        f"VolumeSnapshotContent/{each['metadata']['name']}"
        for each in contents
        if each["spec"]["volumeSnapshotRef"]["namespace"].startswith(prefix)
    ]
    namespaces = [each["metadata"]["name"] for each in kubectl.items("namespaces")]
    return found + [f"Namespace/{name}" for name in namespaces if name.startswith(prefix)]


def _names(objects: list[dict[str, Any]]) -> list[str]:
    return [f"{each['kind']}/{each['metadata']['name']}" for each in objects]


def _demand_gone(orphans: Callable[[], set[str]]) -> None:
    """Demand that what nobody owns now is gone soon. What others are about to make has an owner by then."""
    suspects = orphans()
    if suspects:
        wait_for(lambda: not suspects & orphans(), seconds=45, what=lambda: str(suspects & orphans()))


def _volumes_of_nobody(cluster: RealCluster) -> set[str]:
    """Return the driver's volumes and snapshots that no object stands for."""
    assert cluster.rig is not None
    place = cluster.rig.layout.volumes
    on_disk = {f"{folder}/{path.name}" for folder in ("volumes", "snapshots") for path in (place / folder).glob("*")}
    volumes = {f"volumes/{each['spec'].get('csi', {}).get('volumeHandle')}" for each in cluster.kubectl.items("pv")}
    contents = cluster.kubectl.items("volumesnapshotcontents")
    snapshots = {f"snapshots/{each.get('status', {}).get('snapshotHandle')}" for each in contents}
    return on_disk - volumes - snapshots


def _mounts_of_nobody(cluster: RealCluster) -> set[str]:
    """Return the mounts of volumes of Pods that are gone."""
    assert cluster.rig is not None
    pods = f"{cluster.rig.layout.kubelet}/pods/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    alive = {pod["metadata"]["uid"] for pod in cluster.kubectl.items("pods", "--all-namespaces")}
    mounted = {point for point in points if point.startswith(pods)}
    return {point for point in mounted if point.removeprefix(pods).split("/", 1)[0] not in alive}


def _around(log: str, words: str) -> str:
    at = log.index(words)
    return log[max(0, at - 1500) : at + 3000]
