"""Ending a run in failure: the reason, and what is kept. Nothing is deleted, so that somebody can look into it (documents). Pure."""

from typing import Final

from datamover.api import names, reasons
from datamover.plans.conditions import State
from datamover.plans.steps import Delete, Effect
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.verdict import Facet, Tally, Verdict
from datamover.volumes.binding import is_lost
from kubekit.words.batch import JOBS, Job

COPY_LOST: Final = "the clone was deleted before its data were moved, and another copy would be of another moment"


def failed(order: Order, facts: RunFacts, reason: str, message: str, *, tally: Tally | None = None) -> Verdict:
    """Return the end of the run. It will not go on by itself."""
    return Verdict(
        State.FAILED,
        reason,
        message,
        "Synchronize",
        facets={Facet.MOVE: ("False", reason, message)},
        tally=tally or Tally(),
        kept=_kept(order, facts),
    )


def lost_copy(order: Order, facts: RunFacts, *, also: str = "") -> Verdict:
    """Return the end of a run whose copy is gone, or has lost the volume that its data were on. `also` follows the reason."""
    claim = facts.claim
    if claim is None or claim.metadata.terminating or not is_lost(claim):
        return failed(order, facts, reasons.CLONE_LOST, COPY_LOST + also)
    volume = claim.spec and claim.spec.volume_name
    label = f"{names.CREATED_BY_LABEL}={order.owner.labels[names.CREATED_BY_LABEL]}"
    after = (
        "A retry makes another clone"
        if order.owner.owns(claim)
        else f"It does not carry the label {label}, so it is not touched: delete it before a retry"
    )
    message = (
        f"clone {claim.metadata.name} has lost its volume{f' {volume}' if volume else ''}, so what was copied cannot be read any more; "
        f"the source is intact. {after}"
    )
    return failed(order, facts, reasons.CLONE_VOLUME_LOST, message + also)


def stop_mover(order: Order, facts: RunFacts, job: Job) -> tuple[tuple[Effect, ...], str]:
    """Return the steps that end a Job whose run has failed without it, and what is to be said of it: it would wait, or write, for ever.

    While its deletion is refused the run ends all the same, and says that the Job is still there.
    """
    refusal = facts.refused()
    if refusal is not None:
        return (), f". Its Job is still there: {refusal.message}"
    return ((Delete(JOBS, job.metadata),) if order.owner.owns(job) else ()), ""


def _kept(order: Order, facts: RunFacts) -> str | None:
    """Return the name of the copy that is left for whoever looks into the failure."""
    claim = facts.claim
    if order.copy.direct or claim is None or claim.metadata.terminating or is_lost(claim):
        return None
    return claim.metadata.name if order.owner.owns(claim) else None
