"""What earlier synchronisations have left: removed by label and owner (law L2), and waited for where its names are needed. Pure."""

from typing import Any, Final

import msgspec

from datamover.api import reasons
from datamover.api.names import CopyMethod
from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import Image, ReplicationDestination
from datamover.plans.steps import Delete, Effect, Patch, ProveSame, ProveStatus
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.facts import Facts, Temporary
from datamover.reconcilers.replication.needs import lasting_owner
from datamover.reconcilers.replication.order import is_of_this_round
from datamover.runs.order import Order
from datamover.runs.removal import await_removal
from datamover.runs.verdict import Answer, Rest, blocked, refused
from datamover.volumes.binding import is_lost, is_snapshot_ready
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot
from kubekit.words.timestamps import moment_of

LOOK_AGAIN: Final = 60.0
"""Seconds after which a name that another object holds is looked at again: nothing tells us when that goes."""


def find_stale(order: Order, facts: Facts) -> tuple[Temporary, ...]:
    """Return children that hold a name of this synchronisation and are of an earlier one, or a Job of another claim or method. Jobs go first."""
    run = facts.run
    # The user may have chosen another method meanwhile: two movers of one object never work at once (law L7).
    found: list[Temporary] = [
        (resource, child)
        for resource, child in facts.temporaries
        if resource is JOBS and child.metadata.name != order.transfer.job and order.owner.owns(child)
    ]
    job = run.job
    if (
        job is not None
        and order.owner.owns(job)
        and (not is_of_this_round(job, facts.obj) or _reads_another(order, facts, job))
    ):
        found.append((JOBS, job))
    for resource, child in ((PERSISTENT_VOLUME_CLAIMS, run.claim), (VOLUME_SNAPSHOTS, run.snapshot)):
        if child is not None and order.owner.owns(child) and not is_of_this_round(child, facts.obj):
            found.append((resource, child))
    return tuple(found)


def clear(order: Order, facts: Facts, stale: tuple[Temporary, ...]) -> Answer:
    """Remove what is of an earlier synchronisation, and wait until it is gone: its success or its data must not count for this one."""
    refusal = facts.run.refused()
    if refusal is not None:
        return refused(refusal, action="CleanUp")
    steps = tuple(_take_away(resource, child) for resource, child in stale if not child.metadata.terminating)
    if steps:
        # Who does not know which synchronisation it is, is refused, and who sees an older copy than there is learns of the new one: that copy's
        # Job has the same name.
        return Rest((ProveStatus(), *_prove_copies(order, facts, stale), *steps))
    resource, child = stale[0]
    return await_removal(
        order,
        facts.run,
        resource,
        child,
        cause=reasons.CLEANUP_WAITING,
        purpose="The synchronisation goes on when it is gone",
        action="CleanUp",
    )


def _prove_copies(order: Order, facts: Facts, stale: tuple[Temporary, ...]) -> tuple[ProveSame, ...]:
    """Return the proofs of what is stale, or is a reason to remove a Job."""
    claim = facts.run.source if order.copy.direct else facts.run.claim
    judged: list[Temporary] = [each for each in stale if each[0] is not JOBS]
    if claim is not None and any(resource is JOBS for resource, _ in stale):
        judged.append((PERSISTENT_VOLUME_CLAIMS, claim))
    proofs = {child.metadata.uid: ProveSame(resource, child.metadata) for resource, child in judged}
    return tuple(proofs.values())


def find_kept(order: Order, facts: Facts) -> Answer | None:
    """Return what is said of the last copy's snapshot that the user keeps: its name is the next one's, and its data are never taken for this round's."""
    snapshot = facts.run.snapshot if order.copy.by_snapshot and facts.run.claim is None else None
    if snapshot is None or order.owner.holds(snapshot) or not _is_kept(snapshot):
        return None
    name = snapshot.metadata.name
    message = (
        f"VolumeSnapshot {name} is kept, for you have labelled it {names.DO_NOT_DELETE_LABEL}, and the next copy needs its name: delete it when you "
        f"have done with it (a claim that was made of it stays), or {order.fields.choose(CopyMethod.CLONE)}, which needs no snapshot"
    )
    return blocked(reasons.NAME_TAKEN, message, action="Clone", wake_after=LOOK_AGAIN)


