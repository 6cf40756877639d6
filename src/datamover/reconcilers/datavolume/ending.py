"""The end of a filling: the claim says that it is filled, the DataVolume says so, and what has served its purpose goes. Pure."""

from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.conditions import Said
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.outside import clean
from datamover.plans.known import Refusal
from datamover.plans.steps import Annotate, Delete, Effect, Emit, Plan
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.order import (
    owner_of,
    owner_of_midway,
    restarts_of,
    restarts_with,
)
from datamover.reconcilers.datavolume.status import ACTION, ALL, Told, tell
from datamover.reconcilers.datavolume.waiting import refused
from datamover.volumes.rebinding import may_go
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

Decision = Plan[Any]

COMPLETED: Final = Said("False", "Completed", "the worker has done its work")
"""What is said of the worker when the data are there."""


def mark(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """Write the proof on the claim, before anything is said of it."""
    said = {names.POPULATED: facts.volume.metadata.uid, names.POD_PHASE: "Succeeded"}
    delayed = facts.volume.metadata.annotation(names.POPULATED_FOR)
    if delayed is not None:
        said[names.POPULATED_FOR] = delayed
    return Plan((Annotate(PERSISTENT_VOLUME_CLAIMS, claim.metadata, {**said}),))


def finish(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """The data are there. The claim says so itself, for whoever looks when the DataVolume is gone."""
    if claim.metadata.annotation(names.POPULATED) != facts.volume.metadata.uid:
        refusal = facts.run.refused() or facts.run.refused(patch=True)
        return mark(facts, claim) if refusal is None else refused(facts, refusal)
    return succeed(facts, claim, progress=ALL)


def succeed(facts: Facts, claim: PersistentVolumeClaim, *, progress: str) -> Decision:
    """Say that the data are there, and remove what has served its purpose."""
    job, run = facts.run.job, facts.run
    restarts = max(restarts_of(facts.volume), restarts_with(job, run)) if job is not None else restarts_of(facts.volume)
    told = Told(
        Phase.SUCCEEDED,
        Reason.POPULATED,
        "the data are there",
        running=COMPLETED,
        progress=progress,
        restarts=restarts,
        kind="Normal",
    )
    return clear(facts, claim, told)


def clear(facts: Facts, claim: PersistentVolumeClaim, told: Told) -> Decision:
    """Say that it is done, and remove what is left; what may not be removed just now is told, and waits."""
    left, refusal = tidy(facts, claim), facts.run.refused() or facts.run.refused(patch=True)
    if refusal is None or not left:
        # with the status: at a lifetime of 0 seconds it may be collected before it is looked at again
        return tell(facts.volume, claim, told, now=facts.run.now, after=left)
    return wait_out(facts, tell(facts.volume, claim, told, now=facts.run.now), refusal)


def wait_out(facts: Facts, plan: Decision, refusal: Refusal) -> Decision:
    """Tell by one event what the server refuses of a DataVolume that has succeeded, and stays so whatever becomes of the rest (law L10)."""
    said = Emit(
        "Warning", refusal.reason, clean(f"{refusal.message}; it is tried again, and the data are there"), ACTION
    )
    news = () if facts.run.known.told == said else (said,)
    return Plan((*plan.steps, *news), refusal.retry_after)


def tidy(facts: Facts, claim: PersistentVolumeClaim) -> tuple[Effect, ...]:
    """Return the steps that remove what has served its purpose: the Job first, for its Pods hold the temporary claim."""
    prime, gone = facts.prime, (*stop(facts, claim), *_put_away(facts, claim))
    if prime is None or prime.metadata.terminating or not is_made_by(claim, prime):
        return gone
    # A temporary claim that still has the volume would take it along.
    if not may_go(prime, facts.prime_volume, target=claim):
        return gone
    return (*gone, Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata))


def _put_away(facts: Facts, claim: PersistentVolumeClaim) -> tuple[Effect, ...]:
    """Return what removes the Secret and Service of an upload, and the snapshot of a copy."""
    owner, midway = owner_of(claim), facts.clone.midway
    left = [(resource, child) for resource, child in facts.belongings if owner.owns(child)]
    if midway is not None and owner_of_midway(facts.volume).owns(midway):
        left.append((VOLUME_SNAPSHOTS, midway))
    return tuple(Delete(resource, child.metadata) for resource, child in left if not child.metadata.terminating)


def stop(facts: Facts, claim: PersistentVolumeClaim) -> tuple[Effect, ...]:
    """Return what removes the worker's Job."""
    job = facts.run.job
    if job is None or job.metadata.terminating or not owner_of(claim).owns(job):
        return ()
    return (Delete(JOBS, job.metadata),)


def is_made_by(claim: PersistentVolumeClaim, prime: PersistentVolumeClaim) -> bool:
    """Tell whether a temporary claim was made to fill this one."""
    return owner_of(claim).owns(prime)
