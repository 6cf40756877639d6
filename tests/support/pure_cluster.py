"""A cluster as plain data, for testing decisions without a server: it applies plans, holds the laws against them and does, one thing
at a time, what controllers, drivers and kubelets would do.

A status write is refused when the facts were older than the object, a create when the name is taken, a delete when the UID is not
that of the object: as an API server would.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from datamover.api import names
from datamover.api.transfer import Outcome, Progress
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from datamover.plans.known import Diagnosis, Known, Refusal
from datamover.plans.steps import (
    Create,
    Delete,
    Emit,
    Inquire,
    Plan,
    ProveGone,
    ProveStatus,
    SampleLog,
    Step,
    SuspendJob,
    WriteStatus,
)
from datamover.reconcilers.datamover.facts import Facts
from datamover.runs.facts import Unread
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim, Pod, SecretKeys
from kubekit.words.meta import ObjectMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass
from kubekit.words.timestamps import seconds
from support import builders
from support.builders import decide, gather

PROTECTION = "kubernetes.io/pvc-protection"


class Refused(Exception):
    """The API server would have refused the step."""


@dataclass
class PureCluster:
    """`script` holds the outcome of each attempt; None is a Pod that ends with exit code 1 and says nothing."""

    mover: DataMover
    script: list[Outcome | None] = field(default_factory=lambda: [builders.outcome()])
    now: datetime = builders.NOW
    claims: dict[str, PersistentVolumeClaim] = field(default_factory=dict)
    snapshots: dict[str, VolumeSnapshot] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    volumes: dict[str, PersistentVolume] = field(default_factory=dict)
    classes: dict[str, StorageClass] = field(default_factory=dict)
    secrets: dict[str, SecretKeys] = field(default_factory=dict)
    others: list[DataMover] = field(default_factory=list)
    refused: Refusal | None = None
    said: Diagnosis | None = None
    sample: tuple[Progress | None, datetime] | None = None
    writes: list[str] = field(default_factory=list)
    created: list[tuple[str, str]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    statuses: list[DataMoverStatus] = field(default_factory=list)
    events: list[Emit] = field(default_factory=list)
    attempts: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.claims.setdefault("app-data", builders.persistent_volume_claim())
        self.classes.setdefault("fast", builders.storage_class())
        self.secrets.setdefault("storage-credentials", builders.secret_keys())

    # The view and the notes that `gather` wants.

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        return self.claims.get(name)

    def volume(self, name: str) -> PersistentVolume | Unread:
        return self.volumes.get(name, Unread.FORBIDDEN)

    def storage_class(self, name: str) -> StorageClass | None:
        return self.classes.get(name)

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        return self.secrets.get(name, Unread.MISSING)

    def snapshot(self, namespace: str, name: str) -> VolumeSnapshot | None:
        return self.snapshots.get(name)

    def snapshot_classes(self) -> tuple[VolumeSnapshotClass, ...] | None:
        return (builders.volume_snapshot_class(),)

    def job(self, namespace: str, name: str) -> Job | None:
        return self.jobs.get(name)

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods.values() if pod.metadata.owned_by(owner_uid))

    def pods_of_mover(self, mover_uid: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods.values() if pod.metadata.label(names.OWNER_UID_LABEL) == mover_uid)

    def volumes_of(self, namespace: str, claim: str) -> tuple[PersistentVolume, ...]:
        found = (volume for volume in self.volumes.values() if volume.spec and volume.spec.claim_ref)
        return tuple(volume for volume in found if volume.spec.claim_ref.name == claim)  # type: ignore[union-attr]

    def clone_holders(self, namespace: str, name: str) -> tuple[DataMover, ...]:
        movers = (self.mover, *self.others)
        return tuple(mover for mover in movers if mover.status and mover.status.restored_pvc_name == name)

    def known(self) -> Known:
        """What was learnt. Nothing was seen before: every absence is asked for."""
        progress, at = self.sample or (None, None)
        age = (self.now - at).total_seconds() if at is not None else None
        return Known(refusal=self.refused, diagnosis=self.said, progress=progress, progress_age=age)

    # Deciding and applying.

    def facts(self) -> Facts:
        return gather(self.mover, view=self, known=self.known(), now=self.now)

    def decide(self) -> Plan:
        return decide(self.facts(), now=self.now, settings=builders.SETTINGS)

    def apply(self, plan: Plan, *, facts: Facts | None = None, only: int | None = None) -> None:
        """Carry out the steps, or the first `only` of them: the operator was killed then."""
        decided_on = facts or self.facts()
        version = decided_on.mover.metadata.resource_version
        for step in plan.steps[:only]:
            check_laws(step, decided_on)
            version = self._carry_out(step, version)

    def _carry_out(self, step: Step, version: str) -> str:
        match step:
            case WriteStatus():
                if version != self.mover.metadata.resource_version:
                    raise Refused("the status was decided on older facts")
                self._write("status")
                if not self.phases or self.phases[-1] != step.status.phase:
                    self.phases.append(step.status.phase or "")
                self.statuses.append(step.status)
                self.mover = replace(self.mover, status=step.status, metadata=self._touched(self.mover.metadata))
                return self.mover.metadata.resource_version
            case ProveStatus():
                if version != self.mover.metadata.resource_version:
                    raise Refused("it was decided on older facts")
            case ProveGone():
                shown = {JOBS: self.jobs, PERSISTENT_VOLUME_CLAIMS: self.claims, VOLUME_SNAPSHOTS: self.snapshots}
                assert step.name not in shown[step.resource], "the caches here never lag"
            case Create():
                self._create(step)
            case Delete():
                self._delete(step)
            case SuspendJob():
                self._write("suspend")
                job = self.jobs.get(step.target.name)
                if job is None or job.metadata.uid != step.target.uid:
                    raise Refused("that Job is gone")
                status = job.status or builders.job().status
                active = None if step.suspend else status.active
                self.jobs[step.target.name] = replace(
                    job, spec=replace(job.spec, suspend=step.suspend), status=replace(status, active=active)
                )
                if step.suspend:
                    self._remove_pods(job)
            case Emit():
                self._write("event")
                self.events.append(step)
            case Inquire():
                self.said = Diagnosis(step.topic, None)
            case SampleLog():
                self.sample = (None, self.now)
        return version

    def _create(self, step: Create) -> None:
        self._write("create")
        manifest = copy.deepcopy(step.manifest)
        name = manifest["metadata"]["name"]
        kept: dict[str, Any] = {
            JOBS: self.jobs,
            PERSISTENT_VOLUME_CLAIMS: self.claims,
            VOLUME_SNAPSHOTS: self.snapshots,
        }[step.resource]
        if name in kept:
            if not kept[name].metadata.owned_by(self.mover.metadata.uid):
                raise Refused(f"{name} is somebody else's")
            return
        self.count += 1
        self.created.append((step.resource.kind, name))
        manifest["metadata"] |= {
            "uid": f"uid-{self.count}",
            "resourceVersion": "1",
            "creationTimestamp": seconds(self.now),
        }
        manifest.pop("status", None)
        made = msgspec.convert(manifest, step.resource.type)
        if step.resource is PERSISTENT_VOLUME_CLAIMS:
            made = replace(made, metadata=replace(made.metadata, finalizers=(PROTECTION,)))
        kept[name] = made

    def _delete(self, step: Delete) -> None:
        self._write("delete")
        name = step.target.name
        if step.resource is JOBS:
            job = self.jobs.get(name)
            if job is not None and job.metadata.uid == step.target.uid:
                del self.jobs[name]
        elif step.resource is VOLUME_SNAPSHOTS:
            found = self.snapshots.get(name)
            if found is not None and found.metadata.uid == step.target.uid:
                del self.snapshots[name]
        else:
            claim = self.claims.get(name)
            if claim is not None and claim.metadata.uid == step.target.uid:
                going = replace(claim.metadata, deletion_timestamp=seconds(self.now))
                self.claims[name] = replace(claim, metadata=going)

    def _write(self, kind: str) -> None:
        self.writes.append(kind)

    def _touched(self, meta: ObjectMeta) -> ObjectMeta:
        return replace(meta, resource_version=str(int(meta.resource_version) + 1))

    def change(self, **spec: Any) -> None:
        """The user changes the spec."""
        assert self.mover.spec is not None
        meta = replace(self._touched(self.mover.metadata), generation=(self.mover.metadata.generation or 0) + 1)
        self.mover = replace(self.mover, metadata=meta, spec=replace(self.mover.spec, **spec))

    def annotate(self, **annotations: str) -> None:
        """The user sets annotations of our group."""
        named = {f"{names.GROUP}/{key}": value for key, value in annotations.items()}
        meta = replace(
            self._touched(self.mover.metadata), annotations={**(self.mover.metadata.annotations or {}), **named}
        )
        self.mover = replace(self.mover, metadata=meta)

    # What the cluster does by itself.

    def step(self) -> bool:
        """Do one thing that a controller, a driver or a kubelet would do; tell whether there was one."""
        return any(act() for act in (self._take_snapshots, self._collect, self._bind, self._start, self._finish))

    def _take_snapshots(self) -> bool:
        for name, found in self.snapshots.items():
            if found.status is None:
                ready = builders.volume_snapshot(name=name).status
                self.snapshots[name] = replace(found, status=ready)
                return True
        return False

    def _bind(self) -> bool:
        for name, claim in self.claims.items():
            if (claim.status and claim.status.phase == "Bound") or claim.metadata.terminating:
                continue
            storage = self.classes.get((claim.spec and claim.spec.storage_class_name) or "")
            waits = storage is not None and storage.volume_binding_mode == "WaitForFirstConsumer"
            if waits and not self.jobs:
                continue
            bound = builders.persistent_volume_claim(name=name).status
            self.claims[name] = replace(claim, status=bound)
            self.volumes[f"pv-{name}"] = builders.persistent_volume(name=f"pv-{name}", claim=name)
            return True
        return False

    def _start(self) -> bool:
        for name, job in self.jobs.items():
            if job.spec.suspend or job.condition("Complete") or job.condition("Failed"):
                continue
            pods = self.pods_of(job.metadata.uid)
            if any(pod.status.phase in ("Pending", "Running") for pod in pods):
                continue
            self.count += 1
            pod_name = f"{name}-{self.count:05}"
            self.pods[pod_name] = builders.pod(
                job, name=pod_name, creation_timestamp=seconds(self.now + timedelta(seconds=self.count))
            )
            self.jobs[name] = replace(job, status=replace(job.status or builders.job().status, active=1))
            return True
        return False

    def _finish(self) -> bool:
        for name, pod in self.pods.items():
            if pod.status.phase != "Running":
                continue
            said = self.script[min(self.attempts, len(self.script) - 1)]
            self.attempts += 1
            succeeded = said is not None and said.succeeded
            owner = next((job for job in self.jobs.values() if pod.metadata.owned_by(job.metadata.uid)), None)
            self.pods[name] = builders.pod(
                owner,
                name=name,
                phase="Succeeded" if succeeded else "Failed",
                outcome=said,
                exit_code=None if said is not None else 1,
                creation_timestamp=pod.metadata.creation_timestamp or "",
            )
            if owner is not None:
                self._conclude(owner, said, succeeded=succeeded)
            return True
        return False

    def _conclude(self, job: Job, said: Outcome | None, *, succeeded: bool) -> None:
        failed = ((job.status and job.status.failed) or 0) + (not succeeded)
        terminal = said is not None and not said.succeeded and not said.retryable
        over = succeeded or terminal or failed > 2
        kind = ("Complete" if succeeded else "Failed") if over else None
        why = None if succeeded else "PodFailurePolicy" if terminal else "BackoffLimitExceeded"
        done = builders.job(
            condition=kind,
            reason=why,
            succeeded=1 if succeeded else None,
            failed=failed or None,
            completion_time=seconds(self.now),
        )
        self.jobs[job.metadata.name] = replace(job, status=done.status)

    def _collect(self) -> bool:
        """Garbage collection, PVC protection and the driver's deletion of volumes."""
        owners = {job.metadata.uid for job in self.jobs.values()}
        for name, pod in self.pods.items():
            if not any(pod.metadata.owned_by(uid) for uid in owners):
                del self.pods[name]
                return True
        for name, claim in self.claims.items():
            if claim.metadata.terminating and not self.pods:
                del self.claims[name]
                return True
        for name, volume in self.volumes.items():
            claim_name = volume.spec.claim_ref.name  # type: ignore[union-attr]
            if claim_name not in self.claims and volume.spec.persistent_volume_reclaim_policy == "Delete":  # type: ignore[union-attr]
                del self.volumes[name]
                return True
        return False

    def _remove_pods(self, job: Job) -> None:
        for name in [name for name, pod in self.pods.items() if pod.metadata.owned_by(job.metadata.uid)]:
            del self.pods[name]

    # The loop.

    def reconcile(self, *, limit: int = 12) -> float | None:
        """Decide and apply until nothing is asked for; return when to look again. Asserts that it comes to rest."""
        for _ in range(limit):
            facts = self.facts()
            plan = decide(facts, now=self.now, settings=builders.SETTINGS)
            if not plan.steps:
                return plan.wake_after
            self.apply(plan, facts=facts)
        raise AssertionError(f"no rest after {limit} decisions; last plan: {plan}")

    def run(self, *, limit: int = 60) -> None:
        """Let operator and cluster take turns until neither has anything to do and no time has to pass."""
        for _ in range(limit):
            wake = self.reconcile()
            if self.step():
                continue
            if wake is None:
                return
            self.now += timedelta(seconds=wake)
        raise AssertionError(f"not at an end after {limit} turns: {self.phases}")


