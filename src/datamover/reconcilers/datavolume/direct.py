"""Filling a claim that is written itself: its driver has made it a volume, or makes it one for the worker. Pure."""

from typing import Any

from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import REST, Plan
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.ending import mark
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filling
from datamover.reconcilers.datavolume.populated import names_volume
from datamover.reconcilers.datavolume.waiting import MAY_NOT_READ, await_volume, is_immediate, say
from datamover.reconcilers.datavolume.worker import work
from datamover.runs.facts import Unread
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound
from datamover.volumes.cloning import CloneReason
from datamover.volumes.errands import bringer_of
from datamover.volumes.rebinding import holder_of
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim

Decision = Plan[Any]


def fill_directly(
    facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling | Obstacle, wanted: Wanted, settings: Settings
) -> Decision:
    """Bring the filling of a claim one step on that the worker writes itself."""
    if claim.metadata.annotation(names.CREATED_FOR) != facts.volume.metadata.uid:
        message = f"PersistentVolumeClaim {claim.metadata.name} does not say that it was made for this DataVolume, so nothing is written into it: delete it to have another one made and filled"
        return say(facts, None, Reason.NOT_OURS_TO_WRITE, message)
    if isinstance(filling, Obstacle):
        return say(facts, None, filling.reason, filling.message)
    volume = facts.claim_volume
    if names_volume(claim) and not (isinstance(volume, PersistentVolume) and holder_of(volume) == claim.metadata.uid):
        # Somebody may have bound an empty volume, or we the one that was filled: only the volume itself tells, and it is not in the caches yet.
        if volume is not Unread.FORBIDDEN:
            return REST
        return say(facts, None, reasons.PERMISSION_MISSING, MAY_NOT_READ)
    if isinstance(volume, PersistentVolume) and bringer_of(volume, claim) is not None:
        message = (
            f"its DataSource stands for something in this namespace now, and PersistentVolumeClaim {claim.metadata.name} has the volume of a copy from another one, where a "
            f"Pod may still use it, so nothing is written into it: delete PersistentVolumeClaim {claim.metadata.name} to have it made and filled anew"
        )
        return say(facts, None, CloneReason.SOURCE_REPLACED, message)
    if not is_bound(claim):
        if not binds_on_use(facts.storage_class):
            return await_volume(facts, claim, Phase.PENDING)
        if not is_immediate(facts) and facts.run.job is None:
            message = (
                "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
            )
            return say(facts, Phase.WAIT_FOR_FIRST_CONSUMER, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    return work(
        facts,
        claim,
        claim,
        filling=filling,
        wanted=wanted,
        settings=settings,
        done=lambda: mark(facts, claim),
    )
