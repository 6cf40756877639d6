"""What to do for a DataVolume that may be collected. Pure.

One table over what is seen, so that a crash at any point is no special case. In order: our finalizer on the DataVolume, the patch that detaches
its claim, its deletion, and, when the server shows the claim detached, the end of the finalizer. Each step is sent under the version that was
judged. A claim is *marked* when its record names the DataVolume's UID. Anybody who may change claims can write such a record: without our finalizer
on the DataVolume it proves nothing, and all is asked as if there were none.
"""

from dataclasses import replace
from typing import Any, Final

from msgspec.structs import replace as changed

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolumeStatus
from datamover.api.outside import clean
from datamover.plans.known import Refusal
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
    MOST_HEIRS,
    QUIET,
    Obstacle,
    Reason,
    find_demoted,
    find_heirs,
    find_obstacle,
    find_refusal,
)
from datamover.runs.facts import Unread
from datamover.runs.wait import LITTLE
from datamover.volumes.asking import Asked, stamp_late, who_asks
from datamover.volumes.collection_time import Lifetime, due_at, find_lifetime
from datamover.volumes.handover import (
    build_patch,
    build_return,
    describe_untouched,
    is_detached,
    may_have_begun,
    read_record,
    record_of,
)
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import Manifest, ObjectMeta, OwnerReference, Reference
from kubekit.words.timestamps import seconds

Decision = Plan[DataVolumeStatus]

ACTION: Final = "Collect"
COLLECTED: Final = "Collected"
GIVEN_BACK: Final = "GivenBack"
OWNERS_FRESH: Final = 30.0
"""Seconds for which what was found of owners is believed before something is written."""
OWNERS_FRESH_AT_HANDOVER: Final = 1.0
"""The same right before the claim becomes theirs: an owner that goes meanwhile takes it along."""
LATER: Final = 300.0
"""Seconds after which is asked again what nothing tells: whether an owner can be seen by now, or its finalizers be set."""
SOON: Final = 60.0
"""Seconds: what is collected within them is not told that it waits."""
LONGEST: Final = 1024
"""Characters of a sentence on a DataVolume: it may quote names, and what a server says."""
_HEALS: Final = frozenset({Reason.OWNER_UNKNOWN, Reason.FINALIZER_FORBIDDEN})
_WORKING: Final = frozenset({Reason.NOT_SUCCEEDED})


def decide(facts: Facts) -> Decision:
    """Return what to do next."""
    meta, claim = facts.volume.metadata, facts.claim
    held = names.FINALIZER in (meta.finalizers or ())
    marked = claim if claim is not None and not claim.metadata.terminating and _is_marked(claim, meta) else None
    if meta.terminating and not held:
        return REST
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        return _wait_out(facts, refusal)
    if meta.terminating:
        return _finish(facts, marked)
    if held and marked is not None and not _is_returned(marked):
        return _go_on(facts, marked)
    return _consider(facts, held=held)


def _consider(facts: Facts, *, held: bool) -> Decision:
    """Nothing was handed over yet: whatever speaks against it lets the DataVolume go its own way."""
    lifetime = _find_lifetime(facts)
    if lifetime is None:
        return REST  # its own watch brings what is not known yet
    stamp = _find_stamp(facts, lifetime)
    if stamp and not facts.settings.dry_run:
        return Plan((Annotate(DATA_VOLUMES, facts.volume.metadata, stamp),))
    if stamp:
        facts = _as_stamped(facts, stamp)
    obstacle, wake_after = _find_obstacle(facts, lifetime)
    if obstacle is not None and _may_heal(facts, obstacle) and (found := facts.known.owners) and found.age >= LATER:
        return Plan((AskOwners(find_heirs(facts)),))
    if obstacle is not None:
        return _tell(facts, obstacle, wake_after=wake_after, release=held)
    return _begin(facts, facts.claim, held=held) if facts.claim is not None else REST


