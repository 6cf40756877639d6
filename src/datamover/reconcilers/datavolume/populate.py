"""Filling the claim of a DataVolume by a worker: into a temporary claim whose volume is handed over, or into the claim itself. Pure.

A driver of CSI makes no volume for a claim that names a DataVolume. So nobody can use half a disk: the volume is handed over when it is filled, and Bound means
populated. Whoever binds such a claim all the same is found out by the missing mark, and the worker writes into the claim itself.
"""

from dataclasses import replace
from typing import Any, Final

from datamover.api import names as ours
from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.conditions import Said
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.movers.outcomes import is_running, newest
from datamover.plans.conditions import State
from datamover.plans.known import Refusal
from datamover.plans.steps import REST, Annotate, Create, Delete, Effect, Emit, Inquire, Patch, Plan, Rebind
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filling
from datamover.reconcilers.datavolume.order import (
    order_of,
    owner_of,
    owner_of_midway,
    prime_of,
    restarts_of,
    restarts_with,
    writes,
)
from datamover.reconcilers.datavolume.shares import share_of
from datamover.reconcilers.datavolume.status import ACTION, ALL, NO_PROGRESS, Told, tell
from datamover.runs.copy import start_mover
from datamover.runs.facts import Unread
from datamover.runs.job import follow
from datamover.runs.order import Order
from datamover.runs.pause import pause_after
from datamover.runs.verdict import Rest, Verdict, working
from datamover.runs.wait import LITTLE, about, again_in, age_of
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_foreign, is_lost
from datamover.volumes.cloning import asks_for, has_grown, volume_has
from datamover.volumes.population import node_of
from datamover.volumes.prime import build_prime_of
from datamover.volumes.rebinding import holder_of, is_going, may_go
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

Decision = Plan[Any]

WITHOUT_OUTCOME: Final = (
    "the worker has ended well and left no last words, so nobody knows whether the data are on the disk: it is started again. Let the operator's mover image be "
    "one of this project"
)
_MAY_NOT_READ: Final = "the claim is not filled, for the operator may not read PersistentVolumes: grant it get and patch of them (docs/permissions.md)"


