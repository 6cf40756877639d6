"""The namespace of `support.clones`, and another one beside it that has the sources of its copies.

Names are given once over both, so that an object is found by its kind and name; who reads or writes it has to say the right namespace.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.plans.known import UNKNOWN
from datamover.plans.steps import Delete, Patch, ProveGone, ProveSame
from datamover.reconcilers.datavolume import remains
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.gather import gather
from datamover.reconcilers.projection import project_claim
from datamover.runs.facts import PATIENT, Unread
from datamover.volumes.errands import errand_of
from datamover.volumes.permit import CloneSource, issue_permit
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.clones import Cloner, Clones
from support.disks import WHOLE
from support.populating import NAMESPACE, Stale

IMAGES = "images"
KEY = b"k" * 32
PVC = {"pvc": {"name": "golden", "namespace": IMAGES}}
SNAPSHOT = {"snapshot": {"name": "golden", "namespace": IMAGES}}
GOLDEN = {"kind": "DataSource", "name": "fedora", "namespace": IMAGES}


def permit(
    kind: str = "pvc", source: str = "golden", *, name: str = "disk", at: datetime | None = None, key: bytes = KEY
) -> dict[str, str]:
    """The annotation of a DataVolume whose creator may copy the source."""
    moment = at or datetime(2026, 11, 29, 12, tzinfo=UTC)
    said = issue_permit(key, namespace=NAMESPACE, name=name, source=CloneSource(kind, IMAGES, source), at=moment)
    return {names.CLONE_PERMIT: said}


class Crossings(Clones):
    """The server."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"strategy": "csi-clone", **options})
        self.lurkers: set[str] = set()
        """Claims that a Pod uses: Kubernetes lets none of them go."""
        self.deleted: list[str] = []

    def hold(self, *args: Any, **options: Any) -> dict[str, Any]:
        claim = super().hold(*args, **options)
        claim["metadata"]["namespace"] = IMAGES
        return claim

    def photograph(self, *args: Any, **options: Any) -> dict[str, Any]:
        snapshot = super().photograph(*args, **options)
        snapshot["metadata"]["namespace"] = IMAGES
        return snapshot

    def delete(self, kind: str, name: str, *, uid: str | None = None) -> None:
        self.deleted.append(f"{kind} {name}")
        super().delete(kind, name, uid=uid)

    def schedule(self) -> None:
        super().schedule()
        for pod in self._of_kind("Pod"):
            job = self.get("Job", pod["metadata"]["ownerReferences"][0]["name"])
            if job is not None:
                pod["metadata"]["namespace"] = job["metadata"]["namespace"]

    def collect(self) -> None:
        working = {each["spec"]["writes"] for each in self._of_kind("Job") if self.pods(each["metadata"]["name"])}
        kept = [
            each for name in self.lurkers | working if (each := self.get("PersistentVolumeClaim", name)) is not None
        ]
        for each in kept:
            each["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
        super().collect()
        for each in kept:
            del each["metadata"]["finalizers"]

    def temporaries(self) -> list[dict[str, Any]]:
        """The claims in the namespace of the sources, but for these themselves."""
        return [
            each
            for each in self._of_kind("PersistentVolumeClaim")
            if each["metadata"]["namespace"] == IMAGES and each["metadata"]["name"] != "golden"
        ]

    def check(self) -> None:
        super().check()
        golden = self.get("PersistentVolume", "pv-golden")
        if golden is not None:
            assert golden["spec"]["claimRef"]["name"] == "golden", "the source's volume is given away"
        for volume in self._of_kind("DataVolume"):
            if (volume.get("status") or {}).get("phase") == "Succeeded":
                made = [each for each in self.temporaries() if each["metadata"].get("annotations")]
                assert not made, "Succeeded, and somebody else may have the disk as well"


class Crosser(Cloner):
    """The operator: both kinds."""

    def __init__(self, server: Crossings, **options: Any) -> None:
        super().__init__(server, **options)
        self.crossings = server
        self.keys: tuple[bytes, ...] = (KEY,)
        self.unread = Unread.MISSING
        """What is known of a snapshot that is not there."""
        self.unseen = Unread.NOT_SYNCED
        """What is known of a volume that is not there."""

    def claim(self, namespace: str, name: str) -> Any:
        found = self._read(PERSISTENT_VOLUME_CLAIMS, name)
        return project_claim(found) if found is not None and found.metadata.namespace == namespace else None

    def volume(self, name: str) -> Any:
        found = super().volume(name)
        return self.unseen if found is Unread.NOT_SYNCED else found

    def named(self, resource: Any, namespace: str, name: str) -> Any:
        found = super().named(resource, namespace, name)
        return self.unread if found is Unread.MISSING and resource is VOLUME_SNAPSHOTS else found

    def volume_of(self, namespace: str, name: str) -> DataVolume | None:
        found = self._read(DATA_VOLUMES, name)
        return found if found is not None and found.metadata.namespace == namespace else None

    def facts(self, name: str = "disk") -> Facts | None:
        volume = self.volume_named(name)
        if volume is None:
            return None
        before = super().facts(name)
        assert before is not None
        return gather(
            volume,
            view=self,
            sources=_Volumes(self),
            known=before.run.known,
            now=self.server.now,
            patience=PATIENT,
            permit_keys=lambda: self.keys,
        )

    def work(self, name: str = "disk", *, steps: int | None = None) -> tuple[Any, ...]:
        done = super().work(name, steps=steps)
        return (*done, *self.clean(steps=steps))

    def clean(self, *, steps: int | None = None) -> tuple[Any, ...]:
        """Do what the other kind does."""
        done: list[Any] = []
        for kind, name in list(self.cached):
            found = self._read(PERSISTENT_VOLUME_CLAIMS, name) if kind == "PersistentVolumeClaim" else None
            if found is None or errand_of(found.metadata) is None:
                continue
            facts = remains.gather(project_claim(found), view=self, disks=_Volumes(self), known=UNKNOWN)
            for step in remains.decide(facts).steps[:steps]:
                done.append(step)
                try:
                    self._prove(step)
                except Stale:
                    break
                if isinstance(step, Delete | Patch):
                    self.server.perform(step)
        return tuple(done)

    def _carry_out(self, step: Any, volume: Any, name: str) -> None:
        if isinstance(step, ProveGone | ProveSame):
            self._prove(step)
        else:
            super()._carry_out(step, volume, name)

    def _prove(self, step: Any) -> None:
        if isinstance(step, ProveGone):
            found = self.server.get(step.resource.kind, step.name)
            there = found is not None and found["metadata"]["namespace"] == step.namespace
            if there and found is not None and step.uid in (None, found["metadata"]["uid"]):
                self._look(step.resource.kind, step.name)
                raise Stale(step.name)
        elif isinstance(step, ProveSame):
            self._prove_same(step)


class _Volumes:
    def __init__(self, operator: Crosser) -> None:
        self._operator = operator

    def volume(self, namespace: str, name: str) -> Any:
        return self._operator.volume_of(namespace, name)

    def source(self, namespace: str, name: str) -> Any:
        return self._operator.source(namespace, name)


def opened(**options: Any) -> tuple[Crossings, Crosser]:
    server = Crossings(**options)
    return server, Crosser(server)


def ask(server: Crossings, kind: str = "pvc", *, annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    """The source is there, and somebody makes a DataVolume of it."""
    if kind == "pvc":
        server.hold()
    else:
        server.photograph()
    said = permit(kind) if annotations is None else annotations
    return server.make(source=PVC if kind == "pvc" else SNAPSHOT, annotations=said, **{"storage": {}, **spec})


def until_bound(server: Crossings, operator: Crosser) -> dict[str, Any]:
    """Work until the temporary claim has its volume."""
    for _ in range(12):
        operator.sync()
        operator.work()
        server.provision()
        made = server.temporaries()
        if made and made[0]["status"]["phase"] == "Bound":
            return made[0]
        server.now += timedelta(seconds=1)
    raise AssertionError(server.status())


def waits(server: Crossings) -> tuple[str, str]:
    ready = server.condition("Ready")
    assert ready["status"] == "False"
    return ready["reason"], ready["message"]


def assert_copied(server: Crossings) -> None:
    claim = server.claim()
    assert claim is not None
    assert server.status()["phase"] == "Succeeded", server.status()
    assert server.storage[claim["spec"]["volumeName"]] == WHOLE
    assert claim["spec"]["volumeName"] != "pv-golden"
    assert not server.temporaries()
    assert not server.leftovers()


def stand_for(server: Crossings, source: dict[str, Any]) -> None:
    server.objects["DataSource", "fedora"] = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataSource",
        "metadata": {"name": "fedora", "namespace": IMAGES, "uid": "u-fedora", "resourceVersion": "1"},
        "spec": {"source": source},
    }
