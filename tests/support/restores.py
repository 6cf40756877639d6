"""Builders of DataMoverRestores and of what they meet. What is not said is healthy.

The default cast: DataMoverRestore `back` restores the latest point of the bucket of `storage-credentials` into the claim `app-restored` (bound, used by
nobody).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from datamover.api import names
from datamover.api.restore import WHOLE, Restored
from datamover.api.transfer import Outcome
from datamover.api.v1alpha1.restore import (
    Bucket,
    DataMoverRestore,
    DataMoverRestoreSpec,
    DataMoverRestoreStatus,
    NewClaim,
    RestoreRun,
    RestoreSource,
    RestoreTarget,
)
from datamover.movers.restore import CONTAINER
from datamover.plans.known import Diagnosis, Known
from datamover.plans.steps import writers_of
from datamover.reconcilers.restore.facts import Facts, Settings
from datamover.runs.facts import RunFacts
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import Condition, ObjectMeta
from support import builders
from support.builders import CREATED, MOVER_UID, NAMESPACE, NOW

CLAIM = "app-restored"
JOB = f"restore-{CLAIM}"
SETTINGS = Settings()
_OWN = ("mover", "secret", "before", "copies", "target", "target_class", "target_volume")
BUCKET = RestoreSource(bucket=Bucket(secret_name="storage-credentials"))
FROM_MOVER = RestoreSource(data_mover="nightly")
INTO = RestoreTarget(claim_name=CLAIM)
NEW = RestoreTarget(claim_name=CLAIM, create=NewClaim(storage="10Gi"))


def restore(
    *,
    name: str = "back",
    uid: str = MOVER_UID,
    generation: int = 1,
    creation_timestamp: str = CREATED,
    deletion_timestamp: str | None = None,
    annotations: dict[str, str] | None = None,
    status: DataMoverRestoreStatus | None = None,
    **spec: Any,
) -> DataMoverRestore:
    """A DataMoverRestore; further keywords are fields of its spec."""
    return DataMoverRestore(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            uid=uid,
            generation=generation,
            resource_version="1",
            creation_timestamp=creation_timestamp,
            deletion_timestamp=deletion_timestamp,
            annotations=annotations,
        ),
        spec=DataMoverRestoreSpec(**{"source": BUCKET, "target": INTO, **spec}),
        status=status,
    )


def run(**fields: Any) -> RestoreRun:
    """The run that the default restore records at NOW."""
    given: dict[str, Any] = {
        "id": "20240806143052-5f0c1b7e2a4d",
        "claim": CLAIM,
        "secret_name": "storage-credentials",
        "wanted": "latest",
        "job_name": JOB,
        "started": CREATED,
        "overwrite": False,
        "on_missing": "Fail",
        "disturbed": False,
        "privileges": False,
        "special": False,
    }
    return RestoreRun(**{**given, **fields})


def status(
    phase: str,
    *,
    reason: str = "Preparing",
    message: str = "it goes on",
    conditions: Mapping[str, str] | None = None,
    **fields: Any,
) -> DataMoverRestoreStatus:
    """A status in `phase`, work in progress; `conditions` are further statuses by type."""
    values = {"Ready": "False", "Reconciling": "True", "Stalled": "False", "Complete": "False", "Failed": "False"}
    values |= dict(conditions or {})
    given: dict[str, Any] = {"observed_generation": 1, "phase_started": CREATED, "run": run()}
    return DataMoverRestoreStatus(
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


def claim(*, made_by: str | None = None, **fields: Any) -> PersistentVolumeClaim:
    """The claim that is restored into; `made_by` is the UID of the restore that has made it."""
    found = builders.persistent_volume_claim(**{"name": CLAIM, **fields})
    if made_by is None:
        return found
    annotated = {names.RESTORED_BY_ANNOTATION: made_by}
    return replace(found, metadata=replace(found.metadata, annotations=annotated))


def job(owner: str | None = MOVER_UID, **fields: Any) -> Job:
    """The Job of the default restore."""
    return builders.job(owner, name=JOB, **fields)


def pod(owner: Job, **fields: Any) -> Pod:
    """A Pod of it."""
    return builders.pod(owner, container=CONTAINER, **fields)


def outcome(*, failure_class: str | None = None, restored: Restored | None = None, **fields: Any) -> Outcome:
    """What a mover leaves behind: a success of 3 files, all of which were compared by checksum, or a failure of a class."""
    found = restored or Restored(
        point="20240805020000-aa",
        moment="2024-08-05-020000",
        volume="shop/app-data",
        state="complete",
        target=WHOLE,
        by_checksum=3,
    )
    return builders.outcome(failure_class=failure_class, restored=found, message="3 files are back", **fields)


def unused(target: PersistentVolumeClaim | None = None, *, text: str | None = "", age: float = 0.0) -> Diagnosis:
    """What was learnt of who writes the claim: nobody."""
    return Diagnosis(writers_of((target or claim()).metadata.uid), text, age)


def facts(obj: DataMoverRestore | None = None, **known: Any) -> Facts:
    """Facts of a restore whose claim and Secret are healthy; further keywords are fields of Facts, RunFacts and Known. `claim` is the target."""
    given: dict[str, Any] = {
        "source": claim(),
        "source_class": builders.storage_class(),
        "secret": builders.secret_keys(),
        "seen": builders.Seen(frozenset({("Job", JOB)})),
        **known,
    }
    if "claim" in given:
        given["source"] = given.pop("claim")
    own = {key: given.pop(key) for key in _OWN if key in given}
    learnt = {key: given.pop(key) for key in Known.__slots__ if key in given}
    return Facts(obj or restore(), RunFacts(NOW, known=Known(**learnt), **given), **own)


def later(known: Facts, **changes: Any) -> Facts:
    """The facts with some of those of the run changed."""
    return dataclasses.replace(known, run=dataclasses.replace(known.run, **changes))
