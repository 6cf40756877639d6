"""Sources that are volumes already: another claim, and a VolumeSnapshot. Pure.

What a driver copies is decided on once, when the claim is made: the claim says it itself, and goes on with it whatever is found out about its source
later. Everything else a worker copies, which mounts both; until it has begun it is looked again whether the source may be read.
Who copies, and what, where that was found out only then, is written on the claim.
"""

from dataclasses import replace
from typing import Final

from datamover.api import importer as words
from datamover.api import names as ours
from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.data_volume import ObjectSource
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.movers.importer import Import, build_job
from datamover.plans.steps import Create, Inquire, writers_of
from datamover.reconcilers.datavolume.ask import Ask, Kind
from datamover.reconcilers.datavolume.claims import Data, fills_by_rebinding, name_volume
from datamover.reconcilers.datavolume.crossing import await_permit, is_brought
from datamover.reconcilers.datavolume.facts import Away, Facts, Origin
from datamover.reconcilers.datavolume.filling import CLONE, Abroad, Filling, Place, Preparation
from datamover.reconcilers.datavolume.order import midway_of, owner_of_midway
from datamover.reconcilers.datavolume.populated import is_populated, is_replaced, names_volume
from datamover.runs.wait import about
from datamover.volumes import cloning
from datamover.volumes.beginnings import Beginning, record
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound
from datamover.volumes.cloning import Choice, CloneReason, Hindrance, Method, Target
from datamover.volumes.copies import build_snapshot
from datamover.volumes.permit import CloneSource
from datamover.volumes.rebinding import is_older
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Manifest
from kubekit.words.quantity import larger
from kubekit.words.snapshot import GROUP, VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotClass

_FRESH: Final = 5.0
"""Seconds for which it is believed that no Pod writes the source."""
_LOOK_AGAIN: Final = 15.0
"""Seconds after which the Pods are looked at again: nothing tells us of other people's."""


def fill_from_claim(ask: Ask, facts: Facts) -> Filling | Preparation | Obstacle:
    """Return how a claim becomes the copy of another."""
    named = ask.source.pvc or ObjectSource(name="")
    if facts.claim is not None and _is_native(facts.claim):
        return _by_driver(ask, facts, facts.claim)
    if facts.clone.away is not None:
        return _from_away(ask, facts, facts.clone.away, {"kind": PERSISTENT_VOLUME_CLAIMS.kind, "name": named.name})
    source = facts.origin if isinstance(facts.origin, PersistentVolumeClaim) else None
    if facts.run.job is not None or (facts.claim is not None and _waits_for_volume(facts, facts.claim)):
        return _by_worker(ask, named, source)
    source = _check_rest(facts, named.name)
    if not isinstance(source, PersistentVolumeClaim):
        return source
    if facts.claim is not None:
        return _by_worker(ask, named, source)
    return _begin(ask, facts, named, source)


def _waits_for_volume(facts: Facts, claim: PersistentVolumeClaim) -> bool:
    """Tell whether the next is a volume for the claim. Until there is one it is asked why there is none; of two questions each would make the other forgotten."""
    return not (names_volume(claim) or is_bound(claim) or binds_on_use(facts.storage_class))


def _check_rest(facts: Facts, name: str) -> PersistentVolumeClaim | Preparation | Obstacle:
    """Return the source when it is full and at rest, else what it waits for."""
    source = facts.origin if isinstance(facts.origin, PersistentVolumeClaim) else None
    hindrance = cloning.check_source(name, source, maker=facts.clone.maker, users=None)
    if hindrance is not None or source is None:
        return _wait(hindrance)
    asked = about(facts.run, writers_of(source.metadata.uid))
    if asked is None or asked.age > (_FRESH if asked.text == "" else _LOOK_AGAIN):
        return _prepare("it is looked who uses the source", Inquire(PERSISTENT_VOLUME_CLAIMS.kind, source.metadata, writers=True))  # fmt: skip
    hindrance = cloning.check_source(name, source, maker=facts.clone.maker, users=asked.text)
    if asked.text is None:  # that nobody could look does not mean that nobody writes (law L4)
        hindrance = Hindrance(
            CloneReason.SOURCE_IN_USE,
            f"nobody can see now which Pods use PersistentVolumeClaim {name}, and one may write while it is copied: let the operator list Pods; it looks again",
        )
    if hindrance is not None:
        return Preparation(
            Phase.PENDING, hindrance.reason, hindrance.message, wake_after=_LOOK_AGAIN - asked.age + 0.1, warns=True
        )
    return source


