"""What to do next for one DataMover. Pure: facts in, a plan out.

The state is derived from facts: the recorded run, the children that exist, and what they say. `status.phase` follows for people.

    no run ──► record it ──► the run goes its way (datamover.runs) ──► Completed
       │                                                                  └─ verified again, as often as it is asked for (`verification`)
       │                        any part of it may end in ──► Failed ──► retry annotation ──► the same run again
       │                                 spec.cancel (datamover.runs.cancel) ──► Failed, with the reason Cancelled and nothing left
       └─ something missing: a condition says what; goes on when it appears
"""

from dataclasses import replace as replace_plan

from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverSpec, DataMoverStatus, Run
from datamover.plans.steps import REST
from datamover.reconcilers.datamover.facts import Facts, Settings, Unread
from datamover.reconcilers.datamover.order import created_at, order_of
from datamover.reconcilers.datamover.plan import Plan
from datamover.reconcilers.datamover.preflight import find_obstacle
from datamover.reconcilers.datamover.record import new_run
from datamover.reconcilers.datamover.status import acknowledge, begin, begin_again, settle, tell
from datamover.reconcilers.datamover.verification import verify_again
from datamover.reconcilers.summary import is_cancelled
from datamover.runs.advance import advance
from datamover.runs.again import can_read_again, make_room
from datamover.runs.cancel import cancel, cancelled_unbegun, everything, is_to_be_cancelled, refuse_retry
from datamover.runs.cleanup import collect
from datamover.runs.job import hold
from datamover.runs.order import Order
from datamover.runs.preflight import tell as tell_obstacle
from datamover.runs.proof import prove_copy_gone
from datamover.runs.verdict import Rest
from datamover.volumes.naming import clone_name


def decide(facts: Facts, *, settings: Settings) -> Plan:
    """Return the next steps. Called again after each change; deciding twice on the same facts asks for nothing twice (law L7)."""
    mover, spec, now = facts.mover, facts.mover.spec, facts.run.now
    if mover.metadata.terminating or spec is None:
        # Children go by their owner references; nothing new is begun for an object that is going.
        return REST
    status = mover.status or DataMoverStatus()
    clone = facts.clone_name or clone_name(spec.source_pvc, created=created_at(mover, now))
    next_run = new_run(mover, spec, clone=clone, now=now)
    order = order_of(
        mover, spec, status.run or next_run, claim=facts.clone_name, now=now, settings=settings, sharers=facts.sharers
    )
    if status.phase == Phase.COMPLETED:
        late = collect(order, facts.run) if status.run is not None else Rest()
        settled = settle(mover, late, now=now)
        return settled if settled.steps else _verify_again(facts, spec, settled.wake_after, settings=settings)
    if status.phase == Phase.FAILED:
        return _retry(facts, spec, order, next_run, clone=clone)
    if status.run is None and spec.cancel:
        return tell(mover, cancelled_unbegun(order.fields.cancel), now=now)
    if status.run is not None and is_to_be_cancelled(order, facts.run, wished=spec.cancel):
        return tell(mover, cancel(order, facts.run), now=now)
    if spec.suspend and not spec.cancel:
        return tell(mover, hold(order, facts.run), now=now)
    if status.run is None:
        return _begin(facts, spec, next_run, clone=clone)
    return tell(mover, advance(order, facts.run), now=now)


def _verify_again(facts: Facts, spec: DataMoverSpec, wake_after: float | None, *, settings: Settings) -> Plan:
    """What a complete run has left is verified again; what else is waited for wakes it in `wake_after` seconds."""
    plan = verify_again(facts, spec, settings=settings)
    if wake_after is None:
        return plan
    return replace_plan(plan, wake_after=min(wake_after, plan.wake_after or wake_after))


def _begin(facts: Facts, spec: DataMoverSpec, run: Run, *, clone: str) -> Plan:
    """Check, then record the run before its first effect (law L6)."""
    mover, now = facts.mover, facts.run.now
    if facts.secret is Unread.NOT_SYNCED:
        return tell(mover, Rest(), now=now)  # the Secret's own watch brings us back
    obstacle = find_obstacle(facts, spec)
    if obstacle is not None:
        return tell(mover, tell_obstacle(obstacle, action="Preflight"), now=now)
    return begin(mover, run, clone=None if run.copy_method == CopyMethod.DIRECT else clone, now=now)


def _retry(facts: Facts, spec: DataMoverSpec, order: Order, next_run: Run, *, clone: str) -> Plan:
    """A new value of the retry annotation runs the same run again: same id, same folder, same copy (law L6).

    1. Without a new value a change of the spec is seen, no more; of one that was cancelled, what comes late is collected.
       While it is not wanted nothing begins; and one that was cancelled before it had a run begins as a new one does.
    2. What stands in the way of another attempt is removed.
    3. While the copy can be read, or the snapshot that it was made of, the run goes on with it.
    4. Only when both are gone, which the server is asked for, there is another copy to take, and with it another run.
    """
    mover, now = facts.mover, facts.run.now
    run = mover.status.run if mover.status is not None else None
    wish = _wish(mover, run)
    if wish is None:
        if run is not None and is_cancelled(mover.status):
            return settle(mover, collect(everything(order), facts.run), now=now)
        return acknowledge(mover)
    if spec.cancel:
        return tell(mover, refuse_retry(order.fields.cancel, order.record.reason), now=now)
    if run is None and is_cancelled(mover.status):
        return _begin(facts, spec, next_run, clone=clone)
    in_the_way = make_room(order, facts.run)
    if in_the_way is not None:
        return tell(mover, in_the_way, now=now)
    if run is not None and can_read_again(order, facts.run):
        again = replace(run, retry=wish, finished=None, progress=None, attempts=0, copy_method=order.copy.method)
        return begin_again(mover, again, clone=None, now=now)
    gone = prove_copy_gone(order, facts.run) if run is not None else ()
    name = "" if next_run.copy_method == CopyMethod.DIRECT else clone
    return begin_again(mover, next_run, clone=name, before=gone, now=now)


def _wish(mover: DataMover, run: Run | None) -> str | None:
    """Return the value of the retry annotation that was not honoured yet."""
    wish = mover.metadata.annotation(names.RETRY_ANNOTATION)
    return wish if wish and (run is None or run.retry != wish) else None
