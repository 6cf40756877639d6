"""Single decisions, as a table of sentences; and what holds for any facts at all."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from datamover.api import names, reasons, transfer
from datamover.api.names import Phase
from datamover.api.pods import EnvVar
from datamover.api.v1alpha1.datamover import Verify
from datamover.api.waits import WAITS, Safe, find_hold
from datamover.plans.known import Diagnosis, Refusal, Seen
from datamover.plans.steps import (
    REST,
    Create,
    Delete,
    Emit,
    Inquire,
    Patch,
    Plan,
    ProveGone,
    ProvePods,
    ProveStatus,
    SampleLog,
    WriteStatus,
    users_of,
)
from datamover.runs.facts import Unread
from kubekit.words.batch import JOBS
from kubekit.words.core import PodSpec
from kubekit.words.timestamps import seconds
from support import builders
from support.builders import CLONE, JOB, NOW, SETTINGS, decide, facts, outcome, run, status, with_facts
from support.laws import check_laws

LATER = NOW + timedelta(seconds=60)
FOREIGN = builders.OTHER_UID


def mover(phase: str | None = None, **fields):
    """A DataMover whose run is in `phase`; keywords that the spec lacks are fields of the status."""
    said = {
        key: fields.pop(key) for key in ("run", "reason", "message", "conditions", "restored_pvc_name") if key in fields
    }
    return builders.data_mover(status=status(phase, **said) if phase is not None else None, **fields)


def at(phase: str, **known):
    spec = known.pop("spec", {})
    return facts(mover(phase, **spec), **known)


def recorded(known, seen):
    """The facts with another record of the run."""
    return with_facts(known, mover=replace(known.mover, status=replace(known.mover.status, run=seen)))


def describe(plan: Plan) -> list[str]:
    """The plan in words: what a reviewer would read."""
    words = []
    for step in plan.steps:
        match step:
            case WriteStatus():
                ready = step.status.condition("Ready")
                words.append(f"status {step.status.phase or '-'} {ready.reason if ready else '-'}")
            case Create():
                words.append(f"create {step.resource.kind} {step.manifest['metadata']['name']}")
            case Delete():
                words.append(f"delete {step.resource.kind} {step.target.name}")
            case Patch():
                assert step.resource is JOBS
                words.append(f"{'suspend' if step.patch['spec']['suspend'] else 'resume'} {step.target.name}")
            case Inquire():
                words.append(f"inquire {step.kind}")
            case SampleLog():
                words.append(f"sample {step.pod.name}")
            case ProveGone():
                words.append(f"confirm {step.resource.kind} {step.name}")
            case ProvePods():
                words.append("recount")
            case ProveStatus():
                words.append("fence")
            case Emit():
                words.append(f"event {step.type} {step.reason}")
    return words


CLEANS = {"delete_pvc_after_backup": True}
SNAPSHOT = {"copy_method": "Snapshot", "run": run(copy_method="Snapshot")}
DIRECT = {"copy_method": "Direct", "run": run(copy_method="Direct"), "restored_pvc_name": None}
RESTORERS = ("DataMoverRestore back",)
RUNNING = builders.job(active=1)
LOST = builders.clone(phase="Lost")
EMPTY = builders.persistent_volume(driver=None)
GONE_SOON = {"deletion_timestamp": builders.CREATED}
RETRIED = {"annotations": {names.RETRY_ANNOTATION: "1"}}
PENDING_POD = builders.pod(RUNNING, phase="Pending")
COMPLETE = builders.job(condition="Complete", succeeded=1)
FAILED = builders.job(condition="Failed", reason="BackoffLimitExceeded", failed=3)

CANCELLED = {"reason": "Cancelled", "conditions": {"Synchronized": "False"}}
CANCEL = {"cancel": True}

DECISIONS = {
    "cancelled before it began": (facts(mover(**CANCEL)), ["status Failed Cancelled", "event Normal Cancelled"]),
    "cancelled while the mover runs: recorded first": (
        at(Phase.CREATING_POD, spec=CANCEL, clone=builders.clone(), job=RUNNING),
        ["status CreatingPod Cancelling"],
    ),
    "recorded: the mover is stopped, whatever is wished now": (
        at(Phase.CREATING_POD, spec=CANCELLED, clone=builders.clone(), job=RUNNING),
        [f"suspend {JOB}"],
    ),
    "the mover has ended: what would be kept goes too": (
        at(Phase.CREATING_POD, spec={**CANCELLED, **CANCEL}, clone=builders.clone(), job=builders.job(suspend=True)),
        ["recount", "status CreatingPod Cancelling", f"delete Job {JOB}", f"delete PersistentVolumeClaim {CLONE}"],
    ),
    "nothing is left of one that is cancelled": (
        at(Phase.CREATING_POD, spec={**CANCELLED, **CANCEL}),
        [
            "status Failed Cancelled",
            "event Normal Cancelled",
        ],
    ),
    "cancelled when the mover has completed: a success": (
        at(
            Phase.CREATING_POD,
            spec={**CANCEL, **CLEANS},
            clone=builders.clone(),
            job=COMPLETE,
            pods=(builders.pod(COMPLETE, phase="Succeeded", outcome=outcome()),),
        ),
        ["status CleaningUp CleaningUp", f"delete Job {JOB}", f"delete PersistentVolumeClaim {CLONE}"],
    ),
    "cancelled and suspended when the mover has completed: a success": (
        at(
            Phase.CREATING_POD,
            spec={**CANCEL, "suspend": True},
            clone=builders.clone(),
            job=COMPLETE,
            pods=(builders.pod(COMPLETE, phase="Succeeded", outcome=outcome()),),
        ),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "cancelled in its clean-up: it is cleaned up": (
        at(Phase.CLEANING_UP, spec={**CANCEL, **CLEANS}, job=COMPLETE),
        [f"delete Job {JOB}"],
    ),
    "cancelled and suspended": (
        at(Phase.CREATING_CLONE, spec={**CANCEL, "suspend": True}, clone=builders.clone()),
        ["status CreatingClonedPVC Cancelling"],
    ),
    "cancelled after it had failed": (
        at(Phase.FAILED, spec={**CANCEL, "reason": "MoverFailed"}, clone=builders.clone(), job=FAILED),
        [],
    ),
    "what comes late of one that was cancelled is collected": (
        at(Phase.FAILED, spec=CANCELLED, clone=builders.clone()),
        [f"delete PersistentVolumeClaim {CLONE}"],
    ),
    "a retry of one that was cancelled": (
        at(Phase.FAILED, spec={**CANCELLED, **RETRIED}),
        ["status CreatingClonedPVC Retrying", "event Normal Retrying"],
    ),
    "a retry while it is not wanted": (
        at(Phase.FAILED, spec={**CANCELLED, **CANCEL, **RETRIED}),
        ["status Failed Cancelled"],
    ),
    "a retry of one that was cancelled before it began": (
        facts(mover(Phase.FAILED, run=None, **CANCELLED, **RETRIED)),
        ["status CreatingClonedPVC CreatingClone"],
    ),
    "a retry of one that was cancelled before it began, and something is missing": (
        facts(mover(Phase.FAILED, run=None, **CANCELLED, **RETRIED), source=None),
        ["status Failed SourceNotFound", "event Warning SourceNotFound"],
    ),
    "a terminating object: nothing new is begun": (
        facts(builders.data_mover(deletion_timestamp=builders.CREATED)),
        [],
    ),
    "nothing recorded: the run is recorded before anything else": (facts(), ["status CreatingClonedPVC CreatingClone"]),
    "nothing recorded, Direct: no clone phases": (
        facts(mover(copy_method="Direct"), clone_name=None),
        ["status CreatingPod RunRecorded"],
    ),
    "nothing recorded, Secret not read yet: wait": (facts(secret=Unread.NOT_SYNCED), []),
    "nothing recorded, Secret may not be read: begin, the mover will say": (
        facts(secret=Unread.FORBIDDEN),
        ["status CreatingClonedPVC CreatingClone"],
    ),
    "a missing source is told, once": (
        facts(source=None),
        ["status - SourceNotFound", "event Warning SourceNotFound"],
    ),
    "the source is being restored: waits": (
        facts(restorers=RESTORERS),
        ["status - SourceBeingRestored", "event Warning SourceBeingRestored"],
    ),
    "the source is being restored before it is copied": (
        at(Phase.CREATING_CLONE, restorers=RESTORERS),
        ["status CreatingClonedPVC SourceBeingRestored", "event Warning SourceBeingRestored"],
    ),
    "the source is being restored before its snapshot": (
        at(Phase.CREATING_CLONE, spec=SNAPSHOT, restorers=RESTORERS),
        ["status CreatingClonedPVC SourceBeingRestored", "event Warning SourceBeingRestored"],
    ),
    "the source is being restored before it is read": (
        at(Phase.CREATING_POD, spec=DIRECT, restorers=RESTORERS),
        ["status CreatingPod SourceBeingRestored", "event Warning SourceBeingRestored"],
    ),
    "the source is being restored when reading it is to go on": (
        at(Phase.CREATING_POD, spec=DIRECT, job=builders.job(suspend=True), restorers=RESTORERS),
        ["status CreatingPod SourceBeingRestored", "event Warning SourceBeingRestored"],
    ),
    "the source is being restored, and there is a copy": (
        at(Phase.CREATING_CLONE, clone=builders.clone(), restorers=RESTORERS),
        ["status ClonedPVCReady CloneBound"],
    ),
    "suspended before it began": (
        facts(mover(suspend=True)),
        ["status - Suspended", "event Normal Suspended"],
    ),
    "suspended while the mover runs": (
        at(Phase.CREATING_POD, spec={"suspend": True}, job=RUNNING),
        [f"suspend {JOB}", "status CreatingPod Suspended", "event Normal Suspended"],
    ),
    "suspended, but the Job is over": (
        at(Phase.CREATING_POD, spec={"suspend": True}, job=COMPLETE),
        ["status CreatingPod Suspended", "event Normal Suspended"],
    ),
    "suspended, but the Job is somebody else's": (
        at(Phase.CREATING_POD, spec={"suspend": True}, job=builders.job(FOREIGN)),
        ["status CreatingPod Suspended", "event Normal Suspended"],
    ),
    "resumed: the Job goes on and the status says so": (
        at(Phase.CREATING_POD, spec={"reason": "Suspended"}, clone=builders.clone(), job=builders.job(suspend=True)),
        [f"resume {JOB}", "status CreatingPod JobCreated"],
    ),
    "recorded: the clone is made": (
        at(Phase.CREATING_CLONE),
        [f"create PersistentVolumeClaim {CLONE}"],
    ),
    "recorded, and the source is gone: told, healed when it is back": (
        at(Phase.CREATING_CLONE, source=None),
        ["status CreatingClonedPVC SourceNotFound", "event Warning SourceNotFound"],
    ),
    "recorded, and the clone's name is somebody else's: another name": (
        at(Phase.CREATING_CLONE, clone=builders.clone(FOREIGN)),
        ["status CreatingClonedPVC CreatingClone"],
    ),
    "the clone is young and pending: wait": (at(Phase.CREATING_CLONE, clone=builders.clone(phase="Pending")), []),
    "the clone is being deleted: wait until it is gone": (
        at(Phase.CREATING_CLONE, clone=builders.clone(deletion_timestamp=builders.CREATED)),
        [],
    ),
    "the clone is bound": (
        at(Phase.CREATING_CLONE, clone=builders.clone()),
        ["status ClonedPVCReady CloneBound"],
    ),
    "the clone is bound to a volume of its driver": (
        at(Phase.CREATING_CLONE, clone=builders.clone(volume_name="pv-1"), volumes=(builders.persistent_volume(),)),
        ["status ClonedPVCReady CloneBound"],
    ),
    "the clone is bound to what no CSI driver has made: it is empty": (
        at(Phase.CREATING_CLONE, clone=builders.clone(volume_name="pv-1"), volumes=(EMPTY,)),
        ["status Failed StorageClassCannotClone", "event Warning StorageClassCannotClone"],
    ),
    "the clone to be made is one that no driver would make": (
        at(Phase.CREATING_CLONE, clone=None, source_volume=EMPTY),
        ["status CreatingClonedPVC StorageClassCannotClone", "event Warning StorageClassCannotClone"],
    ),
    "the clone waits for its first consumer: no waiting for it": (
        at(
            Phase.CREATING_CLONE,
            clone=builders.clone(phase="Pending"),
            clone_class=builders.storage_class(volume_binding_mode="WaitForFirstConsumer"),
        ),
        ["status ClonedPVCReady CloneWaitsForFirstConsumer"],
    ),
    "the clone is ready: the Job": (
        at(Phase.CLONE_READY, clone=builders.clone()),
        ["status CreatingPod JobCreated", f"create Job {JOB}", "event Normal JobCreated"],
    ),
    "Direct: the Job at once": (
        at(
            Phase.CREATING_POD,
            spec=DIRECT,
        ),
        ["recount", "status CreatingPod JobCreated", f"create Job {JOB}", "event Normal JobCreated"],
    ),
    "Snapshot: the snapshot first": (
        at(Phase.CREATING_CLONE, spec=SNAPSHOT),
        [f"create VolumeSnapshot {CLONE}"],
    ),
    "Snapshot: not ready yet": (
        at(
            Phase.CREATING_CLONE,
            spec=SNAPSHOT,
            snapshot=builders.volume_snapshot(owner=builders.MOVER_UID, ready_to_use=False),
        ),
        [],
    ),
    "Snapshot: ready, so the clone": (
        at(Phase.CREATING_CLONE, spec=SNAPSHOT, snapshot=builders.volume_snapshot(owner=builders.MOVER_UID)),
        [f"create PersistentVolumeClaim {CLONE}"],
    ),
    "Snapshot: the driver complains": (
        at(
            Phase.CREATING_CLONE,
            spec=SNAPSHOT,
            snapshot=builders.volume_snapshot(owner=builders.MOVER_UID, ready_to_use=False, error="rpc: no room"),
        ),
        ["status CreatingClonedPVC SnapshotFailed", "event Warning SnapshotFailed"],
    ),
    "Snapshot: it is being deleted, so no clone of it": (
        at(
            Phase.CREATING_CLONE,
            spec=SNAPSHOT,
            snapshot=builders.volume_snapshot(owner=builders.MOVER_UID, deletion_timestamp=builders.CREATED),
        ),
        [],
    ),
    "Snapshot: its name is somebody else's": (
        at(Phase.CREATING_CLONE, spec=SNAPSHOT, snapshot=builders.volume_snapshot(owner=FOREIGN)),
        ["status CreatingClonedPVC CreatingClone"],
    ),
    "Snapshot: no class for the driver": (
        at(Phase.CREATING_CLONE, spec=SNAPSHOT, snapshot_classes=()),
        ["status CreatingClonedPVC VolumeSnapshotClassNotFound", "event Warning VolumeSnapshotClassNotFound"],
    ),
    "the API server refused the clone: told": (
        at(Phase.CREATING_CLONE, refusal=Refusal(reasons.CLONE_FORBIDDEN, "exceeded quota: storage")),
        ["status CreatingClonedPVC CloneForbidden", "event Warning CloneForbidden"],
    ),
    "the refusal has been waited out: the step is due again": (
        at(Phase.CREATING_CLONE, refusal=Refusal(reasons.CLONE_FORBIDDEN, "exceeded quota", fresh=False)),
        [f"create PersistentVolumeClaim {CLONE}"],
    ),
    "the Job is there but not recorded (crash): recorded first": (
        at(Phase.CLONE_READY, clone=builders.clone(), job=COMPLETE),
        ["status CreatingPod JobCreated"],
    ),
    "the Job's name is somebody else's": (
        at(Phase.CREATING_POD, clone=builders.clone(), job=builders.job(FOREIGN)),
        ["status CreatingPod NameTaken", "event Warning NameTaken"],
    ),
    "the Job is being deleted: wait until it is gone": (
        at(Phase.CREATING_POD, clone=builders.clone(), job=builders.job(deletion_timestamp=builders.CREATED)),
        [],
    ),
    "the Job is gone: made again": (
        at(Phase.CREATING_POD, clone=builders.clone()),
        ["recount", "status CreatingPod JobCreated", f"create Job {JOB}", "event Normal JobCreated"],
    ),
    "the Job is gone but its Pod still runs: never two at once": (
        at(Phase.CREATING_POD, clone=builders.clone(), strays=(builders.pod(),)),
        ["status CreatingPod JobLost", "event Warning JobLost"],
    ),
    "the Job is gone and its Pod has ended": (
        at(Phase.CREATING_POD, clone=builders.clone(), strays=(builders.pod(phase="Failed"),)),
        ["recount", "status CreatingPod JobCreated", f"create Job {JOB}", "event Normal JobCreated"],
    ),
    "the clone is being deleted before it was bound: no mover can start": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(phase="Pending", deletion_timestamp=builders.CREATED),
            job=RUNNING,
            pods=(PENDING_POD,),
        ),
        [f"delete Job {JOB}", "status Failed CloneLost", "event Warning CloneLost"],
    ),
    "Job and clone are gone": (
        at(Phase.CREATING_POD),
        ["status Failed CloneLost", "event Warning CloneLost"],
    ),
    "Job gone and the clone's name taken: never another clone in the middle of a run": (
        at(Phase.CREATING_POD, clone=builders.clone(FOREIGN)),
        ["status Failed CloneLost", "event Warning CloneLost"],
    ),
    "the clone is gone before the mover started: the Job would wait for ever": (
        at(Phase.CREATING_POD, job=RUNNING, pods=(PENDING_POD,)),
        [f"delete Job {JOB}", "status Failed CloneLost", "event Warning CloneLost"],
    ),
    "the clone's name is somebody else's before the mover started: their data are not ours to read": (
        at(Phase.CREATING_POD, clone=builders.clone(FOREIGN), job=RUNNING, pods=(PENDING_POD,)),
        [f"delete Job {JOB}", "status Failed CloneLost", "event Warning CloneLost"],
    ),
    "the clone is gone while the mover runs: its volume is still mounted": (
        at(Phase.CREATING_POD, job=RUNNING, pods=(builders.pod(RUNNING),)),
        [],
    ),
    "the clone has lost its volume before there is a Job": (
        at(Phase.CREATING_CLONE, clone=LOST),
        ["status Failed CloneVolumeLost", "event Warning CloneVolumeLost"],
    ),
    "the clone has lost its volume, and its class binds on use: no mover could read it": (
        at(
            Phase.CREATING_CLONE,
            clone=LOST,
            clone_class=builders.storage_class(volume_binding_mode="WaitForFirstConsumer"),
        ),
        ["status Failed CloneVolumeLost", "event Warning CloneVolumeLost"],
    ),
    "the clone was ready and has lost its volume": (
        at(Phase.CLONE_READY, clone=LOST),
        ["status Failed CloneVolumeLost", "event Warning CloneVolumeLost"],
    ),
    "the clone has lost its volume before the mover started: the Job would wait for ever": (
        at(Phase.CREATING_POD, clone=LOST, job=RUNNING, pods=(PENDING_POD,)),
        [f"delete Job {JOB}", "status Failed CloneVolumeLost", "event Warning CloneVolumeLost"],
    ),
    "the clone has lost its volume while the mover runs: it is mounted, and the mover will say": (
        at(Phase.CREATING_POD, clone=LOST, job=RUNNING, pods=(builders.pod(RUNNING),)),
        [],
    ),
    "the Job is gone and the clone has lost its volume": (
        at(Phase.CREATING_POD, clone=LOST),
        ["status Failed CloneVolumeLost", "event Warning CloneVolumeLost"],
    ),
    "failed without the clone's volume, and a retry is asked for: what is left of the clone goes first": (
        at(Phase.FAILED, spec=RETRIED, clone=LOST),
        [f"delete PersistentVolumeClaim {CLONE}"],
    ),
    "failed without the clone's volume, the clone may not be deleted: told": (
        at(Phase.FAILED, spec=RETRIED, clone=LOST, refusal=Refusal(reasons.PERMISSION_MISSING, "no", verb="delete")),
        ["status Failed PermissionMissing", "event Warning PermissionMissing"],
    ),
    "failed without the clone's volume, which is going: another run, with another clone": (
        at(Phase.FAILED, spec=RETRIED, clone=replace(LOST, metadata=builders.clone(**GONE_SOON).metadata)),
        ["status CreatingClonedPVC Retrying", "event Normal Retrying"],
    ),
    "failed, a retry is asked for, the clone without its volume is not marked as ours: never deleted": (
        at(Phase.FAILED, spec=RETRIED, clone=builders.clone(phase="Lost", labels={})),
        ["status CreatingClonedPVC Retrying", "event Normal Retrying"],
    ),
    "suspending is refused: told, for the mover goes on": (
        at(
            Phase.CREATING_POD,
            spec={"suspend": True},
            job=RUNNING,
            refusal=Refusal(reasons.PERMISSION_MISSING, "no patch", verb="patch"),
        ),
        ["status CreatingPod PermissionMissing", "event Warning PermissionMissing"],
    ),
    "resuming is refused: told": (
        at(
            Phase.CREATING_POD,
            spec={"reason": "Suspended"},
            clone=builders.clone(),
            job=builders.job(suspend=True),
            refusal=Refusal(reasons.PERMISSION_MISSING, "no patch", verb="patch"),
        ),
        ["status CreatingPod PermissionMissing", "event Warning PermissionMissing"],
    ),
    "suspending was refused and is no longer wished for: that holds up nothing": (
        at(Phase.CLEANING_UP, clone=builders.clone(), refusal=Refusal("PermissionMissing", "no", verb="patch")),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "no Pod yet, but soon": (at(Phase.CREATING_POD, clone=builders.clone(), job=builders.job()), []),
    "one attempt failed, the next one runs": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=builders.job(active=1, failed=1),
            pods=(
                builders.pod(RUNNING, phase="Failed", exit_code=47),
                builders.pod(RUNNING, name="mover-2", creation_timestamp="2024-08-06T14:31:52Z"),
            ),
        ),
        ["status CreatingPod Retrying", "event Warning Retrying"],
    ),
    "one attempt failed, the next one is not there yet: a failed Pod is no failed Job, and told": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=builders.job(failed=1),
            pods=(builders.pod(RUNNING, phase="Failed", exit_code=47),),
        ),
        ["status CreatingPod AttemptFailed", "event Warning AttemptFailed"],
    ),
    "the image cannot be pulled": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=RUNNING,
            pods=(builders.pod(RUNNING, phase="Pending", waiting=("ErrImagePull", "not found")),),
        ),
        ["status CreatingPod ImagePullFailed", "event Warning ImagePullFailed"],
    ),
    "it runs again after an obstacle: said": (
        at(
            Phase.CREATING_POD,
            spec={"conditions": {"Reconciling": "False", "Stalled": "True"}},
            clone=builders.clone(),
            job=RUNNING,
            pods=(builders.pod(RUNNING),),
        ),
        ["status CreatingPod Synchronizing"],
    ),
    "the Job is complete, the clone is kept": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=COMPLETE,
            pods=(builders.pod(COMPLETE, phase="Succeeded", outcome=outcome()),),
        ),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "the Job is complete, the clone is to go: the Job goes first": (
        at(
            Phase.CREATING_POD,
            spec=CLEANS,
            clone=builders.clone(),
            job=COMPLETE,
            pods=(builders.pod(COMPLETE, phase="Succeeded", outcome=outcome()),),
        ),
        ["status CleaningUp CleaningUp", f"delete Job {JOB}", f"delete PersistentVolumeClaim {CLONE}"],
    ),
    "the Job is complete, and what it moved was of an empty volume": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(volume_name="pv-1"),
            volumes=(EMPTY,),
            job=COMPLETE,
            pods=(builders.pod(COMPLETE, phase="Succeeded", outcome=outcome()),),
        ),
        ["status Failed StorageClassCannotClone", "event Warning StorageClassCannotClone"],
    ),
    "the Job is complete and somebody has deleted the clone already": (
        at(
            Phase.CREATING_POD,
            spec=CLEANS,
            clone=builders.clone(deletion_timestamp=builders.CREATED),
            job=builders.job(condition="Complete", deletion_timestamp=None),
        ),
        ["recount", "status CleaningUp CleaningUp", f"delete Job {JOB}"],
    ),
    "the Job is complete and somebody has cleaned up already": (
        at(Phase.CREATING_POD, spec=CLEANS, job=builders.job(condition="Complete", labels={})),
        ["recount", "status Completed Completed", "event Normal Completed"],
    ),
    "the Job has failed": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=FAILED,
            pods=tuple(builders.pod(FAILED, name=f"m{n}", phase="Failed", exit_code=1) for n in range(3)),
        ),
        ["status Failed BackoffLimitExceeded", "event Warning BackoffLimitExceeded"],
    ),
    "the kernel killed the mover at its memory limit: that is the reason": (
        at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=FAILED,
            pods=tuple(
                builders.pod(FAILED, name=f"m{n}", phase="Failed", exit_code=137, terminated_reason="OOMKilled")
                for n in range(3)
            ),
        ),
        ["status Failed OutOfMemory", "event Warning OutOfMemory"],
    ),
    "cleaning up: what is left is deleted": (
        at(Phase.CLEANING_UP, spec=CLEANS, clone=builders.clone()),
        [f"delete PersistentVolumeClaim {CLONE}"],
    ),
    "cleaning up: the clone is going": (
        at(Phase.CLEANING_UP, spec=CLEANS, clone=builders.clone(deletion_timestamp=builders.CREATED)),
        [],
    ),
    "cleaning up: the driver still deletes the volume": (
        at(Phase.CLEANING_UP, spec=CLEANS, volumes=(builders.persistent_volume(),)),
        [],
    ),
    "cleaning up: a volume that is retained is not waited for": (
        at(
            Phase.CLEANING_UP,
            spec=CLEANS,
            volumes=(builders.persistent_volume(persistent_volume_reclaim_policy="Retain"),),
        ),
        ["status Completed Completed", "event Normal Completed", "event Warning VolumeRetained"],
    ),
    "cleaning up: all is gone": (
        at(Phase.CLEANING_UP, spec=CLEANS),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "cleaning up: the delete was refused, which never fails the run": (
        at(Phase.CLEANING_UP, spec=CLEANS, clone=builders.clone(), refusal=Refusal(reasons.CHILD_REFUSED, "no")),
        ["status CleaningUp CleanupFailed", "event Warning CleanupFailed"],
    ),
    "cleaning up: somebody else's claim has taken the name, ours is gone": (
        at(Phase.CLEANING_UP, spec=CLEANS, clone=builders.clone(FOREIGN)),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "cleaning up: a clone without the label is not ours to delete": (
        at(Phase.CLEANING_UP, spec=CLEANS, clone=builders.clone(labels={})),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "cleaning up a snapshot: the clone stays": (
        at(
            Phase.CLEANING_UP,
            spec=SNAPSHOT,
            clone=builders.clone(),
            job=COMPLETE,
            snapshot=builders.volume_snapshot(owner=builders.MOVER_UID),
        ),
        [f"delete VolumeSnapshot {CLONE}"],
    ),
    "completed: at rest, whatever lies about": (
        at(Phase.COMPLETED, spec=CLEANS, clone=builders.clone(), job=COMPLETE),
        [],
    ),
    "completed, then the spec changes: acknowledged": (
        at(Phase.COMPLETED, spec={"generation": 2}),
        ["status Completed CreatingClone"],
    ),
    "completed by the original operator, without a generation: left alone": (
        facts(replace(mover(), status=replace(status(Phase.COMPLETED), observed_generation=None, run=None))),
        [],
    ),
    "failed: at rest": (at(Phase.FAILED, clone=builders.clone(), job=FAILED), []),
    "failed, and a retry is asked for: the old Job goes first": (
        at(Phase.FAILED, spec={"annotations": {names.RETRY_ANNOTATION: "1"}}, clone=builders.clone(), job=FAILED),
        [f"delete Job {JOB}"],
    ),
    "failed, a retry is asked for, the old Job is going": (
        at(
            Phase.FAILED,
            spec={"annotations": {names.RETRY_ANNOTATION: "1"}},
            clone=builders.clone(),
            job=builders.job(condition="Failed", deletion_timestamp=builders.CREATED),
        ),
        [],
    ),
    "failed, a retry is asked for, the old Job cannot be deleted: told": (
        at(
            Phase.FAILED,
            spec={"annotations": {names.RETRY_ANNOTATION: "1"}},
            clone=builders.clone(),
            job=FAILED,
            refusal=Refusal(reasons.CHILD_REFUSED, "the API server refuses to delete Job"),
        ),
        ["status Failed ChildRefused", "event Warning ChildRefused"],
    ),
    "failed, a retry is asked for, the old Job is gone: the same run again": (
        at(Phase.FAILED, spec={"annotations": {names.RETRY_ANNOTATION: "1"}}, clone=builders.clone()),
        ["status CreatingClonedPVC Retrying", "event Normal Retrying"],
    ),
    "failed, and the retry that is asked for was made": (
        at(
            Phase.FAILED,
            spec={"annotations": {names.RETRY_ANNOTATION: "1"}, "run": run(retry="1")},
            clone=builders.clone(),
        ),
        [],
    ),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_decision(case: str) -> None:
    known, expected = DECISIONS[case]
    plan = decide(known, now=NOW, settings=SETTINGS)
    assert describe(plan) == expected
    for step in plan.steps:
        check_laws(step, known)


def only_told(known) -> bool:
    steps = decide(known, now=NOW, settings=SETTINGS).steps
    changes = any(isinstance(step, Create | Delete | Patch) for step in steps)
    return not changes and any(isinstance(step, WriteStatus) for step in steps)


@pytest.mark.parametrize("case", [case for case, (known, _) in DECISIONS.items() if only_told(known)])
def test_what_is_told_is_not_told_again(case: str) -> None:
    known, _ = DECISIONS[case]
    (written,) = [
        step.status for step in decide(known, now=NOW, settings=SETTINGS).steps if isinstance(step, WriteStatus)
    ]
    known = with_facts(known, mover=replace(known.mover, status=written))
    again = decide(known, now=NOW + timedelta(seconds=1), settings=SETTINGS)
    assert written not in [step.status for step in again.steps if isinstance(step, WriteStatus)]
    if written.condition("Stalled").status == "True":
        assert not again.steps, "a stuck run is told once (L9)"


def test_a_completed_run_is_never_emptier_than_its_conditions_say() -> None:
    known = at(Phase.CLEANING_UP, spec=CLEANS, clone=builders.clone(labels={}))
    (written, _) = decide(known, now=NOW, settings=SETTINGS).steps
    cleaned = written.status.condition("CleanedUp")
    assert (cleaned.status, cleaned.reason) == ("False", reasons.CLONE_KEPT)
    assert names.CREATED_BY_LABEL in cleaned.message


def test_the_record_of_a_run_names_everything_that_will_be_made() -> None:
    (written,) = decide(facts(mover(copy_method="Snapshot")), now=NOW, settings=SETTINGS).steps
    assert written.status.run == run(copy_method="Snapshot")
    assert written.status.restored_pvc_name == CLONE


def test_the_name_of_a_clone_is_of_the_creation_and_the_folder_of_the_run() -> None:
    (written,) = decide(facts(), now=LATER, settings=SETTINGS).steps
    assert written.status.restored_pvc_name == CLONE
    assert written.status.run.timestamp == "2024-08-06-143152"


class TestPatience:
    """When to look again, and whom to ask."""

    clone = builders.clone(phase="Pending")

    def test_a_young_clone_is_looked_at_again_when_it_should_be_ready(self) -> None:
        plan = decide(at(Phase.CREATING_CLONE, clone=self.clone), now=NOW + timedelta(seconds=4), settings=SETTINGS)
        assert plan == Plan(wake_after=pytest.approx(6.1))

    def test_a_clock_of_the_api_server_that_is_ahead_lets_nobody_wait_longer(self) -> None:
        plan = decide(at(Phase.CREATING_CLONE, clone=self.clone), now=NOW - timedelta(hours=1), settings=SETTINGS)
        assert plan.wake_after == pytest.approx(10.1)

    def test_a_clone_that_takes_long_is_asked_about(self) -> None:
        plan = decide(at(Phase.CREATING_CLONE, clone=self.clone), now=LATER, settings=SETTINGS)
        assert describe(plan) == ["inquire PersistentVolumeClaim"]

    def test_what_the_events_say_is_told(self) -> None:
        said = Diagnosis("uid-of-" + CLONE, "ProvisioningFailed: no clones here")
        known = at(Phase.CREATING_CLONE, clone=self.clone, diagnosis=said)
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert describe(plan) == [
            "status CreatingClonedPVC CloneProvisioningFailed",
            "event Warning CloneProvisioningFailed",
        ]
        assert "ProvisioningFailed: no clones here" in plan.steps[0].status.message
        assert plan.steps[0].status.condition("CloneReady").status == "False"

    def test_events_that_say_nothing_are_not_asked_again_at_once(self) -> None:
        said = Diagnosis("uid-of-" + CLONE, None, age=20)
        plan = decide(at(Phase.CREATING_CLONE, clone=self.clone, diagnosis=said), now=LATER, settings=SETTINGS)
        assert plan == Plan(wake_after=pytest.approx(40.05))

    def test_events_are_read_again_after_a_while(self) -> None:
        said = Diagnosis("uid-of-" + CLONE, "ProvisioningFailed: no clones here", age=60)
        plan = decide(at(Phase.CREATING_CLONE, clone=self.clone, diagnosis=said), now=LATER, settings=SETTINGS)
        assert describe(plan) == ["inquire PersistentVolumeClaim"]

    def test_what_was_said_of_the_snapshot_explains_no_clone(self) -> None:
        said = Diagnosis("uid-of-the-snapshot", "the snapshot controller is down")
        plan = decide(at(Phase.CREATING_CLONE, clone=self.clone, diagnosis=said), now=LATER, settings=SETTINGS)
        assert describe(plan) == ["inquire PersistentVolumeClaim"]

    def test_a_job_without_a_pod_is_asked_about(self) -> None:
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=builders.job())
        assert describe(decide(known, now=LATER, settings=SETTINGS)) == ["inquire Job"]

    def test_a_pod_that_nobody_complains_about_but_that_does_not_start_is_asked_about(self) -> None:
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=RUNNING, pods=(PENDING_POD,))
        assert decide(known, now=NOW, settings=SETTINGS).wake_after == pytest.approx(10.1)
        assert describe(decide(known, now=LATER, settings=SETTINGS)) == ["inquire Pod"]

    def test_that_a_pod_had_to_wait_for_a_node_is_no_reason_once_it_has_one(self) -> None:
        """A volume that is made a moment after the Pod leaves such a warning, and a large image takes long."""
        for node, over in ((None, ()), ("node-1", ("FailedScheduling",))):
            pod = builders.pod(phase="Pending", node_name=node)
            known = at(Phase.CREATING_POD, clone=builders.clone(), job=RUNNING, pods=(pod,))
            assert decide(known, now=LATER, settings=SETTINGS).steps == (Inquire("Pod", pod.metadata, over=over),)

    def test_a_pod_whose_clone_does_not_bind_is_explained_by_the_clone(self) -> None:
        known = at(Phase.CREATING_POD, clone=self.clone, job=RUNNING, pods=(PENDING_POD,))
        assert describe(decide(known, now=LATER, settings=SETTINGS)) == ["inquire PersistentVolumeClaim"]

    def test_why_a_volume_cannot_be_mounted_is_told(self) -> None:
        said = Diagnosis("uid-of-mover-1", "FailedMount: timed out")
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=RUNNING, pods=(PENDING_POD,), diagnosis=said)
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert describe(plan) == ["status CreatingPod MoverCannotStart", "event Warning MoverCannotStart"]

    def test_cleaning_up_says_after_a_while_what_it_waits_for(self) -> None:
        known = at(
            Phase.CLEANING_UP,
            spec=CLEANS,
            clone=builders.clone(deletion_timestamp=builders.CREATED, finalizers=("kubernetes.io/pvc-protection",)),
            strays=(builders.pod(phase="Succeeded"),),
        )
        assert decide(known, now=NOW, settings=SETTINGS) == Plan(wake_after=pytest.approx(30.1))
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert describe(plan) == ["status CleaningUp WaitingForCloneRemoval", "event Warning WaitingForCloneRemoval"]
        message = plan.steps[0].status.message
        assert CLONE in message
        assert "kubernetes.io/pvc-protection" in message
        assert "mover-1" in message

    def test_somebody_elses_job_is_looked_at_again_for_nothing_tells_us_of_its_end(self) -> None:
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=builders.job(FOREIGN))
        assert decide(known, now=NOW, settings=SETTINGS).wake_after == SETTINGS.patience.inquire_interval

    def test_a_refusal_is_waited_out(self) -> None:
        refusal = Refusal(reasons.CLONE_FORBIDDEN, "exceeded quota", retry_after=8.0)
        assert decide(at(Phase.CREATING_CLONE, refusal=refusal), now=NOW, settings=SETTINGS).wake_after == 8.0


class TestRemoval:
    """An old child that does not go is told after a while: which one, since when, what holds it, what to do."""

    def told(self, known) -> str:
        """The sentence a minute later; half a minute before, nothing was wrong."""
        young = decide(known, now=NOW + timedelta(seconds=20), settings=SETTINGS)
        assert not any(isinstance(step, WriteStatus) and stalls(step) for step in young.steps)
        assert 0 < young.wake_after <= 11
        plan = decide(known, now=LATER, settings=SETTINGS)
        written, event = plan.steps
        assert written.status.condition("Stalled").reason == event.reason
        again = with_facts(known, mover=replace(known.mover, status=written.status))
        assert not decide(again, now=LATER + timedelta(seconds=1), settings=SETTINGS).steps, "told once (L9)"
        return f"{event.reason}: {written.status.message}"

    @pytest.mark.parametrize(
        ("phase", "fields", "after"),
        [(Phase.FAILED, RETRIED, "The retry begins"), (Phase.CREATING_POD, {}, "Another Job is made")],
    )
    def test_an_old_job_that_somebodys_finalizer_holds(self, phase, fields, after) -> None:
        job = builders.job(condition="Failed", finalizers=("example.com/audit", "orphan"), **GONE_SOON)
        message = self.told(at(phase, spec=fields, clone=builders.clone(), job=job))
        for words in (
            "WaitingForMoverRemoval: ",
            f"Job {JOB} is being deleted since {builders.CREATED}",
            "held by the finalizers example.com/audit, orphan",
            "find out who is to remove",
            f"{after} when it is gone",
        ):
            assert words in message, words

    def test_an_old_job_whose_pod_is_on_a_dead_node(self) -> None:
        job = builders.job(condition="Failed", finalizers=("foregroundDeletion",), **GONE_SOON)
        pod = replace(builders.pod(job, **GONE_SOON), spec=PodSpec(node_name="node-7"))
        message = self.told(at(Phase.FAILED, spec=RETRIED, clone=builders.clone(), job=job, pods=(pod,)))
        assert f"Pod mover-1 (Running, on node node-7, being deleted since {builders.CREATED})" in message
        assert "if its node is down for good" in message
        assert "kubectl -n default delete pod mover-1 --grace-period=0 --force" in message
        assert "find out" not in message, "the finalizer goes with the Pods"

    def test_a_pod_of_a_job_that_is_gone_and_whose_node_is_dead(self) -> None:
        pod = replace(builders.pod(**GONE_SOON), spec=PodSpec(node_name="node-7"))
        message = self.told(at(Phase.CREATING_POD, clone=builders.clone(), strays=(pod,)))
        assert "WaitingForMoverRemoval: Pod mover-1 (Running, on node node-7" in message
        assert "two movers of one run never write at once" in message

    def test_a_pod_that_nobody_told_to_go_is_waited_for_in_peace(self) -> None:
        plan = decide(
            at(Phase.CREATING_POD, clone=builders.clone(), strays=(builders.pod(),)), now=LATER, settings=SETTINGS
        )
        assert describe(plan) == ["status CreatingPod JobLost", "event Warning JobLost"]

    def test_an_old_snapshot(self) -> None:
        old = builders.volume_snapshot(owner=builders.MOVER_UID, finalizers=("example.com/keep",), **GONE_SOON)
        message = self.told(at(Phase.CREATING_CLONE, spec=SNAPSHOT, snapshot=old))
        assert f"WaitingForCloneRemoval: VolumeSnapshot {CLONE} is being deleted" in message
        assert "example.com/keep" in message

    old = builders.clone(finalizers=("kubernetes.io/pvc-protection",), **GONE_SOON)

    @pytest.mark.parametrize(("phase", "fields"), [(Phase.CREATING_CLONE, {}), (Phase.CLEANING_UP, CLEANS)])
    def test_who_uses_an_old_clone_is_asked_for_before_it_is_told(self, phase, fields) -> None:
        known = at(phase, spec=fields, clone=self.old)
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert plan == Plan(
            (Inquire("PersistentVolumeClaim", self.old.metadata, users=True),), SETTINGS.patience.inquire_interval
        )
        stale = Diagnosis(plan.steps[0].topic, "Pod shell (Running, on node n)", age=SETTINGS.patience.inquire_interval)
        assert decide(with_facts(known, diagnosis=stale), now=LATER, settings=SETTINGS).steps == plan.steps

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("Pod shell (Running, on node n)", "because Pod shell (Running, on node n) uses it: delete that Pod"),
            ("", "no Pod uses it any more: look whether the cluster's controller-manager works"),
            (None, "held by the finalizer kubernetes.io/pvc-protection. Another clone"),
        ],
    )
    def test_what_was_learnt_of_an_old_clone_is_told(self, answer, words) -> None:
        said = Diagnosis(users_of(self.old.metadata.uid), answer)
        message = self.told(at(Phase.CREATING_CLONE, clone=self.old, diagnosis=said))
        assert f"WaitingForCloneRemoval: PersistentVolumeClaim {CLONE} is being deleted since" in message
        assert words in message

    def test_a_driver_that_does_not_delete_the_volume_is_asked_for_and_quoted(self) -> None:
        volume = builders.persistent_volume()
        known = at(Phase.CLEANING_UP, spec=CLEANS, volumes=(volume,))
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert plan.steps == (Inquire("PersistentVolume", volume.metadata),)
        said = Diagnosis(volume.metadata.uid, "VolumeFailedDelete: the array is read-only")
        message = self.told(with_facts(known, diagnosis=said))
        assert f"volume {volume.metadata.name} is gone; its driver says: VolumeFailedDelete: the array is" in message
        silent = self.told(with_facts(known, diagnosis=Diagnosis(volume.metadata.uid, None)))
        assert silent.endswith(f"waiting until volume {volume.metadata.name} is gone")

    def test_our_own_pods_that_use_an_old_clone_need_not_be_asked_for(self) -> None:
        message = self.told(at(Phase.CREATING_CLONE, clone=self.old, strays=(builders.pod(phase="Succeeded"),)))
        assert "Pod mover-1 (Succeeded) is still there" in message


def stalls(step: WriteStatus) -> bool:
    """Tell whether a status says that something is wrong; that of a failed run always does."""
    return step.status.phase != Phase.FAILED and step.status.condition("Stalled").status == "True"


class TestLostClones:
    def message(self, **fields) -> str:
        known = at(Phase.CREATING_CLONE, clone=builders.clone(phase="Lost", **fields))
        return decide(known, now=NOW, settings=SETTINGS).steps[0].status.message

    def test_it_is_said_that_the_source_is_intact_and_what_a_retry_does(self) -> None:
        message = self.message()
        for words in (f"clone {CLONE} has lost its volume", "the source is intact", "A retry makes another clone"):
            assert words in message
        assert "is kept" not in message
        assert names.RETRY_ANNOTATION in message

    def test_one_that_is_not_marked_as_ours_is_left_to_people(self) -> None:
        message = self.message(labels={})
        assert "it is not touched: delete it before a retry" in message

    def test_a_job_that_may_not_be_stopped_is_told_as_well(self) -> None:
        refusal = Refusal(reasons.PERMISSION_MISSING, "the API server refuses to delete Job", verb="delete")
        known = at(Phase.CREATING_POD, clone=LOST, job=RUNNING, pods=(PENDING_POD,), refusal=refusal)
        plan = decide(known, now=NOW, settings=SETTINGS)
        assert describe(plan)[0] == "status Failed CloneVolumeLost"
        assert "Its Job is still there: the API server refuses to delete Job" in plan.steps[0].status.message


class TestLastWords:
    """Jobs and Pods come by different watches: the Job may be over before its Pod's outcome is here."""

    done = builders.job(condition="Complete", succeeded=1, completion_time=builders.CREATED)

    def test_the_outcome_is_waited_for_when_the_pod_is_not_seen_to_have_ended(self) -> None:
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=self.done, pods=(builders.pod(self.done),))
        assert decide(known, now=NOW, settings=SETTINGS) == Plan(wake_after=10.0)

    def test_the_outcome_is_not_waited_for_for_ever(self) -> None:
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=self.done)
        words = describe(decide(known, now=LATER, settings=SETTINGS))
        assert words[:2] == ["recount", "status Completed Completed"], "the server is asked once, for the cache may lag"

    def test_an_image_that_leaves_no_outcome_is_not_waited_for(self) -> None:
        silent = builders.pod(self.done, phase="Succeeded", exit_code=0)
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=self.done, pods=(silent,))
        assert describe(decide(known, now=NOW, settings=SETTINGS))[0] == "status Completed Completed"

    def test_the_words_of_the_last_failed_attempt_are_waited_for(self) -> None:
        job = builders.job(condition="Failed", failed=2, completion_time=builders.CREATED)
        early = builders.pod(job, phase="Failed", outcome=outcome(failure_class=transfer.NETWORK))
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(early, builders.pod(job, name="mover-2")))
        assert decide(known, now=NOW, settings=SETTINGS).wake_after == 10.0

    def test_the_words_of_an_earlier_attempt_are_not_taken_for_the_last(self) -> None:
        job = builders.job(condition="Failed", failed=2, completion_time=builders.CREATED)
        early = builders.pod(job, phase="Failed", outcome=outcome(failure_class=transfer.NETWORK))
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(early,))
        assert describe(decide(known, now=LATER, settings=SETTINGS))[0] == "recount", "the server knows the last Pod"

    def test_the_last_failed_attempt_gives_the_reason(self) -> None:
        job = builders.job(condition="Failed", reason="BackoffLimitExceeded", failed=2)
        early = builders.pod(
            job, phase="Failed", outcome=outcome(failure_class=transfer.NETWORK, reason=transfer.REASON_TLS_UNTRUSTED)
        )
        late = builders.pod(
            job,
            name="mover-2",
            phase="Failed",
            outcome=outcome(failure_class=transfer.DENIED, reason=transfer.REASON_ACCESS_DENIED, message="no rights"),
            creation_timestamp="2024-08-06T14:31:52Z",
        )
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(late, early))
        plan = decide(known, now=NOW, settings=SETTINGS)
        assert describe(plan)[0] == "status Failed AccessDenied"
        assert plan.steps[0].status.condition("Synchronized").message == "no rights"

    def test_a_reason_that_is_not_ours_never_becomes_one(self) -> None:
        job = builders.job(condition="Failed", failed=1)
        odd = builders.pod(job, phase="Failed", outcome=outcome(failure_class="x", reason="made up " * 50))
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(odd,))
        assert describe(decide(known, now=NOW, settings=SETTINGS))[0] == "status Failed MoverFailed"

    @pytest.mark.parametrize(
        "said", ['"x":' + "[" * 3000, '"files":1e26', '"bytes":' + "9" * 26, '"message":"\\ud800"', '"deleted":-1']
    )
    @pytest.mark.parametrize("ended", ["Complete", "Failed"])
    def test_a_hostile_outcome_ends_the_run_and_is_told_as_what_it_is(self, said: str, ended: str) -> None:
        job = builders.job(condition=ended, failed=ended == "Failed", succeeded=ended == "Complete")
        phase = "Succeeded" if ended == "Complete" else "Failed"
        last = builders.pod(job, phase=phase, exit_code=0, termination_message='{"datamover":"outcome",' + said)
        plan = decide(at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(last,)), now=NOW, settings=SETTINGS)
        told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
        assert told.phase != Phase.CREATING_POD
        assert told.run.files is None
        words = " ".join([told.message, *(condition.message for condition in told.conditions)])
        assert "left an outcome that cannot be used: it " in words

    def test_a_deadline_is_a_deadline_whatever_an_earlier_attempt_said(self) -> None:
        job = builders.job(condition="Failed", reason="DeadlineExceeded", failed=1)
        early = builders.pod(job, phase="Failed", outcome=outcome(failure_class=transfer.NETWORK, message="no answer"))
        known = at(Phase.CREATING_POD, spec={"deadline_seconds": 30}, clone=builders.clone(), job=job, pods=(early,))
        plan = decide(known, now=NOW, settings=SETTINGS)
        assert describe(plan)[0] == "status Failed DeadlineExceeded"
        assert "30 s" in plan.steps[0].status.message
        assert "no answer" in plan.steps[0].status.message

    def test_a_run_that_failed_does_not_show_the_source_as_if_it_had_moved(self) -> None:
        job = builders.job(condition="Failed", failed=1)
        said = outcome(failure_class=transfer.NETWORK, files=10, bytes=1000, transferred_files=2, transferred_bytes=50)
        seen = replace(run(), bytes=70, files=1)
        known = at(
            Phase.CREATING_POD,
            clone=builders.clone(),
            job=job,
            pods=(builders.pod(job, phase="Failed", outcome=said),),
        )
        known = recorded(known, seen)
        ended = decide(known, now=NOW, settings=SETTINGS).steps[0].status.run
        assert (ended.bytes, ended.files, ended.total_bytes, ended.total_files) == (70, 2, 1000, 10)
        assert (ended.transferred_bytes, ended.transferred_files) == (50, 2)

    def test_a_run_that_failed_before_the_source_was_read_keeps_what_is_known_of_it(self) -> None:
        job = builders.job(condition="Failed", failed=1)
        said = outcome(failure_class=transfer.NETWORK, files=0, bytes=0, transferred_files=0, transferred_bytes=0)
        seen = replace(run(), total_bytes=1000, total_files=10)
        pods = (builders.pod(job, phase="Failed", outcome=said),)
        known = recorded(at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=pods), seen)
        ended = decide(known, now=NOW, settings=SETTINGS).steps[0].status.run
        assert (ended.bytes, ended.files, ended.total_bytes, ended.total_files) == (0, 0, 1000, 10)

    @pytest.mark.parametrize(
        ("last", "cause"),
        [
            (
                {"outcome": outcome(failure_class=transfer.NETWORK, reason=transfer.REASON_TLS_UNTRUSTED)},
                "TLSUntrusted",
            ),
            ({"outcome": outcome(failure_class=transfer.NETWORK, reason="made up")}, "MoverFailed"),
            ({"exit_code": 137, "terminated_reason": "OOMKilled"}, "OutOfMemory"),
            ({"exit_code": 1}, "MoverFailed"),
        ],
    )
    def test_another_attempt_names_why_the_one_before_failed(self, last, cause: str) -> None:
        job = builders.job(active=1, failed=1)
        pods = (
            builders.pod(job, name="first", phase="Failed", **last),
            builders.pod(job, name="second", creation_timestamp="2024-08-06T14:31:52Z"),
        )
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=pods)
        written = decide(known, now=NOW, settings=SETTINGS).steps[0]
        assert written.status.condition("Ready").reason == reasons.RETRYING
        assert written.cause == cause

    def test_a_job_that_somebody_deleted_is_told_when_it_is_made_again(self) -> None:
        known = recorded(at(Phase.CREATING_POD, clone=builders.clone()), replace(run(), attempts=1))
        plan = decide(known, now=NOW, settings=SETTINGS)
        assert describe(plan)[-2:] == [f"create Job {JOB}", "event Warning JobLost"]

    @pytest.mark.parametrize("strays", [(), (builders.pod(),)], ids=["at once", "when its Pod has ended"])
    def test_what_is_made_again_does_not_say_how_far_the_one_before_was(self, strays) -> None:
        seen = replace(run(), attempts=1, progress="42%, 1m30s left")
        known = recorded(at(Phase.CREATING_POD, clone=builders.clone(), strays=strays), seen)
        plan = decide(known, now=NOW, settings=SETTINGS)
        (written,) = [step for step in plan.steps if isinstance(step, WriteStatus)]
        assert written.status.run.progress is None

    def test_a_lost_job_that_may_not_be_made_again_is_counted_once(self) -> None:
        """What was lost is counted with the first try; each further one would count it again."""
        lost = recorded(at(Phase.CREATING_POD, clone=builders.clone()), replace(run(), attempts=1))
        refusal = Refusal(reasons.CHILD_REFUSED, "no", fresh=False, target=("Job", JOB))
        for known, cause in ((lost, reasons.JOB_LOST), (with_facts(lost, refusal=refusal), None)):
            plan = decide(known, now=NOW, settings=SETTINGS)
            assert [step.cause for step in plan.steps if isinstance(step, WriteStatus)] == [cause]

    def test_what_cannot_be_read_of_another_attempt_is_not_said_of_the_one_that_succeeded(self) -> None:
        failed = builders.pod(COMPLETE, name="first", phase="Failed", exit_code=1)
        ended = failed.status.container_statuses[0]
        torn = replace(ended.state.terminated, message='{"datamover":"outcome","files":-1}')
        ended = replace(ended, state=replace(ended.state, terminated=torn))
        failed = replace(failed, status=replace(failed.status, container_statuses=(ended,)))
        silent = builders.pod(COMPLETE, name="second", phase="Succeeded", exit_code=0)
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=COMPLETE, pods=(failed, silent))
        steps = decide(known, now=LATER, settings=SETTINGS).steps
        told = next(step.status for step in steps if isinstance(step, WriteStatus))
        assert "the mover left no outcome, so" in told.condition("Verified").message

    def test_a_pod_that_was_killed_is_described(self) -> None:
        job = builders.job(condition="Failed", reason="BackoffLimitExceeded", failed=1)
        killed = builders.pod(job, phase="Failed", exit_code=137, terminated_reason="ContainerStatusUnknown")
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(killed,))
        message = decide(known, now=NOW, settings=SETTINGS).steps[0].status.message
        assert "exit code 137 (ContainerStatusUnknown)" in message
        assert f"kubectl logs job/{JOB}" in message

    @pytest.mark.parametrize(
        ("fields", "kept"), [({}, True), ({"deletion_timestamp": builders.CREATED}, False), ({"labels": {}}, False)]
    )
    def test_a_clone_is_called_kept_only_when_it_is(self, fields, kept: bool) -> None:
        job = builders.job(condition="Failed", failed=1)
        known = at(
            Phase.CREATING_POD,
            clone=builders.clone(**fields),
            job=job,
            pods=(builders.pod(job, phase="Failed", exit_code=1),),
        )
        message = decide(known, now=NOW, settings=SETTINGS).steps[0].status.message
        assert (f"The clone {CLONE} is kept" in message) is kept

    def test_a_long_outcome_leaves_room_for_the_way_out(self) -> None:
        job = builders.job(condition="Failed", failed=1)
        wordy = builders.pod(job, phase="Failed", outcome=outcome(failure_class=transfer.GUARD, message="word " * 600))
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=job, pods=(wordy,))
        message = decide(known, now=NOW, settings=SETTINGS).steps[0].status.message
        assert len(message) <= 1024
        assert message.endswith(f'{names.RETRY_ANNOTATION}="$(date +%s)" --overwrite')


