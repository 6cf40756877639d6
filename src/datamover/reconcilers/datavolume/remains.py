"""The kind of temporary claims in other namespaces: removes those for which nobody waits any more.

A DataVolume cannot own what is made for it in the namespace of its source. It may be deleted at any moment, with its namespace, and the operator may die
after any step: what is left is found here, by what it says itself, and removed. Nobody's disk is lost by that: the volume of such a claim is a copy, and goes
with it only as long as it was not handed over.

Guarantees: what does not say in every point that it is such a claim is left alone; a deletion carries the UID (law L2). That a DataVolume or its claim is
gone is not believed of caches: the server is asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.kind import Kind
from datamover.plans.known import Known, Refusal
from datamover.plans.steps import REST, Delete, Emit, Plan, ProveGone, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.datavolume.dismissal import dismiss
from datamover.reconcilers.datavolume.order import job_of, owner_of
from datamover.reconcilers.disks import Disks
from datamover.runs.facts import Unread
from datamover.volumes.errands import Errand, errand_of
from datamover.volumes.rebinding import holder_of, may_go
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
)

_BY_CLAIM: Final = "claim"
_BY_VOLUME: Final = "volume"
_ACTION: Final = "Remove"


@dataclass(frozen=True, slots=True)
class Remains:
    """A temporary claim and its volume, whom it is for, and what has the names of those now."""

    temporary: PersistentVolumeClaim
    errand: Errand | None
    volume: PersistentVolume | Unread | None = None
    wanted_by: DataVolume | None = None
    claim: PersistentVolumeClaim | None = None
    job: Job | None = None
    """What has the name of its worker's Job, whoever's it is."""
    refusal: Refusal | None = None
    told: Emit | None = None


def decide(facts: Remains) -> Plan[PersistentVolumeClaimStatus]:
    """Return what to do about a temporary claim."""
    meta, errand = facts.temporary.metadata, facts.errand
    if errand is None:
        return REST
    stop = _stop(facts)
    if meta.terminating and not stop:
        return REST
    refusal = facts.refusal
    if refusal is not None and refusal.fresh:
        said = Emit(
            "Warning", refusal.reason, f"{refusal.message}; it is tried again, for nobody needs it any more", _ACTION
        )
        return Plan((said,) if facts.told != said else (), refusal.retry_after)
    if meta.terminating:
        return Plan(stop)  # the Pods of its worker keep it from going
    volume, claim = facts.wanted_by, facts.claim
    if volume is None or volume.metadata.uid != errand.volume_uid:
        gone = ProveGone(DATA_VOLUMES, errand.name, namespace=errand.namespace, uid=errand.volume_uid, certain=True)
        # its claim may have the volume already, and be there without it: of a DataVolume that was collected
        return (
            _dismiss(facts, gone, *stop)
            if claim is None or may_go(facts.temporary, facts.volume, target=claim)
            else REST
        )
    if claim is None or claim.metadata.uid != errand.claim_uid:
        gone = ProveGone(
            PERSISTENT_VOLUME_CLAIMS, errand.name, namespace=errand.namespace, uid=errand.claim_uid, certain=True
        )
        return _dismiss(facts, gone, *stop)
    if not _is_over(volume, claim) or not may_go(facts.temporary, facts.volume, target=claim):
        return REST
    return _dismiss(facts, None, *stop)


def _dismiss(facts: Remains, proof: ProveGone | None, *stop: Delete) -> Plan[PersistentVolumeClaimStatus]:
    """Remove it, and its worker. What was told already is not said again."""
    steps = tuple(each for each in dismiss(facts.temporary, facts.volume) if each != facts.told)
    if not steps:
        return REST
    ends = stop if any(isinstance(each, Delete) for each in steps) else ()
    return Plan((*((proof,) if proof is not None else ()), *steps, *ends))


def _stop(facts: Remains) -> tuple[Delete, ...]:
    """Return what ends its worker (law L2)."""
    job = facts.job
    if job is None or job.metadata.terminating or not owner_of(facts.temporary).owns(job):
        return ()
    return (Delete(JOBS, job.metadata),)


def _is_over(volume: DataVolume, claim: PersistentVolumeClaim) -> bool:
    """Tell whether it has served its purpose, or cannot any more: the claim has a volume, or nobody is left who waits for one.

    Until the claim is bound to a volume that was handed over, the temporary one is how its DataVolume knows of that.
    """
    bound = claim.spec is not None and bool(claim.spec.volume_name)
    return bound or volume.metadata.terminating or claim.metadata.terminating


class RemainsKind(Kind[PersistentVolumeClaim, PersistentVolumeClaimStatus, Remains]):
    """Works on the part of the claims that say that they are made for a DataVolume of another namespace."""

    resource = PERSISTENT_VOLUME_CLAIMS
    name = "datavolume-remains"
    speaks_by_events = True

    def __init__(self, client: Client, *, view: View, disks: Disks) -> None:
        self.objects = Part(
            client,
            view.cluster.claims,
            select=lambda each: errand_of(each.metadata) is not None,
            indexes={_BY_CLAIM: _claim_of, _BY_VOLUME: _volume_of},
        )
        self._view = view
        self._disks = disks

    def gather(self, obj: PersistentVolumeClaim, *, known: Known, now: datetime) -> Remains:
        """Return what there is to know about a temporary claim."""
        del now
        return gather(obj, view=self._view, disks=self._disks, known=known)

    def decide(self, facts: Remains) -> Plan[PersistentVolumeClaimStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(
        self, obj: PersistentVolumeClaim, message: str, *, now: datetime
    ) -> tuple[Step[PersistentVolumeClaimStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", Reason.CLAIM_PENDING, message, _ACTION),)

    def connect(self, controller: Controller) -> None:
        """Wake a temporary claim when its volume, or whom it is made for, changes."""
        controller.watch(self._view.cluster.claims, self._of_claim)
        controller.watch(self._view.cluster.volumes, self._of_persistent_volume)
        controller.watch(self._disks.volumes, self._of_volume)

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        return self._found(_BY_CLAIM, {each.metadata.uid for each in (old, new) if each is not None})

    def _of_volume(self, old: DataVolume | None, new: DataVolume | None) -> Iterable[Key]:
        return self._found(_BY_VOLUME, {each.metadata.uid for each in (old, new) if each is not None})

    def _of_persistent_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> Iterable[Key]:
        """A volume names the claim whose it is now."""
        return self._found(_BY_CLAIM, {uid for each in (old, new) if each is not None and (uid := holder_of(each))})

    def _found(self, index: str, uids: set[str]) -> Iterable[Key]:
        return {key_of(each.metadata) for uid in uids for each in self.objects.store.by_index(index, uid)}


class _Caches(Protocol):
    """What is read by name."""

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A claim."""
        ...

    def volume(self, name: str) -> PersistentVolume | Unread:
        """A volume."""
        ...

    def job(self, namespace: str, name: str) -> Job | None:
        """A Job of ours."""
        ...


class _Volumes(Protocol):
    """DataVolumes."""

    def volume(self, namespace: str, name: str) -> DataVolume | None:
        """A DataVolume."""
        ...


def gather(obj: PersistentVolumeClaim, *, view: _Caches, disks: _Volumes, known: Known) -> Remains:
    """Return what there is to know about a temporary claim."""
    errand = errand_of(obj.metadata)
    if errand is None:
        return Remains(obj, None)
    bound = obj.spec.volume_name if obj.spec is not None else None
    return Remains(
        obj,
        errand,
        volume=view.volume(bound) if bound else None,
        wanted_by=disks.volume(errand.namespace, errand.name),
        claim=view.claim(errand.namespace, errand.name),
        job=view.job(obj.metadata.namespace or "", job_of(errand.claim_uid)),
        refusal=known.refusal,
        told=known.told,
    )


def _claim_of(temporary: PersistentVolumeClaim) -> Iterable[str]:
    errand = errand_of(temporary.metadata)
    return (errand.claim_uid,) if errand is not None else ()


def _volume_of(temporary: PersistentVolumeClaim) -> Iterable[str]:
    errand = errand_of(temporary.metadata)
    return (errand.volume_uid,) if errand is not None else ()
