"""A claim that is filled from another namespace: it is copied there, and the copy's volume is handed over. Pure.

source ──► temporary claim beside it, filled by its driver or a worker ──► volume is handed over ──► temporary claim is gone ──► claim is marked, Succeeded

The worker's Job is there as well, and belongs to the temporary claim: nothing can belong to an object of another namespace.

The volume is the claim's as soon as it is handed over; from then on no Pod can begin to use it by the temporary claim. Whoever did before keeps Kubernetes
from taking that claim away. So nothing is called populated before it is gone: then nobody in the source's namespace has the disk any more.

`remains` removes the temporary claim: when the volume is handed over, and when nobody waits for it any more.
"""

from dataclasses import replace
from typing import Any, Final

from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import REST, Create, Effect, Inquire, Plan, ProveGone, ProveSame, Rebind
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.dismissal import dismiss
from datamover.reconcilers.datavolume.facts import Away, Facts, Settings
from datamover.reconcilers.datavolume.filling import Abroad, Filling
from datamover.reconcilers.datavolume.populate import await_bound
from datamover.reconcilers.datavolume.populated import is_replaced
from datamover.reconcilers.datavolume.status import NO_PROGRESS, Told, tell
from datamover.reconcilers.datavolume.waiting import MAY_NOT_READ, is_immediate, shorten
from datamover.reconcilers.datavolume.worker import work
from datamover.runs.facts import Unread
from datamover.runs.wait import LITTLE, about, again_in, age_of
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_foreign, is_lost
from datamover.volumes.cloning import CloneReason, mode_of
from datamover.volumes.errands import bringer_of, build_errand, errand_name, is_for, is_made_from, mark_of
from datamover.volumes.population import node_of
from datamover.volumes.rebinding import holder_of, is_going, is_ready_made
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Manifest
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot

Decision = Plan[Any]

_PERMIT_AGAIN: Final = 60.0
"""Seconds after which a permit is looked at again that nobody believes."""


def await_permit(volume: DataVolume) -> float | None:
    """Return in how many seconds a permit is looked at again that is not believed: the key that proves it may be known by then, which no watch tells.
    None where there is no permit, for that only comes with the creation.
    """
    return _PERMIT_AGAIN if volume.metadata.annotation(names.CLONE_PERMIT) is not None else None


