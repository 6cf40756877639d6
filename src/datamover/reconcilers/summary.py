"""What the statuses of our own kinds have in common: the conditions that sum an object up, and what of a verdict is worth a write. Pure.

`Ready`, `Reconciling`, `Stalled`, `Complete` and `Failed` follow from one state.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar

from datamover.api.names import ConditionType
from datamover.api.outside import clean
from datamover.plans.conditions import Said, State
from datamover.plans.steps import Emit, Plan, ProveStatus, Step, WriteStatus
from datamover.runs.verdict import News, Verdict
from kubekit.words.meta import Condition

S = TypeVar("S", bound="Status")

_SUMMARY: Final[Mapping[State, tuple[str, str, str]]] = {
    State.WORKING: ("False", "True", "False"),
    State.BLOCKED: ("False", "False", "True"),
    State.SUSPENDED: ("False", "False", "False"),
    State.DONE: ("True", "False", "False"),
    State.FAILED: ("False", "False", "True"),
}
"""`Ready`, `Reconciling` and `Stalled` by the state."""
_NUMBER: Final = re.compile(r"\d+")


class Status(Protocol):
    """A status that has these conditions."""

    @property
    def message(self) -> str | None:
        """What is told."""
        ...

    @property
    def observed_generation(self) -> int | None:
        """The generation that it speaks of."""
        ...

    @property
    def run(self) -> Any:
        """What is recorded of the run."""
        ...

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of this type, or None."""
        ...


def summarise(state: State, reason: str, message: str) -> dict[str, Said]:
    """Return the conditions that say what the object as a whole is doing."""
    ready, reconciling, stalled = _SUMMARY[state]
    statuses = {
        ConditionType.READY: ready,
        ConditionType.RECONCILING: reconciling,
        ConditionType.STALLED: stalled,
        ConditionType.COMPLETE: "True" if state is State.DONE else "False",
        ConditionType.FAILED: "True" if state is State.FAILED else "False",
    }
    return {type_: (status, reason, message) for type_, status in statuses.items()}


def is_news(current: Status, status: Status, verdict: Verdict) -> bool:
    """Tell whether people would learn anything from a status that differs from the one that is there (law L9)."""
    if verdict.news is News.CHANGED:
        return True
    if verdict.news is News.HALTED:
        going = current.condition(ConditionType.RECONCILING)
        return going is None or going.status != "True"
    for type_ in (ConditionType.READY, ConditionType.STALLED):
        was, will = current.condition(type_), status.condition(type_)
        if was is None or will is None or (was.status, was.reason) != (will.status, will.reason):
            return True
    if (current.observed_generation, current.run) != (status.observed_generation, status.run):
        return True
    return verdict.news is News.WORDS and _shape(current.message) != _shape(status.message)


def arrange(verdict: Verdict, status: S | None, message: str, *, news: bool) -> Plan[S]:
    """Return the plan of a verdict: its steps, the status where that is news, and the events that go with them.

    `status` is None where nothing would change, `message` what a status says.
    """
    written: tuple[Step[S], ...] = (WriteStatus(status, cause=verdict.cause),) if news and status is not None else ()
    events = (*_announce(verdict, message), *verdict.events) if written or verdict.after else ()
    if verdict.after and (verdict.fenced or not written):
        # Nothing is told before the effect, so who decided on a stale status has to be refused in another way.
        return Plan((*verdict.before, ProveStatus(), *verdict.after, *written, *events), verdict.wake_after)
    return Plan((*verdict.before, *written, *verdict.after, *events), verdict.wake_after)


def _shape(message: str | None) -> str:
    return _NUMBER.sub("0", clean(message or ""))


def _announce(verdict: Verdict, message: str) -> tuple[Emit, ...]:
    """Return the event of a state: what is going on needs none."""
    if verdict.announced:
        return ()
    if verdict.state in (State.BLOCKED, State.FAILED):
        return (Emit("Warning", verdict.reason, message, verdict.action),)
    return (Emit("Normal", verdict.reason, message, verdict.action),) if verdict.state is State.DONE else ()
