"""Builders of the objects that a DataMover meets. Keywords are called like the Kubernetes fields; what is not said is healthy.

The default cast: DataMover `nightly` backs up the claim `app-data` (class `fast`, bound) with the Secret `storage-credentials`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from datamover.api import names, transfer
from datamover.api.transfer import Outcome
from datamover.api.v1alpha1.datamover import DataMover, DataMoverSpec, DataMoverStatus, Run
from datamover.plans.known import Known, Seen
from datamover.reconcilers.datamover import decide as deciding
from datamover.reconcilers.datamover import gather as gathering
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.order import owner_of
from datamover.reconcilers.datamover.plan import Plan
from datamover.runs.facts import RunFacts
from kubekit.words.batch import Job, JobCondition, JobSpec, JobStatus
from kubekit.words.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    DriverVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    SecretKeys,
    VolumeResources,
)
from kubekit.words.meta import Condition, HasMeta, ObjectMeta, OwnerReference
from kubekit.words.snapshot import (
    IS_DEFAULT_CLASS,
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotError,
    VolumeSnapshotSource,
    VolumeSnapshotSpec,
    VolumeSnapshotStatus,
)
from kubekit.words.storage import StorageClass
from kubekit.words.timestamps import seconds

NOW = datetime(2024, 8, 6, 14, 30, 52, tzinfo=UTC)
CREATED = seconds(NOW)
NAMESPACE = "default"
MOVER_UID = "5f0c1b7e-2a4d-4c39-9d55-0a1b2c3d4e5f"
OTHER_UID = "99999999-8888-4777-8666-555555555555"
CLONE = "restored-app-data-20240806143052"
JOB = "verify-restored-app-data-20240806143052"
RUN_ID = "20240806143052-5f0c1b7e2a4d"
SETTINGS = Settings(cluster="cluster-uid")
SEEN = Seen(frozenset({("PersistentVolumeClaim", CLONE), ("VolumeSnapshot", CLONE), ("Job", JOB)}))


def data_mover(
    *,
    name: str = "nightly",
    namespace: str = NAMESPACE,
    uid: str = MOVER_UID,
    generation: int = 1,
    creation_timestamp: str = CREATED,
    deletion_timestamp: str | None = None,
    annotations: dict[str, str] | None = None,
    status: DataMoverStatus | None = None,
    **spec: Any,
) -> DataMover:
    """A DataMover; further keywords are fields of its spec."""
    given = {"source_pvc": "app-data", "secret_name": "storage-credentials", **spec}
    return DataMover(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid,
            generation=generation,
            resource_version="1",
            creation_timestamp=creation_timestamp,
            deletion_timestamp=deletion_timestamp,
            annotations=annotations,
        ),
        spec=DataMoverSpec(**given),
        status=status,
    )


def run(*, copy_method: str = names.CopyMethod.CLONE, **fields: Any) -> Run:
    """The run that the default DataMover records at NOW."""
    given: dict[str, Any] = {
        "id": RUN_ID,
        "timestamp": "2024-08-06-143052",
        "job_name": JOB,
        "snapshot_name": CLONE if copy_method == names.CopyMethod.SNAPSHOT else None,
        "source": "app-data",
        "copy_method": copy_method,
        "started": CREATED,
    }
    return Run(**{**given, **fields})


def status(
    phase: str,
    *,
    reason: str = "CreatingClone",
    message: str = "copying app-data",
    conditions: Mapping[str, str] | None = None,
    **fields: Any,
) -> DataMoverStatus:
    """A status in `phase`, work in progress; `conditions` are further statuses by type."""
    values = {"Ready": "False", "Reconciling": "True", "Stalled": "False", "Complete": "False", "Failed": "False"}
    values |= dict(conditions or {})
    given: dict[str, Any] = {
        "restored_pvc_name": CLONE,
        "observed_generation": 1,
        "phase_started": CREATED,
        "run": run(),
    }
    return DataMoverStatus(
        phase=phase,
        message=message,
        conditions=tuple(
            Condition(
                type=type_,
                status=value,
                reason=reason,
                message=message,
                last_transition_time=CREATED,
                observed_generation=1,
            )
            for type_, value in values.items()
        ),
        **{**given, **fields},
    )


def child_meta(
    name: str,
    *,
    owner: DataMover | str | None = None,
    labels: dict[str, str] | None = None,
    uid: str | None = None,
    namespace: str = NAMESPACE,
    creation_timestamp: str | None = CREATED,
    deletion_timestamp: str | None = None,
    finalizers: tuple[str, ...] | None = None,
    resource_version: str = "1",
) -> ObjectMeta:
    """Metadata of a child as the operator makes it; without `owner` of an object of somebody else's. A string is an owner's UID."""
    owner_uid = owner.metadata.uid if isinstance(owner, DataMover) else owner
    ours = {names.CREATED_BY_LABEL: names.CREATED_BY_VALUE, names.OWNER_UID_LABEL: owner_uid} if owner_uid else None
    reference = (
        OwnerReference(
            api_version=f"{names.GROUP}/v1alpha1", kind="DataMover", name="nightly", uid=owner_uid, controller=True
        )
        if owner_uid
        else None
    )
    return ObjectMeta(
        name=name,
        namespace=namespace,
        uid=uid or f"uid-of-{name}",
        labels=ours if labels is None else labels,
        owner_references=(reference,) if reference else None,
        creation_timestamp=creation_timestamp,
        deletion_timestamp=deletion_timestamp,
        finalizers=finalizers,
        resource_version=resource_version,
    )


def persistent_volume_claim(
    *,
    name: str = "app-data",
    phase: str | None = "Bound",
    storage: str = "10Gi",
    capacity: str | None = None,
    storage_class_name: str | None = "fast",
    volume_mode: str | None = None,
    access_modes: tuple[str, ...] = ("ReadWriteOnce",),
    volume_name: str | None = None,
    **meta: Any,
) -> PersistentVolumeClaim:
    """A claim; further keywords are those of `child_meta`."""
    return PersistentVolumeClaim(
        metadata=child_meta(name, **meta),
        spec=PersistentVolumeClaimSpec(
            access_modes=access_modes,
            resources=VolumeResources(requests={"storage": storage}),
            storage_class_name=storage_class_name,
            volume_mode=volume_mode,
            volume_name=volume_name,
        ),
        status=PersistentVolumeClaimStatus(phase=phase, capacity={"storage": capacity or storage}),
    )


def clone(owner: DataMover | str = MOVER_UID, *, name: str = CLONE, phase: str = "Bound", **fields: Any) -> Any:
    """The clone of the default run."""
    return persistent_volume_claim(name=name, phase=phase, owner=owner, **fields)


def persistent_volume(
    *,
    name: str = "pv-1",
    claim: str = CLONE,
    namespace: str = NAMESPACE,
    persistent_volume_reclaim_policy: str = "Delete",
    driver: str | None = "csi.example.com",
    flex_driver: str | None = None,
) -> PersistentVolume:
    """The volume of a claim, of a CSI driver unless `driver` is None."""
    return PersistentVolume(
        metadata=ObjectMeta(name=name, uid=f"uid-of-{name}", resource_version="1"),
        spec=PersistentVolumeSpec(
            claim_ref=ObjectReference(kind="PersistentVolumeClaim", namespace=namespace, name=claim),
            persistent_volume_reclaim_policy=persistent_volume_reclaim_policy,
            csi=DriverVolumeSource(driver) if driver is not None else None,
            flex_volume=DriverVolumeSource(flex_driver) if flex_driver is not None else None,
        ),
    )


def storage_class(
    *,
    name: str = "fast",
    provisioner: str = "csi.example.com",
    volume_binding_mode: str = "Immediate",
    reclaim_policy: str = "Delete",
) -> StorageClass:
    """A class of a driver that can clone."""
    return StorageClass(
        metadata=ObjectMeta(name=name),
        provisioner=provisioner,
        volume_binding_mode=volume_binding_mode,
        reclaim_policy=reclaim_policy,
    )


def volume_snapshot_class(
    *,
    name: str = "snapshots",
    driver: str = "csi.example.com",
    default: bool = False,
    deletion_policy: str = "Delete",
) -> VolumeSnapshotClass:
    """A snapshot class of the default driver."""
    annotations = {IS_DEFAULT_CLASS: "true"} if default else None
    return VolumeSnapshotClass(
        metadata=ObjectMeta(name=name, annotations=annotations), driver=driver, deletion_policy=deletion_policy
    )


def volume_snapshot(
    *,
    name: str = CLONE,
    ready_to_use: bool | None = True,
    restore_size: str | None = None,
    error: str | None = None,
    **meta: Any,
) -> VolumeSnapshot:
    """A snapshot of the source; further keywords are those of `child_meta`."""
    return VolumeSnapshot(
        metadata=child_meta(name, **meta),
        spec=VolumeSnapshotSpec(source=VolumeSnapshotSource(persistent_volume_claim_name="app-data")),
        status=VolumeSnapshotStatus(
            ready_to_use=ready_to_use,
            restore_size=restore_size,
            error=VolumeSnapshotError(message=error) if error is not None else None,
        ),
    )


def job(
    owner: DataMover | str | None = MOVER_UID,
    *,
    name: str = JOB,
    condition: str | None = None,
    reason: str | None = None,
    message: str | None = None,
    active: int | None = None,
    succeeded: int | None = None,
    failed: int | None = None,
    suspend: bool | None = None,
    completion_time: str | None = None,
    **meta: Any,
) -> Job:
    """A mover's Job; `condition` is the type of the one that is True."""
    conditions = (
        (
            JobCondition(
                type=condition, status="True", reason=reason, message=message, last_transition_time=completion_time
            ),
        )
        if condition
        else None
    )
    return Job(
        metadata=child_meta(name, owner=owner, **meta),
        spec=JobSpec(backoff_limit=2, suspend=suspend),
        status=JobStatus(
            active=active, succeeded=succeeded, failed=failed, completion_time=completion_time, conditions=conditions
        ),
    )