@pytest.mark.parametrize(
    ("modes", "read_only"),
    [
        (("ReadOnlyMany",), True),
        (("ReadWriteOnce",), False),
        (("ReadOnlyMany", "ReadWriteOnce"), False),
        (("ReadWriteMany",), False),
    ],
)
def test_the_node_mounts_a_copy_read_only_when_it_cannot_be_written(modes: tuple[str, ...], read_only: bool) -> None:
    known = at(Phase.CLONE_READY, clone=builders.clone(access_modes=modes))
    plan = decide(known, now=NOW, settings=SETTINGS)
    made = next(step.manifest for step in plan.steps if isinstance(step, Create) and step.resource.kind == "Job")
    volume = made["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]
    assert volume.get("readOnly", False) is read_only


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        (0, "1 file, 5.0 MiB of app-data to s3generic:backups/"),
        (1, "; 1 special file (fifo"),
        (2, "; 2 special files (fifo"),
    ],
)
def test_the_last_word_has_units_and_names_what_was_left_out(skipped: int, words: str) -> None:
    said = outcome(files=1, bytes=5 << 20, skipped_special=skipped)
    ended = builders.pod(COMPLETE, phase="Succeeded", outcome=said)
    plan = decide(
        at(Phase.CREATING_POD, clone=builders.clone(), job=COMPLETE, pods=(ended,)), now=LATER, settings=SETTINGS
    )
    told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    assert words in told.message
    assert ("left out" in told.message) is bool(skipped)


