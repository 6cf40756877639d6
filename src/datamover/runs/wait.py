"""Waiting for a child, and finding out why it takes long (law L10). Pure."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from datamover.plans.known import Diagnosis
from datamover.plans.steps import Inquire
from datamover.runs.facts import RunFacts
from datamover.runs.verdict import Answer, Facet, Rest, Verdict, blocked
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import moment_of

LITTLE = 0.1
"""Seconds after a limit at which is looked again: clocks are read with less than full precision."""


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What is told of a child of which nobody has said anything `after` so many seconds."""

    after: float
    verdict: Verdict


def age_of(stamp: str | None, now: datetime) -> float:
    """Return the seconds since a timestamp; never negative, for its clock is not ours. What is no timestamp was long ago: nobody waits for it."""
    return max(0.0, now.timestamp() - moment_of(stamp, default=0.0)) if stamp else 0.0


def share_of(uid: str) -> float:
    """Return an object's own share of a spread, from 0 to just below 1 and always the same: so what is due for many at once does not begin at once."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:6], "big") / (1 << 48)


def wait_for(
    facts: RunFacts,
    kind: str,
    target: ObjectMeta,
    *,
    cause: str,
    subject: str,
    told: Verdict | None = None,
    action: str = "Synchronize",
    facet: Facet | None = None,
    advice: str = "",
    over: tuple[str, ...] = (),
    unsaid: Unsaid | None = None,
) -> Answer:
    """Wait for a child; when it takes long, ask the cluster's events why, and say so.

    `told` is said while nothing is wrong. `cause` is the reason of what is, `subject` begins its sentence, such as "Job x has no Pod", and
    `advice` ends it. `facet` is the part of the run that it holds up. `over` are reasons of events that tell of what has passed. `unsaid` is told
    when nobody says why.
    """
    patience = facts.patience
    found = about(facts, target.uid)
    age = age_of(target.creation_timestamp, facts.now)
    if found is None and age < patience.inquire_after:
        return until(patience.inquire_after - age + LITTLE, told)
    if found is None or found.age >= patience.inquire_interval:
        return Rest((Inquire(kind, target, over=over),), patience.inquire_interval)
    wake = again_in(found, facts)
    if found.text is None and unsaid is not None:
        left = unsaid.after - age + LITTLE
        return Rest(wake_after=min(wake, left)) if left > LITTLE else replace(unsaid.verdict, wake_after=wake)
    if found.text is None:
        return Rest(wake_after=wake)
    return blocked(cause, f"{subject}: {found.text}{advice}", action=action, facet=facet, wake_after=wake)


def about(facts: RunFacts, topic: str) -> Diagnosis | None:
    """Return what was learnt of a topic (`Inquire.topic`): what was said of one child explains no other."""
    found = facts.known.diagnosis
    return found if found is not None and found.target == topic else None


def again_in(found: Diagnosis, facts: RunFacts) -> float:
    """Return the seconds after which what was learnt is too old to be told."""
    return facts.patience.inquire_interval - found.age + 0.05


def until(seconds: float, told: Verdict | None) -> Answer:
    """Return that there is time left: `told` is said meanwhile, if anything."""
    return Rest(wake_after=seconds) if told is None else replace(told, wake_after=seconds)
