"""What to do for a DataVolume that may be collected. Pure.

One table over what is seen, so that a crash at any point is no special case. In order: our finalizer on the DataVolume, the patch that detaches
its claim, its deletion, and, when the server shows the claim detached, the end of the finalizer. Each step is sent under the version that was
judged. A claim is *marked* when its record names the DataVolume's UID.
"""

from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolumeStatus
from datamover.plans.steps import (
    REST,
    Annotate,
    AskOwners,
    Delete,
    Emit,
    Patch,
    Plan,
    ProveGone,
    ProveSame,
)
from datamover.reconcilers.collection.facts import Facts
from datamover.reconcilers.collection.obstacles import (
    QUIET,
    Obstacle,
    Reason,
    find_demoted,
    find_last_obstacle,
    find_obstacle,
)
from datamover.runs.facts import Unread
from datamover.runs.wait import LITTLE
from datamover.volumes.asking import Asked, who_asks
from datamover.volumes.collection_time import due_at, find_lifetime
from datamover.volumes.handover import build_patch, build_return, is_detached, read_record, record_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import Manifest, ObjectMeta, Reference
from kubekit.words.timestamps import seconds

Decision = Plan[DataVolumeStatus]

ACTION: Final = "Collect"
COLLECTED: Final = "Collected"
OWNERS_FRESH: Final = 30.0
"""Seconds for which what was found of owners is believed."""
SOON: Final = 60.0
"""Seconds: what is collected within them is not told that it waits."""
_WORKING: Final = frozenset({Reason.NOT_SUCCEEDED})


def decide(facts: Facts) -> Decision:
    """Return what to do next."""
    meta, claim = facts.volume.metadata, facts.claim
    held = names.FINALIZER in (meta.finalizers or ())
    marked = claim if claim is not None and not claim.metadata.terminating and _is_marked(claim, meta) else None
    if meta.terminating:
        return _finish(facts, marked) if held else REST
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        return _tell(facts, Obstacle(Reason.OWNER_UNKNOWN, refusal.message), wake_after=refusal.retry_after)
    if marked is not None:
        return _go_on(facts, marked, held=held)
    obstacle, wake_after = _find_obstacle(facts)
    if obstacle is not None:
        # Nothing was handed over yet: what speaks against it now lets the DataVolume go its own way.
        return _tell(facts, obstacle, wake_after=wake_after, release=held)
    if wake_after is not None or claim is None:
        return Plan(wake_after=wake_after)
    owners = meta.owner_references or ()
    found = facts.known.owners
    if owners and (found is None or found.age > OWNERS_FRESH or {each.uid for each in owners} - found.found.keys()):
        return Plan((AskOwners(owners),))
    return Plan((_detach(facts, claim) if held else _hold(meta),))


def _find_obstacle(facts: Facts) -> tuple[Obstacle | None, float | None]:
    """Return what speaks against it now, and after how many seconds to look again. Neither says that it is to be done; no obstacle and a
    time says that something is not known yet, which its own watch brings.
    """
    obstacle = find_obstacle(facts)
    if obstacle is not None:
        return obstacle, None
    if facts.namespace is Unread.NOT_SYNCED or facts.config is Unread.NOT_SYNCED:
        return None, OWNERS_FRESH
    label = None if isinstance(facts.namespace, Unread) else facts.namespace.metadata.label(names.TTL_LABEL)
    config = None if isinstance(facts.config, Unread) else facts.config
    lifetime = find_lifetime(label=label, own=facts.settings.ttl, config=config)
    if lifetime.problem:
        return Obstacle(Reason.TTL_INVALID, lifetime.problem), None
    if lifetime.seconds is None:
        return Obstacle(Reason.OFF, f"{lifetime.said_by} says that nothing is collected"), None
    due = due_at(facts.volume, lifetime.seconds)
    if due is None:
        return Obstacle(Reason.NOT_READY, "it does not say since when it is Ready"), None
    left = (due - facts.now).total_seconds()
    if left > 0:
        message = f"it is collected at {seconds(due)}, {lifetime.seconds} s after it became Ready ({lifetime.said_by})"
        return Obstacle(Reason.TTL, message), left + LITTLE
    return find_last_obstacle(facts), None


