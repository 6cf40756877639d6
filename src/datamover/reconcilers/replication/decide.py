"""What to do next for one ReplicationSource or ReplicationDestination. Pure: facts in, a plan out.

never, or due ──► recorded ──► copy (sources) ──► what the mover needs ──► mover ──► image (destinations) ──► cleaned up ──► waits
                                 └ gate: copy trigger                       └ failed: a pause, then the same copy again
"""

import dataclasses
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.names import CREATED_BY_LABEL, CopyMethod
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import CREATED_BY_VALUE, Synchronizing, WaitReason
from datamover.plans.conditions import State
from datamover.plans.steps import REST, Delete, Effect, Emit, Locate, Patch, Plan, ProveGone, ProveStatus
from datamover.reconcilers.replication import status as say
from datamover.reconcilers.replication.adjust import adjust
from datamover.reconcilers.replication.ask import CHECKED_FIRST, Ask, is_external
from datamover.reconcilers.replication.cadence import Cadence, Due, begins_at, cadence_of
from datamover.reconcilers.replication.facts import Facts, Settings
from datamover.reconcilers.replication.failures import failures_of, is_told, pause_left, says_more, told_failures
from datamover.reconcilers.replication.flaws import find_flaw
from datamover.reconcilers.replication.image import check_image, find_claim, publish
from datamover.reconcilers.replication.leftovers import LOOK_AGAIN, clear, find_kept, find_stale, release
from datamover.reconcilers.replication.needs import (
    KeyMakers,
    find_lack,
    is_of_another,
    lasting_children,
    make_missing,
    serves,
)
from datamover.reconcilers.replication.noted import note, note_end, tell_lost_keys
from datamover.reconcilers.replication.order import order_of, status_of
from datamover.reconcilers.replication.renewal import asks_otherwise, find_outdated, renew, stamp
from datamover.reconcilers.replication.sharing import TAKES_TURNS, is_blocked, ticket_of
from datamover.reconcilers.replication.turns import find_first
from datamover.runs.copy import take_copy
from datamover.runs.job import follow
from datamover.runs.order import Order
from datamover.runs.preflight import check_source
from datamover.runs.record import Stage
from datamover.runs.removal import await_removal
from datamover.runs.trigger import close_round
from datamover.runs.verdict import Answer, News, Rest, Verdict, blocked, refused, working
from datamover.runs.wait import LITTLE, age_of
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import SECRET_METAS
from kubekit.words.timestamps import seconds

_PLACEMENT_FRESH: Final = 60.0
_TURN: Final = 30.0
_SECOND: Final = 1.0
_SETTLED: Final = 2.0
"""Seconds after which everybody knows of a ticket: they have whole seconds, and whoever draws one in the same second may go first."""
_ONE_NODE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


def decide(facts: Facts, *, settings: Settings, keys: KeyMakers) -> Plan[Any]:
    """Return the next steps. Deciding twice on the same facts asks for nothing twice (law L7)."""
    obj, now = facts.obj, facts.run.now
    if obj.metadata.terminating or is_external(obj):
        return REST  # children go by their owner references
    ask = facts.ask
    if isinstance(ask, str):
        return say.tell(obj, blocked(Synchronizing.ERROR, ask, action="Check"), now=now)
    cadence = cadence_of(ask.trigger, status_of(obj), now=now, uid=obj.metadata.uid, jitter=settings.jitter)
    if cadence.due is Due.NEVER:
        return say.tell(obj, blocked(reasons.INVALID_SPEC, cadence.error, action="Check"), now=now, ask=ask)
    if cadence.due is not Due.UNDER_WAY:
        return _between(facts, ask, cadence)
    return _synchronize(facts, ask, settings=settings, keys=keys)