def outcome(*, failure_class: str | None = None, **fields: Any) -> Outcome:
    """What a mover leaves behind: a success of 3 files, or a failure of a class."""
    succeeded = failure_class is None
    given: dict[str, Any] = {
        "run_id": RUN_ID,
        "succeeded": succeeded,
        "failure_class": failure_class,
        "reason": transfer.REASON_SUCCEEDED if succeeded else transfer.REASON_WRONG_CREDENTIALS,
        "message": "3 files are at the destination"
        if succeeded
        else "the server does not know these keys: correct them",
        "destination": "s3generic:backups/",
        "files": 3,
        "bytes": 1024,
        "transferred_files": 2,
        "transferred_bytes": 512,
    }
    return Outcome(**{**given, **fields})


def pod(
    owner: Job | None = None,
    *,
    name: str = "mover-1",
    phase: str = "Running",
    container: str = "rclone",
    outcome: Outcome | None = None,
    exit_code: int | None = None,
    terminated_reason: str | None = None,
    termination_message: str | None = None,
    waiting: tuple[str, str] | None = None,
    unschedulable: str | None = None,
    start_time: str | None = CREATED,
    reason: str | None = None,
    message: str | None = None,
    creation_timestamp: str = CREATED,
    mover_uid: str = MOVER_UID,
    deletion_timestamp: str | None = None,
    node_name: str | None = None,
    not_ready: tuple[str, str] | None = None,
) -> Pod:
    """A mover's Pod. `outcome` (or `exit_code`, `termination_message`) ends its container; `waiting` is (reason, message).

    `not_ready` is the reason of its Ready condition and since when it is so.
    """
    state: ContainerState | None = None
    if outcome is not None or exit_code is not None or termination_message is not None:
        text = msgspec.json.encode(outcome).decode() if outcome is not None else termination_message
        code = exit_code if exit_code is not None else (outcome.exit_code if outcome is not None else 0)
        state = ContainerState(
            terminated=ContainerStateTerminated(exit_code=code, reason=terminated_reason, message=text)
        )
    elif waiting is not None:
        state = ContainerState(waiting=ContainerStateWaiting(reason=waiting[0], message=waiting[1]))
    elif phase == "Running":
        state = ContainerState(running=ContainerStateRunning(started_at=start_time))
    conditions = (
        (PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message=unschedulable),)
        if unschedulable is not None
        else None
    )
    if not_ready is not None:
        silent = PodCondition(type="Ready", status="False", reason=not_ready[0], last_transition_time=not_ready[1])
        conditions = (*(conditions or ()), silent)
    references = (
        (OwnerReference(api_version="batch/v1", kind="Job", name=owner.metadata.name, uid=owner.metadata.uid),)
        if owner is not None
        else None
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            uid=f"uid-of-{name}",
            owner_references=references,
            labels={names.CREATED_BY_LABEL: names.CREATED_BY_VALUE, names.OWNER_UID_LABEL: mover_uid},
            creation_timestamp=creation_timestamp,
            deletion_timestamp=deletion_timestamp,
        ),
        spec=PodSpec(node_name=node_name) if node_name is not None else None,
        status=PodStatus(
            phase=phase,
            reason=reason,
            message=message,
            start_time=start_time,
            conditions=conditions,
            container_statuses=(ContainerStatus(name=container, state=state),) if state is not None else None,
        ),
    )


