"""The namespace of `support.disks` with what copies are made from: a claim that is full, snapshots, and a driver that copies them; and with uploads."""

import dataclasses
from typing import Any

from datamover.api import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.movers.importer import words
from datamover.plans.known import Diagnosis
from datamover.plans.steps import Create, Inquire
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.gather import gather
from datamover.reconcilers.datavolume.kind import fillers_with
from datamover.runs.facts import PATIENT
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshotClass
from support.builders import volume_snapshot_class
from support.disks import LATE, WHOLE, Disks, Operator
from support.populating import DRIVER, NAMESPACE

GI = 1 << 30
KEYS = {"tls.crt": b"certificate", "tls.key": b"private", "ca.crt": b"authority", "key": b"k" * 32}


class Clones(Disks):
    """The server. Users of a claim are the Pods that write it, as the API server would list them; None where it lists none to us."""

    def __init__(self, *, strategy: str | None = None, expands: bool = False, **options: Any) -> None:
        super().__init__(**options)
        fast = self.objects["StorageClass", "fast"]
        fast["allowVolumeExpansion"] = expands
        if strategy is not None:
            fast["metadata"]["annotations"]["cdi.kubevirt.io/clone-strategy"] = strategy
        self.users: dict[str, str | None] = {}
        self.questions = 0
        self.secrets_made = 0

    def hold(
        self, name: str = "golden", *, size: str = "1Gi", mode: str = "Filesystem", owner: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """There is a claim that is full."""
        claim = self.put(
            "PersistentVolumeClaim",
            name,
            metadata={"ownerReferences": [owner] if owner else []},
            spec={
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "volumeMode": mode,
                "resources": {"requests": {"storage": size}},
                "volumeName": f"pv-{name}",
            },
            status={"phase": "Bound", "capacity": {"storage": size}},
        )
        reference = {"namespace": NAMESPACE, "name": name, "uid": claim["metadata"]["uid"]}
        spec = {"claimRef": reference, "csi": {"driver": DRIVER}, "persistentVolumeReclaimPolicy": "Retain"}
        self.put("PersistentVolume", f"pv-{name}", spec=spec, status={"phase": "Bound"})
        self.storage[f"pv-{name}"] = WHOLE
        return claim

    def photograph(self, name: str = "golden", *, ready: bool = True, size: str | None = "1Gi") -> dict[str, Any]:
        """There is a snapshot of the user's."""
        status = {"readyToUse": ready, **({"restoreSize": size} if size else {})}
        return self.put("VolumeSnapshot", name, spec={"volumeSnapshotClassName": "of-driver"}, status=status)

    def provision(self) -> None:
        """The driver copies what a claim names, and takes snapshots."""
        for snapshot in self._of_kind("VolumeSnapshot"):
            source = (snapshot["spec"].get("source") or {}).get("persistentVolumeClaimName")
            if source and not snapshot["status"].get("readyToUse"):
                snapshot["status"] = {"readyToUse": True, "restoreSize": "1Gi"}
                self.touch(snapshot)
        for (kind, name), claim in list(self.objects.items()):
            source = claim.get("spec", {}).get("dataSource")
            if kind != "PersistentVolumeClaim" or not source or claim["status"]["phase"] != "Pending":
                continue
            late = self.objects["StorageClass", "fast"]["volumeBindingMode"] == LATE
            if late and "volume.kubernetes.io/selected-node" not in claim["metadata"].get("annotations", {}):
                continue
            if self.get(source["kind"], source["name"]) is None:
                continue
            size, volume = claim["spec"]["resources"]["requests"]["storage"], f"pv-{name}"
            reference = {"namespace": NAMESPACE, "name": name, "uid": claim["metadata"]["uid"]}
            spec = {
                "claimRef": reference,
                "csi": {"driver": DRIVER},
                "capacity": {"storage": size},
                "persistentVolumeReclaimPolicy": "Delete",
            }
            self.put("PersistentVolume", volume, spec=spec, status={"phase": "Bound"})
            self.storage[volume] = WHOLE
            claim["spec"]["volumeName"] = volume
            claim["status"] = {"phase": "Bound", "capacity": {"storage": size}}
            self.touch(claim)
        held = {where: obj for where, obj in self.objects.items() if obj.get("spec", {}).get("dataSource")}
        for where in held:
            del self.objects[where]
        super().provision()
        self.objects |= held

    def expand(self) -> None:
        """The driver gives volumes what their claims ask for."""
        for volume in self._of_kind("PersistentVolume"):
            claim = self.claim(volume["spec"]["claimRef"]["name"])
            asked = claim["spec"]["resources"]["requests"]["storage"] if claim is not None else None
            if asked and volume["spec"].get("capacity") and volume["spec"]["capacity"]["storage"] != asked:
                volume["spec"]["capacity"]["storage"] = asked
                self.touch(volume)

    def perform(self, step: Any) -> None:
        if isinstance(step, Create) and step.resource.kind == "Secret":
            meta = step.manifest["metadata"]
            if self.get("Secret", meta["name"]) is None:
                assert step.secret is not None
                assert step.secret() == KEYS
                self.secrets_made += 1
                self.put("Secret", meta["name"], metadata=dict(meta))
            return
        super().perform(step)
        if isinstance(step, Create) and step.resource.kind == "Job":
            job = self.get("Job", step.manifest["metadata"]["name"])
            assert job is not None
            pod = job["spec"]["template"]["spec"]
            target = next(each for each in pod["volumes"] if each["name"] == "target")
            job["spec"]["writes"] = target["persistentVolumeClaim"]["claimName"]
            self.touch(job)

    def environment(self) -> dict[str, str]:
        """What the worker is told."""
        job = self.job()
        assert job is not None
        variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
        return {each["name"]: each.get("value", "") for each in variables}

    def leftovers(self) -> list[str]:
        kinds = ("VolumeSnapshot", "Secret", "Service", "Job", "Pod")
        return sorted(f"{kind} {name}" for kind, name in self.objects if kind in kinds and name != "golden")


class Cloner(Operator):
    """The operator, with all fillers."""

    def __init__(self, server: Clones, *, snapshots: bool = True) -> None:
        super().__init__(server)
        self.clones = server
        self.fillers = dict(fillers_with(lambda _: KEYS))
        self._snapshots = snapshots
        self._asked_at = server.now

    def snapshot_classes(self) -> tuple[VolumeSnapshotClass, ...] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (volume_snapshot_class(name="of-driver", driver=DRIVER),) if self._snapshots else None

    def claim(self, namespace: str, name: str) -> Any:
        return super().claim(namespace, name) if namespace == NAMESPACE else None

    def snapshot(self, namespace: str, name: str) -> Any:
        found = self._read(VOLUME_SNAPSHOTS, name) if namespace == NAMESPACE else None
        ours = found is not None and found.metadata.label(names.CREATED_BY_LABEL) == names.CREATED_BY_VALUE
        return found if ours else None

    def work(self, name: str = "disk", *, steps: int | None = None) -> tuple[Any, ...]:
        """As the reconciler does, an answer is decided upon at once."""
        done = super().work(name, steps=steps)
        while steps is None and any(isinstance(each, Inquire) for each in done):
            done = super().work(name)
        return done

    def facts(self, name: str = "disk") -> Facts | None:
        volume = self.volume_named(name)
        if volume is None:
            return None
        known, asked = self.known, self.known.diagnosis
        if asked is not None:
            age = (self.server.now - self._asked_at).total_seconds()
            known = dataclasses.replace(known, diagnosis=dataclasses.replace(asked, age=age))
        return gather(volume, view=self, sources=_Sources(self), known=known, now=self.server.now, patience=PATIENT)

    def _carry_out(self, step: Any, volume: Any, name: str) -> None:
        super()._carry_out(step, volume, name)
        if isinstance(step, Inquire):
            self.clones.questions += 1
            said = self.clones.users.get(step.target.name, "") if step.writers else None
            self.known = dataclasses.replace(self.known, diagnosis=Diagnosis(step.topic, said))
            self._asked_at = self.server.now


class _Sources:
    def __init__(self, operator: Cloner) -> None:
        self._operator = operator

    def volume(self, namespace: str, name: str) -> Any:
        del namespace
        return self._operator._read(DATA_VOLUMES, name)

    def source(self, namespace: str, name: str) -> Any:
        return self._operator.source(namespace, name)


__all__ = ["GI", "KEYS", "Cloner", "Clones", "words"]
