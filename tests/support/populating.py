"""A namespace in memory in which claims are filled: an API server that knows versions and UIDs, a driver, Kubernetes' binder and collector, and a
destination that moves on. Replicas see it through caches that may lag.

No I/O and no time but the one that the test sets. Objects are manifests; the product's caches decode and project them.
"""

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from datamover.api.volsync.names import POPULATING_LABEL_PREFIX, prime_name
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import Annotate, Create, Delete, Emit, Inquire, Patch, Plan, Rebind
from datamover.reconcilers.population import release
from datamover.reconcilers.population.decide import decide
from datamover.reconcilers.population.gather import gather
from datamover.reconcilers.projection import project_claim, project_volume
from datamover.runs.facts import Unread
from datamover.volumes.binding import is_bound, is_lost
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SELECTED_NODE
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.storage import STORAGE_CLASSES
from kubekit.words.timestamps import seconds

NAMESPACE = "apps"
CREATED_BY = {"app.kubernetes.io/created-by": "volsync"}
DRIVER = "csi.example.com"
Where = tuple[str, str]
"""Kind and name."""


class Stale(Exception):
    """A write that the server refuses, for what it was decided on is no longer so."""


class Server:
    """Objects, versions and UIDs; and everybody but the operator."""

    def __init__(self, *, mode: str = "Immediate", policy: str = "Delete") -> None:
        self.objects: dict[Where, dict[str, Any]] = {}
        self.now = datetime(2026, 11, 29, 12, tzinfo=UTC)
        self.storage: dict[str, str] = {}
        """What lies on the storage: name of a volume to the image that it was made of."""
        self.primes: list[str] = []
        self.writes = 0
        self._versions = itertools.count(1)
        self._policy = policy
        self.put(
            "StorageClass",
            "fast",
            provisioner=DRIVER,
            volumeBindingMode=mode,
            reclaimPolicy=policy,
        )

    # The server.

    def put(self, kind: str, name: str, *, metadata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        number = next(self._versions)
        meta = {
            "name": name,
            "uid": f"uid-{number}",
            "resourceVersion": str(number),
            "creationTimestamp": seconds(self.now),
            **(metadata or {}),
        }
        if kind not in ("PersistentVolume", "StorageClass"):
            meta.setdefault("namespace", NAMESPACE)
        self.objects[kind, name] = {"metadata": meta, **fields}
        return self.objects[kind, name]

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def touch(self, obj: dict[str, Any]) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))

    def merge(self, kind: str, target: Any, patch: dict[str, Any]) -> None:
        """A merge patch under the target's UID and version, as the actor sends it."""
        found = self.get(kind, target.name)
        if found is None or (found["metadata"]["uid"], found["metadata"]["resourceVersion"]) != (
            target.uid,
            target.resource_version,
        ):
            raise Stale(f"{kind} {target.name}")
        _merge(found, patch)
        self.touch(found)
        self.writes += 1

    def delete(self, kind: str, name: str, *, uid: str | None = None) -> None:
        """Ask for a deletion; it is there when the collector has taken it away."""
        found = self.get(kind, name)
        if found is not None and uid in (None, found["metadata"]["uid"]):
            found["metadata"].setdefault("deletionTimestamp", seconds(self.now))
            self.touch(found)
            self.writes += 1

    def perform(self, step: Any) -> None:
        """Carry out a step of a plan, as the actor does."""
        match step:
            case Create():
                name = step.manifest["metadata"]["name"]
                if self.get(step.resource.kind, name) is None:
                    manifest = copy.deepcopy(step.manifest)
                    meta = manifest.pop("metadata")
                    self.put(
                        step.resource.kind, name, metadata=meta, spec=manifest["spec"], status={"phase": "Pending"}
                    )
                    self.primes.append(name)
                    self.writes += 1
            case Patch():
                self.merge(step.resource.kind, step.target, step.patch)
            case Annotate():
                self.merge(step.resource.kind, step.target, {"metadata": {"annotations": dict(step.annotations)}})
            case Rebind():
                self.merge("PersistentVolume", step.volume, step.patch)
            case Delete():
                self.delete(step.resource.kind, step.target.name, uid=step.target.uid)
            case Emit() | Inquire():
                pass
            case _:
                raise AssertionError(step)

    # The user and the destination.

    def ask(
        self, name: str = "data", *, destination: str = "restore", size: str = "2Gi", **spec: Any
    ) -> dict[str, Any]:
        source = {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": destination}
        wanted = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": size}},
            "dataSourceRef": source,
            **spec,
        }
        return self.put("PersistentVolumeClaim", name, spec=wanted, status={"phase": "Pending"})

    def select_node(self, name: str = "data", node: str = "node-1") -> None:
        claim = self.get("PersistentVolumeClaim", name)
        assert claim is not None
        claim["metadata"].setdefault("annotations", {})[SELECTED_NODE] = node
        self.touch(claim)

    def publish(self, image: str, *, ready: bool = True, size: str = "1Gi", destination: str = "restore") -> None:
        """A synchronisation of the destination ends with an image; what it had before goes, unless it is in use."""
        found = self.get("ReplicationDestination", destination) or self.put("ReplicationDestination", destination)
        before = (found.get("status") or {}).get("latestImage", {}).get("name")
        status = {"boundVolumeSnapshotContentName": f"content-{image}", "readyToUse": ready, "restoreSize": size}
        self.put("VolumeSnapshot", image, metadata={"labels": dict(CREATED_BY)}, status=status)
        latest = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image}
        found["status"] = {"latestImage": latest}
        self.touch(found)
        old = self.get("VolumeSnapshot", before) if before else None
        if old is not None and not marks(old):
            self.delete("VolumeSnapshot", before or "")

    # The cluster.

    def provision(self) -> None:
        """The driver fills what has a source that it serves, and binds it; a snapshot that is gone cannot be read."""
        for (kind, _), claim in list(self.objects.items()):
            source = claim.get("spec", {}).get("dataSource")
            if kind != "PersistentVolumeClaim" or not source or claim["status"]["phase"] != "Pending":
                continue
            meta = claim["metadata"]
            late = self.objects["StorageClass", "fast"]["volumeBindingMode"] == "WaitForFirstConsumer"
            if meta.get("deletionTimestamp") or (late and SELECTED_NODE not in meta.get("annotations", {})):
                continue
            if self.get("VolumeSnapshot", source["name"]) is None:
                continue
            volume = f"pv-{meta['uid']}"
            self.storage[volume] = source["name"]
            reference = {"namespace": NAMESPACE, "name": meta["name"], "uid": meta["uid"]}
            spec = {"claimRef": reference, "csi": {"driver": DRIVER}, "persistentVolumeReclaimPolicy": self._policy}
            self.put("PersistentVolume", volume, spec=spec, status={"phase": "Bound"})
            claim["spec"]["volumeName"], claim["status"] = volume, {"phase": "Bound"}
            self.touch(claim)

    def bind(self) -> None:
        """Kubernetes' binder: the claim that a volume names gets it; who had it is lost; a volume whose claim is gone is given back."""
        for (kind, name), volume in list(self.objects.items()):
            if kind != "PersistentVolume":
                continue
            reference = volume["spec"]["claimRef"]
            claim = self.get("PersistentVolumeClaim", reference["name"])
            gone = claim is None or claim["metadata"]["uid"] != reference["uid"]
            if gone or claim["spec"].get("volumeName") not in (None, name):  # deleted, or bound elsewhere
                if volume.get("status") != {"phase": "Released"}:
                    volume["status"] = {"phase": "Released"}
                    self.touch(volume)
                if volume["spec"].get("persistentVolumeReclaimPolicy", self._policy) == "Delete":
                    del self.objects[kind, name], self.storage[name]
            elif claim["status"]["phase"] != "Bound":
                claim["spec"]["volumeName"], claim["status"] = name, {"phase": "Bound"}
                self.touch(claim)
        for (kind, _), claim in self.objects.items():
            named = claim.get("spec", {}).get("volumeName") if kind == "PersistentVolumeClaim" else None
            if named and claim["status"]["phase"] == "Bound":
                volume = self.get("PersistentVolume", named)
                if volume is None or volume["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"]:
                    claim["status"] = {"phase": "Lost"}
                    self.touch(claim)

    def collect(self) -> None:
        """What was asked to go goes; what a deleted object owned goes too. A snapshot stays while it is read from."""
        reads = {
            each["spec"]["dataSource"]["name"]
            for (kind, _), each in self.objects.items()
            if kind == "PersistentVolumeClaim"
            and each["spec"].get("dataSource")
            and each["status"]["phase"] == "Pending"
        }
        for (kind, name), obj in list(self.objects.items()):
            held = obj["metadata"].get("finalizers")
            if (
                obj["metadata"].get("deletionTimestamp")
                and not held
                and not (kind == "VolumeSnapshot" and name in reads)
            ):
                del self.objects[kind, name]
        uids = {obj["metadata"]["uid"] for obj in self.objects.values()}
        for where, obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences")
            if owners and not any(each["uid"] in uids for each in owners):
                del self.objects[where]

    def claims(self) -> list[str]:
        return sorted(name for kind, name in self.objects if kind == "PersistentVolumeClaim")


