"""A DataVolume as an order: one worker that writes one claim. Pure.

Everything of the run belongs to the DataVolume's claim and is named by that claim's UID: with another claim of the same name everything begins anew, and
what was made for the one before goes with it. In another namespace nothing can belong to that claim: there it belongs to the temporary one.
"""

from typing import Final

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.fields import Fields
from datamover.api.names import CopyMethod
from datamover.api.ownership import Owner, labels_of
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.facts import Settings
from datamover.reconcilers.datavolume.filling import Filling, Place
from datamover.reconcilers.datavolume.status import is_halted
from datamover.runs.attempts import count_attempts
from datamover.runs.facts import RunFacts
from datamover.runs.order import Copy, Order, Readable, Transfer
from datamover.runs.record import Record, Stage
from kubekit.words.batch import Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import Manifest

PRIME_PREFIX: Final = "prime-"
JOB_PREFIX: Final = "importer-"
WRITES_ANNOTATION: Final = f"{ours.GROUP}/writes"
"""On a Job: the UID of the claim that it writes. What it says at its end is about that one, and no other."""
_MOST: Final = 1_000_000
FIELDS: Final = Fields(
    kind=DATA_VOLUMES.kind,
    source="spec.source",
    storage_class="spec.storage.storageClassName",
    snapshot_class="spec.storage.storageClassName",
    method="spec.source",
    image="the operator's mover image",
    pull_secrets="the operator's default for image pull secrets",
    memory="the operator's default for the memory limit of movers",
    deadline="the operator's --datavolume-deadline",
    suspend="spec",
    keeps="it is kept",
    verify="spec.source.http.checksum",
)


def prime_of(claim: PersistentVolumeClaim) -> str:
    """Return the name of the temporary claim by which a claim is filled."""
    return f"{PRIME_PREFIX}{claim.metadata.uid}"


def job_of(claim_uid: str) -> str:
    """Return the name of the Job of the worker that fills a claim."""
    return f"{JOB_PREFIX}{claim_uid}"


def owner_of(claim: PersistentVolumeClaim) -> Owner:
    """Return the DataVolume's claim as the owner of what is made to fill it: with it, everything goes."""
    meta = claim.metadata
    return Owner(PERSISTENT_VOLUME_CLAIMS, meta, labels_of(meta, run_id=meta.uid))


def owner_of_midway(volume: DataVolume) -> Owner:
    """Return whose the snapshot is by way of which a claim is copied: it is taken before there is a claim."""
    meta = volume.metadata
    return Owner(DATA_VOLUMES, meta, labels_of(meta, run_id=meta.uid))


def midway_of(volume: DataVolume) -> str:
    """Return the name of that snapshot."""
    return f"clone-{volume.metadata.uid}"


def copy_of(target: str) -> Copy:
    """Return the claim that is written: it is used as it is."""
    return Copy(CopyMethod.DIRECT, target, None)


def order_of(
    volume: DataVolume,
    claim: PersistentVolumeClaim,
    target: PersistentVolumeClaim,
    *,
    keeper: PersistentVolumeClaim,
    filling: Filling,
    wanted: Wanted,
    run: RunFacts,
    settings: Settings,
    config: CDIConfig | None = None,
) -> Order:
    """Return what is asked of a run: to fill `target`, which is the claim itself or the temporary one. The Job is `keeper`'s."""
    owner, job = owner_of(keeper), job_of(claim.metadata.uid)

    def make(readable: Readable) -> Manifest:
        assert filling.build is not None
        place = Place(
            owner,
            job,
            claim.metadata.uid,
            readable.claim,
            target.metadata.uid,
            wanted,
            restarts_of(volume),
            settings,
            config.spec if config is not None else None,
        )
        manifest = filling.build(place)
        notes = {WRITES_ANNOTATION: target.metadata.uid, names.POD_RESTARTS: str(place.restarts)}
        manifest["metadata"]["annotations"] = {**manifest["metadata"].get("annotations", {}), **notes}
        return manifest

    transfer = Transfer(job, filling.container, make, deadline=None if filling.endless else settings.deadline)
    return Order(owner, copy_of(target.metadata.name), (transfer,), _record_of(volume, owner, run), FIELDS)


def writes(job: Job, target: PersistentVolumeClaim) -> bool:
    """Tell whether a Job was made to write this very claim."""
    return job.metadata.annotation(WRITES_ANNOTATION) == target.metadata.uid


def restarts_of(volume: DataVolume) -> int:
    """Return how often a worker was started again, as the status says."""
    return (volume.status.restart_count if volume.status is not None else None) or 0


def restarts_before(job: Job) -> int:
    """Return how often a worker was started again before this Job was made, as it says itself."""
    said = job.metadata.annotation(names.POD_RESTARTS) or ""
    return min(int(said), _MOST) if said.isascii() and said.isdigit() and len(said) <= len(str(_MOST)) else 0


def restarts_with(job: Job, run: RunFacts) -> int:
    """Return how often a worker was started again, up to the last attempt of this Job."""
    return restarts_before(job) + max(count_attempts(job, run.pods) - 1, 0)


def _record_of(volume: DataVolume, owner: Owner, run: RunFacts) -> Record:
    """Return how far it is. A Job of ours means that a worker was started; so does the phase, when somebody has deleted the Job."""
    status, job = volume.status, run.job
    running = status.condition(names.ConditionType.RUNNING) if status is not None else None
    under_way = status is not None and status.phase in names.UNDER_WAY
    held = job is not None and owner.holds(job)
    return Record(
        stage=Stage.MOVING if held or under_way else Stage.COPIED,
        begun="",
        reason=(running.reason or "") if running is not None else "",
        halted=is_halted(status),
        attempts=max(restarts_of(volume) - restarts_before(job), 0) + 1 if held and job is not None else 0,
    )
