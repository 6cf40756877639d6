"""A copy trigger as the gate of a run: what `volumes.copy_trigger` decides, as verdicts, steps and events. Pure.

For a kind that wants it, in its order: `replace(copy, gate=CopyTrigger(begun, told, sharers))`.

- `begun` is when the present sync began. `told` is what the object's own status says of the present round: the reason of one condition,
  read by `told_by`. Each new sync begins with `Told.NOTHING`: a condition of the round before must not be read (take it away, or set it
  anew, in the write that begins the sync). `sharers` are the other owners that copy the same claim (`reconcilers.cluster.View.sharers`).
- All else is in the order (owner, source, copy method) and in the facts (source claim, copy, snapshot, now).
- `runs.copy.take_copy` and `take_snapshot` ask the gate before they make a copy; `runs.advance` closes the round. A kind that goes its own
  way calls `close` at each decision, first, as `advance` does.
- What comes back is recorded by the facet TRIGGER: ("False", waiting or timed out), ("True", received, completed or not used). While the
  trigger is waited for, the verdict is BLOCKED with the reason COPY_TRIGGER_WAITING or COPY_TRIGGER_TIMED_OUT; its events are all that is
  to be said (`announced`), and they have the source as their related object.
- Waiting and completion are written to the source before they are recorded, reception after it; a crash in between says a thing twice.

A kind that shares claims with others tells them of itself: see `Sharer`, and `Cluster.copiers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from datamover.api import reasons
from datamover.api.copy_trigger import (
    ACTION,
    CONSUMED_ANNOTATION,
    TRIGGER_ANNOTATION,
    describe_timeout,
    note_completed,
    note_received,
    note_timed_out,
    note_waiting,
)
from datamover.api.validation import quote
from datamover.plans.conditions import Said, State
from datamover.plans.steps import Annotate, Effect, Emit, ProveStatus
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order, Passage
from datamover.runs.verdict import Answer, Facet, News, Rest, Verdict, working
from datamover.volumes.copy_trigger import Changes, Close, Made, Round, Sharer, Told, Wait, ask, close, made_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Reference

_TOLD: Final[Mapping[str, Told]] = {
    reasons.COPY_TRIGGER_WAITING: Told.WAITING,
    reasons.COPY_TRIGGER_TIMED_OUT: Told.TIMED_OUT,
    reasons.COPY_TRIGGER_RECEIVED: Told.RECEIVED,
    reasons.COPY_TRIGGER_COMPLETED: Told.COMPLETED,
    reasons.COPY_TRIGGER_NOT_USED: Told.COMPLETED,
}
WAITING_REASONS: Final = frozenset({reasons.COPY_TRIGGER_WAITING, reasons.COPY_TRIGGER_TIMED_OUT})
"""Reasons of a run that only waits for its trigger."""


def told_by(reason: str | None) -> Told:
    """Return what the condition of the present round says by its reason; None where there is no such condition."""
    return _TOLD.get(reason or "", Told.NOTHING)


def close_round(order: Order, facts: RunFacts) -> Rest | None:
    """Return what the gate of a run has to say of its copy; with neither steps nor facets only when to look again."""
    return order.copy.gate.close(order, facts) if order.copy.gate is not None else None


@dataclass(frozen=True, slots=True)
class CopyTrigger:
    """See the module's docstring."""

    begun: datetime
    told: Told
    sharers: tuple[Sharer, ...] = ()

    def ask(self, order: Order, facts: RunFacts) -> Passage | Answer:
        """Return what is waited for, or how the copy is to be taken."""
        source = facts.source
        if source is None:
            return Rest()
        found = ask(self._round(source, facts))
        if isinstance(found, Wait):
            return self._wait(order, source, found)
        steps, name = _annotate(source, found.changes), source.metadata.name
        if found.consumed is None:
            if self.told is Told.NOTHING:
                return Passage(steps=steps)
            reason = reasons.COPY_TRIGGER_NOT_USED
            message = f"PersistentVolumeClaim {name} no longer asks for copy triggers, so the copy is taken"
            events: tuple[Emit, ...] = ()
            annotations: dict[str, str] = {}
        else:
            reason = reasons.COPY_TRIGGER_RECEIVED
            message = f"the copy is taken for {TRIGGER_ANNOTATION} {quote(found.consumed)}"
            events = (_emit("Normal", reason, note_received(name), source),)
            annotations = {CONSUMED_ANNOTATION: found.consumed}
        told = replace(
            working(reason, message, action=ACTION),
            facets={Facet.TRIGGER: ("True", reason, message)},
            after=steps,
            events=events,
            fenced=facts.known.refusal is not None,  # it stays told until the copy is there
        )
        return Passage(annotations, told=told)

    def close(self, order: Order, facts: RunFacts) -> Rest | None:
        """Return what is to be said of a copy that there is, to the source and in the status."""
        source, made = facts.source, _made(order, facts)
        if source is None or made is None or facts.refused() is not None:
            return None  # a refusal is told by whoever goes on
        found = close(self._round(source, facts), made)
        if found is None:
            return None
        steps = _annotate(source, found.changes)
        said, events = _tell_end(source, made, found)
        return Rest(
            (ProveStatus(), *steps) if steps else (),
            found.wake_after,
            facets={Facet.TRIGGER: said} if said is not None else {},
            events=events,
        )

    def _round(self, source: PersistentVolumeClaim, facts: RunFacts) -> Round:
        return Round(source.metadata.annotations or {}, self.begun, self.told, facts.now, self.sharers)

    def _wait(self, order: Order, source: PersistentVolumeClaim, found: Wait) -> Verdict:
        meta = source.metadata
        advice = (
            f'bring the application to rest, then kubectl -n {meta.namespace} annotate pvc {meta.name} {TRIGGER_ANNOTATION}="$(date +%s)" '
            "--overwrite"
        )
        if found.timed_out:
            reason, message = reasons.COPY_TRIGGER_TIMED_OUT, f"{describe_timeout(meta.name)}; it waits on: {advice}"
            event = _emit("Warning", reason, note_timed_out(meta.name), source)
        else:
            reason = reasons.COPY_TRIGGER_WAITING
            message = (
                f"this {order.fields.kind} waits for a copy trigger on PersistentVolumeClaim {meta.name}: {advice}"
            )
            event = _emit("Normal", reason, note_waiting(meta.name), source)
        steps = _annotate(source, found.changes)
        return Verdict(
            State.BLOCKED,
            reason,
            message,
            ACTION,
            facets={Facet.TRIGGER: ("False", reason, message)},
            news=News.REASON,
            before=(ProveStatus(), *steps) if steps else (),
            events=(event,),
            announced=True,
            wake_after=found.wake_after,
        )