def _begin(
    ask: Ask, facts: Facts, named: ObjectSource, source: PersistentVolumeClaim
) -> Filling | Preparation | Obstacle:
    """Choose who copies, before the claim is made."""
    chosen = _choose(ask, facts, source, snapshot_classes=facts.clone.snapshot_classes)
    if isinstance(chosen, Hindrance):
        return _wait(chosen)
    if chosen.method is Method.COPY:
        return _size_copy(ask, facts, _by_worker(ask, named, source), source, chosen)
    if chosen.method is Method.SNAPSHOT:
        return _by_snapshot(facts, named, chosen)
    return _natively(
        Phase.CSI_CLONE, {"kind": PERSISTENT_VOLUME_CLAIMS.kind, "name": named.name}, chosen, origin=source
    )


def _choose(
    ask: Ask, facts: Facts, source: PersistentVolumeClaim, *, snapshot_classes: tuple[VolumeSnapshotClass, ...]
) -> Choice | Hindrance:
    clone, profile = facts.clone, facts.clone.profile
    said = [each for each in (profile.spec, profile.status) if each is not None] if profile is not None else []
    of_class = facts.storage_class.metadata.annotation(cloning.CLONE_STRATEGY) if facts.storage_class else None
    return cloning.choose(
        source,
        _target(ask, facts),
        volume=clone.volume,
        strategy=next((each.clone_strategy for each in said if each.clone_strategy), of_class),
        snapshot_classes=snapshot_classes,
        wanted_snapshot_class=next((each.snapshot_class for each in said if each.snapshot_class), None),
    )


def _size_copy(ask: Ask, facts: Facts, filling: Filling, source: PersistentVolumeClaim, chosen: Choice) -> Filling:
    """Return a worker's copy with the size of its claim."""
    # what was a device needs room for the file system that it comes into: the claim that is wanted has that already
    inflated = cloning.mode_of(source) == cloning.BLOCK and _target(ask, facts).volume_mode != cloning.BLOCK
    return filling if ask.size is not None or inflated else replace(filling, request=chosen.size)


def _by_snapshot(facts: Facts, named: ObjectSource, chosen: Choice) -> Filling | Preparation | Obstacle:
    """Take a snapshot of the source, and have the claim made from that."""
    found, owner, name = facts.clone.midway, owner_of_midway(facts.volume), midway_of(facts.volume)
    if found is None:
        manifest = build_snapshot(owner, name=name, source=named.name, snapshot_class=chosen.snapshot_class)
        return _prepare(f"VolumeSnapshot {name} of the source is taken", Create(VOLUME_SNAPSHOTS, manifest))
    if found.metadata.label(ours.OWNER_UID_LABEL) != owner.uid or not owner.holds(found):
        message = f"VolumeSnapshot {name} exists and is not of this operator's making: delete it"
        return Obstacle(reasons.NAME_TAKEN, message, waits=True)
    hindrance = cloning.check_snapshot(name, found)
    if hindrance is not None:
        error = found.status.error if found.status is not None else None
        return Preparation(
            Phase.SNAPSHOT_FOR_SMART_CLONE,
            hindrance.reason,
            hindrance.message.replace(", or correct spec.source.snapshot", ""),
            warns=error is not None,
        )
    restored = found.status.restore_size if found.status is not None else None
    size = larger(chosen.size, restored) or chosen.size
    return _natively(Phase.SMART_CLONE, _reference(name), Choice(chosen.method, size, grow_to=chosen.grow_to))


def fill_from_snapshot(ask: Ask, facts: Facts) -> Filling | Preparation | Obstacle:
    """Return how a claim is made from a VolumeSnapshot: by its driver, which alone can."""
    named = ask.source.snapshot or ObjectSource(name="")
    if facts.claim is not None and _is_native(facts.claim):
        return _by_driver(ask, facts, facts.claim)
    if facts.clone.away is not None:
        return _from_away(ask, facts, facts.clone.away, _reference(named.name))
    if facts.claim is not None and not is_populated(facts, facts.claim):
        message = (
            f"its DataSource stands for VolumeSnapshot {named.name} now, and PersistentVolumeClaim {ask.name} was made to be filled from a claim, for which it stood "
            f"before: delete PersistentVolumeClaim {ask.name} to have it made anew from the snapshot"
        )
        return Obstacle(CloneReason.SOURCE_REPLACED, message, waits=True)
    chosen = _size(ask, facts, named.name)
    if isinstance(chosen, Hindrance):
        return _wait(chosen)
    origin = facts.origin if isinstance(facts.origin, VolumeSnapshot) else None
    return _natively(Phase.CLONE_FROM_SNAPSHOT, _reference(named.name), chosen, origin=origin)


def _size(ask: Ask, facts: Facts, name: str) -> Choice | Hindrance:
    """Return the sizes of a claim that is made from a VolumeSnapshot, or what it waits for."""
    found = facts.origin if isinstance(facts.origin, VolumeSnapshot) else None
    hindrance = cloning.check_snapshot(name, found)
    if hindrance is not None or found is None:
        assert hindrance is not None
        return hindrance
    wanted = found.spec.volume_snapshot_class_name if found.spec is not None else None
    driver = next((each.driver for each in facts.clone.snapshot_classes if each.metadata.name == wanted), None)
    return cloning.size_from_snapshot(found, _target(ask, facts), driver=driver)


