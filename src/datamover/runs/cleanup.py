"""After the data were moved: remove what was temporary, and call the run complete only when it is really gone (laws L2, L4). Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from datamover.api import names, reasons
from datamover.plans.conditions import Said, State
from datamover.plans.steps import Delete, Effect, Emit, Inquire
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.proof import prove_clean
from datamover.runs.record import Stage
from datamover.runs.removal import ask_for_users, describe_holders
from datamover.runs.retention import describe_retained
from datamover.runs.verdict import Answer, Facet, Rest, Tally, Verdict, blocked, refused, working
from datamover.runs.wait import LITTLE, about, again_in, age_of
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

_Child = tuple[Resource[Any], HasMeta]


def begin_clean_up(order: Order, facts: RunFacts, *, facets: Mapping[Facet, Said], tally: Tally) -> Verdict:
    """The data were moved: complete, or clean up first. The Job goes first, for its Pods hold the copy."""
    doomed = _doomed(order, facts)
    if not doomed:
        done = complete(order, facts)
        return replace(done, facets={**facets, **done.facets}, tally=tally)
    message = f"removing {', '.join(_describe(resource, child) for resource, child in doomed)}"
    going: Said = ("False", reasons.CLEANING_UP, "temporary objects are being removed")
    return replace(
        working(reasons.CLEANING_UP, message),
        stage=Stage.CLEANING,
        facets={**facets, Facet.CLEAN: going},
        tally=tally,
        after=_deletes(doomed),
        wake_after=facts.patience.removal,
    )


def clean_up(order: Order, facts: RunFacts) -> Answer:
    """Delete what is left, wait until it is gone, then complete. A refused delete is tried again; it never fails the run."""
    return remove(order, facts, wait=True) or complete(order, facts)


def remove(order: Order, facts: RunFacts, *, wait: bool) -> Answer | None:
    """Delete what has served its purpose, and `wait` until it is gone; None when nothing is left to do.

    Who does not wait takes the deletes as they are: what becomes of them is nobody's business (VolSync's movers go so).
    """
    doomed = _doomed(order, facts)
    steps = _deletes(doomed)
    if not wait:
        return Rest(steps) if steps else None
    remaining = [_describe(resource, child) for resource, child in doomed]
    remaining += [f"volume {volume.metadata.name}" for volume in _draining(facts)]
    refusal = facts.refused()
    if refusal is not None:
        told = refused(replace(refusal, reason=reasons.CLEANUP_FAILED), action="CleanUp")
        return replace(told, facets={Facet.CLEAN: ("False", reasons.CLEANUP_FAILED, refusal.message)})
    if not remaining:
        return None
    waited = age_of(order.record.since or _asked_at(doomed), facts.now)
    if waited < facts.patience.removal:
        return Rest(steps, facts.patience.removal - waited + LITTLE)
    going = [(resource, child) for resource, child in doomed if child.metadata.terminating]
    asked = _ask(facts, going)
    if asked.steps:
        return replace(asked, steps=(*steps, *asked.steps))
    held = "; ".join(
        f"{_describe(resource, child)} is being deleted since {child.metadata.deletion_timestamp}"
        f"{describe_holders(order, facts, resource, child)}"
        for resource, child in going
    )
    held = held or _describe_driver(facts)
    message = f"waiting until {', '.join(remaining)} is gone{f'; {held}' if held else ''}"
    told = blocked(reasons.CLEANUP_WAITING, message, action="CleanUp", facet=Facet.CLEAN, wake_after=asked.wake_after)
    return replace(told, before=steps)


def collect(order: Order, facts: RunFacts) -> Answer:
    """Delete what came after the run had been cleaned up: a create that was long on its way (law L5). A refusal is told."""
    deletes = _deletes(_doomed(order, facts))
    refusal = facts.refused()
    if deletes and refusal is not None:
        return refused(replace(refusal, reason=reasons.CLEANUP_FAILED), action="CleanUp")
    return Rest(deletes)


def complete(order: Order, facts: RunFacts) -> Verdict:
    """Return that the run is at its end. Its message says no amounts: a kind that has recorded them says more."""
    copy = order.copy
    ours = order.owner.holds(facts.claim)
    retained = None
    if not copy.direct:
        retained = describe_retained(order, facts, copy_deleted=copy.temporary and not ours)
    warned: tuple[Emit, ...] = ()
    if retained is not None:
        warned = (Emit("Warning", reasons.VOLUME_RETAINED, retained, "CleanUp"),)
    return Verdict(
        State.DONE,
        reasons.COMPLETED,
        f"the data of {copy.source}",
        "Complete",
        stage=Stage.DONE,
        facets={Facet.CLEAN: _judge_clean(order, ours=ours, retained=retained)},
        before=prove_clean(order, facts),
        events=warned,
        tally=Tally(),
    )


def _judge_clean(order: Order, *, ours: bool, retained: str | None) -> Said:
    """Return whether the copy is gone, or why it is not. `ours`: it is still there, without the label that lets us delete it."""
    if order.copy.direct and order.job_is_temporary:
        return "True", reasons.CLEANED_UP, "the Job is gone"
    if order.copy.direct:
        return "True", reasons.NO_CLONE_NEEDED, "there was no clone"
    if order.copy.temporary and ours:
        label = f"{names.CREATED_BY_LABEL}={order.owner.labels[names.CREATED_BY_LABEL]}"
        return "False", reasons.CLONE_KEPT, f"the clone is left alone: it no longer carries the label {label}"
    if order.copy.temporary and retained is not None:
        return "False", reasons.VOLUME_RETAINED, f"the clone and its Job are gone, but {retained}"
    if order.copy.temporary:
        return "True", reasons.CLEANED_UP, "the clone and its Job are gone"
    also = f". {retained}" if retained is not None else ""
    return "False", reasons.CLONE_KEPT, f"the clone is kept: {order.fields.keeps}{also}"


def _doomed(order: Order, facts: RunFacts) -> list[_Child]:
    """What has served its purpose and is ours: by owner UID and by label (law L2)."""
    candidates: list[tuple[Resource[Any], HasMeta | None]] = []
    if order.job_is_temporary:
        candidates.append((JOBS, facts.job))
    if order.copy.temporary and not order.copy.direct:
        candidates.append((PERSISTENT_VOLUME_CLAIMS, facts.claim))
    if order.copy.by_snapshot:
        candidates.append((VOLUME_SNAPSHOTS, facts.snapshot))
    return [(resource, child) for resource, child in candidates if order.owner.owns(child)]


def _deletes(doomed: list[_Child]) -> tuple[Effect, ...]:
    return tuple(Delete(resource, child.metadata) for resource, child in doomed if not child.metadata.terminating)


def _asked_at(doomed: list[_Child]) -> str | None:
    """Return when the first of them was asked to go: what is known where the kind does not record when the clean-up began."""
    return min(
        (child.metadata.deletion_timestamp or "" for _, child in doomed if child.metadata.terminating), default=None
    )


def _draining(facts: RunFacts) -> tuple[HasMeta, ...]:
    """The copy's volumes that its driver still has to delete. One that its class retains is not waited for."""
    return tuple(
        volume
        for volume in facts.volumes
        if facts.claim is None and volume.spec is not None and volume.spec.persistent_volume_reclaim_policy == "Delete"
    )


def _ask(facts: RunFacts, going: list[_Child]) -> Rest:
    """Return the first question about what does not go; without steps while its answer is fresh, or when there is none to ask."""
    questions = [ask_for_users(facts, resource, child) for resource, child in going]
    questions += [_ask_about_volume(facts, volume) for volume in _draining(facts)]
    return next((each for each in questions if each is not None), Rest())


def _ask_about_volume(facts: RunFacts, volume: HasMeta) -> Rest:
    found = about(facts, volume.metadata.uid)
    if found is None or found.age >= facts.patience.inquire_interval:
        return Rest((Inquire(PERSISTENT_VOLUMES.kind, volume.metadata),), facts.patience.inquire_interval)
    return Rest(wake_after=again_in(found, facts))


def _describe_driver(facts: RunFacts) -> str:
    """Return what the driver says of a volume that it does not delete, empty when it says nothing."""
    said = next((found.text for volume in _draining(facts) if (found := about(facts, volume.metadata.uid))), None)
    return f"its driver says: {said}" if said else ""


def _describe(resource: Resource[Any], child: HasMeta) -> str:
    return f"{resource.kind} {child.metadata.name}"
