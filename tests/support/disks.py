"""A namespace in memory in which DataVolumes are populated: an API server that knows versions and UIDs, a driver, Kubernetes' binder, collector and Jobs, and a
worker that writes a disk. The operator sees it through caches that may lag.

No I/O and no time but the one that the test sets. Objects are manifests; the product's caches decode and project them.
"""

import copy
import dataclasses
import json
from datetime import timedelta
from typing import Any

import msgspec

from datamover.api import names as ours
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.importer import CONTAINER
from datamover.api.transfer import Outcome, Progress, encode_outcome
from datamover.plans.known import UNKNOWN, Known, Refusal
from datamover.plans.steps import (
    Annotate,
    Create,
    Delete,
    Emit,
    Inquire,
    Patch,
    Plan,
    ProveGone,
    ProvePods,
    ProveSame,
    ProveStatus,
    Rebind,
    SampleLog,
    WriteStatus,
)
from datamover.reconcilers.datavolume.ask import Ask, Kind
from datamover.reconcilers.datavolume.decide import decide
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import IMPORT, Filling, Place
from datamover.reconcilers.datavolume.gather import gather
from datamover.runs.facts import PATIENT, Unread
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRET_METAS, SELECTED_NODE, SERVICES, Pod
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.storage import IS_DEFAULT_CLASS
from kubekit.words.timestamps import seconds
from support.populating import DRIVER, NAMESPACE, Replica, Server, Stale

__all__ = ["DRIVER", "NAMESPACE", "Disks", "Operator", "Stale"]

WHOLE, EMPTY = "whole", "empty"
SETTINGS = Settings(mover_image="example.com/mover:1")
LATE = "WaitForFirstConsumer"


def fill(ask: Ask, facts: Facts) -> Filling:
    """A source that lacks nothing, and a worker that is a Job without anything special."""
    del ask, facts

    def build(place: Place) -> dict[str, Any]:
        meta = place.owner.child(place.job, component=ours.COMPONENT_MOVER)
        return {
            "metadata": meta,
            "spec": {"writes": place.claim, "size": place.wanted.target, "backoffLimit": 2},
        }

    scheduled, running = IMPORT
    return Filling(scheduled, running, build)