class TestNoFlapping:
    """A stuck run costs nothing until there is news (L9)."""

    def told(self, first, second) -> list[str]:
        pods = [builders.pod(RUNNING, phase="Pending", **looks) for looks in (first, second)]
        known = at(Phase.CREATING_POD, clone=builders.clone(), job=RUNNING, pods=(pods[0],))
        plan = decide(known, now=LATER, settings=SETTINGS)
        written = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
        known = with_facts(known, mover=replace(known.mover, status=written), pods=(pods[1],))
        return describe(decide(known, now=LATER, settings=SETTINGS))

    def test_a_pull_that_the_node_describes_in_two_ways_by_turns_is_told_once(self) -> None:
        first = {"waiting": ("ErrImagePull", "manifest unknown")}
        second = {"waiting": ("ImagePullBackOff", 'Back-off pulling image "x"')}
        assert self.told(first, second) == []

    def test_an_unschedulable_pod_whose_numbers_change_is_told_once(self) -> None:
        first = {"unschedulable": "0/3 nodes are available: 3 Insufficient cpu."}
        second = {"unschedulable": "0/12 nodes are available: 12 Insufficient cpu."}
        assert self.told(first, second) == []

    def test_another_cause_is_news(self) -> None:
        first = {"unschedulable": "0/3 nodes are available: 3 Insufficient cpu."}
        second = {"unschedulable": "0/3 nodes are available: 3 had untolerated taint."}
        assert self.told(first, second) == [
            "status CreatingPod MoverUnschedulable",
            "event Warning MoverUnschedulable",
        ]

    def test_another_missing_key_is_news(self) -> None:
        first = {"waiting": ("CreateContainerConfigError", 'secret "a" not found')}
        second = {"waiting": ("CreateContainerConfigError", 'secret "b" not found')}
        assert self.told(first, second)[0] == "status CreatingPod MoverCannotStart"