def _tell_end(source: PersistentVolumeClaim, made: Made, found: Close) -> tuple[Said | None, tuple[Emit, ...]]:
    if not found.done:
        return None, ()
    name = source.metadata.name
    if found.left:
        message = f"PersistentVolumeClaim {name} no longer asks for copy triggers; the copy is there"
        return ("True", reasons.COPY_TRIGGER_NOT_USED, message), ()
    message = f"the copy for {TRIGGER_ANNOTATION} {quote(made.consumed or '')} is there"
    event = _emit("Normal", reasons.COPY_TRIGGER_COMPLETED, note_completed(name), source)
    return ("True", reasons.COPY_TRIGGER_COMPLETED, message), (event,)


def _made(order: Order, facts: RunFacts) -> Made | None:
    copy = order.copy
    if copy.direct:
        return None

    def ours(child: HasMeta | None) -> bool:
        if child is None or child.metadata.terminating or order.is_left_over(child):
            return False
        return order.owner.holds(child)

    return made_of(
        snapshot=facts.snapshot if copy.by_snapshot and ours(facts.snapshot) else None,
        claim=facts.claim if ours(facts.claim) else None,
        by_snapshot=copy.by_snapshot,
    )


def _annotate(source: PersistentVolumeClaim, changes: Changes) -> tuple[Effect, ...]:
    return (Annotate(PERSISTENT_VOLUME_CLAIMS, source.metadata, changes),) if changes else ()


def _emit(type_: str, reason: str, note: str, source: PersistentVolumeClaim) -> Emit:
    kind = "Warning" if type_ == "Warning" else "Normal"
    return Emit(kind, reason, note, ACTION, related=Reference(PERSISTENT_VOLUME_CLAIMS, source.metadata))