class Disks(Server):
    """The server; and everybody but the operator."""

    def __init__(self, *, mode: str = "Immediate", policy: str = "Delete", provisioner: str = DRIVER) -> None:
        super().__init__(mode=mode, policy=policy)
        fast = self.objects["StorageClass", "fast"]
        fast["provisioner"] = provisioner
        fast["metadata"]["annotations"] = {IS_DEFAULT_CLASS: "true"}
        self.obedient = provisioner == DRIVER
        """Whether the driver leaves alone what somebody else fills."""

    # The user.

    def make(self, name: str = "disk", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "source": {"blank": {}},
            "storage": {"resources": {"requests": {"storage": "1Gi"}}},
            **spec,
        }
        wanted = {key: value for key, value in wanted.items() if value is not None}
        return self.put("DataVolume", name, metadata={"annotations": annotations or {}}, spec=wanted)

    def claim(self, name: str = "disk") -> dict[str, Any] | None:
        return self.get("PersistentVolumeClaim", name)

    def status(self, name: str = "disk") -> dict[str, Any]:
        found = self.get("DataVolume", name)
        assert found is not None
        return found.get("status") or {}

    def condition(self, type_: str, name: str = "disk") -> dict[str, Any]:
        return next(each for each in self.status(name)["conditions"] if each["type"] == type_)

    # The cluster.

    def provision(self) -> None:
        """The driver makes an empty volume for each claim, but for those that it must leave alone."""
        for (kind, name), claim in list(self.objects.items()):
            if (
                kind != "PersistentVolumeClaim"
                or claim["status"]["phase"] != "Pending"
                or claim["spec"].get("volumeName")
            ):
                continue
            meta = claim["metadata"]
            chosen = SELECTED_NODE in meta.get("annotations", {}) or self._is_used(name)
            late = self.objects["StorageClass", "fast"]["volumeBindingMode"] == LATE
            if meta.get("deletionTimestamp") or (late and not chosen):
                continue
            if self.obedient and claim["spec"].get("dataSourceRef"):
                continue
            volume = f"pv-{meta['uid']}"
            self.storage[volume] = EMPTY
            reference = {"namespace": NAMESPACE, "name": meta["name"], "uid": meta["uid"]}
            spec = {"claimRef": reference, "csi": {"driver": DRIVER}, "persistentVolumeReclaimPolicy": self._policy}
            self.put("PersistentVolume", volume, spec=spec, status={"phase": "Bound"})
            claim["spec"]["volumeName"], claim["status"] = volume, {"phase": "Bound"}
            self.touch(claim)

    def _is_used(self, claim: str) -> bool:
        return any(kind == "Job" and job["spec"]["writes"] == claim for (kind, _), job in self.objects.items())

    def schedule(self) -> None:
        """Each Job that has no Pod gets one, which runs as soon as its claim is bound."""
        for (kind, name), job in list(self.objects.items()):
            if kind != "Job" or job["metadata"].get("deletionTimestamp") or job["status"].get("conditions"):
                continue
            pods = self.pods(name)
            if not any(pod["status"]["phase"] in ("Pending", "Running") for pod in pods):
                owner = {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": name,
                    "uid": job["metadata"]["uid"],
                    "controller": True,
                }
                self.put(
                    "Pod",
                    f"{name}-{len(pods)}",
                    metadata={"ownerReferences": [owner], "labels": dict(job["metadata"]["labels"])},
                    status={"phase": "Pending"},
                )
                job["status"] = {**job["status"], "active": 1}
                self.touch(job)
        for pod in self._of_kind("Pod"):
            job = self.get("Job", pod["metadata"]["ownerReferences"][0]["name"])
            claim = self.claim(job["spec"]["writes"]) if job is not None else None
            if pod["status"]["phase"] == "Pending" and claim is not None and claim["status"]["phase"] == "Bound":
                state = {"running": {"startedAt": seconds(self.now)}}
                pod["status"] = {
                    "phase": "Running",
                    "startTime": seconds(self.now),
                    "containerStatuses": [{"name": CONTAINER, "state": state}],
                }
                self.touch(pod)

    def pods(self, job: str) -> list[dict[str, Any]]:
        return [each for each in self._of_kind("Pod") if each["metadata"]["ownerReferences"][0]["name"] == job]

    def _of_kind(self, wanted: str) -> list[dict[str, Any]]:
        return [each for (kind, _), each in self.objects.items() if kind == wanted]

    def job(self) -> dict[str, Any] | None:
        return next(iter(self._of_kind("Job")), None)

    def end(self, outcome: Outcome | None = None, *, final: bool = True) -> None:
        """The worker ends: as `outcome` says, well without one. `final`: a failure is the Job's last."""
        outcome = outcome or Outcome(succeeded=True, reason="Succeeded", message="the disk is written", bytes=7)
        for pod in self._of_kind("Pod"):
            if pod["status"]["phase"] != "Running":
                continue
            job = self.get("Job", pod["metadata"]["ownerReferences"][0]["name"])
            assert job is not None
            said = encode_outcome(outcome).decode()
            self._end_pod(pod, "Succeeded" if outcome.succeeded else "Failed", said)
            if outcome.succeeded:
                claim = self.claim(job["spec"]["writes"])
                assert claim is not None
                self.storage[claim["spec"]["volumeName"]] = WHOLE
            counted = "succeeded" if outcome.succeeded else "failed"
            job["status"] = {**job["status"], "active": 0, counted: job["status"].get(counted, 0) + 1}
            if outcome.succeeded or final:
                type_ = "Complete" if outcome.succeeded else "Failed"
                reason = "" if outcome.succeeded else "BackoffLimitExceeded"
                moment = seconds(self.now)
                job["status"]["conditions"] = [
                    {"type": type_, "status": "True", "reason": reason, "lastTransitionTime": moment}
                ]
            self.touch(job)

    def _end_pod(self, pod: dict[str, Any], phase: str, message: str) -> None:
        code = 0 if phase == "Succeeded" else 1
        state = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}}
        pod["status"] = {**pod["status"], "phase": phase, "containerStatuses": [{"name": CONTAINER, "state": state}]}
        self.touch(pod)

    def end_silently(self) -> None:
        """The worker ends well and leaves no last words."""
        self.end()
        for pod in self._of_kind("Pod"):
            if pod["status"]["phase"] == "Succeeded":
                pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = ""

    def perform(self, step: Any) -> None:
        match step:
            case WriteStatus() | ProveStatus() | ProvePods() | ProveGone() | SampleLog():
                raise AssertionError("carried out by the operator")
            case _:
                super().perform(step)

    def check(self) -> None:
        """No disk that is whole is ever lost while its claim is there, and nothing is called populated that is not."""
        for volume in self._of_kind("DataVolume"):
            claim = self.claim(volume["metadata"]["name"])
            status = volume.get("status") or {}
            if status.get("phase") != "Succeeded" or claim is None or status.get("progress") == "N/A":
                continue
            assert claim["status"]["phase"] == "Bound", "Succeeded, and the claim is not bound"
            assert self.storage.get(claim["spec"]["volumeName"]) == WHOLE, "Succeeded, and the disk is not whole"


