"""What to do next for a DataVolume where no CDI is. Pure: facts in, a plan out.

spec is right ──► claim is made ──► [temporary claim] ──► worker ──► [volume is handed over] ──► claim says so ──► Succeeded, cleaned up
                   └ there is one already: taken over, or left alone       └ failed: a pause, then another worker

Where it is follows from what is there, so a crash at any point is no special case. That a claim is filled is believed on one proof only: our mark on the claim
or on its volume, which is written after the worker's own last words. Nothing is ever written into a claim that was not made for this DataVolume.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import REST, Annotate, Create, Inquire, Patch, Plan
from datamover.reconcilers.datavolume.ask import UNSUPPORTED, Ask, Flaw, Kind
from datamover.reconcilers.datavolume.claims import Data, Wanted, build_claim, fills_by_rebinding, name_volume
from datamover.reconcilers.datavolume.cloning import say_beginning
from datamover.reconcilers.datavolume.crossing import await_permit, bring
from datamover.reconcilers.datavolume.ending import COMPLETED, clear, finish, wait_out
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filler, Filling, Preparation
from datamover.reconcilers.datavolume.populate import await_bound, populate
from datamover.reconcilers.datavolume.populated import is_filled_elsewhere, is_populated
from datamover.reconcilers.datavolume.standing import Standing, stand_of
from datamover.reconcilers.datavolume.status import ALL, NO_PROGRESS, Told, tell
from datamover.volumes.binding import Obstacle, is_lost
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import OwnerReference, owner_reference

Decision = Plan[Any]
Fillers = Mapping[Kind, Filler]

_DONE: Final = {
    Standing.PRE_POPULATED: (Reason.PRE_POPULATED, "the claim was filled before, and is taken over as it is"),
    Standing.ADOPTED: (Reason.ADOPTED, "the claim was there before, and is taken over as it is"),
    Standing.COLLECTED: (
        Reason.COLLECTED_ALREADY,
        "the claim was filled for a DataVolume like this one, which was collected: it stays as it is, and belongs to nobody",
    ),
}


def decide(facts: Facts, *, settings: Settings, fillers: Fillers) -> Decision:
    """Return the next steps. Deciding twice on the same facts asks for nothing twice (law L7)."""
    meta, claim = facts.volume.metadata, facts.claim
    if meta.terminating:
        return REST  # its claim, and all that belongs to that, go by their owner references
    standing = stand_of(facts)
    if standing is Standing.HANDED_OVER:
        return REST  # it is being collected: who does that has the word until the DataVolume is gone
    if standing is Standing.GOING and claim is not None:
        return _wait_until_gone(facts, claim)
    if standing in _DONE and claim is not None:
        return _take_over(facts, claim, standing)
    if standing is Standing.FOREIGN and claim is not None:
        # whether it may be taken over is said by the cluster's configuration as well, whose watch may be late; one that has succeeded does not watch it
        is_late = isinstance(facts.ask, Ask) and not facts.waits and facts.wanted is None and not _is_done(facts)
        return REST if is_late else _leave_alone(facts, claim)
    if claim is not None and is_lost(claim) and (_is_done(facts) or is_populated(facts, claim)):
        return _lose(facts, claim)  # its mark says that it was filled, not that the data are still there
    if _is_done(facts) and claim is not None:
        return _stay(facts, claim)
    if isinstance(facts.ask, Flaw):
        return _pending(facts, facts.ask.reason, facts.ask.message)
    return _fill(facts, facts.ask, settings=settings, fillers=fillers)


def _fill(facts: Facts, ask: Ask, *, settings: Settings, fillers: Fillers) -> Decision:
    filler = fillers.get(ask.kind)
    if ask.kind in UNSUPPORTED or (filler is None and ask.kind not in (Kind.EXTERNAL, Kind.REFERENCE)):
        message = (
            f"this operator does not import from {ask.kind}: nothing is made, and it waits as it is. Import the disk with another program and upload it, or "
            f"name a source that is supported (http, s3, blank, pvc, snapshot, upload)"
        )
        return _pending(facts, Reason.UNSUPPORTED_SOURCE, message)
    if facts.waits:
        if facts.claim is not None and (is_populated(facts, facts.claim) or is_filled_elsewhere(facts.claim)):
            return _end_without_source(facts, facts.claim)
        again = await_permit(facts.volume)  # one of another namespace may wait for nothing but this
        return _pending(facts, Reason.DATA_SOURCE_NOT_READY, facts.waits, wake_after=again)
    if facts.obstacle is not None:
        return _pending(facts, facts.obstacle.reason, facts.obstacle.message)
    wanted = facts.wanted
    if isinstance(wanted, Obstacle):
        return _pending(facts, wanted.reason, wanted.message)
    if wanted is None:
        return REST  # its watch is late
    filling = filler(ask, facts) if filler is not None else None
    if isinstance(filling, Preparation):
        if facts.claim is None or not is_populated(facts, facts.claim):
            return _prepare(facts, filling)
        return finish(facts, facts.claim)
    if facts.claim is None:
        return _make_claim(facts, ask, wanted, filling)
    if facts.clone.away is not None and filling is not None and not is_populated(facts, facts.claim):
        return bring(facts, facts.clone.away, facts.claim, filling, wanted=wanted, settings=settings)
    if filling is None or is_filled_elsewhere(facts.claim):
        if isinstance(filling, Obstacle) and not is_populated(facts, facts.claim):
            return _pending(facts, filling.reason, filling.message)
        return await_bound(facts, facts.claim, filling)
    return populate(facts, facts.claim, filling=filling, wanted=wanted, settings=settings)


def _end_without_source(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """All that was needed of its DataSource is there: the data, or a claim that its driver makes from what it stood for."""
    if is_populated(facts, claim):
        return finish(facts, claim)
    status = facts.volume.status
    phase = Phase((status.phase if status is not None else None) or Phase.PENDING)
    return await_bound(facts, claim, Filling(phase, phase))


def _prepare(facts: Facts, needed: Preparation) -> Decision:
    """Make or find out what is needed first."""
    if all(isinstance(each, Inquire) for each in needed.steps) and needed.steps:
        return Plan(needed.steps, needed.wake_after)
    refusal = facts.run.refused()
    if refusal is not None:
        return _pending(facts, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)
    status = facts.volume.status
    # a worker was started, and so its Pods are asked for before there is another one: the phase remembers it
    stays = status is not None and status.phase in names.UNDER_WAY and facts.claim is not None and not needed.steps
    told = Told(
        Phase(status.phase) if stays and status is not None else needed.phase,
        needed.reason,
        needed.message,
        progress=None if stays else NO_PROGRESS,
        kind="Warning" if needed.warns else None,
    )
    return tell(facts.volume, facts.claim, told, now=facts.run.now, after=needed.steps, wake_after=needed.wake_after)


# The claim.


def _make_claim(facts: Facts, ask: Ask, wanted: Wanted, filling: Filling | Obstacle | None) -> Decision:
    volume = facts.volume
    if volume.metadata.annotation(names.PRE_POPULATED) is not None:
        message = (
            f"it says that PersistentVolumeClaim {ask.name} is filled already, and there is none: it waits for that one, as when a backup is restored. Remove "
            f"its annotation {names.PRE_POPULATED} to have the claim made and filled"
        )
        return _pending(facts, Reason.CLAIM_MISSING, message)
    if isinstance(filling, Obstacle):
        return _pending(facts, filling.reason, filling.message)
    refusal = facts.run.refused()
    if refusal is not None:
        return _pending(facts, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)
    request = filling.request if filling is not None and filling.request is not None else wanted.request
    if request is None:
        return _pending(
            facts, Reason.SIZE_INVALID, "the size of what is copied is not known yet; it goes on by itself when it is"
        )
    if ask.completed and wanted.storage_class is None:
        message = (
            "spec.storage names no StorageClass and the cluster has no default one: make a StorageClass the default one, or create the DataVolume anew "
            "with spec.storage.storageClassName"
        )
        return _pending(facts, Reason.NO_STORAGE_CLASS, message)
    if wanted.storage_class and facts.storage_class is None:
        message = f"StorageClass {wanted.storage_class} does not exist: create it, or create the DataVolume anew with one that does"
        return _pending(facts, Reason.NO_STORAGE_CLASS, message)
    data = (filling.data if filling is not None else None) or Data()
    if filling is not None and filling.build is not None:
        rebinding = fills_by_rebinding(facts.storage_class, ask.claim, volume)
        data = Data(
            name_volume(volume) if rebinding else data.reference,
            annotations={**data.annotations, names.USE_POPULATOR: "true" if rebinding else "false"},
        )
    data = replace(data, annotations={**data.annotations, **say_beginning(ask, filling)})
    manifest = build_claim(ask, wanted, data, request=request)
    told = Told(
        Phase.PENDING,
        Reason.CLAIM_PENDING,
        f"PersistentVolumeClaim {ask.name} is being made",
        progress=NO_PROGRESS,
        kind=None,
    )
    return tell(volume, None, told, now=facts.run.now, after=(Create(PERSISTENT_VOLUME_CLAIMS, manifest),))


def _take_over(facts: Facts, claim: PersistentVolumeClaim, standing: Standing) -> Decision:
    """The claim is complete as it is: nothing is written into it."""
    volume, meta = facts.volume, facts.volume.metadata
    if standing is not Standing.COLLECTED and not claim.metadata.owned_by(meta.uid):
        refusal = facts.run.refused() or facts.run.refused(patch=True)
        if refusal is not None:
            return _pending(facts, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)
        owner = msgspec.convert({**owner_reference(DATA_VOLUMES, meta), "blockOwnerDeletion": True}, OwnerReference)
        owners = (*(claim.metadata.owner_references or ()), owner)
        change = {
            "metadata": {
                "ownerReferences": msgspec.to_builtins(owners),
                "annotations": {names.ADOPTED: meta.uid},
            }
        }
        return Plan((Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, change),))
    refusal = None
    if standing is Standing.PRE_POPULATED and meta.annotation(names.PRE_POPULATED) != claim.metadata.name:
        refusal = facts.run.refused() or facts.run.refused(patch=True)
        if refusal is None:
            return Plan((Annotate(DATA_VOLUMES, meta, {names.PRE_POPULATED: claim.metadata.name}),))
        if not _is_done(facts):
            return _pending(facts, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)
    if is_lost(claim):
        return _lose(facts, claim)
    reason, message = _DONE[standing]
    told = Told(Phase.SUCCEEDED, reason, message, progress=NO_PROGRESS, kind="Normal")
    plan = tell(volume, claim, told, now=facts.run.now)
    return plan if refusal is None else wait_out(facts, plan, refusal)


def _leave_alone(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """Somebody else's claim has the name. Nobody knows what is in it."""
    name, controller = claim.metadata.name, _controller_of(claim)
    if claim.metadata.owned_by(facts.volume.metadata.uid):
        message = (
            f"PersistentVolumeClaim {name} is this DataVolume's and does not say any more what it was made for, so nothing is written into it: delete the claim to "
            f"have another one made and filled"
        )
        return _pending(facts, Reason.NOT_OURS_TO_WRITE, message)
    if controller is not None:
        message = f"PersistentVolumeClaim {name} is controlled by {controller.kind} {controller.name}: delete this DataVolume, or give it another name"
        return _pending(facts, Reason.CLAIM_OWNED, message)
    message = (
        f"PersistentVolumeClaim {name} exists and was not made for this DataVolume, so it is left as it is: give one of the two another name; or, to take it over "
        f'without filling it, annotate this DataVolume with {names.ALLOW_ADOPTION}: "true"'
    )
    return _pending(facts, Reason.CLAIM_EXISTS, message)