@pytest.mark.parametrize(
    ("said", "status_", "reason"),
    [
        (outcome(verified=True), "True", reasons.VERIFIED),
        (outcome(verified=True, verification="download", read_files=3), "True", reasons.VERIFIED),
        (outcome(verified=True, verification="sample:5%", read_files=1), "True", reasons.SAMPLE_VERIFIED),
        (outcome(verified=True, verification="size"), "True", reasons.SIZES_COMPARED),
        (outcome(verified=None, verification="checksums"), "False", reasons.NOTHING_VERIFIED),
        (outcome(verified=None), "False", reasons.NOT_REQUESTED),
        (None, "Unknown", reasons.OUTCOME_MISSING),
    ],
    ids=["compared", "read back", "a sample", "sizes", "nothing there", "not asked for", "nothing said"],
)
def test_verified_claims_no_more_than_the_mover_said(said, status_, reason) -> None:
    ended = builders.pod(COMPLETE, phase="Succeeded", outcome=said, exit_code=0 if said is None else None)
    asked = mover(Phase.CREATING_POD, additional_env=(EnvVar(name="VERIFY_BACKUP", value="true"),))
    plan = decide(facts(asked, clone=builders.clone(), job=COMPLETE, pods=(ended,)), now=LATER, settings=SETTINGS)
    told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    verified = told.condition("Verified")
    assert (told.phase, verified.status, verified.reason) == (Phase.COMPLETED, status_, reason)
    assert ("unverified: the mover left no outcome" in told.message) == (said is None)


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("checksums", "Checksum"),
        ("download", "Download"),
        ("sample:5%", "Sample:5%"),
        ("size", "Size"),
        ("guessing", ""),
        ("", ""),
    ],
)
def test_what_was_verified_has_its_moment_and_its_method(method, shown) -> None:
    said = outcome(verified=True, verification=method, checked_files=3)
    ended = builders.pod(COMPLETE, phase="Succeeded", outcome=said)
    plan = decide(
        at(Phase.CREATING_POD, clone=builders.clone(), job=COMPLETE, pods=(ended,)), now=LATER, settings=SETTINGS
    )
    told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    assert (told.last_verified, told.last_verified_method) == ((seconds(LATER), shown) if shown else (None, None))
    assert told.condition("Verified").message.startswith(
        f"{shown}: " if shown else ("the mover" if not method else "3 of")
    )