def _go_on(facts: Facts, claim: PersistentVolumeClaim, *, held: bool) -> Decision:
    """The claim is handed over; the DataVolume is still there."""
    meta = facts.volume.metadata
    if who_asks(meta.annotations or {}) is Asked.REFUSED:
        # In the last moment: it gets back what is its own, and then its finalizer goes.
        back = Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, build_return(claim, facts.volume))
        return Plan((back,))
    if not held:
        return Plan((_hold(meta),))
    if not is_detached(claim.metadata, uid=meta.uid):
        return Plan((_detach(facts, claim),))
    return Plan((Delete(DATA_VOLUMES, meta, as_seen=True),))


def _finish(facts: Facts, marked: PersistentVolumeClaim | None) -> Decision:
    """It is being deleted, and waits for us."""
    meta = facts.volume.metadata
    if marked is None:
        # Somebody else has deleted it before its claim was handed over, or the claim is another one by now: what follows is what they asked for.
        # A cache that is late would show the same, so the server is asked.
        return Plan((_prove(facts), _release(meta)))
    if not is_detached(marked.metadata, uid=meta.uid):
        return Plan((_detach(facts, marked),))
    reference = Reference(PERSISTENT_VOLUME_CLAIMS, marked.metadata)
    message = (
        f"PersistentVolumeClaim {marked.metadata.name} stays, with what is in it; this DataVolume has done its work"
    )
    told = Emit("Normal", COLLECTED, message, ACTION, related=reference)
    return Plan((ProveSame(PERSISTENT_VOLUME_CLAIMS, marked.metadata), _release(meta), told))


def _prove(facts: Facts) -> ProveSame | ProveGone:
    if facts.claim is not None:
        return ProveSame(PERSISTENT_VOLUME_CLAIMS, facts.claim.metadata)
    return ProveGone(PERSISTENT_VOLUME_CLAIMS, facts.volume.metadata.name)


def _tell(facts: Facts, obstacle: Obstacle, *, wake_after: float | None, release: bool = False) -> Decision:
    """Say why it stays, where somebody may ask, and only when that is another reason than before."""
    meta = facts.volume.metadata
    let_go = (_release(meta),) if release else ()
    before = meta.annotation(names.COLLECTION)
    if release:
        return Plan(let_go, wake_after)  # its next version is decided upon at once
    if obstacle.reason in QUIET or _is_soon(facts, obstacle, wake_after):
        steps = (Annotate(DATA_VOLUMES, meta, {names.COLLECTION: None}),) if before is not None else ()
        return Plan(steps, wake_after)
    if before is not None and before.partition(":")[0] == obstacle.reason:
        return Plan((), wake_after)
    said = Annotate(DATA_VOLUMES, meta, {names.COLLECTION: f"{obstacle.reason}: {obstacle.message}"})
    kind = "Normal" if obstacle.reason in (Reason.TTL, Reason.DRY_RUN, Reason.REFUSED) else "Warning"
    return Plan((said, Emit(kind, obstacle.reason, obstacle.message, ACTION)), wake_after)


def _is_soon(facts: Facts, obstacle: Obstacle, wake_after: float | None) -> bool:
    """Tell whether it goes on by itself, as everything does that is under way."""
    if obstacle.reason is Reason.TTL:
        return wake_after is not None and wake_after <= SOON
    status = facts.volume.status
    phase = (status.phase if status is not None else None) or ""
    return obstacle.reason in _WORKING and phase not in (names.Phase.FAILED, names.Phase.UNKNOWN)


def _hold(meta: ObjectMeta) -> Patch:
    return Patch(DATA_VOLUMES, meta, _finalizers((*(meta.finalizers or ()), names.FINALIZER)))


def _release(meta: ObjectMeta) -> Patch:
    return Patch(
        DATA_VOLUMES, meta, _finalizers(tuple(each for each in meta.finalizers or () if each != names.FINALIZER))
    )


def _finalizers(left: tuple[str, ...]) -> Manifest:
    return {"metadata": {"finalizers": list(left)}}


def _detach(facts: Facts, claim: PersistentVolumeClaim) -> Patch:
    record = read_record(claim.metadata)
    if record is None or record.uid != facts.volume.metadata.uid:
        record = record_of(facts.volume, collected=seconds(facts.now))
    patch = build_patch(claim, facts.volume, record=record, demoted=find_demoted(facts))
    return Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, patch)


def _is_marked(claim: PersistentVolumeClaim, volume: ObjectMeta) -> bool:
    record = read_record(claim.metadata)
    return record is not None and record.uid == volume.uid
