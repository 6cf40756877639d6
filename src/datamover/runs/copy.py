"""The point-in-time copy: from the order to a claim that a mover can read, and to the mover's Job. Pure."""

from dataclasses import replace
from typing import Any, Final

from datamover.api import reasons
from datamover.api.copy_trigger import CONSUMED_ANNOTATION
from datamover.movers.outcomes import has_ended
from datamover.plans.conditions import State
from datamover.plans.steps import Create, Delete, Emit, ProvePods
from datamover.runs.facts import RunFacts
from datamover.runs.failure import COPY_LOST, failed, lost_copy
from datamover.runs.order import OPEN, Order, Passage, Readable
from datamover.runs.preflight import check_copyable, check_restored, check_source, find_snapshot_class, tell
from datamover.runs.proof import prove_copy_gone
from datamover.runs.record import Stage
from datamover.runs.removal import await_pods, await_removal
from datamover.runs.unheard import tell_unbound_claim, tell_unbound_snapshot
from datamover.runs.verdict import Answer, Facet, News, Renamed, Rest, Tally, Verdict, blocked, refused, working
from datamover.runs.wait import wait_for
from datamover.volumes.binding import (
    Obstacle,
    binds_on_use,
    check_clone,
    is_bound,
    is_lost,
    is_read_only,
    is_snapshot_ready,
)
from datamover.volumes.copies import build_clone, build_snapshot
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim, Pod
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot
from kubekit.words.timestamps import folder, parse

_LOOK_AGAIN: Final = 60.0
"""Seconds after which a name that somebody else holds is looked at again: nothing tells us when a foreign snapshot goes."""


def take_copy(order: Order, facts: RunFacts) -> Answer:
    """Bring the copy one step on; when it can be read, start the mover."""
    refusal = facts.refused()
    if refusal is not None:
        return refused(refusal, action="Create")
    if order.copy.direct:
        written = check_restored(order.copy, order.fields, facts)
        return start_mover(order, facts, order.copy.source) if written is None else _blocked(written)
    if _is_name_taken(order, facts):
        return _take_spare_name(order, facts)
    left_over = _remove_left_over(order, facts)
    if left_over is not None:
        return left_over
    claim = facts.claim
    if claim is None or claim.metadata.terminating:
        return _make_copy(order, facts)
    if is_lost(claim):
        return lost_copy(order, facts)
    empty = check_clone(claim, facts.volumes, fields=order.fields)
    if empty is not None:
        return failed(order, facts, empty.reason, empty.message)
    return _use_copy(order, facts, claim)


def _use_copy(order: Order, facts: RunFacts, claim: PersistentVolumeClaim) -> Answer:
    name = claim.metadata.name
    if is_bound(claim):
        reason, message = reasons.CLONE_BOUND, f"clone {name} is bound"
    elif binds_on_use(facts.claim_class):
        reason = reasons.CLONE_WAITS_FOR_CONSUMER  # waiting for it first would never end: the mover is what binds it
        message = f"clone {name} binds when the mover starts (WaitForFirstConsumer)"
    else:
        advice = f". The driver goes on trying; if it cannot clone at all, {order.fields.choose('Snapshot or Direct')}"
        return wait_for(
            facts,
            PERSISTENT_VOLUME_CLAIMS.kind,
            claim.metadata,
            told=_at_work(reasons.CLONING, f"clone {name} is being made"),
            cause=reasons.CLONE_PROVISIONING_FAILED,
            subject=f"PersistentVolumeClaim {name} does not get ready",
            action="Clone",
            facet=Facet.COPY,
            advice="" if order.copy.by_snapshot else advice,
            unsaid=tell_unbound_claim(order, claim),
        )
    if order.record.stage is Stage.COPYING:
        ready = {Facet.COPY: ("True", reason, message)}
        return replace(working(reason, message), stage=Stage.COPIED, facets=ready)
    return start_mover(order, facts, name)


def _remove_left_over(order: Order, facts: RunFacts) -> Answer | None:
    """Remove what a run before this one has left under the same names: its data are of another moment."""
    snapshot = facts.snapshot if order.copy.by_snapshot else None
    return _remove_if_old(order, facts, PERSISTENT_VOLUME_CLAIMS, facts.claim) or _remove_if_old(
        order, facts, VOLUME_SNAPSHOTS, snapshot
    )


def _remove_if_old(order: Order, facts: RunFacts, resource: Resource[Any], child: HasMeta | None) -> Answer | None:
    if child is None or not order.is_left_over(child) or not order.owner.owns(child):
        return None
    if not child.metadata.terminating:
        return Rest((Delete(resource, child.metadata),))
    message = (
        f"{resource.kind} {child.metadata.name} of the run before is being deleted; a new copy is taken when it is gone"
    )
    return await_removal(
        order,
        facts,
        resource,
        child,
        told=_at_work(reasons.CLONING, message),
        cause=reasons.CLEANUP_WAITING,
        purpose="A new copy is taken when it is gone",
        action="Clone",
    )