def _between(facts: Facts, ask: Ask, cadence: Cadence) -> Plan[Any]:
    """Remove what is left of the last synchronisation; begin the next one when it is due."""
    obj, now = facts.obj, facts.run.now
    left = release(facts, ask)
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    unwanted = refused(refusal, action="CleanUp") if left and refusal is not None else None
    if unwanted is not None:
        left = ()  # what holds a name that is needed is met again, and told, by the next synchronisation
    if left:  # who does not know yet that another one has begun, or which image is the latest, is refused
        left = (ProveStatus(), *left)
    if cadence.due is Due.NOW:
        if left:
            return Plan(left)
        flaw = find_flaw(ask)
        if flaw is not None:
            return say.tell(obj, blocked(reasons.INVALID_SPEC, flaw, action="Check"), now=now, ask=ask)
        return (
            Plan((), _SECOND)
            if _was_begun_now(status_of(obj), now)
            else say.begun(obj, ask, now=begins_at(now, status_of(obj).last_sync_time))
        )
    by_hand = cadence.due is Due.MANUAL
    reason = Synchronizing.WAITING_FOR_MANUAL if by_hand else Synchronizing.WAITING_FOR_SCHEDULE
    wake = (cadence.next_sync - now).total_seconds() + LITTLE if cadence.next_sync is not None else None
    if unwanted is not None:
        wake = min(wake or unwanted.wake_after or 0.0, unwanted.wake_after or 0.0)
    return say.waiting(obj, reason, now=now, next_sync=cadence.next_sync, steps=left, wake=wake, unwanted=unwanted)


def _was_begun_now(status: CommonStatus, now: datetime) -> bool:
    """Tell whether the last synchronisation began in this very second, by which it is known: the next one of the same second would be the same."""
    lasted = status.last_sync_duration or ""
    return status.last_sync_time == seconds(now) and (lasted == "0s" or lasted.endswith(("ms", "µs", "ns")))


def _synchronize(facts: Facts, ask: Ask, *, settings: Settings, keys: KeyMakers) -> Plan[Any]:
    obj, now = facts.obj, facts.run.now
    order, noted = order_of(ask, facts, settings), note(ask, facts)
    # The user of the source may hold an application still until it is said that the copy is there.
    closing = close_round(order, facts.run)
    if closing is not None and (closing.steps or closing.facets):
        return say.tell(obj, closing, now=now, ask=ask, noted=noted)
    stale = find_stale(order, facts) or find_outdated(order, facts, ask)
    answer = clear(order, facts, stale) if stale else _advance(order, facts, ask, settings=settings, keys=keys)
    answer = stamp(answer, ask)
    if closing is not None and closing.wake_after is not None:
        answer = dataclasses.replace(
            answer, wake_after=min(closing.wake_after, answer.wake_after or closing.wake_after)
        )
    if isinstance(answer, Rest):
        return say.tell(obj, answer, now=now, ask=ask, noted=noted)
    if answer.state is State.FAILED:
        return _fail(order, facts, answer, settings=settings)
    # Nobody waits for the clean-up: it is begun when the status has said that the data are moved.
    if answer.state is State.DONE or answer.stage is Stage.CLEANING:
        image = publish(order, facts, ask)
        if isinstance(image, Rest | Verdict):
            return say.tell(obj, image, now=now, ask=ask, noted=noted)
        after = _next(facts, ask, settings)
        return say.ended(obj, ask, answer, noted=note_end(ask, facts), image=image, now=now, next_sync=after)
    return say.tell(obj, answer, now=now, ask=ask, noted=noted)


def _advance(order: Order, facts: Facts, ask: Ask, *, settings: Settings, keys: KeyMakers) -> Answer:
    """Take a synchronisation one step on. Volumes first and checks afterwards, but for rclone: that order is what users see."""
    job = facts.run.job
    if job is not None and order.owner.holds(job):
        return _keep_pace(order, facts, ask, job, settings=settings, keys=keys)
    obstacle = _find_obstacle(facts, ask)
    if obstacle is not None:
        return obstacle
    early = ask.method in CHECKED_FIRST
    lacking = _provide(order, facts, ask, keys) if early else None
    if lacking is None:
        lacking = (
            _check_direct(order, facts) if ask.is_source else find_claim(facts, ask) or check_image(order, facts, ask)
        )
    if lacking is not None:
        return lacking
    answer = find_kept(order, facts) or take_copy(order, facts.run)
    if not isinstance(answer, Verdict) or answer.stage is not Stage.MOVING:
        return answer
    lacking = None if early else _provide(order, facts, ask, keys)
    return lacking or _place(facts, ask) or _take_turn(facts, ask, settings) or _prove_first(order, facts, answer)