# From another namespace.


def _from_away(ask: Ask, facts: Facts, away: Away, source: Manifest) -> Filling | Preparation | Obstacle:
    """Return how a claim becomes the copy of something in another namespace: there, by its driver or by a worker."""
    # who began says so on the claim; what was begun before that was said is its driver's
    begun = _copied_there(ask, facts, source, by_worker=bool(away.by_worker) and ask.kind is Kind.PVC)
    if facts.claim is not None and (is_brought(facts, facts.claim) or is_populated(facts, facts.claim)):
        return begun
    if away.refusal is not None:
        message = (
            f"{ask.kind} {source['name']} is of namespace {away.namespace}, and nothing is copied from there, for {away.refusal}: have that right given to "
            f"whoever makes the DataVolume, and create it anew; or export the disk and upload it here (source upload, `{ours.PART_OF_VALUE} upload`)"
        )
        again = await_permit(facts.volume)
        return Preparation(Phase.PENDING, CloneReason.ACROSS_NAMESPACES, message, wake_after=again, warns=True)
    if away.temporary is not None:
        # what is copied by its name must be at rest, and there, until the worker has begun
        waits = _check_rest(facts, source["name"]) if begun.build is not None and facts.run.job is None else None
        return waits if isinstance(waits, Preparation | Obstacle) else begun
    if not fills_by_rebinding(facts.storage_class, ask.claim, facts.volume):
        return _needs_driver(ask, away, source, "into a claim of this StorageClass no volume can be handed over")
    if ask.kind is Kind.SNAPSHOT:
        chosen = _size(ask, facts, source["name"])
    else:
        claim = _check_rest(facts, source["name"])
        if not isinstance(claim, PersistentVolumeClaim):
            return claim
        # no snapshot is taken there, for nothing could own it
        chosen = _choose(ask, facts, claim, snapshot_classes=())
    if isinstance(chosen, Hindrance):
        return _wait(chosen)
    origin = facts.origin if isinstance(facts.origin, PersistentVolumeClaim | VolumeSnapshot) else None
    copies = begun.build is not None if facts.claim is not None else chosen.method is Method.COPY
    if copies and isinstance(origin, PersistentVolumeClaim):
        filling = _copied_there(ask, facts, source, by_worker=True)
        return replace(_size_copy(ask, facts, filling, origin, chosen), abroad=Abroad(source, origin))
    if chosen.method is Method.COPY:
        return _needs_driver(
            ask, away, source, "its driver does not clone it any more into this StorageClass, volumeMode and size"
        )
    annotations = {names.USE_POPULATOR: "true"}
    if chosen.grow_to is not None:
        annotations[names.GROW_TO] = chosen.grow_to
    data = Data(name_volume(facts.volume), annotations=annotations, copied=True)
    return replace(begun, data=data, request=chosen.size, abroad=Abroad(source, origin))


def _copied_there(ask: Ask, facts: Facts, source: Manifest, *, by_worker: bool) -> Filling:
    """Return who fills the temporary claim there."""
    if by_worker:
        origin = facts.origin if isinstance(facts.origin, PersistentVolumeClaim) else None
        return replace(_by_worker(ask, ask.source.pvc or ObjectSource(name=""), origin), abroad=Abroad(source))
    phase = Phase.CSI_CLONE if ask.kind is Kind.PVC else Phase.CLONE_FROM_SNAPSHOT
    return Filling(phase, phase, abroad=Abroad(source))


def say_beginning(ask: Ask, filling: Filling | None) -> dict[str, str]:
    """Return what a claim that is being made says of what it is the copy of, where that is not in the DataVolume for good."""
    named = {Kind.PVC: ask.source.pvc, Kind.SNAPSHOT: ask.source.snapshot}.get(ask.kind)
    if named is None or filling is None:
        return {}
    home = named.namespace or ask.namespace
    if ask.spec.source_ref is None and home == ask.namespace:
        return {}
    return {names.COPIES: record(Beginning(CloneSource(ask.kind.value, home, named.name), filling.build is not None))}


def _needs_driver(ask: Ask, away: Away, source: Manifest, why: str) -> Obstacle:
    return Obstacle(
        CloneReason.NEEDS_DRIVER,
        f"{ask.kind} {source['name']} is of namespace {away.namespace}, and {why}: create the DataVolume anew with a class of a CSI driver, without "
        f'annotation {names.USE_POPULATOR}: "false", and without volumeName and selector; or take a VolumeSnapshot there and name that',
        waits=True,
    )


# Who copies.