def _begin(facts: Facts, claim: PersistentVolumeClaim, *, held: bool) -> Decision:
    """Nothing speaks against it but what only the server knows, and its time has come."""
    meta = facts.volume.metadata
    owners, found = find_heirs(facts), facts.known.owners
    fresh = OWNERS_FRESH_AT_HANDOVER if held else OWNERS_FRESH
    if owners and (found is None or found.age > fresh or {each.uid for each in owners} - found.found.keys()):
        return Plan((AskOwners(owners),))
    if facts.settings.dry_run:
        would = Obstacle(Reason.DRY_RUN, "nothing speaks against it, and this is a dry run: it would be collected now")
        return _tell(facts, would, wake_after=None, release=held)
    if held:
        # The claim is changed under the claim's version: that the DataVolume says the same as before is asked for apart.
        return Plan((ProveSame(DATA_VOLUMES, meta), _detach(facts, claim, heirs=meta.owner_references or ())))
    return Plan((_hold(meta, claim),))


def _find_lifetime(facts: Facts) -> Lifetime | None:
    """Return how long it stays when it is completed; None while that is not known yet."""
    if facts.namespace is Unread.NOT_SYNCED or facts.config is Unread.NOT_SYNCED:
        return None
    if facts.namespace is Unread.FORBIDDEN:
        grant = "grant the operator list and watch on namespaces (docs/permissions.md)"
        return Lifetime(None, "the namespace", f"the namespace's label {names.TTL_LABEL} cannot be read: {grant}")
    label = None if isinstance(facts.namespace, Unread) else facts.namespace.metadata.label(names.TTL_LABEL)
    if label is None and facts.settings.ttl is None and facts.config is Unread.FORBIDDEN:
        grant = "grant the operator get, list and watch on cdiconfigs of cdi.kubevirt.io (docs/permissions.md)"
        return Lifetime(None, "CDIConfig config", f"CDIConfig {names.CONFIG_NAME} cannot be read: {grant}")
    config = None if isinstance(facts.config, Unread) else facts.config
    return find_lifetime(label=label, own=facts.settings.ttl, config=config)


def _find_stamp(facts: Facts, lifetime: Lifetime) -> dict[str, str]:
    return stamp_late(facts.volume.metadata, lifetime, since=facts.since) if facts.settings.stamp else {}


def _as_stamped(facts: Facts, stamp: dict[str, str]) -> Facts:
    """What a dry run judges by: it writes no stamp."""
    meta = facts.volume.metadata
    meta = changed(meta, annotations={**(meta.annotations or {}), **stamp})
    return replace(facts, volume=changed(facts.volume, metadata=meta))


def _find_obstacle(facts: Facts, lifetime: Lifetime) -> tuple[Obstacle | None, float | None]:
    """Return what speaks against it now, and after how many seconds to look again."""
    refusal = find_refusal(facts)
    if refusal is not None and refusal.reason is Reason.NOT_ASKED:
        return refusal, None
    if lifetime.problem:
        unknown = Unread.FORBIDDEN in (facts.namespace, facts.config)
        return Obstacle(Reason.TTL_UNKNOWN if unknown else Reason.TTL_INVALID, lifetime.problem), None
    if lifetime.seconds is None:
        return Obstacle(Reason.OFF, f"{lifetime.said_by} says that nothing is collected"), None
    if refusal is not None:
        return refusal, None
    obstacle = find_obstacle(facts)
    if obstacle is not None and obstacle.reason is Reason.LEFTOVERS:
        return obstacle, _before_told(facts)
    if obstacle is not None:
        return obstacle, LATER if _may_heal(facts, obstacle) else None
    due = due_at(facts.volume, lifetime.seconds)
    if due is None:
        return Obstacle(Reason.NOT_READY, "it does not say since when it is Ready"), None
    left = (due - facts.now).total_seconds()
    if left > 0:
        # Neither number nor moment is named: they may change, and what is said is not written anew for that.
        message = f"its time has not come: how long it stays after it became Ready is set by {lifetime.said_by}"
        return Obstacle(Reason.TTL, message), left + LITTLE
    return None, None


def _before_told(facts: Facts) -> float | None:
    """Return how long it is no news that something of the filling is left; None when that has passed. It goes within seconds as a rule."""
    since = due_at(facts.volume, 0)
    left = SOON - (facts.now - since).total_seconds() if since is not None else 0.0
    return left + LITTLE if left > 0 else None