def release(facts: Facts, ask: Ask) -> tuple[Effect, ...]:
    """Return the steps that remove what has served its purpose, between two synchronisations.

    A snapshot that the user has marked is let go. An image that was followed by another one is labelled first, so that only what carries the
    label is ever deleted. One that a volume is being made of stays until that is done. restic's cache of the name that the original gave it
    once goes: nobody uses it. What the spec names or the status publishes stays, whatever label it carries: it was temporary once.
    """
    owner, steps = lasting_owner(ask), list[Effect]()
    cache = facts.belongings.old_cache
    if (
        owner.owns(cache)
        and not cache.metadata.terminating
        and not _is_wanted(facts, ask, PERSISTENT_VOLUME_CLAIMS, cache)
    ):
        steps.append(_take_away(PERSISTENT_VOLUME_CLAIMS, cache))
    for resource, child in facts.temporaries:
        if owner.owns(child) and not child.metadata.terminating and not _is_wanted(facts, ask, resource, child):
            steps.extend(_remove(resource, child))
    for image in facts.images:
        if (
            owner.owns(image)
            and not image.metadata.terminating
            and not _is_labelled(image)
            and _was_followed(facts, image)
        ):
            steps.append(_let_go(image) if _is_kept(image) else _label(image, owner.uid))
    return tuple(steps)


def _remove(resource: Resource[Any], child: HasMeta) -> tuple[Effect, ...]:
    return (
        ()
        if resource is VOLUME_SNAPSHOTS and not _is_kept(child) and _is_in_use(child)
        else (_take_away(resource, child),)
    )


def _take_away(resource: Resource[Any], child: HasMeta) -> Effect:
    """Return how a child goes: a snapshot that the user keeps is let go. Marks and volumes may have come since a cache was filled."""
    if resource is VOLUME_SNAPSHOTS and _is_kept(child):
        return _let_go(child)
    return Delete(resource, child.metadata, as_seen=resource is not JOBS)


def _is_wanted(facts: Facts, ask: Ask, resource: Resource[Any], child: HasMeta) -> bool:
    """Tell whether a child is the source, a destination's volume that is to stay, the published image, or the one before while that is not good."""
    name, latest = child.metadata.name, _latest(facts)
    if resource is PERSISTENT_VOLUME_CLAIMS:
        volume = name == ask.claim or (ask.makes_claim and name == ask.destination and not ask.cleans_claim)
        return volume or (latest is not None and (latest.kind, latest.name) == (resource.kind, name))
    return resource is VOLUME_SNAPSHOTS and not ask.is_source and not _was_followed(facts, child)


def _was_followed(facts: Facts, image: HasMeta) -> bool:
    """Tell whether another image has taken an image's place: one of ours that is there, is whole and no older, or the volume itself. A status
    that names anything else is no reason to delete the last good copy.
    """
    latest = _latest(facts)
    if latest is None or latest.name == image.metadata.name:
        return False
    volume = facts.run.source
    if latest.kind == PERSISTENT_VOLUME_CLAIMS.kind:
        there = volume is not None and volume.metadata.name == latest.name
        return there and volume is not None and not volume.metadata.terminating and not is_lost(volume)
    return any(other.metadata.name == latest.name and _is_as_good(other, image) for other in facts.images)


def _is_as_good(other: VolumeSnapshot, image: HasMeta) -> bool:
    made, before = (moment_of(each.metadata.creation_timestamp, default=0.0) for each in (other, image))
    return is_snapshot_ready(other) and not other.metadata.terminating and made >= before


def _latest(facts: Facts) -> Image | None:
    obj = facts.obj
    return obj.status.latest_image if isinstance(obj, ReplicationDestination) and obj.status is not None else None


def _is_labelled(child: HasMeta) -> bool:
    return child.metadata.label(names.CLEANUP_LABEL) is not None


def _is_kept(child: HasMeta) -> bool:
    return child.metadata.label(names.DO_NOT_DELETE_LABEL) is not None


def _is_in_use(child: HasMeta) -> bool:
    return any(key.startswith(names.POPULATING_LABEL_PREFIX) for key in child.metadata.labels or {})


def _label(image: HasMeta, uid: str) -> Patch:
    return Patch(VOLUME_SNAPSHOTS, image.metadata, {"metadata": {"labels": {names.CLEANUP_LABEL: uid}}})


def _let_go(child: HasMeta) -> Patch:
    """It stays without us: neither the label nor the owner, which would have it collected, is left."""
    owners = [reference for reference in child.metadata.owner_references or () if not reference.controller]
    patch = {
        "labels": {names.CLEANUP_LABEL: None},
        "ownerReferences": [msgspec.to_builtins(reference) for reference in owners] or None,
    }
    return Patch(VOLUME_SNAPSHOTS, child.metadata, {"metadata": patch})


def _reads_another(order: Order, facts: Facts, job: HasMeta) -> bool:
    """Tell whether the Job was made for a claim that is no longer there under this name: a copy that was deleted and made anew.

    A destination's claim that is gone has taken what was written with it. Of a source that is gone the Job itself tells.
    """
    claim = facts.run.source if order.copy.direct else facts.run.claim
    said = job.metadata.annotation(names.READS_ANNOTATION)
    if claim is None:
        return isinstance(facts.obj, ReplicationDestination)
    return bool(said) and claim.metadata.uid != said
