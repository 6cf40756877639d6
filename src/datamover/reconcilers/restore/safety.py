"""A restore in place: the copy of the claim that is taken first, what it takes to trust it, and when it may go. Pure.

The run is one over a copy as any other (`datamover.runs`), but that its mover writes the source and has the copy beside it, to roll back from when it fails. The copy
is deleted only when the mover itself has said that the claim is whole, or as it was before (law L4): until then it is the last good version of what was
there (law L3).
"""

import re
from dataclasses import replace as replace_verdict
from typing import Any, Final

from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.names import CopyMethod
from datamover.api.restore import MARKED, ROLLED_BACK, UNTOUCHED, Restored
from datamover.api.v1alpha1.restore import DataMoverRestoreSpec, RestoreRun, SafetyCopy
from datamover.movers.outcomes import read_outcome
from datamover.movers.restore import CONTAINER
from datamover.plans.conditions import State
from datamover.plans.steps import Delete, Effect
from datamover.reconcilers.restore.order import IN_PLACE, copy_of
from datamover.runs import preflight
from datamover.runs.attempts import have_all_ended, newest_first
from datamover.runs.facts import RunFacts
from datamover.runs.failure import failed
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.removal import await_removal
from datamover.runs.verdict import Answer, Rest, Verdict, refused
from datamover.runs.wait import LITTLE, age_of
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_lost
from datamover.volumes.naming import OBJECT_NAME_LIMIT, shorten
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

_ADVICE: Final = re.compile(r"[:.] (?:[Ss]et|create|install|name) ")
"""Where a sentence about copies of any kind begins to say what to do: here it is something else."""
_SOON: Final = 10.0
"""Seconds that a failure waits to be told until its copy is gone. Where Kubernetes keeps a claim as long as there are Pods that had it, ended ones too, the copy goes
after that, when the Job does: its Pods are the proof that it may go, and the failure is recorded first.
"""
_TENTATIVE: Final = SafetyCopy(claim_name="", method=CopyMethod.SNAPSHOT)

# Before it begins.


def tentative_copy(spec: DataMoverRestoreSpec) -> SafetyCopy | None:
    """Return by which copy what there is to know of a restore is gathered that has not begun: one that looks at classes of snapshots."""
    return _TENTATIVE if spec.in_place else None


def check_copyable(facts: RunFacts, claim: str) -> Obstacle | None:
    """Return why no safety copy of the claim can be taken, or not yet."""
    copy = copy_of(claim, _TENTATIVE)
    found = preflight.check_source(copy, IN_PLACE, facts) or preflight.check_copyable(copy, IN_PLACE, facts)
    if found is None:
        return None
    if found.reason == reasons.SOURCE_NOT_BOUND:
        return Obstacle(
            reasons.TARGET_NOT_BOUND,
            f"PersistentVolumeClaim {claim} has no volume yet, so there is nothing in it that a restore in place could be rolled back to: leave out spec.inPlace, "
            "or wait until it is bound",
            waits=True,
        )
    why = _ADVICE.split(found.message, maxsplit=1)[0]
    return Obstacle(
        found.reason,
        f"a restore in place takes a copy of PersistentVolumeClaim {claim} first, and none can be taken: {why}. Set spec.overwrite instead of spec.inPlace, which "
        "cannot be rolled back, or restore into a new claim",
        waits=found.waits,
    )


def name_copy(facts: RunFacts, claim: str, run_id: str) -> SafetyCopy:
    """Return the record of a copy that is to be taken: by a snapshot where there is a class for it, which shows that the driver can; else by a clone."""
    found = preflight.find_snapshot_class(copy_of(claim, _TENTATIVE), IN_PLACE, facts)
    name = shorten(f"safety-{claim}-{run_id}", OBJECT_NAME_LIMIT)
    if isinstance(found, Obstacle):
        return SafetyCopy(claim_name=name, method=CopyMethod.CLONE)
    return SafetyCopy(claim_name=name, method=CopyMethod.SNAPSHOT, snapshot_name=name)


# While it is taken and used.


