"""Conditions: setting some of them, and what an object as a whole is doing. Pure.

A condition keeps its transition time while its status stays the same, so an unchanged state is an unchanged status and nothing is written
(law L9). Whatever a message quotes (a mover, a node, a driver, a name), a status holds clean text only (law L11).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum

from datamover.api.outside import clean
from datamover.api.signed import redact_signed
from kubekit.words.meta import Condition
from kubekit.words.timestamps import seconds

Said = tuple[str, str, str]
"""Status, reason and message of a condition."""


class State(Enum):
    """What an object as a whole is doing."""

    WORKING = "working"
    BLOCKED = "blocked"
    SUSPENDED = "suspended"
    DONE = "done"
    FAILED = "failed"


def merge(
    current: tuple[Condition, ...],
    wanted: Mapping[str, Said],
    *,
    order: Sequence[str],
    now: datetime,
    generation: int | None,
) -> tuple[Condition, ...]:
    """Return the conditions with the wanted ones set, in a stable order (`order` first), transition times kept where the status stays."""
    by_type = {condition.type: condition for condition in current}
    for type_, (status, reason, message) in wanted.items():
        old = by_type.get(type_)
        since = old.last_transition_time if old is not None and old.status == status else None
        by_type[type_] = Condition(
            type=type_,
            status=status,
            reason=reason,
            message=clean(redact_signed(message)),
            last_transition_time=since or seconds(now),
            observed_generation=generation,
        )
    place = {type_: index for index, type_ in enumerate(order)}
    return tuple(
        sorted(by_type.values(), key=lambda condition: (place.get(condition.type, len(place)), condition.type))
    )
