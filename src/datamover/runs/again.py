"""The same run again: room is made for another attempt, and the copy is read once more. Pure."""

from typing import Any

from datamover.api import reasons
from datamover.plans.steps import Delete
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.removal import await_removal
from datamover.runs.verdict import Answer, Rest, refused
from datamover.volumes.binding import is_lost
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import HasMeta, Resource


def make_room(order: Order, facts: RunFacts) -> Answer | None:
    """Remove what stands in the way of another attempt; None when nothing does. Each removal brings us back here.

    1. The old Job goes: its name is needed again.
    2. A copy that has lost its volume goes: it holds nothing that anybody could look into, and its name is needed.
    """
    job, claim = facts.job, facts.claim
    if job is not None and order.owner.owns(job):
        if job.metadata.terminating:
            return await_removal(
                order,
                facts,
                JOBS,
                job,
                cause=reasons.MOVER_REMOVAL_WAITING,
                purpose="The retry begins when it is gone",
                action="Retry",
            )
        return _delete(facts, JOBS, job)
    if claim is not None and is_lost(claim) and not claim.metadata.terminating and order.owner.owns(claim):
        return _delete(facts, PERSISTENT_VOLUME_CLAIMS, claim)
    return None


def can_read_again(order: Order, facts: RunFacts) -> bool:
    """Tell whether the same data can be read once more: the copy is there, or the snapshot that it was made of, or there never was one."""
    claim = facts.claim if facts.claim is not None and not is_lost(facts.claim) else None
    copies = (claim, facts.snapshot if order.copy.by_snapshot else None)
    return order.copy.direct or any(
        copy is not None and order.owner.holds(copy) and not copy.metadata.terminating for copy in copies
    )


def _delete(facts: RunFacts, resource: Resource[Any], child: HasMeta) -> Answer:
    refusal = facts.refused()
    return refused(refusal, action="Retry") if refusal is not None else Rest((Delete(resource, child.metadata),))