def secure(order: Order, facts: RunFacts, run: RestoreRun) -> Order:
    """Return the order of a restore that is preparing, as one whose copy is there where that is so: the status has no phase for it."""
    claim = facts.claim
    if run.safety is None or order.record.stage is not Stage.COPYING or claim is None or is_lost(claim):
        return order
    ready = is_bound(claim) or binds_on_use(facts.claim_class)
    if not ready or claim.metadata.terminating or not order.owner.holds(claim):
        return order
    return replace_verdict(order, record=replace_verdict(order.record, stage=Stage.COPIED))


def check_copy(order: Order, facts: RunFacts, run: RestoreRun) -> Answer | None:
    """Return what stands against going on with the copy, or against taking it: above all that the one is gone that has what was there before."""
    safety, claim = run.safety, facts.claim
    if safety is None or safety.uid is None:
        return None
    if claim is not None and claim.metadata.uid == safety.uid and not claim.metadata.terminating and not is_lost(claim):
        return None
    message = (
        f"PersistentVolumeClaim {safety.claim_name}, the copy of {run.claim} from before, is gone or has lost its volume, and another copy would be of a "
        f"restore that has begun: nothing can be rolled back any more. Another DataMoverRestore of the same point with overwrite: true goes on from what is "
        f"in {run.claim}"
    )
    return failed(order, facts, reasons.SAFETY_COPY_LOST, message)


def _remove(order: Order, facts: RunFacts) -> Rest | None:
    """Delete the copy, and wait a little for it and its volume; None when they are gone, or when it takes longer: the failure is told then, and what is left is
    deleted all the same (`discard`).
    """
    if facts.refused() is not None:
        return None
    deletes = tuple(_deletes(order, facts))
    if deletes:
        return Rest(deletes, _SOON)
    since = [child.metadata.deletion_timestamp for _, child in _children(order, facts)]
    ended = facts.job.condition("Failed") if facts.job is not None else None
    if facts.claim is None and ended is not None and any(_goes_with_claim(volume) for volume in facts.volumes):
        since.append(ended.last_transition_time)
    left = _SOON - max((age_of(each, facts.now) for each in since if each), default=_SOON)
    return Rest(wake_after=left + LITTLE) if left > 0 else None


def _goes_with_claim(volume: PersistentVolume) -> bool:
    return volume.spec is not None and volume.spec.persistent_volume_reclaim_policy == "Delete"


def note(run: RestoreRun, verdict: Verdict, *, order: Order, facts: RunFacts, before: RestoreRun) -> RestoreRun:
    """Return the run with what a verdict means for the copy. `before` is the run as it was recorded."""
    return _note_failure(order, facts, _note_start(facts, run, verdict), verdict, before=before)


def _note_start(facts: RunFacts, run: RestoreRun, verdict: Verdict) -> RestoreRun:
    """Return the run with which copy the mover is started with."""
    safety, claim = run.safety, facts.claim
    if safety is None or safety.uid is not None or verdict.stage is not Stage.MOVING or claim is None:
        return run
    return replace(run, safety=replace(safety, uid=claim.metadata.uid))


# When it has failed.


def judge(answer: Answer, order: Order, facts: RunFacts, run: RestoreRun) -> Answer:
    """Return a failure with what becomes of the copy in its words, when that is gone where nobody needs it any more; any other answer as it is."""
    if run.safety is None or not isinstance(answer, Verdict) or answer.state is not State.FAILED:
        return answer
    if _is_settled(order, facts, run):
        return _remove(order, facts) or answer
    if answer.reason == reasons.SAFETY_COPY_LOST or facts.claim is None:
        return answer
    message = (
        f"{answer.message.rstrip('.')}. It is not known that {run.claim} is as it was before: what was in it is kept in PersistentVolumeClaim {run.safety.claim_name}, "
        "which goes when this DataMoverRestore is deleted. A retry goes on, and rolls back if it fails again"
    )
    return replace_verdict(answer, message=message)


def _note_failure(
    order: Order, facts: RunFacts, run: RestoreRun, verdict: Verdict, *, before: RestoreRun
) -> RestoreRun:
    """Return the run with what is known of the claim after a failure, and whether the copy stays."""
    safety = run.safety
    if safety is None or verdict.state is not State.FAILED:
        return run
    settled = _is_settled(order, facts, before)
    said = _said(facts)
    target = said[0].target if said and said[0] is not None else None
    if not settled and target != MARKED:
        target = None  # of a mover that was not heard nobody knows what it has done
    return replace(run, target=target, safety=replace(safety, kept=not settled))