def _natively(phase: Phase, source: Manifest, chosen: Choice, *, origin: HasMeta | None = None) -> Filling:
    """`origin` is what the user has named: its driver goes by the name, and may begin when another one has it."""
    annotations = {names.USE_POPULATOR: "false"}
    if origin is not None:
        annotations[names.COPIED_FROM] = origin.metadata.uid
    if chosen.grow_to is not None:
        annotations[names.GROW_TO] = chosen.grow_to
    return Filling(phase, phase, data=Data(native=source, annotations=annotations), request=chosen.size)


def _by_driver(ask: Ask, facts: Facts, claim: PersistentVolumeClaim) -> Filling | Obstacle:
    """The claim is there, and says what its driver makes it from."""
    if not is_populated(facts, claim) and is_replaced(facts, claim) and not _was_copied_before(facts):
        message = (
            f"its source {ask.kind} was replaced by another one of that name before its driver had copied it, or meanwhile, so nobody knows whose data "
            f"PersistentVolumeClaim {ask.name} gets: as long as nobody has written into it, delete PersistentVolumeClaim {ask.name} to have it copied anew"
        )
        return Obstacle(CloneReason.SOURCE_REPLACED, message, waits=True)
    source = (claim.spec.data_source or claim.spec.data_source_ref) if claim.spec is not None else None
    phase = Phase.CSI_CLONE
    if source is not None and source.kind == VOLUME_SNAPSHOTS.kind:
        phase = Phase.SMART_CLONE if ask.kind is Kind.PVC else Phase.CLONE_FROM_SNAPSHOT
    return Filling(phase, phase)


def _was_copied_before(facts: Facts) -> bool:
    """Tell whether the volume was there before what its source is now. A driver says that it has made one when it is filled."""
    volume, origin = facts.claim_volume, facts.origin
    return isinstance(volume, PersistentVolume) and isinstance(origin, Origin) and is_older(volume, origin)


def _by_worker(ask: Ask, named: ObjectSource, source: PersistentVolumeClaim | None) -> Filling:
    scheduled, running = CLONE
    block = source is not None and cloning.mode_of(source) == cloning.BLOCK
    # who makes a DataVolume chooses for its own namespace: of another one's accounts and ranks he is not asked
    home = (named.namespace or ask.namespace) == ask.namespace

    def build(place: Place) -> Manifest:
        settings = place.settings
        asked = Import(
            source=words.COPY,
            run_id=place.run_id,
            claim=place.claim,
            size=place.wanted.target if ask.size is not None else 0,
            block=place.wanted.block,
            content_type=ask.content,
            preallocation=bool(ask.spec.preallocation),
            source_claim=named.name,
            source_block=block,
            account=(ask.spec.service_account_name if home else None) or "",
            priority_class=(ask.spec.priority_class_name if home else None) or "",
            environment=settings.environment,
            deadline_seconds=settings.deadline,
        )
        job = build_job(
            place.owner,
            asked,
            name=place.job,
            image=settings.mover_image,
            pull_policy=settings.mover_pull_policy,
            defaults=settings.mover_defaults,
        )
        if source is not None:
            job["metadata"]["annotations"] = {names.COPIED_FROM: source.metadata.uid}
        return job

    return Filling(scheduled, running, build)


def _target(ask: Ask, facts: Facts) -> Target:
    wanted = facts.wanted
    assert wanted is not None
    assert not isinstance(wanted, Obstacle)
    return Target(
        ask.namespace,
        wanted.volume_mode,
        wanted.request if ask.size is not None else None,
        facts.storage_class,
        archive=ask.content == words.ARCHIVE,
        immediate=facts.volume.metadata.annotation(names.BIND_IMMEDIATELY) is not None,
    )


def _is_native(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim says that its driver makes it from a claim or a snapshot."""
    spec = claim.spec
    kinds = {each.kind for each in (spec.data_source, spec.data_source_ref) if each is not None} if spec else set[str]()
    return bool(kinds & {PERSISTENT_VOLUME_CLAIMS.kind, VOLUME_SNAPSHOTS.kind})


def _reference(name: str) -> Manifest:
    return {"apiGroup": GROUP, "kind": VOLUME_SNAPSHOTS.kind, "name": name}


# Waiting.


def _wait(hindrance: Hindrance | None) -> Obstacle:
    assert hindrance is not None
    return Obstacle(hindrance.reason, hindrance.message, waits=True)


def _prepare(message: str, step: Create | Inquire) -> Preparation:
    phase = Phase.SNAPSHOT_FOR_SMART_CLONE if isinstance(step, Create) else Phase.PENDING
    return Preparation(phase, Reason.TRANSFER_RUNNING, message, (step,), wake_after=_LOOK_AGAIN)


FILLERS: Final = {Kind.PVC: fill_from_claim, Kind.SNAPSHOT: fill_from_snapshot}