def _make_copy(order: Order, facts: RunFacts) -> Answer:
    copy, claim, source = order.copy, facts.claim, facts.source
    if copy.claim is None:
        return Rest()
    if order.record.stage is Stage.MOVING:
        # the mover may have read this copy already: another one would be of another moment
        return replace(lost_copy(order, facts), before=prove_copy_gone(order, facts))
    if claim is not None:
        message = f"clone {claim.metadata.name} is being deleted; another one is made when it is gone"
        return await_removal(
            order,
            facts,
            PERSISTENT_VOLUME_CLAIMS,
            claim,
            told=_at_work(reasons.CLONE_LOST, message),
            cause=reasons.CLEANUP_WAITING,
            purpose="Another clone is made when it is gone",
            action="Clone",
        )
    obstacle = _check(order, facts)
    if obstacle is not None or source is None:
        return _blocked(obstacle)
    snapshot: VolumeSnapshot | None = None
    passage = OPEN
    if copy.by_snapshot:
        taken = take_snapshot(order, facts)
        if not isinstance(taken, VolumeSnapshot):
            return taken
        snapshot = taken
        consumed = snapshot.metadata.annotation(CONSUMED_ANNOTATION)
        if consumed is not None:
            passage = Passage({CONSUMED_ANNOTATION: consumed})
    elif copy.gate is not None:
        asked = copy.gate.ask(order, facts)
        if not isinstance(asked, Passage):
            return asked
        passage = asked
    manifest = build_clone(
        order.owner,
        name=copy.claim,
        source=source,
        storage_class=copy.storage_class
        if copy.storage_class is not None
        else (source.spec and source.spec.storage_class_name),
        snapshot=snapshot,
        annotations=passage.annotations,
        size=copy.size,
        access_modes=copy.access_modes,
    )
    return passage.lead_to(Create(PERSISTENT_VOLUME_CLAIMS, manifest))


def take_snapshot(order: Order, facts: RunFacts) -> VolumeSnapshot | Answer:
    """Return the snapshot of the source when it can be used, else what the run is at."""
    copy, snapshot = order.copy, facts.snapshot
    if copy.snapshot is None:
        return Rest()
    if snapshot is None:
        chosen = find_snapshot_class(copy, order.fields, facts)
        if isinstance(chosen, Obstacle):
            return _blocked(chosen)
        passage = copy.gate.ask(order, facts) if copy.gate is not None else OPEN
        if not isinstance(passage, Passage):
            return passage
        manifest = build_snapshot(
            order.owner,
            name=copy.snapshot,
            source=copy.source,
            snapshot_class=chosen.metadata.name,
            annotations=passage.annotations,
        )
        return passage.lead_to(Create(VOLUME_SNAPSHOTS, manifest))
    if snapshot.metadata.terminating:
        message = f"snapshot {copy.snapshot} is being deleted; another one is taken when it is gone"
        return await_removal(
            order,
            facts,
            VOLUME_SNAPSHOTS,
            snapshot,
            told=_at_work(reasons.SNAPSHOTTING, message),
            cause=reasons.CLEANUP_WAITING,
            purpose="Another snapshot is taken when it is gone",
            action="Clone",
        )
    if is_snapshot_ready(snapshot):
        return snapshot
    error = snapshot.status and snapshot.status.error
    if error is not None:
        message = f"snapshot {copy.snapshot} is not ready, the driver says: {error.message or 'nothing'}"
        return blocked(reasons.SNAPSHOT_FAILED, message, action="Clone", facet=Facet.COPY)
    return wait_for(
        facts,
        VOLUME_SNAPSHOTS.kind,
        snapshot.metadata,
        told=_at_work(reasons.SNAPSHOTTING, f"snapshot {copy.snapshot} is being taken"),
        cause=reasons.CLONE_PROVISIONING_FAILED,
        subject=f"VolumeSnapshot {snapshot.metadata.name} does not get ready",
        action="Clone",
        facet=Facet.COPY,
        unsaid=tell_unbound_snapshot(order, snapshot),
    )


def start_mover(order: Order, facts: RunFacts, claim: str) -> Answer:
    """Create the Job that reads `claim`, and say so.

    The status goes first, so that nobody who is behind makes a second Job. After a refusal that is told it stays until the Job is there.
    """
    record, name = order.record, order.transfer.job
    alive = tuple(pod for pod in facts.strays if not has_ended(pod))
    if alive:
        return _await_strays(order, facts, alive)
    readable = _readable(order, facts, claim)
    # There may have been a Job of this name before: only a run that is known to be just recorded has had none.
    again = record.stage is Stage.MOVING and record.reason != reasons.RUN_RECORDED
    gone = again and record.attempts > 0 and record.reason != reasons.JOB_LOST
    told_refused = facts.known.refusal is not None and facts.known.refusal.target == (JOBS.kind, name)
    event: tuple[Emit, ...] = ()
    if gone:
        lost = f"Job {name} was gone, as when somebody deletes it; it is made again and goes on from what has arrived"
        event = (Emit("Warning", reasons.JOB_LOST, lost, "Synchronize"),)
    elif not order.copy.by_snapshot:  # it takes two more writes, and this event is what the budget gives up
        event = (Emit("Normal", reasons.JOB_CREATED, f"Job {name} moves {claim}", "Synchronize"),)
    return replace(
        working(reasons.JOB_CREATED, f"Job {name} moves the data"),
        stage=Stage.MOVING,
        before=(ProvePods(order.owner.uid),) if again else (),
        after=(Create(JOBS, order.transfer.build(readable)),),
        events=event,
        fenced=told_refused and record.stage is Stage.MOVING,
        cause=reasons.JOB_LOST if gone and not told_refused else None,  # counted before it was refused
        job=name,
        copied=readable.copied,
        tally=Tally(),
    )


