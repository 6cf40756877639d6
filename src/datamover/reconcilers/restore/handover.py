"""Handing the volume over to the claim that it was filled for, when the mover has ended. Pure.

Guarantees: a volume is handed over once, when the mover has said that all is there, its Job is gone and no Pod of it is left; to the claim with the recorded
UID; and only if it is the volume of the temporary claim with the recorded UID. The server is asked for each of these right before.
"""

from dataclasses import replace as replace_verdict
from typing import Final

from datamover.api import names, reasons
from datamover.api.names import ConditionType, FillingReason
from datamover.api.restore import WHOLE
from datamover.api.v1alpha1.restore import RestoreRun
from datamover.movers.outcomes import has_ended
from datamover.plans.conditions import State
from datamover.plans.steps import Emit, ProvePods, ProveSame, Rebind
from datamover.reconcilers.restore.facts import Facts
from datamover.reconcilers.restore.loss import lose
from datamover.reconcilers.restore.population import (
    ACTION,
    is_given,
    is_ours,
    prove_claim_gone,
    prove_temporary_gone,
    remove,
    tell_lost,
)
from datamover.runs.facts import Unread
from datamover.runs.failure import failed
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.removal import await_pods
from datamover.runs.verdict import Answer, Rest, Verdict, blocked, refused, working
from datamover.runs.wait import wait_for
from datamover.volumes.binding import is_bound, is_lost
from datamover.volumes.rebinding import Standing, holder_of, may_go, standing_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import Reference

MAY_NOT_HAND_OVER: Final = (
    "all is there, but the operator may not read PersistentVolumes, and cannot hand the volume over: grant it get, list, watch and patch of them "
    "(docs/permissions.md)"
)


def complete(order: Order, facts: Facts, run: RestoreRun, answer: Answer) -> Answer:
    """Return what becomes of an answer of the run: when that is at its end, the volume is handed over, and then it is complete.

    What nobody has said to be whole is never handed over (law L4): not even where a Job's exit code claims it.
    """
    if not isinstance(answer, Verdict):
        return answer
    if order.record.stage is Stage.MOVING and answer.stage in (Stage.CLEANING, Stage.DONE):
        doubt = _find_doubt(answer)
        if doubt is not None:
            told = failed(order, facts.run, reasons.OUTCOME_MISSING, doubt, tally=answer.tally)
            return replace_verdict(told, before=answer.before)
        if answer.stage is Stage.DONE:  # its Job is kept, for it has lost our label: the amounts are recorded first
            message = "the volume is about to be handed over"
            return replace_verdict(
                answer, state=State.WORKING, stage=Stage.CLEANING, reason=reasons.CLEANING_UP, message=message
            )
        return answer
    return _hand_over(order, facts, run, answer) if answer.state is State.DONE else answer


def _find_doubt(answer: Verdict) -> str | None:
    outcome = answer.tally.outcome if answer.tally is not None else None
    found = outcome.restoration if outcome is not None else None
    if found is None:
        return (
            "the mover has ended well and left no last words, so nobody knows whether all is there, and the volume is not handed over: use a mover image of "
            "this project, or restore into a claim without dataSourceRef"
        )
    if found.empty or found.target == WHOLE:
        return None
    return f"the mover has ended well, but says of the volume that it is {found.target}, so that is not handed over"


