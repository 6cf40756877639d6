"""What to do next for one DataMoverRestore. Pure: facts in, a plan out.

The state is derived from facts: the recorded run, the claim, the Job, and what they say. `status.phase` follows for people.

    no run ──► record it ──► the claim is there and free (in place: and copied, `safety`) ──► the mover writes it (datamover.runs) ──► the Job goes ──► Completed
       │                        any part of it may end in ──► Failed ──► retry annotation ──► the same restore again
       │                                 spec.cancel (datamover.runs.cancel) ──► Failed, with the reason Cancelled and the Job gone
       └─ something missing: a condition says what; goes on when it appears
"""

from dataclasses import replace as replace_verdict
from functools import partial

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.names import RestorePhase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreSpec, DataMoverRestoreStatus, RestoreRun
from datamover.plans.steps import REST, ProvePods
from datamover.reconcilers.restore import safety
from datamover.reconcilers.restore.facts import Facts, Settings
from datamover.reconcilers.restore.handover import complete
from datamover.reconcilers.restore.order import FIELDS, order_of
from datamover.reconcilers.restore.plan import Plan
from datamover.reconcilers.restore.population import (
    check_filling,
    choose_way,
    discard,
    discard_if_vain,
    is_ours,
    prove_temporary_gone,
    reconsider,
)
from datamover.reconcilers.restore.preflight import find_obstacle
from datamover.reconcilers.restore.record import decide_anew, new_run
from datamover.reconcilers.restore.status import acknowledge, begin, begin_again, settle, tell
from datamover.reconcilers.restore.target import check_free, check_kept, prepare
from datamover.reconcilers.summary import is_cancelled
from datamover.runs.advance import advance
from datamover.runs.again import make_room
from datamover.runs.cancel import cancel, cancelled_unbegun, everything, is_to_be_cancelled, refuse_retry
from datamover.runs.cleanup import collect
from datamover.runs.facts import Unread
from datamover.runs.job import hold, suspended
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.removal import await_removal
from datamover.runs.verdict import Answer, Rest, Verdict, blocked
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS


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
    order = safety.secure(order_of(restore, spec, run, settings=settings), facts.run, run)
    if status.phase == RestorePhase.COMPLETED:
        return settle(restore, _collect(order, facts), now=now)
    if status.phase == RestorePhase.FAILED:
        return _retry(facts, spec, order, run)
    if is_to_be_cancelled(order, facts.run, wished=spec.cancel):
        answer = safety.judge(_cancel(safety.without_copy(order, run), facts, run), order, facts.run, run)
        return tell(restore, answer, now=now, amend=partial(safety.note, order=order, facts=facts.run, before=run))
    if spec.suspend and not spec.cancel:
        return tell(restore, hold(order, facts.run), now=now)
    changed = _reconsider(order, facts, run)
    if isinstance(changed, RestoreRun):
        return begin(restore, changed, now=now)
    answer = changed if changed is not None else _go_on(order, facts, run)
    return tell(
        restore,
        safety.judge(answer, order, facts.run, run),
        now=now,
        claim=_uid_of(facts),
        amend=partial(safety.note, order=order, facts=facts.run, before=run),
    )


def _begin(facts: Facts, spec: DataMoverRestoreSpec) -> Plan:
    """Check, then record the restore before its first effect (law L6)."""
    restore, now = facts.restore, facts.run.now
    if is_cancelled(restore.status):
        wish = _wish(restore, None)
        if wish is None:
            return acknowledge(restore)
        if spec.cancel:
            return tell(restore, refuse_retry(FIELDS.cancel, reasons.CANCELLED), now=now)
    elif spec.cancel:
        return tell(restore, cancelled_unbegun(FIELDS.cancel), now=now)
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
    copy = partial(safety.name_copy, facts.run, spec.target.claim_name) if spec.in_place else None
    run = choose_way(restore, new_run(restore, spec, mover=mover, now=now, name_copy=copy), facts.claim)
    return begin(restore, run, now=now)