def _readable(order: Order, facts: RunFacts, claim: str) -> Readable:
    """Return what the mover reads.

    The moment is the one before which the copy cannot have been made: all attempts of a run are told the same (law L6). It is the API
    server's time for all copies, so that they can be compared. A source that is read directly has none: each attempt reads it anew. A
    snapshot may go once its clone is there, so what was recorded of it counts first.
    """
    record = order.record
    if order.copy.direct:
        return Readable(claim, copied=None, read_only=True)
    made = facts.claim.metadata.creation_timestamp if facts.claim is not None else None
    if order.copy.by_snapshot:
        snapshot = facts.snapshot
        seen = snapshot.metadata.creation_timestamp if snapshot is not None and order.owner.owns(snapshot) else None
        copied = record.copied or (folder(parse(seen)) if seen else record.begun)
    else:
        copied = folder(parse(made)) if made else record.copied or record.begun
    return Readable(claim, copied=copied, read_only=facts.claim is not None and is_read_only(facts.claim))


def _await_strays(order: Order, facts: RunFacts, alive: tuple[Pod, ...]) -> Answer:
    """Two movers of one run must never write at once."""
    record, name = order.record, order.transfer.job
    message = (
        f"Job {name} is gone; another one starts when Pod {', '.join(pod.metadata.name for pod in alive)} has ended"
    )
    news = record.reason != reasons.JOB_LOST
    lost = replace(
        working(reasons.JOB_LOST, message),
        tally=Tally(),
        events=(Emit("Warning", reasons.JOB_LOST, message, "Synchronize"),) if news else (),
        cause=reasons.JOB_LOST if news else None,
    )
    waiting = await_pods(
        order,
        facts,
        alive,
        told=lost,
        cause=reasons.MOVER_REMOVAL_WAITING,
        purpose=f"Job {name} starts when it has: two movers of one run never write at once",
    )
    young = isinstance(waiting, Verdict) and waiting.state is State.WORKING
    if young and record.halted and record.reason == reasons.MOVER_REMOVAL_WAITING:
        return Rest(wake_after=waiting.wake_after)  # another of its Pods: people know that it waits
    return waiting


def _is_name_taken(order: Order, facts: RunFacts) -> bool:
    """Tell whether somebody else holds a name that is wanted. Once there is a copy, nobody needs the snapshot's name any more."""
    needed = facts.snapshot if order.copy.by_snapshot and facts.claim is None else None
    return any(child is not None and not order.owner.holds(child) for child in (facts.claim, needed))


def _take_spare_name(order: Order, facts: RunFacts) -> Answer:
    """Two owners of one source in the same second want the same name; the other one has it (never adopted)."""
    copy, spare = order.copy, order.copy.spare
    if order.record.stage is Stage.MOVING:
        return failed(order, facts, reasons.CLONE_LOST, COPY_LOST)
    if spare is None or spare == copy.claim:
        kind = PERSISTENT_VOLUME_CLAIMS.kind if facts.claim is not None else VOLUME_SNAPSHOTS.kind
        message = f"{kind} {copy.claim} exists and is not this {order.fields.kind}'s: delete or rename it"
        return blocked(reasons.NAME_TAKEN, message, action="Clone", wake_after=_LOOK_AGAIN)
    snapshot = spare if copy.by_snapshot else None
    if order.owner.holds(facts.snapshot):
        snapshot = copy.snapshot  # it is taken already, under a name that was free
    message = f"{copy.claim} belongs to somebody else; the clone is called {spare}"
    return replace(working(reasons.CLONING, message), renamed=Renamed(spare, snapshot))


def _check(order: Order, facts: RunFacts) -> Obstacle | None:
    taken = order.copy.by_snapshot and order.owner.holds(facts.snapshot)
    found = check_source(order.copy, order.fields, facts) or (
        None if taken else check_restored(order.copy, order.fields, facts)
    )
    if found is not None:
        return found
    found = check_copyable(order.copy, order.fields, facts)
    fields = order.fields
    if found is None or found.waits or not fields.method_is_kept:
        return found
    kept = f". This run keeps its {fields.method}: for another one delete the {fields.kind} and create it anew"
    return Obstacle(found.reason, found.message + kept, waits=False)


def _at_work(reason: str, message: str) -> Verdict:
    """A plain wait is no news while the status says that the run is at work; after an obstacle it is."""
    return working(reason, message, action="Clone", news=News.HALTED)


def _blocked(obstacle: Obstacle | None) -> Answer:
    return tell(obstacle, action="Clone") if obstacle is not None else Rest()