def is_brought(facts: Facts, claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim has the volume that was filled for it in another namespace."""
    volume = facts.claim_volume
    return isinstance(volume, PersistentVolume) and bringer_of(volume, claim) is not None


def bring(
    facts: Facts,
    away: Away,
    claim: PersistentVolumeClaim,
    filling: Filling | Obstacle,
    *,
    wanted: Wanted,
    settings: Settings,
) -> Decision:
    """Bring the filling of a claim from another namespace one step on."""
    temporary = away.temporary
    if is_lost(claim):
        message = f"PersistentVolumeClaim {claim.metadata.name} has lost its volume: delete it, and another one is made and filled"
        return _say(facts, Phase.FAILED, Reason.CLAIM_LOST, message)
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    if refusal is not None:
        return _say(facts, None, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)
    bringer = bringer_of(facts.claim_volume, claim) if isinstance(facts.claim_volume, PersistentVolume) else None
    if bringer is not None:
        return _finish(facts, away, claim, filling, bringer=bringer)
    if isinstance(away.volume, PersistentVolume) and bringer_of(away.volume, claim) is not None:
        return REST  # Kubernetes is about to bind it
    if is_bound(claim):
        return _tell_taken(facts, claim)
    if isinstance(filling, Obstacle):
        return _say(facts, None, filling.reason, filling.message)
    if filling.abroad is None:
        return REST
    if temporary is None:
        return _begin(facts, away, claim, filling, filling.abroad)
    if not (is_for(temporary, facts.volume.metadata, claim) and is_made_from(temporary, _native_of(filling))):
        message = f"PersistentVolumeClaim {away.namespace}/{temporary.metadata.name} exists and is not of this operator's making: delete it"
        return _say(facts, None, reasons.NAME_TAKEN, message)
    if temporary.metadata.terminating:
        return REST  # when it is gone, it is begun anew
    if is_lost(temporary):
        return _drop(facts, away, temporary, "has lost its volume")
    if filling.build is None:
        return _hand_over(facts, away, claim, temporary, filling)
    return _have_written(facts, away, claim, temporary, filling, wanted=wanted, settings=settings)


def _begin(facts: Facts, away: Away, claim: PersistentVolumeClaim, filling: Filling, abroad: Abroad) -> Decision:
    """Have the driver make a copy, where the source is."""
    late, node = binds_on_use(facts.storage_class), node_of(claim)
    if late and node is None and not (filling.build is not None and is_immediate(facts)):
        message = "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
        return _say(facts, Phase.PENDING_POPULATION, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    origin = abroad.origin
    if origin is None:
        return REST  # its watch is late
    manifest = build_errand(
        facts.volume.metadata,
        claim,
        origin=origin.metadata,
        source=_native_of(filling),
        node=node if late else None,
    )
    message = f"PersistentVolumeClaim {away.namespace}/{errand_name(claim)} is made for the copy"
    steps = (*_prove(origin), Create(PERSISTENT_VOLUME_CLAIMS, manifest))
    # no worker was started yet, and the phases of workers say that one was
    phase = filling.scheduled if filling.build is None else Phase.PENDING
    return _say(facts, phase, Reason.TRANSFER_RUNNING, message, kind=None, after=steps)


def _have_written(
    facts: Facts,
    away: Away,
    claim: PersistentVolumeClaim,
    temporary: PersistentVolumeClaim,
    filling: Filling,
    *,
    wanted: Wanted,
    settings: Settings,
) -> Decision:
    """Have a worker write the temporary claim, and hand its volume over when the worker says that all is on the disk."""
    if facts.run.job is None:
        if is_replaced(facts, temporary):
            return _drop(facts, away, temporary, "was to be filled from another source of that name")
        wrong = _find_wrong(facts, away, claim, temporary) if is_bound(temporary) else None
        if wrong is not None:
            return wrong  # nothing is written into a volume that is somebody else's
    return work(
        facts,
        claim,
        temporary,
        keeper=temporary,
        filling=filling,
        wanted=replace(wanted, volume_mode=mode_of(claim)),
        settings=settings,
        done=lambda: _hand_over(facts, away, claim, temporary, filling),
    )


def _hand_over(
    facts: Facts, away: Away, claim: PersistentVolumeClaim, temporary: PersistentVolumeClaim, filling: Filling
) -> Decision:
    """Give the volume of the temporary claim to the DataVolume's, when it is a copy of what it was begun with, and nobody else's."""
    origin = _origin_of(facts)
    if not is_bound(temporary):
        if is_replaced(facts, temporary):
            return _drop(facts, away, temporary, "was to be made from another source of that name")
        return _await_copy(facts, away, temporary, filling)
    if is_replaced(facts, temporary) and origin is not None:
        # drivers and workers go by the name: nobody can tell any more which of the two was copied
        message = (
            f"its source {away.namespace}/{origin.metadata.name} was replaced by another one while it was copied, so nobody knows whose data the copy has: "
            f"delete claim {claim.metadata.name} to have it copied anew"
        )
        return _say(facts, None, CloneReason.SOURCE_REPLACED, message)
    wrong = _find_wrong(facts, away, claim, temporary)
    if wrong is not None:
        return wrong
    volume = away.volume
    if not isinstance(volume, PersistentVolume) or (origin is None and facts.origin is not Unread.MISSING):
        return REST  # its watch is late
    # one that is gone is not needed any more, but another one may have come that was copied in its place
    proof = _prove(origin) if origin is not None else _prove_gone(filling, away)
    steps = (*proof, _rebind(volume, claim, temporary))
    return _say(facts, filling.running, Reason.TRANSFER_RUNNING, "the copy is handed over", kind=None, after=steps)


def _await_copy(facts: Facts, away: Away, temporary: PersistentVolumeClaim, filling: Filling) -> Decision:
    """A driver copies. When that takes long the cluster is asked what it says of the temporary claim, which nobody else looks at."""
    run, meta = facts.run, temporary.metadata
    found, patience = about(run, meta.uid), run.patience
    age = age_of(meta.creation_timestamp, run.now)
    message = f"PersistentVolumeClaim {away.namespace}/{meta.name} has no volume yet: its driver copies"
    if found is None and age < patience.inquire_after:
        wake = patience.inquire_after - age + LITTLE
        return _say(facts, filling.running, Reason.TRANSFER_RUNNING, message, kind=None, wake_after=wake)
    if found is None or found.age >= patience.inquire_interval:
        return Plan((Inquire(PERSISTENT_VOLUME_CLAIMS.kind, meta),), patience.inquire_interval)
    wake = again_in(found, run)
    if not found.text:
        return _say(facts, filling.running, Reason.TRANSFER_RUNNING, message, kind=None, wake_after=wake)
    why = shorten(found.text)
    message = f"PersistentVolumeClaim {away.namespace}/{meta.name}, by which it is copied, has no volume yet: {why}"
    return _say(facts, filling.running, Reason.CLAIM_PENDING, message, wake_after=wake)


def _find_wrong(
    facts: Facts, away: Away, claim: PersistentVolumeClaim, temporary: PersistentVolumeClaim
) -> Decision | None:
    """Return what is done where the volume of a temporary claim is not one that was made for it, as far as the caches know it."""
    volume, meta = away.volume, temporary.metadata
    where = f"{away.namespace}/{meta.name}"
    if volume is Unread.FORBIDDEN:
        return _say(facts, None, reasons.PERMISSION_MISSING, MAY_NOT_READ)
    if not isinstance(volume, PersistentVolume):
        return REST  # its watch is late
    if is_going(volume):
        return _drop(facts, away, temporary, "has lost its volume")
    if holder_of(volume) != meta.uid or _is_of(_origin_of(facts), volume):
        message = f"PersistentVolume {volume.metadata.name} of {where} is somebody else's: look who has taken it, and delete claim {claim.metadata.name} to begin anew"
        return _say(facts, None, Reason.VOLUME_TAKEN, message)
    if is_foreign(volume) or not _is_of_driver(volume, facts) or is_ready_made(volume, temporary):
        message = f"PersistentVolumeClaim {where} has a volume that the driver of its StorageClass has not made for it, so it is no copy: create the DataVolume anew with a class of the source's driver"
        return _say(facts, None, reasons.CLASS_CANNOT_CLONE, message)
    return None


def _rebind(volume: PersistentVolume, claim: PersistentVolumeClaim, temporary: PersistentVolumeClaim) -> Rebind:
    return Rebind(volume.metadata, claim.metadata, {names.BROUGHT: mark_of(claim, temporary)})


def _finish(
    facts: Facts, away: Away, claim: PersistentVolumeClaim, filling: Filling | Obstacle, *, bringer: str
) -> Decision:
    """The volume is the claim's. It is populated when nobody has it by the temporary claim any more."""
    if away.temporary is not None and away.temporary.metadata.uid == bringer:
        message = (
            f"the data are there, and it waits until PersistentVolumeClaim {away.namespace}/{away.temporary.metadata.name}, by which they were copied, is gone. A Pod "
            f"that uses that claim keeps it, and would have the disk as well: delete such a Pod"
        )
        phase = filling.running if isinstance(filling, Filling) else None
        return _say(facts, phase, Reason.TRANSFER_RUNNING, message, kind=None)
    done = await_bound(facts, claim, filling)
    gone = ProveGone(PERSISTENT_VOLUME_CLAIMS, errand_name(claim), namespace=away.namespace, uid=bringer, certain=True)
    return Plan((gone, *done.steps), done.wake_after) if done.steps else done


def _tell_taken(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """It has a volume that is not the one that was filled for it, unless the caches are late."""
    volume = facts.claim_volume
    if volume is Unread.FORBIDDEN:
        return _say(facts, None, reasons.PERMISSION_MISSING, MAY_NOT_READ)
    if not isinstance(volume, PersistentVolume) or holder_of(volume) != claim.metadata.uid:
        return REST
    message = (
        f"PersistentVolumeClaim {claim.metadata.name} was given a volume that is not the copy: its StorageClass makes volumes for claims that others fill. Delete the "
        f"claim, and create the DataVolume anew with a class of a CSI driver"
    )
    return _say(facts, None, Reason.VOLUME_TAKEN, message)


def _drop(facts: Facts, away: Away, temporary: PersistentVolumeClaim, why: str) -> Decision:
    """Begin anew."""
    message = f"PersistentVolumeClaim {away.namespace}/{temporary.metadata.name} {why}: it is made and filled anew"
    after = dismiss(temporary, away.volume)
    return _say(facts, None, Reason.CLAIM_LOST, message, after=after) if after else REST


def _native_of(filling: Filling) -> Manifest | None:
    """Return what a driver makes the temporary claim from; None where a worker fills it."""
    return filling.abroad.source if filling.abroad is not None and filling.build is None else None


def _origin_of(facts: Facts) -> PersistentVolumeClaim | VolumeSnapshot | None:
    return facts.origin if isinstance(facts.origin, PersistentVolumeClaim | VolumeSnapshot) else None


def _is_of(origin: HasMeta | None, volume: PersistentVolume) -> bool:
    """Tell whether a volume is the source's own: that one is nobody's to give away."""
    spec = origin.spec if isinstance(origin, PersistentVolumeClaim) else None
    return spec is not None and spec.volume_name == volume.metadata.name


def _is_of_driver(volume: PersistentVolume, facts: Facts) -> bool:
    wanted, spec = facts.storage_class, volume.spec
    return wanted is not None and spec is not None and spec.csi is not None and spec.csi.driver == wanted.provisioner


def _prove(origin: HasMeta) -> tuple[ProveSame]:
    """A driver goes by the name of what it copies: it must be the one that was judged."""
    resource = VOLUME_SNAPSHOTS if isinstance(origin, VolumeSnapshot) else PERSISTENT_VOLUME_CLAIMS
    return (ProveSame(resource, origin.metadata),)


def _prove_gone(filling: Filling, away: Away) -> tuple[ProveGone, ...]:
    if filling.abroad is None:
        return ()
    source = filling.abroad.source
    resource = VOLUME_SNAPSHOTS if source["kind"] == VOLUME_SNAPSHOTS.kind else PERSISTENT_VOLUME_CLAIMS
    return (ProveGone(resource, source["name"], namespace=away.namespace, certain=True),)


def _say(
    facts: Facts,
    phase: Phase | None,
    reason: str,
    message: str,
    *,
    kind: Any = "Warning",
    after: tuple[Effect, ...] = (),
    wake_after: float | None = None,
) -> Decision:
    status = facts.volume.status
    now = Phase(status.phase) if status is not None and status.phase in names.UNDER_WAY else Phase.PENDING
    # how far its worker is stays told until it is done
    progress = None if (phase or now) in names.UNDER_WAY else NO_PROGRESS
    told = Told(phase or now, reason, message, progress=progress, kind=kind)
    return tell(facts.volume, facts.claim, told, now=facts.run.now, after=after, wake_after=wake_after)