def _wait_until_gone(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    if _is_done(facts):
        return REST  # what becomes of it is told when it is gone: until then the disk is there
    message = f"PersistentVolumeClaim {claim.metadata.name} is being deleted; another one is made when it is gone"
    return _pending(facts, Reason.CLAIM_TERMINATING, message)


def _stay(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """It has succeeded. What is left of it is removed, and its conditions go on saying how the claim is."""
    status = facts.volume.status
    told = Told(
        Phase.SUCCEEDED,
        Reason.POPULATED,
        "the data are there",
        progress=(status.progress if status is not None else None) or ALL,
        running=COMPLETED,
        kind=None,
    )
    return clear(facts, claim, told)


def _lose(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    message = (
        f"PersistentVolumeClaim {claim.metadata.name} has lost its volume, and the data with it: bring the volume back, or delete the claim to have it made and "
        f"filled anew"
    )
    told = Told(Phase.FAILED, Reason.CLAIM_LOST, message)
    return tell(facts.volume, claim, told, now=facts.run.now)


def _pending(facts: Facts, reason: str, message: str, *, wake_after: float | None = None) -> Decision:
    """Say what it waits for. What was begun stays begun: its phase is left as it is."""
    status = facts.volume.status
    phase = (
        Phase(status.phase)
        if status is not None and status.phase in names.UNDER_WAY and facts.claim is not None
        else Phase.PENDING
    )
    told = Told(phase, reason, message, progress=NO_PROGRESS if phase is Phase.PENDING else None)
    return tell(facts.volume, facts.claim, told, now=facts.run.now, wake_after=wake_after)


def _is_done(facts: Facts) -> bool:
    status = facts.volume.status
    return status is not None and status.phase == Phase.SUCCEEDED


def _controller_of(claim: PersistentVolumeClaim) -> OwnerReference | None:
    return next((each for each in claim.metadata.owner_references or () if each.controller), None)