def _may_heal(facts: Facts, obstacle: Obstacle) -> bool:
    """Tell whether something that nothing tells of may be otherwise by and by."""
    return obstacle.reason in _HEALS and len(find_heirs(facts)) <= MOST_HEIRS


def _go_on(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """The claim is handed over; the DataVolume is still there, and has our finalizer."""
    meta = facts.volume.metadata
    if who_asks(meta.annotations or {}) in (Asked.REFUSED, Asked.NO):
        # In the last moment: it gets back what is its own, and then its finalizer goes.
        back = Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, build_return(claim, facts.volume))
        message = f"PersistentVolumeClaim {claim.metadata.name} was given back: in the last moment nobody asked any more for this DataVolume to be collected"
        told = Emit("Normal", GIVEN_BACK, message, ACTION, related=Reference(PERSISTENT_VOLUME_CLAIMS, claim.metadata))
        return Plan((ProveSame(DATA_VOLUMES, meta), back, told))
    record = read_record(claim.metadata)
    if not is_detached(claim.metadata, uid=meta.uid) or record is None or record.version != meta.resource_version:
        # What is deleted has a claim that was changed for this very version of it: a patch that was to give the claim back, because an older
        # version refused, and that is still on its way, is refused then. It would make the claim belong to what is gone.
        return _detach_again(facts, claim)
    return Plan((Delete(DATA_VOLUMES, meta, as_seen=True),))


def _finish(facts: Facts, marked: PersistentVolumeClaim | None) -> Decision:
    """It is being deleted, and waits for us."""
    meta, claim = facts.volume.metadata, facts.claim
    if marked is None and claim is not None and may_have_begun(claim.metadata, meta, deleted=facts.known.deleted):
        return _detach_again(facts, claim)
    if marked is None:
        # Somebody else has deleted it before its claim was handed over, or the claim is another one by now: what follows is what they asked for.
        # A cache that is late would show the same, so the server is asked.
        return Plan((_prove(facts), _release(meta)))
    record = read_record(marked.metadata)
    # Whoever has it deleted as it was handed over knows that nobody has refused in between. Else a patch that is to give the claim back may be on
    # its way: it would make the claim belong to what is gone, and is refused once the claim has changed.
    settled = facts.known.deleted or (record is not None and record.going)
    if not settled or not is_detached(marked.metadata, uid=meta.uid):
        return _detach_again(facts, marked)
    reference = Reference(PERSISTENT_VOLUME_CLAIMS, marked.metadata)
    message = (
        f"PersistentVolumeClaim {marked.metadata.name} stays, with what is in it; this DataVolume has done its work"
    )
    told = Emit("Normal", COLLECTED, message, ACTION, related=reference)
    of_claim = f"DataVolume {meta.name} has filled this claim and was collected; the claim stays"
    also_told = Emit("Normal", COLLECTED, of_claim, ACTION, about=reference)
    return Plan((ProveSame(PERSISTENT_VOLUME_CLAIMS, marked.metadata), _release(meta), also_told, told))


def _prove(facts: Facts) -> ProveSame | ProveGone:
    if facts.claim is not None:
        return ProveSame(PERSISTENT_VOLUME_CLAIMS, facts.claim.metadata)
    return ProveGone(PERSISTENT_VOLUME_CLAIMS, facts.volume.metadata.name, certain=True)


def _wait_out(facts: Facts, refusal: Refusal) -> Decision:
    """The API server refuses a step. It is told, and tried again later, less and less often."""
    meta, wake_after = facts.volume.metadata, refusal.retry_after
    about_us = refusal.target is not None and refusal.target[0] == DATA_VOLUMES.kind
    if about_us or meta.terminating:  # nothing can be written on it, or nobody reads it any more
        told = Emit("Warning", Reason.REQUEST_REFUSED, clean(refusal.message, limit=LONGEST), ACTION)
        return Plan(() if facts.known.told == told else (told,), wake_after)
    return _tell(facts, Obstacle(Reason.REQUEST_REFUSED, refusal.message), wake_after=wake_after)