def is_filled_elsewhere(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim says that somebody else fills it: its driver, from another volume, or a populator."""
    source = (claim.spec.data_source_ref or claim.spec.data_source) if claim.spec is not None else None
    return source is not None and not names_volume(claim)


def await_bound(facts: Facts, claim: PersistentVolumeClaim, filling: Filling | Obstacle | None) -> Decision:
    """Somebody else fills the claim: its driver, or a populator that it names. Then Bound means populated."""
    if is_bound(claim):
        volume = facts.claim_volume
        if filling is not None and isinstance(volume, PersistentVolume) and is_foreign(volume):
            message = (
                f"PersistentVolumeClaim {claim.metadata.name} is not of a CSI driver, so it is no copy but an empty volume: create the DataVolume anew with a class "
                f'of a CSI driver, or with annotation {names.USE_POPULATOR}: "false"'
            )
            return _say(facts, None, reasons.CLASS_CANNOT_CLONE, message)
        if filling is None:
            return _succeed(facts, claim, progress=NO_PROGRESS)
        return _grow(facts, claim) or _finish(facts, claim)
    if is_lost(claim):
        return _say(
            facts, Phase.FAILED, Reason.CLAIM_LOST, f"PersistentVolumeClaim {claim.metadata.name} has lost its volume"
        )
    late = binds_on_use(facts.storage_class) and node_of(claim) is None
    if late:
        message = "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
        return _say(facts, Phase.PENDING_POPULATION, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    phase = filling.scheduled if isinstance(filling, Filling) else Phase.PENDING
    return _await_volume(facts, claim, phase)


def _grow(facts: Facts, claim: PersistentVolumeClaim) -> Decision | None:
    """Let a claim grow that its driver has made as large as its source; None when it has its size.

    A file system may get the rest with its first Pod only, so it is enough that its volume has grown.
    """
    wanted, volume = claim.metadata.annotation(names.GROW_TO), facts.claim_volume
    if wanted is None or has_grown(claim, wanted):
        return None
    refusal = facts.run.refused(patch=True)
    if refusal is not None:
        return _refused(facts, refusal)
    if not asks_for(claim, wanted):
        change = {"spec": {"resources": {"requests": {"storage": wanted}}}}
        return Plan((Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, change),))
    if isinstance(volume, PersistentVolume) and volume_has(volume, wanted):
        return None
    message = f"PersistentVolumeClaim {claim.metadata.name} is filled, and grows to {wanted} bytes"
    return _say(facts, Phase.EXPANSION, Reason.TRANSFER_RUNNING, message, kind=None)


def populate(
    facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling | Obstacle, wanted: Wanted, settings: Settings
) -> Decision:
    """Bring the filling of a claim one step on."""
    if is_populated(facts, claim):
        return _finish(facts, claim)
    if is_lost(claim):
        message = f"PersistentVolumeClaim {claim.metadata.name} has lost its volume: delete it, and another one is made and filled"
        return _say(facts, Phase.FAILED, Reason.CLAIM_LOST, message)
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    if refusal is not None:
        return _refused(facts, refusal)
    if names_volume(claim) and not is_bound(claim):
        return _by_rebinding(facts, claim, filling=filling, wanted=wanted, settings=settings)
    return _directly(facts, claim, filling=filling, wanted=wanted, settings=settings)


def names_volume(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim says that a DataVolume fills it, so that no driver makes a volume for it."""
    source = claim.spec.data_source_ref if claim.spec is not None else None
    return source is not None and (source.api_group, source.kind) == (names.GROUP, DATA_VOLUMES.kind)


def is_populated(facts: Facts, claim: PersistentVolumeClaim) -> bool:
    """Tell whether the data are proved to be there: by our mark on the claim, or on the volume that it is bound to."""
    if claim.metadata.annotation(names.POPULATED) == facts.volume.metadata.uid:
        return True
    volume = facts.claim_volume
    return is_bound(claim) and isinstance(volume, PersistentVolume) and _is_marked(volume, claim)


def _is_marked(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return volume.metadata.annotation(names.POPULATED) == claim.metadata.uid and holder_of(volume) == claim.metadata.uid


# By a temporary claim.


def _by_rebinding(
    facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling | Obstacle, wanted: Wanted, settings: Settings
) -> Decision:
    prime = facts.prime
    if prime is not None and not _is_made_by(claim, prime):
        message = f"PersistentVolumeClaim {prime.metadata.name} exists and is not of this operator's making: delete it"
        return _say(facts, None, reasons.NAME_TAKEN, message)
    if prime is not None and _is_given_away(facts, claim):
        return REST  # Kubernetes is about to bind it
    if isinstance(filling, Obstacle):
        return _say(facts, None, filling.reason, filling.message)
    if prime is None:
        return _make_prime(facts, claim)
    if prime.metadata.terminating:
        return REST  # when it is gone, it is begun anew
    if is_lost(prime):
        told = Emit(
            "Warning",
            Reason.CLAIM_LOST,
            f"{prime.metadata.name} has lost its volume: it is made and filled anew",
            ACTION,
        )
        return Plan((Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata), *_stop(facts, claim), told))
    return _work(facts, claim, prime, filling=filling, wanted=wanted, settings=settings)


def _is_made_by(claim: PersistentVolumeClaim, prime: PersistentVolumeClaim) -> bool:
    return owner_of(claim).owns(prime)


def _make_prime(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    late, node = binds_on_use(facts.storage_class), node_of(claim)
    if late and node is None and not _is_immediate(facts):
        message = "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
        return _say(facts, Phase.PENDING_POPULATION, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    manifest = build_prime_of(
        owner_of(claim), claim, name=prime_of(claim), component=ours.COMPONENT_COPY, node=node if late else None
    )
    return Plan((Create(PERSISTENT_VOLUME_CLAIMS, manifest),))


def _is_given_away(facts: Facts, claim: PersistentVolumeClaim) -> bool:
    volume = facts.prime_volume
    return isinstance(volume, PersistentVolume) and holder_of(volume) == claim.metadata.uid


def _hand_over(facts: Facts, claim: PersistentVolumeClaim, prime: PersistentVolumeClaim) -> Decision:
    """The worker has said that all is on the disk: the volume becomes the claim's."""
    volume, name = facts.prime_volume, claim.metadata.name
    if volume is Unread.FORBIDDEN:
        return _say(facts, None, reasons.PERMISSION_MISSING, _MAY_NOT_READ)
    if not isinstance(volume, PersistentVolume) or not is_bound(prime):
        return REST  # its watch is late
    if is_going(volume):
        told = Emit(
            "Warning",
            Reason.CLAIM_LOST,
            f"{prime.metadata.name} has lost its volume: it is made and filled anew",
            ACTION,
        )
        return Plan((*_stop(facts, claim), Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata), told))
    if holder_of(volume) != prime.metadata.uid:
        message = f"PersistentVolume {volume.metadata.name}, which was made for {name}, is somebody else's now: look who has taken it, and delete {prime.metadata.name} to begin anew"
        return _say(facts, None, Reason.VOLUME_TAKEN, message)
    return Plan((Rebind(volume.metadata, claim.metadata, {names.POPULATED: claim.metadata.uid}),))


# Into the claim itself.


def _directly(
    facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling | Obstacle, wanted: Wanted, settings: Settings
) -> Decision:
    if claim.metadata.annotation(names.CREATED_FOR) != facts.volume.metadata.uid:
        message = f"PersistentVolumeClaim {claim.metadata.name} does not say that it was made for this DataVolume, so nothing is written into it: delete it to have another one made and filled"
        return _say(facts, None, Reason.NOT_OURS_TO_WRITE, message)
    if isinstance(filling, Obstacle):
        return _say(facts, None, filling.reason, filling.message)
    volume = facts.claim_volume
    if names_volume(claim) and not (isinstance(volume, PersistentVolume) and holder_of(volume) == claim.metadata.uid):
        # Somebody may have bound an empty volume, or we the one that was filled: only the volume itself tells, and it is not in the caches yet.
        if volume is not Unread.FORBIDDEN:
            return REST
        return _say(facts, None, reasons.PERMISSION_MISSING, _MAY_NOT_READ)
    if not is_bound(claim):
        if not binds_on_use(facts.storage_class):
            return _await_volume(facts, claim, Phase.PENDING)
        if not _is_immediate(facts) and facts.run.job is None:
            message = (
                "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
            )
            return _say(facts, Phase.WAIT_FOR_FIRST_CONSUMER, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    return _work(facts, claim, claim, filling=filling, wanted=wanted, settings=settings)


# The worker.


def _work(
    facts: Facts,
    claim: PersistentVolumeClaim,
    target: PersistentVolumeClaim,
    *,
    filling: Filling,
    wanted: Wanted,
    settings: Settings,
) -> Decision:
    if filling.steps:
        return Plan(filling.steps)
    run, volume = facts.run, facts.volume
    if run.job is not None and not run.job.metadata.terminating and not writes(run.job, target):
        if not owner_of(claim).owns(run.job):
            return _say(
                facts,
                None,
                reasons.NAME_TAKEN,
                f"Job {run.job.metadata.name} exists and is not of this operator's making: delete it",
            )
        return Plan(
            (Delete(JOBS, run.job.metadata),)
        )  # it was made for another claim, and its end says nothing of this one
    order = order_of(
        volume, claim, target, filling=filling, wanted=wanted, run=run, settings=settings, config=facts.config
    )
    answer = follow(order, run) if run.job is not None else start_mover(order, run, target.metadata.name)
    if isinstance(answer, Rest):
        if _has_only_begun(facts, filling):
            begun = replace(working(reasons.SYNCHRONIZING, "the worker runs"), after=answer.steps)
            return _tell_work(facts, claim, replace(begun, wake_after=answer.wake_after), filling=filling)
        return Plan((*answer.steps, *answer.events), answer.wake_after)
    if answer.state is State.DONE:
        outcome = answer.tally.outcome if answer.tally is not None else None
        if outcome is None or not outcome.succeeded:
            lost = replace(answer, state=State.FAILED, reason=reasons.OUTCOME_MISSING, message=WITHOUT_OUTCOME)
            return _fail(facts, claim, lost, order, filling=filling)
        if target is claim:
            return _mark(facts, claim)
        return _hand_over(facts, claim, target)
    if answer.state is State.FAILED:
        return _fail(facts, claim, answer, order, filling=filling)
    return _tell_work(facts, claim, answer, filling=filling)


def _has_only_begun(facts: Facts, filling: Filling) -> bool:
    """Tell whether the worker runs, and nobody has been told so yet: how far it is takes a while to be known."""
    pod, status = newest(facts.run.pods), facts.volume.status
    runs = pod is not None and is_running(pod, filling.container)
    return runs and (status is None or status.phase != filling.running)


def _tell_work(facts: Facts, claim: PersistentVolumeClaim, answer: Verdict, *, filling: Filling) -> Decision:
    """Say how far the worker is."""
    job, run = facts.run.job, facts.run
    pod = newest(run.pods)
    runs = pod is not None and is_running(pod, filling.container)
    at_work = answer.state is State.WORKING
    progress = answer.tally.progress if answer.tally is not None else None
    before = facts.volume.status.progress if facts.volume.status is not None else None
    share = share_of(progress) if progress is not None else (before if runs and at_work else None)
    told = Told(
        filling.running if runs else filling.scheduled,
        Reason.TRANSFER_RUNNING if at_work else answer.reason,
        answer.message,
        running=Said("True" if runs else "False", answer.reason, answer.message),
        progress=share or NO_PROGRESS,
        restarts=max(restarts_of(facts.volume), restarts_with(job, run))
        if job is not None
        else restarts_of(facts.volume),
        kind=None if at_work else "Warning",
        cause=answer.cause,
    )
    return tell(
        facts.volume,
        claim,
        told,
        now=run.now,
        before=answer.before,
        after=answer.after,
        events=answer.events,
        wake_after=answer.wake_after,
    )


def _fail(facts: Facts, claim: PersistentVolumeClaim, answer: Verdict, order: Order, *, filling: Filling) -> Decision:
    """A worker has failed for good. Its Job stays, with its log, until the pause is over; then there is another one. It never ends by itself."""
    run, job = facts.run, facts.run.job
    if job is None:
        return REST
    restarts = restarts_with(job, run)
    left = pause_after(job, before=restarts, now=run.now)
    # counted with the Job's end, so that the next one knows of it
    counted = restarts if left else restarts + 1
    after: tuple[Effect, ...] = (Delete(JOBS, job.metadata),) if not left and order.owner.owns(job) else ()
    told = Told(
        filling.scheduled,
        answer.reason,
        answer.message,
        progress=NO_PROGRESS,
        restarts=max(restarts_of(facts.volume), counted),
        cause=answer.reason if left or not _is_told(facts, answer.reason) else None,
    )
    return tell(
        facts.volume,
        claim,
        told,
        now=run.now,
        before=answer.before,
        after=() if job.metadata.terminating else after,
        wake_after=left + LITTLE if left else None,
    )


def _is_told(facts: Facts, reason: str) -> bool:
    status = facts.volume.status
    ready = status.condition(names.ConditionType.READY) if status is not None else None
    return ready is not None and ready.reason == reason


# The end.


def _mark(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """Write the proof on the claim, before anything is said of it."""
    said = {names.POPULATED: facts.volume.metadata.uid, names.POD_PHASE: "Succeeded"}
    delayed = facts.volume.metadata.annotation(names.POPULATED_FOR)
    if delayed is not None:
        said[names.POPULATED_FOR] = delayed
    return Plan((Annotate(PERSISTENT_VOLUME_CLAIMS, claim.metadata, {**said}),))


def _finish(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """The data are there. The claim says so itself, for whoever looks when the DataVolume is gone."""
    if claim.metadata.annotation(names.POPULATED) != facts.volume.metadata.uid:
        return _mark(facts, claim)
    return _succeed(facts, claim, progress=ALL)


def _succeed(facts: Facts, claim: PersistentVolumeClaim, *, progress: str) -> Decision:
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
    prime, gone = facts.prime, (*_stop(facts, claim), *_put_away(facts, claim))
    if prime is None or prime.metadata.terminating or not _is_made_by(claim, prime):
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


def _stop(facts: Facts, claim: PersistentVolumeClaim) -> tuple[Effect, ...]:
    job = facts.run.job
    if job is None or job.metadata.terminating or not owner_of(claim).owns(job):
        return ()
    return (Delete(JOBS, job.metadata),)


# Waiting.


def _await_volume(facts: Facts, claim: PersistentVolumeClaim, phase: Phase) -> Decision:
    """A driver makes the volume. When that takes long the cluster is asked why."""
    run, meta = facts.run, claim.metadata
    found, patience = about(run, meta.uid), run.patience
    age = age_of(meta.creation_timestamp, run.now)
    message = f"PersistentVolumeClaim {meta.name} has no volume yet"
    if found is None and age < patience.inquire_after:
        return _say(
            facts, phase, Reason.CLAIM_PENDING, message, kind=None, wake_after=patience.inquire_after - age + LITTLE
        )
    if found is None or found.age >= patience.inquire_interval:
        return Plan((_ask_about(meta),), patience.inquire_interval)
    why = f": {found.text}" if found.text else "; is the driver of its StorageClass at work?"
    return _say(facts, phase, Reason.CLAIM_PENDING, f"{message}{why}", kind=None, wake_after=again_in(found, run))


def _ask_about(meta: ObjectMeta) -> Inquire:
    return Inquire(PERSISTENT_VOLUME_CLAIMS.kind, meta)


def _is_immediate(facts: Facts) -> bool:
    return facts.volume.metadata.annotation(names.BIND_IMMEDIATELY) not in (None, "false")


def _refused(facts: Facts, refusal: Refusal) -> Decision:
    return _say(facts, None, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)


def _say(
    facts: Facts,
    phase: Phase | None,
    reason: str,
    message: str,
    *,
    kind: Any = "Warning",
    wake_after: float | None = None,
) -> Decision:
    """Say what it waits for; in the phase that it is in, where that is not said."""
    status = facts.volume.status
    now = Phase(status.phase) if status is not None and status.phase in names.UNDER_WAY else Phase.PENDING
    told = Told(phase or now, reason, message, kind=kind)
    return tell(facts.volume, facts.claim, told, now=facts.run.now, wake_after=wake_after)
