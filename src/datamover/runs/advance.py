"""Which part of a run is next. Pure."""

from dataclasses import replace

from datamover.runs.cleanup import clean_up
from datamover.runs.copy import take_copy
from datamover.runs.facts import RunFacts
from datamover.runs.job import follow
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.trigger import close_round
from datamover.runs.verdict import Answer


def advance(order: Order, facts: RunFacts) -> Answer:
    """Take a recorded run one step on: from what is there, not from what was done before (law L7).

    What the gate has to say of a copy comes first: its user may hold an application still until it is said.
    """
    closing = close_round(order, facts)
    if closing is not None and (closing.steps or closing.facets):
        return closing
    answer = _go_on(order, facts)
    if closing is None or closing.wake_after is None:
        return answer
    return replace(answer, wake_after=min(closing.wake_after, answer.wake_after or closing.wake_after))


def _go_on(order: Order, facts: RunFacts) -> Answer:
    if order.record.stage is Stage.CLEANING:
        return clean_up(order, facts)
    if facts.job is not None and not _belongs_to_rival(order, facts):
        return follow(order, facts)
    return take_copy(order, facts)


def _belongs_to_rival(order: Order, facts: RunFacts) -> bool:
    """Tell whether the Job belongs to the object that already holds our copy's name, so that both are renamed together."""
    holds = order.owner.holds
    return facts.claim is not None and not holds(facts.claim) and not holds(facts.job)
