"""Telling what the filling of a claim waits for. Pure."""

from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.outside import clean
from datamover.plans.known import Refusal
from datamover.plans.steps import Inquire, Plan
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.status import Told, tell
from datamover.runs.wait import LITTLE, about, again_in, age_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta

Decision = Plan[Any]

_SHOWN: Final = 500
"""Characters of an event's message. Drivers quote whole requests."""
MAY_NOT_READ: Final = "the claim is not filled, for the operator may not read PersistentVolumes: grant it get and patch of them (docs/permissions.md)"


def await_volume(facts: Facts, claim: PersistentVolumeClaim, phase: Phase) -> Decision:
    """A driver makes the volume. When that takes long the cluster is asked why."""
    run, meta = facts.run, claim.metadata
    found, patience = about(run, meta.uid), run.patience
    age = age_of(meta.creation_timestamp, run.now)
    message = f"PersistentVolumeClaim {meta.name} has no volume yet"
    if found is None and age < patience.inquire_after:
        return say(
            facts, phase, Reason.CLAIM_PENDING, message, kind=None, wake_after=patience.inquire_after - age + LITTLE
        )
    if found is None or found.age >= patience.inquire_interval:
        return Plan((_ask_about(meta),), patience.inquire_interval)
    why = f": {shorten(found.text)}" if found.text else "; is the driver of its StorageClass at work?"
    return say(facts, phase, Reason.CLAIM_PENDING, f"{message}{why}", kind=None, wake_after=again_in(found, run))


def _ask_about(meta: ObjectMeta) -> Inquire:
    return Inquire(PERSISTENT_VOLUME_CLAIMS.kind, meta)


def shorten(said: str) -> str:
    """Return what the cluster says of a claim, for a sentence: on one line, and no longer than people read (law L11)."""
    text = " ".join(clean(said).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def is_immediate(facts: Facts) -> bool:
    """Tell whether the user does not want to wait for the first Pod that uses the claim."""
    return facts.volume.metadata.annotation(names.BIND_IMMEDIATELY) not in (None, "false")


def refused(facts: Facts, refusal: Refusal) -> Decision:
    """Tell what the API server does not let us do."""
    return say(facts, None, refusal.reason, f"{refusal.message}; trying again", wake_after=refusal.retry_after)


def say(
    facts: Facts,
    phase: Phase | None,
    reason: str,
    message: str,
    *,
    kind: Any = "Warning",
    wake_after: float | None = None,
) -> Decision:
    """Say what it waits for; in the phase that it is in, where that is not said."""
    status = facts.volume.status
    now = Phase(status.phase) if status is not None and status.phase in names.UNDER_WAY else Phase.PENDING
    told = Told(phase or now, reason, message, kind=kind)
    return tell(facts.volume, facts.claim, told, now=facts.run.now, wake_after=wake_after)
