"""What the statuses of our own kinds have in common, which happen once: how one is composed, what of a verdict is worth a write, and what can still
be said when it is over. Pure.

`Ready`, `Reconciling`, `Stalled`, `Complete` and `Failed` follow from one state; the conditions of single steps are set when their step is decided
and stay. A condition keeps its transition time while its status stays the same, so an unchanged state is an unchanged status. Whatever a
message quotes (a mover, a node, a driver, a name), a status holds clean text only (laws L8 and L11).
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.names import ConditionType, Phase
from datamover.api.outside import clean
from datamover.api.signed import redact_signed
from datamover.api.transfer import REASON_INTERNAL_ERROR, Outcome
from datamover.plans.conditions import Said, State, merge
from datamover.plans.steps import Emit, Plan, ProveStatus, Step, WriteStatus
from datamover.runs.progress import describe_pace, describe_progress
from datamover.runs.verdict import Answer, News, Tally, Verdict
from kubekit.words.meta import Condition, ObjectMeta
from kubekit.words.text import MESSAGE_LIMIT
from kubekit.words.timestamps import seconds

S = TypeVar("S", bound="Status")
R = TypeVar("R", bound="RunRecord")
V = TypeVar("V")

_SUMMARY: Final[Mapping[State, tuple[str, str, str]]] = {
    State.WORKING: ("False", "True", "False"),
    State.BLOCKED: ("False", "False", "True"),
    State.SUSPENDED: ("False", "False", "False"),
    State.DONE: ("True", "False", "False"),
    State.FAILED: ("False", "False", "True"),
}
"""`Ready`, `Reconciling` and `Stalled` by the state."""
ORDER: Final = (
    ConditionType.READY,
    ConditionType.RECONCILING,
    ConditionType.STALLED,
    ConditionType.COPY_TRIGGERED,
    ConditionType.CLONE_READY,
    ConditionType.SYNCHRONIZED,
    ConditionType.RESTORED,
    ConditionType.VERIFIED,
    ConditionType.CLEANED_UP,
    ConditionType.COMPLETE,
    ConditionType.FAILED,
)
"""Of conditions, as people read them: of each kind those that it has."""
_NUMBER: Final = re.compile(r"\d+")


class RunRecord(Protocol):
    """What a status records of a run, a struct."""

    @property
    def attempts(self) -> int:
        """The Pods that have been started for it."""
        ...

    @property
    def progress(self) -> str | None:
        """How far the mover is."""
        ...

    @property
    def finished(self) -> str | None:
        """When it ended."""
        ...


class Status(Protocol):
    """A status, a struct."""

    @property
    def phase(self) -> str | None:
        """For people."""
        ...

    @property
    def message(self) -> str | None:
        """What is told."""
        ...

    @property
    def observed_generation(self) -> int | None:
        """The generation that it speaks of."""
        ...

    @property
    def phase_started(self) -> str | None:
        """When the phase began."""
        ...

    @property
    def run(self) -> RunRecord | None:
        """What is recorded of the run."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...] | None:
        """All of them."""
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


def _changed(struct: V, **changes: Any) -> V:
    """Return a struct with other fields: a protocol cannot say that it is one."""
    found: Any = struct
    return replace(found, **changes)


def say_work(verdict: Verdict) -> str:
    """Return the message of a verdict, of a mover at work with its pace: the numbers are recorded in any case."""
    progress = verdict.tally.progress if verdict.tally is not None and verdict.state is State.WORKING else None
    return f"{verdict.message}{describe_pace(progress)}" if progress is not None else verdict.message


# The status itself.


def compose(
    current: S,
    *,
    generation: int | None,
    now: datetime,
    state: State,
    reason: str,
    message: str,
    phase: str | None = None,
    run: RunRecord | None = None,
    said: Mapping[str, Said] | None = None,
) -> S:
    """Return the status that follows `current`, which it equals where nothing is another.

    `phase` and `run` keep their present value when None. `said` are conditions of single steps. How far a mover is, and when it
    will be done, is said only as long as it works.
    """
    message = clean(redact_signed(message))
    wanted = {**summarise(state, reason, message), **(said or {})}
    new_phase = current.phase if phase is None else phase
    run = current.run if run is None else run
    if run is not None and run.progress is not None and state is not State.WORKING:
        run = _changed(run, progress=None)
    return _changed(
        current,
        phase=new_phase,
        message=message,
        observed_generation=generation,
        phase_started=current.phase_started if new_phase == current.phase and current.phase_started else seconds(now),
        run=run,
        conditions=merge(current.conditions or (), wanted, order=ORDER, now=now, generation=generation),
    )


def says_same(one: Status, other: Status) -> bool:
    """Tell whether two statuses differ in nothing but times."""
    return _timeless(one) == _timeless(other)


def _timeless(status: S) -> S:
    run = status.run
    return _changed(
        status,
        phase_started=None,
        run=_changed(run, finished=None if run.finished is None else "") if run is not None else None,
        conditions=tuple(_changed(condition, last_transition_time=None) for condition in status.conditions or ()),
    )


