"""A namespace of images in memory: DataImportCrons over the product's caches, whose plans are carried out, and everybody else played by the test.

No I/O and no time but the one that the test sets.
"""

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS, DataImportCron
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.known import UNKNOWN, Diagnosis, Known
from datamover.plans.steps import Annotate, Create, Delete, Emit, Inquire, Patch, Plan, WriteStatus
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.disks import Disks
from datamover.reconcilers.import_cron.decide import decide
from datamover.reconcilers.import_cron.gather import gather
from kubekit.runtime.store import Key
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.meta import Resource
from kubekit.words.timestamps import seconds
from support.clock import VirtualClock

NAMESPACE = "images"
LABEL = "cdi.kubevirt.io/dataImportCron"
DIGEST = "cdi.kubevirt.io/storage.import.sourceDesiredDigest"
LAST_USE = "cdi.kubevirt.io/storage.import.lastUseTime"


def digest(number: int) -> str:
    """A digest that is easily told from the others."""
    return f"sha256:{number:012d}{'f' * 52}"


def name_of(number: int) -> str:
    """The import of that digest."""
    return f"fedora-{number:012d}"


class Images:
    """The namespace. `crash_before`: how many more steps are carried out before the operator dies."""

    def __init__(self, **spec: Any) -> None:
        self.cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
        self.disks, self.view = Disks(self.cluster), View(self.cluster)
        self.now = datetime(2026, 11, 30, 12, tzinfo=UTC)
        self.known: Known = UNKNOWN
        self.rivals: frozenset[str] = frozenset()
        self.users: dict[str, str | None] = {}
        """Who mounts a claim, by its name; None where Pods may not be read."""
        self.told: list[str] = []
        self.deleted: list[tuple[str, str]] = []
        self.created: list[tuple[str, str]] = []
        self.writes = 0
        self._versions = itertools.count(1)
        given = {
            "managedDataSource": "fedora",
            "schedule": "",
            "template": {"spec": {"source": {"registry": {"url": "docker://quay.example/fedora"}}, "storage": {}}},
        }
        self.trees: dict[tuple[str, str], dict[str, Any]] = {}
        self.put(DATA_IMPORT_CRONS, "cron", spec={**given, **spec})

    # What is there.

    def put(self, resource: Resource[Any], name: str, *, metadata: dict[str, Any] | None = None, **fields: Any) -> None:
        number = next(self._versions)
        meta = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{resource.kind}-{name}-{number}",
            "resourceVersion": str(number),
            "creationTimestamp": seconds(self.now),
            **(metadata or {}),
        }
        self._store(resource, {"metadata": meta, **fields})

    def tree(self, resource: Resource[Any], name: str) -> dict[str, Any] | None:
        return self.trees.get((resource.kind, name))

    def names(self, resource: Resource[Any]) -> set[str]:
        return {name for kind, name in self.trees if kind == resource.kind}

    def change(self, resource: Resource[Any], name: str, change: dict[str, Any]) -> None:
        found = self.trees[resource.kind, name]
        _merge(found, copy.deepcopy(change))
        found["metadata"]["resourceVersion"] = str(next(self._versions))
        self._store(resource, found)

    def remove(self, resource: Resource[Any], name: str) -> None:
        """Take it away, and what it controls with it."""
        gone = self.trees.pop((resource.kind, name))
        store = self._cache(resource)
        if store is not None:
            held = store.get(Key(NAMESPACE, name)).metadata
            store.remove(msgspec.structs.replace(held, resource_version=str(next(self._versions))))
        uid = gone["metadata"]["uid"]
        for (kind, child), each in list(self.trees.items()):
            owners = each["metadata"].get("ownerReferences") or []
            if owners and all(owner["uid"] == uid for owner in owners):
                self.remove(_RESOURCES[kind], child)

    def claim(
        self, name: str, *, used: str | None = None, phase: str = "Bound", label: str | None = "cron", **meta: Any
    ) -> None:
        labels = {LABEL: label} if label else {}
        annotations = {LAST_USE: used} if used else {}
        self.put(
            PERSISTENT_VOLUME_CLAIMS,
            name,
            metadata={"labels": labels, "annotations": annotations, **meta},
            spec={},
            status={"phase": phase},
        )

    def desire(self, number: int) -> None:
        self.change(DATA_IMPORT_CRONS, "cron", {"metadata": {"annotations": {DIGEST: digest(number)}}})

    def complete(self, name: str) -> None:
        """Fill the disk of a DataVolume, as whoever populates does: its claim has its labels and annotations."""
        volume = self.trees[DATA_VOLUMES.kind, name]["metadata"]
        if self.tree(PERSISTENT_VOLUME_CLAIMS, name) is None:
            owner = {
                "apiVersion": DATA_VOLUMES.api_version,
                "kind": DATA_VOLUMES.kind,
                "name": name,
                "uid": volume["uid"],
                "controller": True,
            }
            meta = {key: dict(volume.get(key) or {}) for key in ("labels", "annotations")}
            self.put(PERSISTENT_VOLUME_CLAIMS, name, metadata={**meta, "ownerReferences": [owner]}, spec={}, status={})
        self.change(PERSISTENT_VOLUME_CLAIMS, name, {"status": {"phase": "Bound"}})
        self.change(DATA_VOLUMES, name, {"status": {"phase": "Succeeded"}})

    def collect(self, name: str) -> None:
        """Collect a DataVolume: its claim is handed over to the DataVolume's owners."""
        owners = self.trees[DATA_VOLUMES.kind, name]["metadata"].get("ownerReferences")
        self.change(PERSISTENT_VOLUME_CLAIMS, name, {"metadata": {"ownerReferences": owners}})
        self.remove(DATA_VOLUMES, name)

    # What the operator does.

    @property
    def cron(self) -> DataImportCron:
        return msgspec.convert(self.trees[DATA_IMPORT_CRONS.kind, "cron"], DataImportCron)

    def plan(self) -> Plan[Any]:
        return decide(
            gather(self.cron, view=self.view, disks=self.disks, known=self.known, now=self.now, rivals=self.rivals)
        )

    def settle(self, *, steps: int | None = None, rounds: int = 60) -> None:
        """Carry plans out until there is nothing to do, or so many `steps` were taken and the operator dies."""
        for _ in range(rounds):
            plan = self.plan()
            if not plan.steps:
                return
            asked = False
            for step in plan.steps:
                if steps is not None:
                    if steps == 0:
                        self.known = UNKNOWN
                        return
                    steps -= 1
                self.perform(step)
                asked = asked or isinstance(step, Inquire)
            self.now += timedelta(milliseconds=10)
        raise AssertionError(f"it never rests: {self.plan()}")

    def perform(self, step: Any) -> None:
        match step:
            case WriteStatus():
                tree = self.trees[DATA_IMPORT_CRONS.kind, "cron"]
                tree["status"] = msgspec.to_builtins(step.status)
                self.change(DATA_IMPORT_CRONS, "cron", {})
            case Create():
                manifest = copy.deepcopy(step.manifest)
                name, meta = manifest["metadata"]["name"], manifest.pop("metadata")
                assert (step.resource.kind, name) not in self.trees, f"{name} is there already"
                self.put(step.resource, name, metadata=meta, spec=manifest["spec"])
                self.created.append((step.resource.kind, name))
            case Patch():
                self._check(step)
                self.change(step.resource, step.target.name, step.patch)
            case Annotate():
                self._check(step)
                self.change(step.resource, step.target.name, {"metadata": {"annotations": dict(step.annotations)}})
            case Delete():
                self._check(step)
                self.deleted.append((step.resource.kind, step.target.name))
                self.remove(step.resource, step.target.name)
            case Inquire():
                assert step.users
                self.known = Known(diagnosis=Diagnosis(step.topic, self.users.get(step.target.name, "")))
                return
            case Emit():
                self.told.append(step.reason)
                return
            case _:
                raise AssertionError(step)
        self.writes += 1

    # What it comes to.

    def condition(self, type_: str) -> tuple[str, str]:
        status = self.cron.status
        found = next(each for each in (status and status.conditions) or () if each.type == type_)
        assert found.message
        return found.status, found.reason or ""

    def last_imported(self) -> str | None:
        status = self.cron.status
        return status.last_imported_pvc.name if status and status.last_imported_pvc else None

    def stands_for(self) -> str | None:
        found = self.tree(DATA_SOURCES, "fedora")
        return found["spec"]["source"]["pvc"]["name"] if found else None

    def used(self, name: str) -> str:
        return self.trees[PERSISTENT_VOLUME_CLAIMS.kind, name]["metadata"]["annotations"].get(LAST_USE, "")

    def _check(self, step: Any) -> None:
        meta = self.trees[step.resource.kind, step.target.name]["metadata"]
        assert meta["uid"] == step.target.uid
        if isinstance(step, Patch) or getattr(step, "as_seen", False):
            assert meta["resourceVersion"] == step.target.resource_version

    def _cache(self, resource: Resource[Any]) -> Any:
        return next((each.store for each in self.cluster.informers() if each.resource is resource), None)

    def _store(self, resource: Resource[Any], tree: dict[str, Any]) -> None:
        self.trees[resource.kind, tree["metadata"]["name"]] = tree
        store = self._cache(resource)
        if store is not None:
            store.put(msgspec.convert(tree, resource.type))


_RESOURCES = {
    each.kind: each for each in (DATA_VOLUMES, DATA_SOURCES, DATA_IMPORT_CRONS, PERSISTENT_VOLUME_CLAIMS, JOBS, PODS)
}


def _merge(tree: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            tree.pop(key, None)
        elif isinstance(value, dict):
            _merge(tree.setdefault(key, {}) if isinstance(tree.get(key, {}), dict) else tree, value)
        else:
            tree[key] = value