def _hand_over(order: Order, facts: Facts, run: RestoreRun, done: Verdict) -> Answer:
    """The mover has said that all is there, and its Job is gone: the volume becomes the claim's."""
    claim, prime = facts.claim, facts.run.source
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    if refusal is not None:
        return refused(refusal, action=ACTION)
    if claim is None or claim.metadata.uid != run.claim_uid:
        gone = prove_claim_gone(order, run) if claim is None else ()
        message = f"PersistentVolumeClaim {run.claim} was deleted before it had its volume, and what had come back is deleted as well"
        return lose(order, facts.run, message, None, *gone)
    if is_given(facts, claim):
        return _finish(order, facts, run, claim, done)
    if claim.metadata.terminating:
        message = f"PersistentVolumeClaim {claim.metadata.name} is being deleted, so that its volume is not handed over"
        return blocked(reasons.TARGET_TERMINATING, message, action=ACTION)
    if is_bound(claim) or is_lost(claim) or _is_given_another(claim, prime):
        return _tell_bound_elsewhere(order, facts, claim)
    if prime is None or prime.metadata.uid != run.temporary_claim_uid:
        return lose(order, facts.run, tell_lost(run), None, *prove_temporary_gone(run, prime))
    volume = facts.run.source_volume
    if volume is Unread.FORBIDDEN:
        return blocked(reasons.PERMISSION_MISSING, MAY_NOT_HAND_OVER, action=ACTION)
    if not isinstance(volume, PersistentVolume):
        return lose(order, facts.run, tell_lost(run), None) if is_lost(prime) else Rest()  # its watch is late
    if standing_of(volume, prime, target=claim) is not Standing.READY:
        return lose(order, facts.run, tell_lost(run), None)
    if not _is_whole(facts, run):
        message = "it is not recorded that all is there, so the volume is not handed over"
        return failed(order, facts.run, reasons.OUTCOME_MISSING, message)
    alive = tuple(pod for pod in (*facts.run.pods, *facts.run.strays) if not has_ended(pod))
    if alive:
        return await_pods(
            order,
            facts.run,
            alive,
            told=working(reasons.CLEANING_UP, "the volume is handed over when the mover's Pods have ended"),
            cause=reasons.MOVER_REMOVAL_WAITING,
            purpose="The volume is handed over when it has: nobody else may write it then",
        )
    event = Emit(
        "Normal",
        FillingReason.POPULATED,
        f"{order.fields.kind} {order.owner.metadata.name} has filled it",
        ACTION,
        about=Reference(PERSISTENT_VOLUME_CLAIMS, claim.metadata),
    )
    return Rest(
        (
            *done.before,
            ProvePods(order.owner.uid),
            ProveSame(PERSISTENT_VOLUME_CLAIMS, claim.metadata),
            Rebind(volume.metadata, claim.metadata, {names.POPULATED_BY_ANNOTATION: order.owner.uid}),
            event,
        )
    )


def _finish(order: Order, facts: Facts, run: RestoreRun, claim: PersistentVolumeClaim, done: Verdict) -> Answer:
    """The claim has the volume, or is about to: what is left goes, and then it is complete (law L4)."""
    if not is_bound(claim):
        return wait_for(
            facts.run,
            PERSISTENT_VOLUME_CLAIMS.kind,
            claim.metadata,
            cause=reasons.TARGET_NOT_BOUND,
            subject=f"PersistentVolumeClaim {claim.metadata.name} is not bound to the volume that was handed over",
            action=ACTION,
        )
    prime = facts.run.source
    if prime is not None and is_ours(order, prime):
        if not may_go(prime, facts.run.source_volume, target=claim):
            return Rest()  # the caches contradict each other: as long as the volume may be the temporary claim's, it would go with it
        return remove(order, facts, prime, purpose="The restore is complete when it is gone")
    return replace_verdict(done, before=(*done.before, *prove_temporary_gone(run, prime)))


def _tell_bound_elsewhere(order: Order, facts: Facts, claim: PersistentVolumeClaim) -> Answer:
    volume = facts.target_volume
    if volume is Unread.FORBIDDEN:
        return blocked(reasons.PERMISSION_MISSING, MAY_NOT_HAND_OVER, action=ACTION)
    late = not isinstance(volume, PersistentVolume) or holder_of(volume) != claim.metadata.uid
    if late and is_bound(claim):
        return Rest()  # only the volume tells whether it is the one that was handed over, and its watch is late
    message = (
        f"PersistentVolumeClaim {claim.metadata.name} was bound to another volume while it was being filled, and has none of what came back: delete it, "
        f"create it again, and try again"
    )
    return lose(order, facts.run, message, None)


def _is_given_another(claim: PersistentVolumeClaim, prime: PersistentVolumeClaim | None) -> bool:
    """Tell whether a claim is about to be bound to a volume that is not the temporary one's."""
    named = claim.spec.volume_name if claim.spec is not None else None
    had = prime.spec.volume_name if prime is not None and prime.spec is not None else None
    return bool(named) and bool(had) and named != had


def _is_whole(facts: Facts, run: RestoreRun) -> bool:
    status = facts.restore.status
    told = status.condition(ConditionType.RESTORED) if status is not None else None
    empty = told is not None and (told.status, told.reason) == ("True", reasons.NOTHING_TO_RESTORE)
    return empty or run.target == WHOLE