@pytest.mark.parametrize(
    ("verify", "status_", "reason"),
    [
        (Verify(method="Download"), "Unknown", reasons.OUTCOME_MISSING),
        (Verify(method="Sample", sample_percent=5), "Unknown", reasons.OUTCOME_MISSING),
        (Verify(method="None"), "False", reasons.NOT_REQUESTED),
        (Verify(), "False", reasons.NOT_REQUESTED),
    ],
)
def test_a_mover_that_does_not_know_the_method_that_was_asked_for_is_told(verify, status_, reason) -> None:
    ended = builders.pod(COMPLETE, phase="Succeeded", outcome=outcome(verified=None))
    asked = mover(Phase.CREATING_POD, verify=verify)
    plan = decide(facts(asked, clone=builders.clone(), job=COMPLETE, pods=(ended,)), now=LATER, settings=SETTINGS)
    verified = next(step.status for step in plan.steps if isinstance(step, WriteStatus)).condition("Verified")
    assert (verified.status, verified.reason) == (status_, reason)
    assert ("an image of this version" in verified.message) == (status_ == "Unknown")


@pytest.mark.parametrize("said", [outcome(verified=None), outcome(verified=None, verification="download"), None])
def test_what_was_not_verified_has_no_moment(said) -> None:
    ended = builders.pod(COMPLETE, phase="Succeeded", outcome=said, exit_code=0 if said is None else None)
    plan = decide(
        at(Phase.CREATING_POD, clone=builders.clone(), job=COMPLETE, pods=(ended,)), now=LATER, settings=SETTINGS
    )
    told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    assert told.last_verified is None


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (
            outcome(
                succeeded=False,
                failure_class=transfer.VERIFY,
                reason=transfer.REASON_VERIFICATION_FAILED,
                message="2 files differ.",
            ),
            transfer.REASON_VERIFICATION_FAILED,
            "2 files differ. (the mover's exit code is 0",
        ),
        (outcome(succeeded=False, reason="", message=""), reasons.MOVER_FAILED, "its outcome says that it failed"),
        (outcome(succeeded=False, message="odd"), reasons.MOVER_FAILED, "odd. (the mover's exit code is 0"),
        (outcome(verified=False), transfer.REASON_VERIFICATION_FAILED, "found differences"),
    ],
    ids=["failed", "failed without a word", "failed for the reason Succeeded", "found differences"],
)
def test_what_says_failed_is_never_completed_whatever_its_exit_code(said, reason, words) -> None:
    ended = builders.pod(COMPLETE, phase="Succeeded", outcome=said, exit_code=0)
    plan = decide(
        at(Phase.CREATING_POD, clone=builders.clone(), job=COMPLETE, pods=(ended,)), now=LATER, settings=SETTINGS
    )
    told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    failed = told.condition("Failed")
    assert (told.phase, failed.status, failed.reason) == (Phase.FAILED, "True", reason)
    assert words in told.message
    assert not any(isinstance(step, Delete) for step in plan.steps)