def _go_on(order: Order, facts: Facts, run: RestoreRun) -> Answer:
    """Prepare the claim; from then on it is a run like any other, as long as the claim is the same."""
    if order.record.stage < Stage.MOVING:
        ours = facts.run.job is not None and order.owner.holds(facts.run.job)
        waits = None  # a Job of ours that is not recorded: we died in between
        if not ours:
            waits = prepare(order, facts, run) or safety.check_copy(order, facts.run, run)
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
    if run.safety is not None or order.record.stage >= Stage.MOVING or order.owner.holds(facts.run.job):
        return None
    return reconsider(order, facts, run)


def _cancel(order: Order, facts: Facts, run: RestoreRun) -> Answer:
    """End it: a temporary claim goes last, when no mover can write it any more."""
    answer = cancel(order, facts.run)
    if run.temporary_claim is None:
        return answer
    answer = complete(order, facts, run, answer)
    if isinstance(answer, Rest) or answer.reason != reasons.CANCELLED:
        return answer
    prime, steps = facts.run.source, discard(order, facts)
    if steps:
        return Rest(steps, facts.run.patience.removal)
    if prime is not None and prime.metadata.terminating and is_ours(order, prime):
        return await_removal(
            order,
            facts.run,
            PERSISTENT_VOLUME_CLAIMS,
            prime,
            cause=reasons.CLEANUP_WAITING,
            purpose="The restore is over when it is gone",
            action="CleanUp",
        )
    return replace_verdict(answer, before=(*prove_temporary_gone(run, prime), *answer.before))


def _collect(order: Order, facts: Facts) -> Answer:
    """Remove what came late, a temporary claim among it (law L5)."""
    answer = collect(order, facts.run)
    return (
        replace_verdict(answer, steps=(*answer.steps, *discard(order, facts))) if isinstance(answer, Rest) else answer
    )


def _retry(facts: Facts, spec: DataMoverRestoreSpec, order: Order, run: RestoreRun) -> Plan:
    """A new value of the retry annotation does the same restore again: same id, so that it goes on from what is there (law L6).

    Of what the spec says whoever asks for it may have corrected what the failure was about, such as `overwrite`.
    While it is not wanted nothing begins; of one that was cancelled, what comes late is collected.
    """
    restore, now = facts.restore, facts.run.now
    wish = _wish(restore, run)
    if wish is None:
        late = _collect(everything(safety.without_copy(order, run)), facts) if is_cancelled(restore.status) else None
        if run.safety is not None:
            return settle(restore, safety.discard(order, facts.run, run, late=late), now=now)
        if late is not None:
            return settle(restore, late, now=now)
        plan = acknowledge(restore)
        return Plan((*plan.steps, *discard_if_vain(order, facts, run)), plan.wake_after)
    if spec.cancel:
        return tell(restore, refuse_retry(FIELDS.cancel, order.record.reason), now=now)
    in_the_way = make_room(order, facts.run) or safety.make_room(order, facts.run, run)
    if in_the_way is not None:
        return tell(restore, in_the_way, now=now)
    again = replace(decide_anew(run, spec), retry=wish, finished=None, progress=None, attempts=0)
    if run.safety is not None:
        again = safety.renew(again)
    elif run.temporary_claim is None or facts.run.source is None:
        again = choose_way(restore, again, facts.claim)
    else:  # what is there is gone on with, or goes first
        again = replace(again, temporary_claim_uid=None)
    return begin_again(restore, again, now=now)


def _wish(restore: DataMoverRestore, run: RestoreRun | None) -> str | None:
    """Return the value of the retry annotation that was not honoured yet."""
    wish = restore.metadata.annotation(names.RETRY_ANNOTATION)
    return wish if wish and (run is None or run.retry != wish) else None


def _uid_of(facts: Facts) -> str | None:
    return facts.run.source.metadata.uid if facts.run.source is not None else None