def state_of(current: Status, verdict: Verdict) -> State:
    """Return the state of a verdict. What has failed stays failed while it waits to be tried again."""
    waits = verdict.state is State.BLOCKED and current.phase == Phase.FAILED
    return State.FAILED if waits else verdict.state


def advise(message: str, hint: str) -> str:
    """Return a message and what helps, of which the first is cut where both are too long."""
    return clean(message.rstrip("."), limit=MESSAGE_LIMIT - len(hint)) + hint


def advise_retry(kind: str, meta: ObjectMeta, *, first: str = "") -> str:
    """Return the words that say how a failed object is tried again; `kind` as kubectl takes it. `first` is what comes before, such as "set a field, then "."""
    return f'{names.RETRY_ADVICE}{first}kubectl -n {meta.namespace} annotate {kind} {meta.name} {names.RETRY_ANNOTATION}="$(date +%s)" --overwrite'


def is_cancelled(status: Status | None) -> bool:
    """Tell whether a status says of a run that it has ended because somebody wanted so."""
    return status is not None and status.phase == Phase.FAILED and cancelled_since(status) is not None


def cancelled_since(status: Status) -> str | None:
    """Return since when it is recorded of a run that it is cancelled, None when it is not."""
    for type_ in (ConditionType.SYNCHRONIZED, ConditionType.RESTORED):
        moved = status.condition(type_)
        if moved is not None and moved.reason == reasons.CANCELLED:
            return moved.last_transition_time or ""
    return None


def is_broken(status: Status | None) -> bool:
    """Tell whether a status says that the operator fails at the object."""
    stalled = status.condition(ConditionType.STALLED) if status is not None else None
    return stalled is not None and stalled.status == "True" and stalled.reason == REASON_INTERNAL_ERROR


# What is recorded of a run.


def count(run: R, tally: Tally, *, take: Callable[[R, Outcome], R]) -> R:
    """Return the run with how far the mover is, or with what it reported, which `take` records."""
    run = _changed(run, attempts=run.attempts if tally.attempts is None else tally.attempts, progress=None)
    if tally.outcome is not None:
        return take(run, tally.outcome)
    progress = tally.progress
    if progress is None:
        return run
    return _changed(
        run,
        bytes=progress.bytes,
        total_bytes=progress.total_bytes,
        files=progress.files,
        total_files=progress.total_files,
        progress=describe_progress(progress),
    )


# What can still be said when it is over.


def settle(current: S, answer: Answer, *, generation: int | None, over: str, now: datetime) -> Plan[S]:
    """Return the plan of one that is complete or cancelled, and stays so. Beside that is told what came late and cannot be removed, until it can be. `over` is
    said of a change of the spec.
    """
    if isinstance(answer, Verdict):
        stalled: Said = ("True", answer.reason, answer.message)
        noted = _note(current, stalled, answer.message, now=now)
        if noted != current:
            event = Emit("Warning", answer.reason, answer.message, answer.action)
            return Plan((WriteStatus(noted), event), answer.wake_after)
        return Plan(acknowledge(current, generation=generation, over=over).steps, answer.wake_after)
    done, was = current.condition(ConditionType.COMPLETE), current.condition(ConditionType.STALLED)
    if done is not None and was is not None and was.reason == reasons.CLEANUP_FAILED and not answer.steps:
        healed: Said = ("True" if current.phase == Phase.FAILED else "False", done.reason, done.message)
        return Plan((WriteStatus(_note(current, healed, done.message, now=now)),))
    return Plan((*answer.steps, *acknowledge(current, generation=generation, over=over).steps), answer.wake_after)


def _note(current: S, stalled: Said, message: str, *, now: datetime) -> S:
    """Return the status of one that is over with another `Stalled`."""
    wanted = {ConditionType.STALLED: stalled}
    conditions = merge(current.conditions or (), wanted, order=ORDER, now=now, generation=current.observed_generation)
    return _changed(current, message=clean(redact_signed(message)), conditions=conditions)


def acknowledge(current: S, *, generation: int | None, over: str) -> Plan[S]:
    """Return the plan of a change of the spec after the end, which changes nothing and is seen. After a success it says so, in the words of `over`."""
    if current.observed_generation in {None, generation}:  # None: written by the original operator
        return Plan()
    conditions = tuple(_changed(c, observed_generation=generation) for c in current.conditions or ())
    seen = _changed(current, observed_generation=generation, conditions=conditions)
    return Plan((WriteStatus(_changed(seen, message=over) if current.phase == Phase.COMPLETED else seen),))


def _shape(message: str | None) -> str:
    return _NUMBER.sub("0", clean(message or ""))


def _announce(verdict: Verdict, message: str) -> tuple[Emit, ...]:
    """Return the event of a state: what is going on needs none."""
    if verdict.announced:
        return ()
    if verdict.reason == reasons.CANCELLED:
        return (Emit("Normal", verdict.reason, message, verdict.action),)  # somebody has wanted it
    if verdict.state in (State.BLOCKED, State.FAILED):
        return (Emit("Warning", verdict.reason, message, verdict.action),)
    return (Emit("Normal", verdict.reason, message, verdict.action),) if verdict.state is State.DONE else ()