class Operator(Replica):
    """An operator with caches of its own, each kind's as old as the test lets it be."""

    def __init__(self, server: Disks, *, settings: Settings = SETTINGS) -> None:
        super().__init__(server)
        self.disks = server
        self.settings = settings
        self.statuses: list[dict[str, Any]] = []
        self.fillers = dict.fromkeys((Kind.BLANK, Kind.HTTP, Kind.S3), fill)
        self.secrets: dict[str, Any] = {}

    # What decisions read beside what the other kind reads.

    def belongings_of(self, owner_uid: str) -> tuple[tuple[Any, Any], ...]:
        every = {each.kind: each for each in (JOBS, PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS, SECRET_METAS, SERVICES)}
        found = [(every[kind], self._read(every[kind], name)) for kind, name in list(self.cached) if kind in every]
        return tuple(
            (resource, child)
            for resource, child in found
            if child.metadata.owned_by(owner_uid) and child.metadata.label(ours.CREATED_BY_LABEL)
        )

    def storage_classes(self) -> tuple[Any, ...]:
        found = (self.storage_class(name) for kind, name in self.cached if kind == "StorageClass")
        return tuple(each for each in found if each is not None)

    def secret(self, namespace: str, name: str) -> Any:
        del namespace
        return self.secrets.get(name, Unread.MISSING)

    def config_map(self, namespace: str, name: str) -> Any:
        return self.secret(namespace, name)

    def child(self, resource: Any, namespace: str, name: str) -> Any:
        del namespace
        return self._read(resource, name)

    def source(self, namespace: str, name: str) -> Any:
        del namespace
        return self._read(DATA_SOURCES, name)

    def job(self, namespace: str, name: str) -> Any:
        del namespace
        return self._read(JOBS, name)

    def snapshot_classes(self) -> None:
        return None

    def volumes_of(self, namespace: str, claim: str) -> tuple[Any, ...]:
        del namespace, claim
        return ()

    def _pods(self) -> tuple[Pod, ...]:
        return tuple(self._read(PODS, name) for kind, name in list(self.cached) if kind == "Pod")

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self._pods() if pod.metadata.owned_by(owner_uid))

    def pods_of_mover(self, namespace: str, mover_uid: str) -> tuple[Pod, ...]:
        del namespace
        return tuple(pod for pod in self._pods() if pod.metadata.label(ours.OWNER_UID_LABEL) == mover_uid)

    # Working.

    def volume_named(self, name: str = "disk") -> DataVolume | None:
        return self._read(DATA_VOLUMES, name)

    def facts(self, name: str = "disk") -> Facts | None:
        volume = self.volume_named(name)
        if volume is None:
            return None
        return gather(volume, view=self, sources=self, known=self.known, now=self.server.now, patience=PATIENT)

    def plan(self, name: str = "disk") -> Plan[Any] | None:
        facts = self.facts(name)
        return None if facts is None else decide(facts, settings=self.settings, fillers=self.fillers)

    def work(self, name: str = "disk", *, steps: int | None = None) -> tuple[Any, ...]:
        """Decide and act, and stop after so many steps, as if killed. Our own writes are seen at once."""
        volume, plan = self.volume_named(name), self.plan(name)
        if plan is None or volume is None:
            return ()
        for step in plan.steps[:steps]:
            try:
                self._carry_out(step, volume, name)
            except Stale:
                break
            self.disks.check()
        return plan.steps

    def _carry_out(self, step: Any, volume: DataVolume, name: str) -> None:
        match step:
            case WriteStatus():
                self._write(step, volume, name)
            case ProveStatus():
                found = self.server.get("DataVolume", name)
                version = found["metadata"]["resourceVersion"] if found is not None else None
                if version != volume.metadata.resource_version:
                    raise Stale(name)
            case ProvePods() | ProveGone() | SampleLog():
                pass
            case ProveSame():
                self._prove_same(step)
            case Emit():
                self.told.append(step)
                self.known = dataclasses.replace(self.known, told=step)
            case Create() | Patch() | Annotate() | Rebind() | Delete() | Inquire():
                self.server.perform(step)
                self._see(step)
            case _:
                raise AssertionError(step)

    def _prove_same(self, step: ProveSame) -> None:
        found = self.server.get(step.resource.kind, step.target.name)
        seen = (step.target.uid, step.target.resource_version)
        if found is None or (found["metadata"]["uid"], found["metadata"]["resourceVersion"]) != seen:
            self._look(step.resource.kind, step.target.name)
            raise Stale(step.target.name)

    def _write(self, step: Any, volume: DataVolume, name: str) -> None:
        found = self.server.get("DataVolume", name)
        if found is None or found["metadata"]["resourceVersion"] != volume.metadata.resource_version:
            raise Stale(name)
        found["status"] = json.loads(msgspec.json.encode(step.status))
        self.server.touch(found)
        self.statuses.append(copy.deepcopy(found["status"]))
        self.cached["DataVolume", name] = copy.deepcopy(found)

    def samples(self, progress: Progress) -> None:
        """The log of the worker says how far it is."""
        watch = dataclasses.replace(self.known.watch, moved=True)
        self.known = dataclasses.replace(self.known, progress=progress, progress_age=1.0, watch=watch)

    def refuse(self, refusal: Refusal | None) -> None:
        self.known = dataclasses.replace(self.known, refusal=refusal)

    def restart(self) -> None:
        self.known: Known = UNKNOWN
        self.sync()


def settle(server: Disks, operator: Operator, *, rounds: int = 40, worker: bool = True) -> None:
    """Let everybody work until nothing changes any more."""
    for _ in range(rounds):
        before = copy.deepcopy(server.objects)
        operator.sync()
        operator.work()
        server.provision()
        server.bind()
        server.schedule()
        if worker:
            server.end()
        server.bind()
        server.collect()
        server.check()
        server.now += timedelta(seconds=1)
        if server.objects == before:
            return
    raise AssertionError("it never settles")


def select_node(server: Disks, name: str = "disk") -> None:
    """A Pod that uses the claim was scheduled."""
    server.select_node(name)
