"""Saying what a run waits for, and finding it out. Pure.

A stuck run is told once: a condition, a sentence, an event (law L10). Messages that come from a driver, the scheduler or a registry
vary in their numbers from one minute to the next; that is no news and no reason to write (law L9).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from datamover.api.names import ConditionType
from datamover.api.outside import clean
from datamover.api.v1alpha1.datamover import DataMoverStatus, Run
from datamover.plans.conditions import Said, State
from datamover.plans.known import Refusal
from datamover.plans.steps import Emit, Inquire, WriteStatus
from datamover.reconcilers.datamover.conditions import compose
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.plan import Plan, Step
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import moment_of

_NUMBER: Final = re.compile(r"\d+")


def block(
    facts: Facts,
    reason: str,
    message: str,
    *,
    action: str,
    now: datetime,
    state: State = State.BLOCKED,
    run: Run | None = None,
    said: Mapping[str, Said] | None = None,
    once: bool = False,
) -> tuple[Step, ...]:
    """Return the steps that tell an obstacle; none when it is told already.

    `once` tells a reason once, however its message changes. `run` and `said` are as in `compose`.
    """
    mover = facts.mover
    status = compose(mover, now=now, state=state, reason=reason, message=message, run=run, said=said)
    if status is None or _is_told(facts, status, reason, once=once):
        return ()
    return WriteStatus(status), Emit("Warning", reason, message, action)


def say_refusal(
    facts: Facts,
    refusal: Refusal,
    *,
    action: str,
    now: datetime,
    state: State = State.BLOCKED,
    reason: str | None = None,
    said: Mapping[str, Said] | None = None,
) -> Plan:
    """Tell a refusal, once, and wait before the step is tried again."""
    message = f"{refusal.message}; trying again"
    steps = block(facts, reason or refusal.reason, message, action=action, now=now, state=state, said=said)
    return Plan(steps, wake_after=refusal.retry_after)


def look_into(
    facts: Facts,
    kind: str,
    target: ObjectMeta,
    *,
    reason: str,
    subject: str,
    action: str,
    now: datetime,
    settings: Settings,
    said: str | None = None,
    advice: str = "",
) -> Plan:
    """Wait for a child; when it takes long, ask the cluster's events why, and say so (law L10).

    `subject` begins the sentence, such as "Job x has no Pod". `said` is the type of a condition that becomes False for it. `advice` ends it.
    """
    found = facts.diagnosis if facts.diagnosis is not None and facts.diagnosis.target == target.uid else None
    if found is None and (age := age_of(target.creation_timestamp, now)) < settings.inquire_after:
        return Plan(wake_after=settings.inquire_after - age + 0.1)
    if found is None or found.age >= settings.inquire_interval:
        return Plan((Inquire(kind, target),), wake_after=settings.inquire_interval)
    wake = settings.inquire_interval - found.age + 0.05
    if found.text is None:
        return Plan(wake_after=wake)
    message = f"{subject}: {found.text}{advice}"
    condition: Mapping[str, Said] | None = {said: ("False", reason, message)} if said is not None else None
    return Plan(block(facts, reason, message, action=action, now=now, said=condition), wake_after=wake)


def age_of(stamp: str | None, now: datetime) -> float:
    """Return the seconds since a timestamp; never negative, for its clock is not ours. What is no timestamp was long ago: nobody waits for it."""
    return max(0.0, now.timestamp() - moment_of(stamp, default=0.0)) if stamp else 0.0


def _is_told(facts: Facts, status: DataMoverStatus, reason: str, *, once: bool) -> bool:
    """Tell whether the status that is there says the same but for numbers, of the same generation and run."""
    current = facts.mover.status
    ready = current.condition(ConditionType.READY) if current is not None else None
    stalled = current.condition(ConditionType.STALLED) if current is not None else None
    if current is None or ready is None or stalled is None or stalled.status != "True" or ready.reason != reason:
        return False
    if (current.observed_generation, current.run) != (status.observed_generation, status.run):
        return False
    return once or _shape(current.message) == _shape(status.message)


def _shape(message: str | None) -> str:
    return _NUMBER.sub("0", clean(message or ""))