def _prove_first(order: Order, facts: Facts, answer: Verdict) -> Verdict:
    """After a failure there may be the next Job already, of the same name: who does not see it must not say that it has only just begun."""
    if not told_failures(status_of(facts.obj)):
        return answer
    return dataclasses.replace(answer, before=(ProveGone(JOBS, order.transfer.job), *answer.before))


def _find_obstacle(facts: Facts, ask: Ask) -> Answer | None:
    """Return what no mover of this object can start with, whatever there is besides: asked before anything is made."""
    flaw, job = find_flaw(ask), facts.run.job
    if flaw is not None:
        return blocked(reasons.INVALID_SPEC, flaw, action="Check")
    if job is None:
        return None
    # Two long names may be shortened to the same one. Whoever has it first has it until his mover has ended.
    return _taken(JOBS.kind, job.metadata.name, ask)


def _taken(kind: str, name: str, ask: Ask) -> Answer:
    message = (
        f"{kind} {name} exists and is not this {ask.resource.kind}'s: delete it, or give one of the two another name"
    )
    return blocked(reasons.NAME_TAKEN, message, action="Check", wake_after=LOOK_AGAIN)


def _check_direct(order: Order, facts: Facts) -> Answer | None:
    """What a copy would find out of its source is asked here where there is none."""
    found = check_source(order.copy, order.fields, facts.run) if order.copy.direct else None
    return blocked(found.reason, found.message, action="Check") if found is not None else None


def _keep_pace(order: Order, facts: Facts, ask: Ask, job: Job, *, settings: Settings, keys: KeyMakers) -> Answer:
    """Follow the Job, which exists while the object is paused as well, and starts nothing then."""
    wanted = 0 if ask.paused else 1
    parallelism = job.spec.parallelism if job.spec is not None else None
    if job.ended or job.metadata.terminating:
        return follow(order, facts.run)
    if is_told(job, status_of(facts.obj)):
        return Rest()  # who has told its end knows more of it than we do: the watch brings it
    renewed = renew(order, facts, ask, job, settings=settings)
    if renewed is not None:
        return renewed
    change: tuple[Effect, ...] = ()
    if parallelism not in (None, wanted):
        refusal = facts.run.refused(patch=True)
        if refusal is not None:
            return refused(refusal, action="Pause")
        first = _wait_for_writer(facts, ask)
        if first is not None:
            return first
        change = (Patch(JOBS, job.metadata, {"spec": {"parallelism": wanted}}),)
    if ask.paused:
        message = "paused: set spec.paused to false to go on"
        return Verdict(State.SUSPENDED, reasons.SUSPENDED, message, "Pause", before=change)
    if change or order.record.reason == reasons.SUSPENDED:
        going = working(reasons.JOB_CREATED, f"Job {job.metadata.name} goes on")
        return dataclasses.replace(going, before=change)
    # What its Pod waits for and somebody has deleted: nobody else would make it again.
    children = lasting_children(ask, facts, keys)
    missing = make_missing(children) if facts.run.refused() is None else ()
    changed = adjust(ask, facts, children) if facts.run.refused(patch=True) is None else ()
    if missing or changed:
        return Rest((*missing, *changed), events=tell_lost_keys(ask, facts))
    return follow(order, facts.run)


def _provide(order: Order, facts: Facts, ask: Ask, keys: KeyMakers) -> Answer | None:
    """Make what a mover needs besides its data; say what others have to bring."""
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    if refusal is not None:
        return refused(refusal, action="Create")
    children = lasting_children(ask, facts, keys)
    for child in children:
        if child.resource is not SECRET_METAS and is_of_another(child.present, ask):
            return _taken(child.resource.kind, child.name, ask)
    steps = (*make_missing(children), *adjust(ask, facts, children))
    if steps:
        return Rest(steps, events=tell_lost_keys(ask, facts))
    for child in children:
        if child.present is not None and child.present.metadata.terminating:
            purpose = "The mover starts when there is another one"
            return await_removal(
                order,
                facts.run,
                child.resource,
                child.present,
                cause=reasons.CLEANUP_WAITING,
                purpose=purpose,
                action="Create",
            )
    lack = find_lack(ask, facts)
    if lack is None:
        return None
    if not lack.message:
        return Rest(wake_after=lack.wake_after)
    return blocked(lack.reason or Synchronizing.ERROR, lack.message, action="Check")


