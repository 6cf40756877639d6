"""Which part of a run is next. Pure."""

from datamover.runs.cleanup import clean_up
from datamover.runs.copy import take_copy
from datamover.runs.facts import RunFacts
from datamover.runs.job import follow
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.verdict import Answer


def advance(order: Order, facts: RunFacts) -> Answer:
    """Take a recorded run one step on: from what is there, not from what was done before (law L7)."""
    if order.record.stage is Stage.CLEANING:
        return clean_up(order, facts)
    if facts.job is not None and not _belongs_to_rival(order, facts):
        return follow(order, facts)
    return take_copy(order, facts)


def _belongs_to_rival(order: Order, facts: RunFacts) -> bool:
    """Tell whether the Job belongs to the object that already holds our copy's name, so that both are renamed together."""
    holds = order.owner.holds
    return facts.claim is not None and not holds(facts.claim) and not holds(facts.job)