def _said(facts: RunFacts) -> list[Restored | None]:
    """Return what each attempt has said of itself, the last one first; None for one that has said nothing."""
    told = [read_outcome(pod, CONTAINER) for pod in newest_first(facts.pods)]
    return [outcome.restoration if outcome is not None else None for outcome in told]


def _is_settled(order: Order, facts: RunFacts, run: RestoreRun) -> bool:
    """Tell whether it is proved that the claim is as it was before the restore.

    The last attempt has rolled back all of it; or no attempt has touched anything, and each of them has said so. Whatever is not heard of an
    attempt counts as no: it may have been killed in the middle, or have made the claim whole.
    """
    safety, job, source = run.safety, facts.job, facts.source
    if safety is None or source is None or source.metadata.terminating:
        return False
    if run.claim_uid is not None and source.metadata.uid != run.claim_uid:
        return False
    if job is None:
        return order.record.stage < Stage.MOVING and not safety.kept
    said = _said(facts)
    if not have_all_ended(job, facts.pods) or not said or said[0] is None:
        return False
    if said[0].target == ROLLED_BACK:
        return not said[0].losses
    unheard = any(each is None or each.target not in (UNTOUCHED, ROLLED_BACK) for each in said)
    return said[0].target == UNTOUCHED and not unheard and not safety.kept


def without_copy(order: Order, run: RestoreRun) -> Order:
    """Return the order of a restore that is cancelled: its copy may be the last good version of what was there, so it is no part of what is cleared away."""
    return order if run.safety is None else replace_verdict(order, copy=copy_of(run.claim))


def discard(order: Order, facts: RunFacts, run: RestoreRun, *, late: Answer | None = None) -> Answer:
    """Delete the copy of a restore that has failed and whose claim is as it was before, after `late`, and with it the Job: its Pods keep the copy from going."""
    if isinstance(late, Verdict):
        return late
    steps: tuple[Effect, ...] = ()
    if run.safety is not None and not run.safety.kept and _children(order, facts):
        steps = (*_delete_job(order, facts), *_deletes(order, facts))
    steps = (*(late.steps if late is not None else ()), *steps)
    refusal = facts.refused()
    if steps and refusal is not None:
        return refused(replace_verdict(refusal, reason=reasons.CLEANUP_FAILED), action="CleanUp")
    return Rest(steps)


def make_room(order: Order, facts: RunFacts, run: RestoreRun) -> Answer | None:
    """Remove the copy of an attempt that has ended before another one is taken, for what is in the claim may be something else by now; None when there is none,
    or when it is still needed.
    """
    if run.safety is None or run.safety.kept:
        return None
    for resource, child in _children(order, facts):
        if child.metadata.terminating:
            return await_removal(
                order,
                facts,
                resource,
                child,
                cause=reasons.CLEANUP_WAITING,
                purpose="The retry begins when it is gone, with a new copy",
                action="Retry",
            )
    deletes = tuple(_deletes(order, facts))
    if not deletes:
        return None
    refusal = facts.refused()
    return refused(refusal, action="Retry") if refusal is not None else Rest(deletes)


def renew(run: RestoreRun) -> RestoreRun:
    """Return the run of a retry: a copy that has gone is taken anew."""
    if run.safety is None or run.safety.kept:
        return run
    return replace(run, safety=replace(run.safety, uid=None))


_Child = tuple[Resource[Any], HasMeta]


def _children(order: Order, facts: RunFacts) -> list[_Child]:
    found: tuple[tuple[Resource[Any], HasMeta | None], ...] = (
        (PERSISTENT_VOLUME_CLAIMS, facts.claim),
        (VOLUME_SNAPSHOTS, facts.snapshot),
    )
    return [(resource, child) for resource, child in found if order.owner.owns(child)]


def _delete_job(order: Order, facts: RunFacts) -> list[Effect]:
    job = facts.job
    over = job is not None and job.ended and not job.metadata.terminating
    return [Delete(JOBS, job.metadata)] if job is not None and over and order.owner.owns(job) else []


def _deletes(order: Order, facts: RunFacts) -> list[Effect]:
    children = _children(order, facts)
    return [Delete(resource, child.metadata) for resource, child in children if not child.metadata.terminating]