def _tell(facts: Facts, obstacle: Obstacle, *, wake_after: float | None, release: bool = False) -> Decision:
    """Say why it stays, where somebody may ask, and only when that is another reason than before."""
    meta = facts.volume.metadata
    if release:
        # Its next version is decided upon at once. A replica that does not know the claim as it is would take away what another has just set.
        return Plan((_prove(facts), replace(_release(meta), unhurried=True)), wake_after)
    before = meta.annotation(names.COLLECTION)
    if obstacle.reason in QUIET or _is_soon(facts, obstacle, wake_after):
        steps = (Annotate(DATA_VOLUMES, meta, {names.COLLECTION: None}, remark=True),) if before is not None else ()
        return Plan(steps, wake_after)
    if before is not None and before.partition(":")[0] == obstacle.reason:
        return Plan((), wake_after)
    message = clean(obstacle.message, limit=LONGEST)
    said = Annotate(DATA_VOLUMES, meta, {names.COLLECTION: f"{obstacle.reason}: {message}"}, remark=True)
    if obstacle.reason is Reason.TTL:
        return Plan((said,), wake_after)  # an event is for news, and this goes as it was asked for
    kind = "Normal" if obstacle.reason in (Reason.DRY_RUN, Reason.REFUSED) else "Warning"
    claim = Reference(PERSISTENT_VOLUME_CLAIMS, facts.claim.metadata) if facts.claim is not None else None
    return Plan((said, Emit(kind, obstacle.reason, message, ACTION, related=claim)), wake_after)


def _is_soon(facts: Facts, obstacle: Obstacle, wake_after: float | None) -> bool:
    """Tell whether it goes on by itself, as everything does that is under way."""
    if obstacle.reason is Reason.TTL:
        return wake_after is not None and wake_after <= SOON
    if obstacle.reason is Reason.LEFTOVERS:
        return wake_after is not None
    status = facts.volume.status
    phase = (status.phase if status is not None else None) or ""
    return obstacle.reason in _WORKING and phase not in (names.Phase.FAILED, names.Phase.UNKNOWN)


def _hold(meta: ObjectMeta, claim: PersistentVolumeClaim) -> Patch:
    said = {names.HANDING_OVER: describe_untouched(claim.metadata)}
    return Patch(DATA_VOLUMES, meta, _holders((*(meta.finalizers or ()), names.FINALIZER), said))


def _release(meta: ObjectMeta) -> Patch:
    left = tuple(each for each in meta.finalizers or () if each != names.FINALIZER)
    said = {names.HANDING_OVER: None} if meta.annotation(names.HANDING_OVER) is not None else {}
    return Patch(DATA_VOLUMES, meta, _holders(left, said))


def _holders(finalizers: tuple[str, ...], annotations: dict[str, Any]) -> Manifest:
    return {"metadata": {"finalizers": list(finalizers), **({"annotations": annotations} if annotations else {})}}


def _detach(facts: Facts, claim: PersistentVolumeClaim, *, heirs: tuple[OwnerReference, ...] = ()) -> Patch:
    """Return the patch of the handover. `heirs` were asked for right before; a patch that comes later has none: an owner that was added since may be
    gone, and would take the claim along, and one that was taken away since is not to come back.
    """
    meta, record = facts.volume.metadata, read_record(claim.metadata)
    if record is None or record.uid != meta.uid or record.returned:
        record = record_of(facts.volume, collected=seconds(facts.now))
    record = changed(record, version=meta.resource_version, going=meta.terminating)
    patch = build_patch(claim, facts.volume, heirs=heirs, record=record, demoted=find_demoted(facts))
    return Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, patch)


def _detach_again(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    """The version of the DataVolume that the record names is the server's: two replicas whose caches differ would correct it in turns, each time at once."""
    return Plan((ProveSame(DATA_VOLUMES, facts.volume.metadata), _detach(facts, claim)))


def _is_marked(claim: PersistentVolumeClaim, volume: ObjectMeta) -> bool:
    record = read_record(claim.metadata)
    return record is not None and record.uid == volume.uid


def _is_returned(claim: PersistentVolumeClaim) -> bool:
    record = read_record(claim.metadata)
    return record is not None and record.returned
