"""Provisioner and snapshotter: claims get volumes, snapshots get ready, and what is deleted goes when nobody uses it any more."""

from collections.abc import Callable
from dataclasses import dataclass

from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.storage import STORAGE_CLASSES
from kubekit.words.timestamps import seconds
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.conduct import ON_USE
from support.simulation.trees import finalizers_of, is_going, look, name_of, space_of, uid_of

PROTECTION = "kubernetes.io/pvc-protection"
_SNAPSHOT_PROTECTION = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
_AGAIN = 5.0

Act = Callable[[Tree], None]


@dataclass(frozen=True)
class Content:
    """What is in a claim or a snapshot: the UID of the claim that it was copied from, and when."""

    source: str
    at: float


class Storage:
    """See the module's docstring."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hand = cluster.hand

    def look(self) -> None:
        conduct = self._cluster.conduct
        claims, pods = self._hand.all(PERSISTENT_VOLUME_CLAIMS), self._hand.all(PODS)
        mounted = {(space_of(pod), name) for pod in pods for name in claims_of(pod)}
        for claim in claims:
            if is_going(claim):
                if PROTECTION in finalizers_of(claim) and (space_of(claim), name_of(claim)) not in mounted:
                    self._plan("release", claim, conduct.removal, self._release)
            elif look(claim, "status", "phase") == "Pending" and self._wanted(claim, pods):
                self._plan("provision", claim, conduct.clone, self._provision)
        for volume in self._hand.all(PERSISTENT_VOLUMES):
            if self._is_abandoned(volume):
                self._plan("reclaim", volume, conduct.removal, self._reclaim)
        for snapshot in self._hand.all(VOLUME_SNAPSHOTS):
            if is_going(snapshot):
                self._plan("drop", snapshot, conduct.removal, self._drop)
            elif not look(snapshot, "status", "readyToUse"):
                self._plan("snapshot", snapshot, conduct.snapshot, self._take)

    def _plan(self, what: str, obj: Tree, wait: float, act: Act) -> None:
        uid, name, space = uid_of(obj), name_of(obj), space_of(obj)
        resource = {"release": PERSISTENT_VOLUME_CLAIMS, "provision": PERSISTENT_VOLUME_CLAIMS}.get(
            what, PERSISTENT_VOLUMES if what == "reclaim" else VOLUME_SNAPSHOTS
        )

        def run() -> None:
            now = self._hand.find(resource, name, space)
            if now is not None and uid_of(now) == uid:
                act(now)

        self._cluster.later(what, uid, wait, run)

    # --- claims -----------------------------------------------------------------------------------

    def _wanted(self, claim: Tree, pods: list[Tree]) -> bool:
        found = self._hand.find(STORAGE_CLASSES, claim["spec"].get("storageClassName") or "")
        if found is None:
            return False
        return found.get("volumeBindingMode") != ON_USE or any(
            pod["spec"].get("nodeName") for pod in _users(claim, pods)
        )

    def _provision(self, claim: Tree) -> None:
        pods = self._hand.all(PODS)
        if is_going(claim) or look(claim, "status", "phase") != "Pending" or not self._wanted(claim, pods):
            return
        name, space = name_of(claim), space_of(claim)
        obstacle = self._obstacle(claim)
        if obstacle is not None:
            self._warn(claim, "PersistentVolumeClaim", obstacle)
            self._plan("provision", claim, _AGAIN, self._provision)
            return
        size = claim["spec"]["resources"]["requests"]["storage"]
        volume = f"pvc-{uid_of(claim)}"
        if self._hand.find(PERSISTENT_VOLUMES, volume) is None:
            reference = {"kind": "PersistentVolumeClaim", "namespace": space, "name": name, "uid": uid_of(claim)}
            spec: Tree = {
                "capacity": {"storage": size},
                "accessModes": claim["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": self._cluster.conduct.reclaim,
                "storageClassName": claim["spec"]["storageClassName"],
                "csi": {"driver": "csi.example.com", "volumeHandle": volume},
                "claimRef": reference,
            }
            self._hand.create(PERSISTENT_VOLUMES, {"metadata": {"name": volume}, "spec": spec})
            self._hand.patch(PERSISTENT_VOLUMES, volume, {"status": {"phase": "Bound"}}, subresource="status")
        self._hand.patch(PERSISTENT_VOLUME_CLAIMS, name, {"spec": {"volumeName": volume}}, space)
        bound: Tree = {"phase": "Bound", "capacity": {"storage": size}, "accessModes": claim["spec"]["accessModes"]}
        self._hand.patch(PERSISTENT_VOLUME_CLAIMS, name, {"status": bound}, space, "status")
        self._cluster.note(f"claim {name} is bound")
        self._fill(claim)

    def _fill(self, claim: Tree) -> None:
        source, contents = claim["spec"].get("dataSource"), self._cluster.contents
        if not source:
            return
        resource = PERSISTENT_VOLUME_CLAIMS if source["kind"] == "PersistentVolumeClaim" else VOLUME_SNAPSHOTS
        found = self._hand.find(resource, source["name"], space_of(claim))
        if found is not None and resource is VOLUME_SNAPSHOTS:
            contents[uid_of(claim)] = contents[uid_of(found)]
        elif found is not None:
            contents[uid_of(claim)] = Content(uid_of(found), self._cluster.time())

    def _obstacle(self, claim: Tree) -> str | None:
        source = claim["spec"].get("dataSource")
        if not source:
            return None
        if source["kind"] == "PersistentVolumeClaim":
            found = self._hand.find(PERSISTENT_VOLUME_CLAIMS, source["name"], space_of(claim))
            if found is None or look(found, "status", "phase") != "Bound":
                return f"source claim {source['name']} is not there or not bound"
            return None
        found = self._hand.find(VOLUME_SNAPSHOTS, source["name"], space_of(claim))
        if found is None or not look(found, "status", "readyToUse"):
            return f"snapshot {source['name']} is not there or not ready"
        return None

    def _release(self, claim: Tree) -> None:
        if is_going(claim) and not _users(claim, self._hand.all(PODS)):
            kept = [finalizer for finalizer in finalizers_of(claim) if finalizer != PROTECTION]
            patch: Tree = {"metadata": {"finalizers": kept}}
            self._hand.patch(PERSISTENT_VOLUME_CLAIMS, name_of(claim), patch, space_of(claim))
            self._cluster.note(f"claim {name_of(claim)} is gone")

    # --- volumes ----------------------------------------------------------------------------------

    def _is_abandoned(self, volume: Tree) -> bool:
        reference = volume["spec"].get("claimRef")
        if not reference:
            return False
        claim = self._hand.find(PERSISTENT_VOLUME_CLAIMS, reference["name"], reference["namespace"])
        return claim is None or uid_of(claim) != reference["uid"]

    def _reclaim(self, volume: Tree) -> None:
        name = name_of(volume)
        if look(volume, "status", "phase") != "Released":
            self._hand.patch(PERSISTENT_VOLUMES, name, {"status": {"phase": "Released"}}, subresource="status")
        if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            self._hand.delete(PERSISTENT_VOLUMES, name)
            self._hand.patch(PERSISTENT_VOLUMES, name, {"metadata": {"finalizers": None}})
            self._cluster.note(f"volume {name[:12]} is gone")

    # --- snapshots --------------------------------------------------------------------------------

    def _take(self, snapshot: Tree) -> None:
        if is_going(snapshot) or look(snapshot, "status", "readyToUse"):
            return
        name, space = name_of(snapshot), space_of(snapshot)
        source = self._hand.find(
            PERSISTENT_VOLUME_CLAIMS, snapshot["spec"]["source"]["persistentVolumeClaimName"], space
        )
        if source is None or look(source, "status", "phase") != "Bound":
            self._warn(snapshot, "VolumeSnapshot", "its claim is not there or not bound")
            self._plan("snapshot", snapshot, _AGAIN, self._take)
            return
        self._hand.patch(VOLUME_SNAPSHOTS, name, {"metadata": {"finalizers": [_SNAPSHOT_PROTECTION]}}, space)
        ready: Tree = {"readyToUse": True, "restoreSize": source["status"]["capacity"]["storage"]}
        ready["boundVolumeSnapshotContentName"] = f"snapcontent-{uid_of(snapshot)}"
        self._hand.patch(VOLUME_SNAPSHOTS, name, {"status": ready}, space, "status")
        self._cluster.contents[uid_of(snapshot)] = Content(uid_of(source), self._cluster.time())
        self._cluster.note(f"snapshot {name} is ready")

    def _drop(self, snapshot: Tree) -> None:
        name, space = name_of(snapshot), space_of(snapshot)
        restoring = any(
            look(claim, "spec", "dataSource", "name") == name
            and look(claim, "spec", "dataSource", "kind") == "VolumeSnapshot"
            and look(claim, "status", "phase") == "Pending"
            for claim in self._hand.all(PERSISTENT_VOLUME_CLAIMS)
            if space_of(claim) == space and not is_going(claim)
        )
        if restoring:
            self._plan("drop", snapshot, _AGAIN, self._drop)
        elif finalizers_of(snapshot):
            self._hand.patch(VOLUME_SNAPSHOTS, name, {"metadata": {"finalizers": None}}, space)
            self._cluster.note(f"snapshot {name} is gone")

    def _warn(self, obj: Tree, kind: str, message: str) -> None:
        uid, name, space = uid_of(obj), name_of(obj), space_of(obj)
        reference = {"kind": kind, "namespace": space, "name": name, "uid": uid}
        event: Tree = {
            "metadata": {"name": f"{name}.{uid[:8]}", "namespace": space},
            "involvedObject": reference,
            "type": "Warning",
            "reason": "ProvisioningFailed",
            "message": message,
            "source": {"component": "csi.example.com"},
            "lastTimestamp": seconds(self._hand.server.now()),
        }
        if self._hand.find(EVENTS, event["metadata"]["name"], space) is None:
            self._hand.create(EVENTS, event, space)


def _users(claim: Tree, pods: list[Tree]) -> list[Tree]:
    name, space = name_of(claim), space_of(claim)
    return [pod for pod in pods if space_of(pod) == space and name in claims_of(pod)]


def claims_of(pod: Tree) -> list[str]:
    """Return the names of the claims that a Pod mounts."""
    found = (look(volume, "persistentVolumeClaim", "claimName") for volume in pod["spec"].get("volumes") or ())
    return [name for name in found if name]