class Replica:
    """An operator with caches of its own, each kind's as old as the test lets it be."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cached: dict[Where, dict[str, Any]] = {}
        self.known: Known = UNKNOWN
        self.told: list[Emit] = []

    def sync(self, *kinds: str) -> None:
        """Let the caches of these kinds see what is there; all of them without any."""
        for where in [each for each in self.cached if not kinds or each[0] in kinds]:
            del self.cached[where]
        for where, obj in self.server.objects.items():
            if not kinds or where[0] in kinds:
                self.cached[where] = copy.deepcopy(obj)

    def restart(self) -> None:
        self.known = UNKNOWN
        self.sync()

    # The view that decisions read.

    def claim(self, namespace: str, name: str) -> Any:
        assert namespace == NAMESPACE
        found = self._read(PERSISTENT_VOLUME_CLAIMS, name)
        return found and project_claim(found)

    def volume(self, name: str) -> Any:
        found = self._read(PERSISTENT_VOLUMES, name)
        return project_volume(found) if found is not None else Unread.NOT_SYNCED

    def storage_class(self, name: str) -> Any:
        return self._read(STORAGE_CLASSES, name)

    def snapshot(self, namespace: str, name: str) -> Any:
        found = self._read(VOLUME_SNAPSHOTS, name)
        return found if found is not None and CREATED_BY.items() <= (found.metadata.labels or {}).items() else None

    def named(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        return self._read(resource, name) or Unread.MISSING

    def _read(self, resource: Resource[Any], name: str) -> Any:
        found = self.cached.get((resource.kind, name))
        return None if found is None else msgspec.convert(found, resource.type, strict=False)

    # Working.

    def plan(self, name: str = "data") -> Plan[Any] | None:
        claim = self.claim(NAMESPACE, name)
        return None if claim is None else decide(gather(claim, view=self, known=self.known, now=self.server.now))

    def work(self, name: str = "data", *, steps: int | None = None) -> tuple[Any, ...]:
        """Decide and act, and stop after so many steps, as if killed; return what was planned. Our own writes are seen at once."""
        plan = self.plan(name)
        if plan is None:
            return ()
        for step in plan.steps[:steps]:
            try:
                self.server.perform(step)
            except Stale:
                break
            if isinstance(step, Emit):
                self.told.append(step)
                self.known = dataclasses.replace(self.known, told=step)
            self._see(step)
        return plan.steps

    def release(self) -> tuple[Any, ...]:
        """Do what the other kind does: take away the marks of claims that need them no longer."""
        done: list[Any] = []
        for kind, name in list(self.cached):
            snapshot = self.snapshot(NAMESPACE, name) if kind == "VolumeSnapshot" else None
            if snapshot is None:
                continue
            stale = [uid for uid in release.users_of(snapshot) if not self._is_needed(uid)]
            marked = release.Marks(snapshot, tuple(f"{POPULATING_LABEL_PREFIX}{uid}" for uid in stale))
            for step in release.decide(marked).steps:
                done.append(step)
                try:
                    self.server.perform(step)
                except Stale:
                    continue
                self._see(step)
        return tuple(done)

    def _is_needed(self, uid: str) -> bool:
        claims = [self.claim(NAMESPACE, name) for kind, name in self.cached if kind == "PersistentVolumeClaim"]
        mine = [each for each in claims if each.metadata.uid == uid]
        filling = any(not (is_bound(each) or is_lost(each)) for each in mine)
        return filling or self.claim(NAMESPACE, prime_name(uid)) is not None

    def _see(self, step: Any) -> None:
        if isinstance(step, Create):
            self._look(step.resource.kind, step.manifest["metadata"]["name"])
        elif isinstance(step, Patch | Annotate):
            self._look(step.resource.kind, step.target.name)
        elif isinstance(step, Rebind):
            self._look("PersistentVolume", step.volume.name)

    def _look(self, kind: str, name: str) -> None:
        found = self.server.get(kind, name)
        if found is not None:
            self.cached[kind, name] = copy.deepcopy(found)


def marks(snapshot: dict[str, Any]) -> list[str]:
    """Return the labels of a snapshot that say that it is in use."""
    return [key for key in snapshot["metadata"].get("labels") or {} if key.startswith(POPULATING_LABEL_PREFIX)]


def run(server: Server, replica: Replica, *, rounds: int = 12, between: Iterable[Callable[[], None]] = ()) -> None:
    """Let everybody work in turn until nothing more happens."""
    for _ in range(rounds):
        replica.sync()
        replica.work()
        replica.sync()
        replica.release()
        server.provision()
        server.bind()
        server.collect()
        for each in between:
            each()
    replica.sync()


def later(server: Server, seconds_: float) -> None:
    server.now += timedelta(seconds=seconds_)


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            below = into.setdefault(key, {})
            if below is None:
                below = into[key] = {}
            _merge(below, value)
        else:
            into[key] = value