def check_laws(step: Step, facts: Facts) -> None:
    """Assert what holds for every step of every plan."""
    sources = {facts.mover.spec.source_pvc if facts.mover.spec else None}
    status = facts.mover.status
    run = status.run if status else None
    sources |= {run.source} if run and run.source else set()
    match step:
        case Delete():
            assert step.target.uid, "a delete carries the UID (L2)"
            assert step.target.owned_by(facts.mover.metadata.uid), "only what is owned by UID is deleted (L2)"
            assert step.target.label(names.CREATED_BY_LABEL) == names.CREATED_BY_VALUE, "only what is labelled (L2)"
            assert not (step.resource is PERSISTENT_VOLUME_CLAIMS and step.target.name in sources), (
                "not the source (L1)"
            )
        case Create():
            assert run is not None, "the run is recorded before its first effect (L6)"
            meta = step.manifest["metadata"]
            assert meta["name"] not in sources or step.resource is not PERSISTENT_VOLUME_CLAIMS, "not the source (L1)"
            assert meta["name"] in {status.restored_pvc_name, run.job_name, run.snapshot_name}, "a recorded name (L6)"
            assert meta["ownerReferences"][0]["uid"] == facts.mover.metadata.uid, "collected with its owner (L5)"
            assert meta["labels"][names.CREATED_BY_LABEL] == names.CREATED_BY_VALUE
        case SuspendJob():
            assert step.target.owned_by(facts.mover.metadata.uid), "only our own Job is suspended (L2)"
        case WriteStatus():
            assert len(step.status.message or "") <= 1024
            assert all(len(condition.message) <= 1024 for condition in step.status.conditions or ())
        case _:
            pass
