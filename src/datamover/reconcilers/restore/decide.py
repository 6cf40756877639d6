"""What to do next for one DataMoverRestore. Pure: facts in, a plan out.

The state is derived from facts: the recorded run, the claim, the Job, and what they say. `status.phase` follows for people.

    no run ──► record it ──► the claim is there and free ──► the mover writes it (datamover.runs) ──► the Job goes ──► Completed
       │                        any part of it may end in ──► Failed ──► retry annotation ──► the same restore again
       └─ something missing: a condition says what; goes on when it appears
"""

from dataclasses import replace as replace_verdict

from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import RestorePhase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreSpec, DataMoverRestoreStatus, RestoreRun
from datamover.plans.steps import REST, ProvePods
from datamover.reconcilers.restore.facts import Facts, Settings
from datamover.reconcilers.restore.handover import complete
from datamover.reconcilers.restore.order import FIELDS, order_of
from datamover.reconcilers.restore.plan import Plan
from datamover.reconcilers.restore.population import (
    check_filling,
    choose_way,
    discard,
    discard_if_vain,
    reconsider,
)
from datamover.reconcilers.restore.preflight import find_obstacle
from datamover.reconcilers.restore.record import decide_anew, new_run
from datamover.reconcilers.restore.status import acknowledge, begin, begin_again, settle, tell
from datamover.reconcilers.restore.target import check_free, check_kept, prepare
from datamover.runs.advance import advance
from datamover.runs.again import make_room
from datamover.runs.cleanup import collect
from datamover.runs.facts import Unread
from datamover.runs.job import hold, suspended
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.verdict import Answer, Rest, Verdict, blocked


def decide(facts: Facts, *, settings: Settings) -> Plan:
    """Return the next steps. Called again after each change; deciding twice on the same facts asks for nothing twice (law L7)."""
    restore, spec, now = facts.restore, facts.restore.spec, facts.run.now
    if restore.metadata.terminating or spec is None:
        # The Job goes by its owner reference; nothing new is begun for an object that is going.
        return REST
    status = restore.status or DataMoverRestoreStatus()
    run = status.run
    if run is None:
        return _begin(facts, spec)
    order = order_of(restore, spec, run, settings=settings)
    if status.phase == RestorePhase.COMPLETED:
        return settle(restore, _collect(order, facts), now=now)
    if status.phase == RestorePhase.FAILED:
        return _retry(facts, spec, order, run)
    if spec.suspend:
        return tell(restore, hold(order, facts.run), now=now)
    changed = _reconsider(order, facts, run)
    if isinstance(changed, RestoreRun):
        return begin(restore, changed, now=now)
    answer = changed if changed is not None else _go_on(order, facts, run)
    return tell(restore, answer, now=now, claim=_uid_of(facts))


def _begin(facts: Facts, spec: DataMoverRestoreSpec) -> Plan:
    """Check, then record the restore before its first effect (law L6)."""
    restore, now = facts.restore, facts.run.now
    if spec.suspend:
        return tell(restore, suspended(FIELDS.suspend), now=now)
    if spec.source.data_mover is not None and facts.mover is Unread.NOT_SYNCED:
        return tell(restore, Rest(), now=now)  # the DataMover's own watch brings us back
    obstacle = find_obstacle(facts, spec)
    if obstacle is not None:
        return tell(restore, blocked(obstacle.reason, obstacle.message, action="Preflight"), now=now)
    if facts.secret is Unread.NOT_SYNCED:
        return tell(restore, Rest(), now=now)  # and so does the Secret's
    mover = facts.mover if isinstance(facts.mover, DataMover) else None
    run = choose_way(restore, new_run(restore, spec, mover=mover, now=now), facts.claim)
    return begin(restore, run, now=now)


def _go_on(order: Order, facts: Facts, run: RestoreRun) -> Answer:
    """Prepare the claim; from then on it is a run like any other, as long as the claim is the same."""
    if order.record.stage < Stage.MOVING:
        ours = facts.run.job is not None and order.owner.holds(facts.run.job)
        waits = None if ours else prepare(order, facts, run)  # a Job of ours that is not recorded: we died in between
        answer = waits if waits is not None else advance(order, facts.run)
        if isinstance(answer, Verdict) and answer.stage is Stage.MOVING and run.retry is not None:
            # a mover of the attempt before may be alive that no cache shows
            return replace_verdict(answer, before=(ProvePods(order.owner.uid), *answer.before))
        return answer
    filled = run.temporary_claim is not None
    if order.record.stage is Stage.MOVING:
        lost = check_filling(order, facts, run) if filled else check_kept(order, facts, run)
        # a Job that is to be made, or to go on, meets whoever has come to the claim meanwhile
        held = lost or check_free(order, facts, run)
        if held is not None:
            return held
    answer = advance(order, facts.run)
    return complete(order, facts, run, answer) if filled else answer


def _reconsider(order: Order, facts: Facts, run: RestoreRun) -> RestoreRun | Answer | None:
    """Until its mover is started a restore follows its claim, which may be another one by now."""
    if order.record.stage >= Stage.MOVING or order.owner.holds(facts.run.job):
        return None
    return reconsider(order, facts, run)


def _collect(order: Order, facts: Facts) -> Answer:
    """Remove what came late, a temporary claim among it (law L5)."""
    answer = collect(order, facts.run)
    return (
        replace_verdict(answer, steps=(*answer.steps, *discard(order, facts))) if isinstance(answer, Rest) else answer
    )


def _retry(facts: Facts, spec: DataMoverRestoreSpec, order: Order, run: RestoreRun) -> Plan:
    """A new value of the retry annotation does the same restore again: same id, so that it goes on from what is there (law L6).

    Of what the spec says whoever asks for it may have corrected what the failure was about, such as `overwrite`.
    """
    restore, now = facts.restore, facts.run.now
    wish = _wish(restore, run)
    if wish is None:
        plan = acknowledge(restore)
        return Plan((*plan.steps, *discard_if_vain(order, facts, run)), plan.wake_after)
    in_the_way = make_room(order, facts.run)
    if in_the_way is not None:
        return tell(restore, in_the_way, now=now)
    again = replace(decide_anew(run, spec), retry=wish, finished=None, progress=None, attempts=0)
    if run.temporary_claim is None or facts.run.source is None:
        again = choose_way(restore, again, facts.claim)
    else:  # what is there is gone on with, or goes first
        again = replace(again, temporary_claim_uid=None)
    return begin_again(restore, again, now=now)


def _wish(restore: DataMoverRestore, run: RestoreRun) -> str | None:
    """Return the value of the retry annotation that was not honoured yet."""
    wish = restore.metadata.annotation(names.RETRY_ANNOTATION)
    return wish if wish and run.retry != wish else None


def _uid_of(facts: Facts) -> str | None:
    return facts.run.source.metadata.uid if facts.run.source is not None else None
