"""The end of a filling: the claim says that it is filled, the DataVolume says so, and what has served its purpose goes. Pure."""

from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.conditions import Said
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import Annotate, Delete, Effect, Plan
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.order import (
    owner_of,
    owner_of_midway,
    restarts_of,
    restarts_with,
)
from datamover.reconcilers.datavolume.status import ALL, Told, tell
from datamover.volumes.rebinding import may_go
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

Decision = Plan[Any]


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
        return mark(facts, claim)
    return succeed(facts, claim, progress=ALL)


def succeed(facts: Facts, claim: PersistentVolumeClaim, *, progress: str) -> Decision:
    """Say that the data are there, and remove what has served its purpose."""
    job, run = facts.run.job, facts.run
    restarts = max(restarts_of(facts.volume), restarts_with(job, run)) if job is not None else restarts_of(facts.volume)
    told = Told(
        Phase.SUCCEEDED,
        Reason.POPULATED,
        "the data are there",
        running=Said("False", "Completed", "the worker has done its work"),
        progress=progress,
        restarts=restarts,
        kind="Normal",
    )
    # with the status: at a lifetime of 0 seconds it may be collected before it is looked at again
    return tell(facts.volume, claim, told, now=run.now, after=tidy(facts, claim))


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
