"""A claim that is lost while it is restored into: the end of the restore, and of its mover. Pure."""

from dataclasses import replace

from datamover.api import reasons
from datamover.plans.steps import Effect, ProveGone, ProvePods
from datamover.runs.facts import RunFacts
from datamover.runs.failure import failed, stop_mover
from datamover.runs.order import Order
from datamover.runs.verdict import Verdict
from kubekit.words.batch import JOBS, Job


def lose(order: Order, facts: RunFacts, message: str, job: Job | None, *before: ProveGone) -> Verdict:
    """End the restore, and its mover with it: that may hold the old claim, or write into the new one. One that has ended is kept for its log."""
    stop: tuple[Effect, ...] = ()
    if job is None:
        stop = (ProveGone(JOBS, order.transfer.job), ProvePods(order.owner.uid))
    elif not job.ended and not job.metadata.terminating:
        stop, also = stop_mover(order, facts, job)
        message += also
    return replace(failed(order, facts, reasons.TARGET_LOST, message), before=(*before, *stop))