MONDAY, MADE, RECORDED = "2024-08-05-000003", "2024-08-06-070809", "2024-08-06-143052"


def aged(child, created="2024-08-06T07:08:09Z"):
    return replace(child, metadata=replace(child.metadata, creation_timestamp=created))


@pytest.mark.parametrize(
    ("method", "recorded", "children", "moment"),
    [
        ("Clone", None, {"clone": aged(builders.clone())}, MADE),
        ("Clone", MONDAY, {"clone": aged(builders.clone())}, MADE),
        ("Clone", None, {"clone": aged(builders.clone(), None)}, RECORDED),
        (
            "Snapshot",
            None,
            {"clone": builders.clone(), "snapshot": aged(builders.volume_snapshot(owner=builders.MOVER_UID))},
            MADE,
        ),
        ("Snapshot", MONDAY, {"clone": builders.clone()}, MONDAY),
        (
            "Snapshot",
            MONDAY,
            {"clone": builders.clone(), "snapshot": aged(builders.volume_snapshot(owner=builders.MOVER_UID))},
            MONDAY,
        ),
        ("Snapshot", None, {"clone": builders.clone()}, RECORDED),
        ("Direct", None, {}, None),
    ],
    ids=[
        "of the clone",
        "of this clone, another one was lost",
        "the clone has none: when the run was recorded",
        "of the snapshot",
        "the snapshot is gone: as recorded",
        "of the snapshot that was recorded first",
        "the snapshot is gone and nothing was recorded: when the run was",
        "a live source is read anew by each attempt",
    ],
)
def test_every_attempt_is_told_the_moment_of_its_copy_and_it_is_recorded_first(
    method, recorded, children, moment
) -> None:
    known = mover(Phase.CREATING_POD, copy_method=method, run=run(copy_method=method, copied=recorded))
    plan = decide(facts(known, **children), now=LATER, settings=SETTINGS)
    (created,) = (step for step in plan.steps if isinstance(step, Create))
    (container,) = created.manifest["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert told[transfer.COPIED_AT] == (moment or "")
    written = [step.status.run.copied for step in plan.steps if isinstance(step, WriteStatus)]
    assert written == [moment] if moment != recorded else written in ([], [moment])


def test_a_refusal_for_a_newer_backup_advises_no_retry_of_the_same_copy() -> None:
    """The way out must work: a retry would move the copy that was refused."""
    said = outcome(
        failure_class=transfer.GUARD,
        reason=transfer.REASON_NEWER_BACKUP_EXISTS,
        message="It is older. Create a new DataMover.",
    )
    failed = builders.job(condition="Failed", reason="PodFailurePolicy", failed=1)
    pods = (builders.pod(failed, phase="Failed", outcome=said),)
    plan = decide(at(Phase.CREATING_POD, clone=builders.clone(), job=failed, pods=pods), now=LATER, settings=SETTINGS)
    told = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    assert (told.phase, told.condition("Failed").reason) == (Phase.FAILED, transfer.REASON_NEWER_BACKUP_EXISTS)
    assert "Create a new DataMover" in told.message
    assert names.RETRY_ADVICE.strip() not in told.message


class TestProgress:
    """At most one sample and one write an interval."""

    pods = (builders.pod(RUNNING),)
    progress = transfer.Progress(run_id="r", phase="syncing", bytes=42, total_bytes=100, files=1, total_files=3, eta=90)

    def known(self, **fields):
        return at(Phase.CREATING_POD, clone=builders.clone(), job=RUNNING, pods=self.pods, **fields)

    def test_a_young_mover_is_not_sampled(self) -> None:
        plan = decide(self.known(), now=NOW + timedelta(seconds=4), settings=SETTINGS)
        assert plan == Plan(wake_after=pytest.approx(6.05))

    def test_a_running_mover_is_sampled(self) -> None:
        assert describe(decide(self.known(), now=LATER, settings=SETTINGS)) == ["sample mover-1"]

    def test_a_fresh_sample_is_told_and_the_next_one_waits(self) -> None:
        plan = decide(self.known(progress=self.progress, progress_age=0.5), now=LATER, settings=SETTINGS)
        assert describe(plan) == ["status CreatingPod Synchronizing"]
        told = plan.steps[0].status.run
        assert (told.progress, told.bytes, told.total_bytes, told.files, told.total_files) == (
            "33%, 1m30s left",
            42,
            100,
            1,
            3,
        )
        assert plan.wake_after == pytest.approx(9.55)

    def test_a_sample_without_progress_is_not_taken_again_at_once(self) -> None:
        plan = decide(self.known(progress=None, progress_age=0.0), now=LATER, settings=SETTINGS)
        assert plan == Plan(wake_after=pytest.approx(10.05))

    def test_an_old_sample_is_replaced(self) -> None:
        plan = decide(self.known(progress=self.progress, progress_age=10.0), now=LATER, settings=SETTINGS)
        assert describe(plan) == ["sample mover-1"]


# --- any facts at all ------------------------------------------------------------------------------------------------

OWNERS = st.sampled_from([builders.MOVER_UID, FOREIGN, None])
LABELS = st.sampled_from([None, {}])
GOING = st.sampled_from([None, builders.CREATED])
RUNS = st.one_of(
    st.none(),
    st.builds(run, copy_method=st.sampled_from(["Clone", "Snapshot", "Direct"]), retry=st.sampled_from([None, "1"])),
)
MOVERS = st.builds(
    lambda phase, recorded, stalled, **fields: builders.data_mover(
        status=status(phase, run=recorded, conditions={"Stalled": stalled}) if phase is not None else None,
        **fields,
    ),
    phase=st.sampled_from([None, *Phase.ORDER, "SomethingElse"]),
    recorded=RUNS,
    stalled=st.sampled_from(["True", "False"]),
    copy_method=st.sampled_from(["Clone", "Snapshot", "Direct"]),
    delete_pvc_after_backup=st.booleans(),
    suspend=st.booleans(),
    generation=st.sampled_from([1, 2]),
    annotations=st.sampled_from([None, {names.RETRY_ANNOTATION: "1"}]),
    deletion_timestamp=st.sampled_from([None, None, builders.CREATED]),
)
CLONES = st.builds(
    lambda owner, phase, labels, going: builders.persistent_volume_claim(
        name=CLONE, owner=owner, phase=phase, labels=labels, deletion_timestamp=going
    ),
    OWNERS,
    st.sampled_from(["Bound", "Pending", "Lost", None]),
    LABELS,
    GOING,
)
JOBS_ = st.builds(
    lambda owner, condition, counts, suspend, labels, going: builders.job(
        owner, condition=condition, suspend=suspend, labels=labels, deletion_timestamp=going, **counts
    ),
    OWNERS,
    st.sampled_from([None, "Complete", "Failed", "FailureTarget"]),
    st.sampled_from([{}, {"active": 1}, {"failed": 1}, {"failed": 3}, {"succeeded": 1}]),
    st.sampled_from([None, True, False]),
    LABELS,
    GOING,
)
SNAPSHOTS = st.builds(
    lambda owner, ready, error, labels, going: builders.volume_snapshot(
        owner=owner, ready_to_use=ready, error=error, labels=labels, deletion_timestamp=going
    ),
    OWNERS,
    st.sampled_from([True, False, None]),
    st.sampled_from([None, "broken"]),
    LABELS,
    GOING,
)
PODS = st.lists(
    st.sampled_from(
        [
            builders.pod(RUNNING),
            builders.pod(RUNNING, phase="Pending"),
            builders.pod(RUNNING, phase="Pending", waiting=("ErrImagePull", "no")),
            builders.pod(RUNNING, phase="Pending", unschedulable="0/1 nodes"),
            builders.pod(RUNNING, phase="Succeeded", outcome=outcome()),
            builders.pod(RUNNING, phase="Failed", outcome=outcome(failure_class=transfer.NETWORK)),
            builders.pod(RUNNING, phase="Failed", exit_code=1),
            builders.pod(RUNNING, phase="Failed", termination_message="x" * 5000),
        ]
    ),
    max_size=3,
).map(tuple)
FACTS = st.builds(
    facts,
    MOVERS,
    source=st.sampled_from(
        [None, builders.persistent_volume_claim(), builders.persistent_volume_claim(phase="Pending")]
    ),
    secret=st.sampled_from([builders.secret_keys(), builders.secret_keys(keys=()), *Unread]),
    clone=st.none() | CLONES,
    job=st.none() | JOBS_,
    snapshot=st.none() | SNAPSHOTS,
    pods=PODS,
    strays=PODS,
    volumes=st.sampled_from([(), (builders.persistent_volume(),)]),
    clone_class=st.sampled_from([None, builders.storage_class(volume_binding_mode="WaitForFirstConsumer")]),
    refusal=st.sampled_from([None, Refusal("ChildRefused", "no"), Refusal("ChildRefused", "no", fresh=False)]),
    diagnosis=st.sampled_from([None, Diagnosis("uid-of-" + CLONE, "broken"), Diagnosis("uid-of-mover-1", None)]),
    progress=st.sampled_from([None, TestProgress.progress]),
    progress_age=st.sampled_from([None, 1.0, 60.0]),
)
MOMENTS = st.sampled_from([NOW - timedelta(hours=1), NOW, LATER, NOW + timedelta(days=400)])


@given(known=FACTS, now=MOMENTS)
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_plan_breaks_a_law_whatever_the_facts(known, now) -> None:
    plan = decide(known, now=now, settings=SETTINGS)
    for step in plan.steps:
        check_laws(step, known)
    assert plan.wake_after is None or plan.wake_after > 0
    assert sum(isinstance(step, WriteStatus) for step in plan.steps) <= 1
    if known.mover.metadata.terminating:
        assert plan == REST
    spec, recorded = known.mover.spec, known.mover.status.run if known.mover.status else None
    for step in plan.steps:
        if not isinstance(step, WriteStatus):
            continue
        new, was = step.status, known.mover.status
        if new.phase == Phase.COMPLETED and (was is None or was.phase != Phase.COMPLETED) and recorded is not None:
            assert not (recorded.copy_method == "Snapshot" and known.owns(known.snapshot)), "L4: the snapshot is gone"
            if spec.delete_pvc_after_backup and recorded.copy_method != "Direct":
                assert not known.owns(known.clone), "L4: the clone is gone"
                assert not known.owns(known.job), "L4: the Job is gone"
        if was is None or was.phase not in Phase.TERMINAL:
            stalled = new.condition("Stalled")
            assert stalled.message, "L10: a sentence"
            assert stalled.reason in KNOWN, "L10: a reason"
            hold = find_hold(new)
            if hold is not None and new.phase != Phase.FAILED:
                safe = WAITS[hold.reason].safe  # L10: who ends it is known
                assert safe is not Safe.YES or new.phase in {Phase.CLEANING_UP, Phase.COMPLETED}
                # what the original operator left in this phase has no record, and begins anew
                assert safe is not Safe.NO or new.phase != Phase.CLEANING_UP or new.run is None


class TestAbsence:
    """What the caches do not show is asked for before anything is built upon its absence, unless this process saw it go."""

    def test_a_clone_that_was_never_seen_is_not_lost_before_the_server_says_so(self) -> None:
        known = at(Phase.CREATING_POD, seen=Seen())
        words = ["confirm PersistentVolumeClaim " + CLONE, "status Failed CloneLost", "event Warning CloneLost"]
        assert describe(decide(known, now=NOW, settings=SETTINGS)) == words

    def test_a_job_is_not_stopped_for_a_clone_that_was_never_seen(self) -> None:
        known = at(Phase.CREATING_POD, seen=Seen(), job=RUNNING, pods=(PENDING_POD,))
        words = describe(decide(known, now=NOW, settings=SETTINGS))
        assert words[:2] == ["confirm PersistentVolumeClaim " + CLONE, f"delete Job {JOB}"]

    def test_a_run_is_not_complete_before_the_server_says_that_all_is_gone(self) -> None:
        known = at(Phase.CLEANING_UP, spec=CLEANS | SNAPSHOT, seen=Seen(volume="pv-1"))
        assert describe(decide(known, now=NOW, settings=SETTINGS))[:-2] == [
            f"confirm Job {JOB}",
            f"confirm PersistentVolumeClaim {CLONE}",
            "confirm PersistentVolume pv-1",
            f"confirm VolumeSnapshot {CLONE}",
        ]

    def test_a_retry_takes_another_copy_only_when_the_server_has_none(self) -> None:
        wish = {"annotations": {names.RETRY_ANNOTATION: "1"}}
        known = facts(mover(Phase.FAILED, **wish), seen=Seen())
        assert describe(decide(known, now=NOW, settings=SETTINGS))[0] == f"confirm PersistentVolumeClaim {CLONE}"

    def test_what_comes_after_the_clean_up_is_removed(self) -> None:
        done = decide(at(Phase.CLEANING_UP, spec=CLEANS), now=NOW, settings=SETTINGS).steps[0].status
        late = facts(replace(mover(Phase.COMPLETED, **CLEANS), status=done), clone=builders.clone(), job=RUNNING)
        words = [f"delete Job {JOB}", f"delete PersistentVolumeClaim {CLONE}"]
        assert describe(decide(late, now=LATER, settings=SETTINGS)) == words

    def test_a_clone_that_is_kept_stays_whatever_the_spec_says_later(self) -> None:
        done = decide(at(Phase.CLEANING_UP), now=NOW, settings=SETTINGS).steps[0].status
        edited = facts(replace(mover(Phase.COMPLETED, **CLEANS), status=done), clone=builders.clone(), job=COMPLETE)
        assert describe(decide(edited, now=LATER, settings=SETTINGS)) == []

    def test_a_job_is_made_again_under_the_version_of_the_status(self) -> None:
        first = decide(at(Phase.CLONE_READY, clone=builders.clone()), now=NOW, settings=SETTINGS).steps[0].status
        lost = facts(replace(mover(Phase.CREATING_POD), status=first), clone=builders.clone())
        words = describe(decide(lost, now=LATER, settings=SETTINGS))
        assert words[:3] == ["recount", "fence", f"create Job {JOB}"]

    def test_who_holds_the_name_of_our_clone_may_hold_that_of_our_job_too(self) -> None:
        known = at(Phase.CREATING_CLONE, clone=builders.clone(FOREIGN), job=builders.job(FOREIGN))
        plan = decide(known, now=NOW, settings=SETTINGS)
        assert plan.steps[0].status.run.job_name == f"{JOB}-5f0c1"


KNOWN = {value for name, value in vars(reasons).items() if name.isupper()} | {
    value for name, value in vars(transfer).items() if name.startswith("REASON_")
}


@given(known=FACTS, now=MOMENTS)
@hypothesis_settings(max_examples=300, deadline=None)
def test_a_written_status_is_not_written_again(known, now) -> None:
    """Deciding on the status that results asks for no second status of the same content, and soon for none at all (L9)."""
    seen = []
    for _ in range(6):
        plan = decide(known, now=now, settings=SETTINGS)
        written = [step.status for step in plan.steps if isinstance(step, WriteStatus)]
        if not written:
            return
        assert written[0] not in seen, "two statuses by turns"
        seen.append(written[0])
        known = with_facts(known, mover=replace(known.mover, status=written[0]))
    raise AssertionError(f"no rest: {[s.phase for s in seen]}")