def secret_keys(
    *,
    name: str = "storage-credentials",
    keys: Iterable[str] = transfer.REQUIRED_VARIABLES,
    empty: Iterable[str] = (),
) -> SecretKeys:
    """What is known of a Secret that has what is needed."""
    return SecretKeys(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE), keys=tuple(sorted(keys)), empty=tuple(sorted(empty))
    )


class FlatFacts(Facts):
    """Facts that tests read flat: what is known of the run, and what was learnt, by the names of their fields."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        name = _CALLED.get(name, name)
        return getattr(self.run.known if name in _LEARNT else self.run, name)

    def owns(self, child: HasMeta | None) -> bool:
        """Tell whether a child is ours to delete."""
        return owner_of(self.mover, run()).owns(child)


_CALLED = {"clone": "claim", "clone_class": "claim_class"}
_LEARNT = frozenset(Known.__slots__)
_OF_THE_MOVER = frozenset(Facts.__slots__)


def facts(mover: DataMover | None = None, **known: Any) -> FlatFacts:
    """Facts of a DataMover whose source, class and Secret are healthy; further keywords are fields of Facts, RunFacts and Known."""
    given: dict[str, Any] = {
        "source": persistent_volume_claim(),
        "source_class": storage_class(),
        "clone_class": storage_class(),
        "secret": secret_keys(),
        "clone_name": CLONE,
        "snapshot_classes": (volume_snapshot_class(),),
        "seen": SEEN,
    }
    return with_facts(FlatFacts(mover or data_mover(), RunFacts(NOW)), **{**given, **known})


def with_facts(known: Any, **changes: Any) -> Any:
    """Facts with some of them changed, or any other dataclass."""
    if not isinstance(known, FlatFacts):
        return dataclasses.replace(known, **changes)
    changes = {_CALLED.get(name, name): value for name, value in changes.items()}
    own = {name: value for name, value in changes.items() if name in _OF_THE_MOVER}
    learnt = {name: value for name, value in changes.items() if name in _LEARNT}
    rest = {name: value for name, value in changes.items() if name not in own and name not in learnt}
    run = own.pop("run", known.run)
    run = dataclasses.replace(run, known=dataclasses.replace(run.known, **learnt), **rest)
    return dataclasses.replace(known, run=run, **own)


def gather(mover: DataMover, **given: Any) -> FlatFacts:
    """What is gathered, to be read flat."""
    found = gathering.gather(mover, **given)
    return FlatFacts(
        found.mover,
        found.run,
        secret=found.secret,
        clone_name=found.clone_name,
        sharers=found.sharers,
        comparison=found.comparison,
        backups=found.backups,
    )


def decide(known: Facts, *, now: datetime, settings: Settings) -> Plan:
    """Decide on facts as they are at this moment, with the patience of these settings."""
    run = dataclasses.replace(known.run, now=now, patience=settings.patience)
    return deciding.decide(dataclasses.replace(known, run=run), settings=settings)