def _place(facts: Facts, ask: Ask) -> Answer | None:
    """A volume that one node only can mount is moved where its user runs. Nobody knows where before the cluster was asked."""
    claim = facts.run.source
    direct = ask.copy_method == CopyMethod.DIRECT or not ask.is_source
    if not direct or claim is None or claim.spec is None or not _ONE_NODE.issuperset(claim.spec.access_modes or ()):
        return None
    known = facts.run.known.placement
    if known is not None and known.claim == claim.metadata.uid and known.age < _PLACEMENT_FRESH:
        return None
    return Rest((Locate(claim.metadata),))


def _take_turn(facts: Facts, ask: Ask, settings: Settings) -> Answer | None:
    most = settings.most_at_once
    first = _wait_for_writer(facts, ask)
    if first is not None:
        return first
    if most is None or ask.paused or serves(ask) or facts.running < most:
        return None
    message = (
        f"it waits for its turn: {facts.running} movers run, and no more than {most} may at the same time (--replication-max-concurrent). They are "
        f"shown by: kubectl get jobs -A -l {CREATED_BY_LABEL}={CREATED_BY_VALUE}"
    )
    return _wait_for_turn(message)


def _wait_for_writer(facts: Facts, ask: Ask) -> Answer | None:
    """Of destinations that write one claim one does so at a time."""
    if ask.is_source or ask.paused or ask.method not in TAKES_TURNS or not facts.writers:
        return None
    status, writes = status_of(facts.obj), f"writes PersistentVolumeClaim {ask.destination} as well"
    if is_blocked(status):  # the others believe so too: they are told first that it goes on
        return _wait_for_turn(f"it waits for its turn: ReplicationDestination {facts.writers[0].name} {writes}")
    ticket = ticket_of(status)
    first = find_first(facts.writers, ticket=ticket, uid=ask.metadata.uid)
    if first is not None:
        return _wait_for_turn(
            f"it waits for its turn: ReplicationDestination {first.name} {writes}, and goes first. "
            f"Give each a claim of its own, or pause {first.name} (spec.paused) to go on before it"
        )
    left = _SETTLED - age_of(ticket, facts.run.now)
    return Rest(wake_after=left + LITTLE) if left > 0 else None


def _wait_for_turn(message: str) -> Answer:
    event = Emit("Normal", WaitReason.TURN, message, "Wait")
    waiting = working(WaitReason.TURN, message, action="Wait", news=News.REASON)
    return dataclasses.replace(waiting, events=(event,), wake_after=_TURN)


def _fail(order: Order, facts: Facts, answer: Verdict, *, settings: Settings) -> Plan[Any]:
    """A Job that failed stays, with its log, until the pause is over; then the same copy is read again. Without its copy another round begins."""
    obj, now, job = facts.obj, facts.run.now, facts.run.job
    if job is None or job.condition("Failed") is None:
        if status_of(obj).last_sync_start_time == seconds(now):
            return Plan((), _SECOND)
        return say.begun_again(obj, answer, now=begins_at(now, status_of(obj).last_sync_start_time))
    count = failures_of(job)
    # What its user has changed since may be the cure: nobody waits with that.
    left = 0.0 if asks_otherwise(job, facts, settings=settings) else pause_left(job, now)
    news = says_more(status_of(obj), job, answer.reason)
    steps: tuple[Effect, ...] = (Delete(JOBS, job.metadata),) if not left and order.owner.owns(job) else ()
    wait = left + LITTLE if left else None
    if not news:
        return Plan((*answer.before, *steps) if steps else (), wait)
    return say.failed(obj, answer, failures=count, now=now, wait=wait, steps=steps)


def _next(facts: Facts, ask: Ask, settings: Settings) -> datetime | None:
    """Return when the next synchronisation is due once this one is recorded as over."""
    now = facts.run.now
    over = replace(
        status_of(facts.obj),
        last_sync_time=seconds(now),
        last_sync_start_time=None,
        last_manual_sync=ask.trigger.manual,
    )
    uid = facts.obj.metadata.uid
    return cadence_of(ask.trigger, over, now=now, uid=uid, jitter=settings.jitter).next_sync
