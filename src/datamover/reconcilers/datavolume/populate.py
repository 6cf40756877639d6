"""Filling the claim of a DataVolume by a worker: into a temporary claim whose volume is handed over, or into the claim itself. Pure.

A driver of CSI makes no volume for a claim that names a DataVolume. So nobody can use half a disk: the volume is handed over when it is filled, and Bound means
populated. Whoever binds such a claim all the same is found out by the missing mark, and the worker writes into the claim itself.
"""

from typing import Any

from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import REST, Patch, Plan
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.direct import fill_directly
from datamover.reconcilers.datavolume.ending import finish, succeed
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filling
from datamover.reconcilers.datavolume.populated import is_filled_elsewhere, is_populated, names_volume
from datamover.reconcilers.datavolume.prime import fill_by_rebinding
from datamover.reconcilers.datavolume.status import NO_PROGRESS
from datamover.reconcilers.datavolume.waiting import MAY_NOT_READ, await_volume, refused, say
from datamover.runs.facts import Unread
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_foreign, is_lost
from datamover.volumes.cloning import asks_for, has_grown, volume_has
from datamover.volumes.population import node_of
from datamover.volumes.rebinding import holder_of, is_of_another_driver, is_ready_made
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim

Decision = Plan[Any]


def populate(
    facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling | Obstacle, wanted: Wanted, settings: Settings
) -> Decision:
    """Bring the filling of a claim one step on."""
    if is_populated(facts, claim):
        return finish(facts, claim)
    if is_lost(claim):
        message = f"PersistentVolumeClaim {claim.metadata.name} has lost its volume: delete it, and another one is made and filled"
        return say(facts, Phase.FAILED, Reason.CLAIM_LOST, message)
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    if refusal is not None:
        return refused(facts, refusal)
    if names_volume(claim) and not is_bound(claim):
        return fill_by_rebinding(facts, claim, filling=filling, wanted=wanted, settings=settings)
    return fill_directly(facts, claim, filling=filling, wanted=wanted, settings=settings)


def await_bound(facts: Facts, claim: PersistentVolumeClaim, filling: Filling | Obstacle | None) -> Decision:
    """Somebody else fills the claim: its driver, or a populator that it names. Then Bound means populated."""
    if is_bound(claim):
        volume = facts.claim_volume
        if filling is None:
            return succeed(facts, claim, progress=NO_PROGRESS)
        if volume is Unread.FORBIDDEN:
            return say(facts, None, reasons.PERMISSION_MISSING, MAY_NOT_READ)
        if not isinstance(volume, PersistentVolume) or holder_of(volume) != claim.metadata.uid:
            return REST  # only the volume tells that it is a copy, and its watch is late (law L4)
        if is_foreign(volume):
            message = (
                f"PersistentVolumeClaim {claim.metadata.name} is not of a CSI driver, so it is no copy but an empty volume: create the DataVolume anew with a class "
                f'of a CSI driver, or with annotation {names.USE_POPULATOR}: "false"'
            )
            return say(facts, None, reasons.CLASS_CANNOT_CLONE, message)
        if is_of_another_driver(volume, facts.storage_class) or (
            is_filled_elsewhere(claim) and is_ready_made(volume, claim)
        ):
            message = (
                f"PersistentVolumeClaim {claim.metadata.name} has PersistentVolume {volume.metadata.name}, which the driver of its StorageClass has not made for it, so it "
                f"is no copy: make that volume unavailable, and delete the claim to have it made and filled anew"
            )
            return say(facts, None, reasons.CLASS_CANNOT_CLONE, message)
        return _grow(facts, claim) or finish(facts, claim)
    if is_lost(claim):
        return say(
            facts, Phase.FAILED, Reason.CLAIM_LOST, f"PersistentVolumeClaim {claim.metadata.name} has lost its volume"
        )
    late = binds_on_use(facts.storage_class) and node_of(claim) is None
    if late:
        message = "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
        return say(facts, Phase.PENDING_POPULATION, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    phase = filling.scheduled if isinstance(filling, Filling) else Phase.PENDING
    return await_volume(facts, claim, phase)


def _grow(facts: Facts, claim: PersistentVolumeClaim) -> Decision | None:
    """Let a claim grow that its driver has made as large as its source; None when it has its size.

    A file system may get the rest with its first Pod only, so it is enough that its volume has grown.
    """
    wanted, volume = claim.metadata.annotation(names.GROW_TO), facts.claim_volume
    if wanted is None or has_grown(claim, wanted):
        return None
    refusal = facts.run.refused(patch=True)
    if refusal is not None:
        return refused(facts, refusal)
    if not asks_for(claim, wanted):
        change = {"spec": {"resources": {"requests": {"storage": wanted}}}}
        return Plan((Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, change),))
    if isinstance(volume, PersistentVolume) and volume_has(volume, wanted):
        return None
    message = f"PersistentVolumeClaim {claim.metadata.name} is filled, and grows to {wanted} bytes"
    return say(facts, Phase.EXPANSION, Reason.TRANSFER_RUNNING, message, kind=None)
