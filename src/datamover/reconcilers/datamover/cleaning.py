"""After the sync: remove what was temporary, and call the run complete only when it is really gone (laws L2, L4). Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from datamover.api import amounts, names, reasons
from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.outside import clean
from datamover.api.v1alpha1.datamover import DataMoverStatus, Run
from datamover.plans.conditions import Said, State, merge
from datamover.plans.steps import REST, Delete, Emit, Inquire, WriteStatus
from datamover.reconcilers.datamover.absence import confirm_clean
from datamover.reconcilers.datamover.blocking import age_of, block, say_refusal
from datamover.reconcilers.datamover.conditions import ORDER, compose
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.plan import Plan, Step
from datamover.reconcilers.datamover.removal import PATIENCE, describe_holders, inquire_users
from datamover.reconcilers.datamover.retention import describe_retained
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import seconds


def begin_clean_up(facts: Facts, run: Run, *, said: Mapping[str, Said], now: datetime) -> Plan:
    """The sync succeeded: complete, or clean up first. The Job goes first, for its Pods hold the clone."""
    doomed = _doomed(facts, run)
    if not doomed:
        return _complete(facts, run, said=said, now=now)
    status = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reasons.CLEANING_UP,
        message=f"removing {', '.join(_describe(resource, child) for resource, child in doomed)}",
        phase=Phase.CLEANING_UP,
        run=run,
        said={**said, ConditionType.CLEANED_UP: ("False", reasons.CLEANING_UP, "temporary objects are being removed")},
    )
    steps: list[Step] = [WriteStatus(status)] if status is not None else []
    steps += [Delete(resource, child.metadata) for resource, child in doomed if not child.metadata.terminating]
    return Plan(tuple(steps), wake_after=PATIENCE)


def clean_up(facts: Facts, run: Run, *, now: datetime, settings: Settings) -> Plan:
    """Delete what is left, wait until it is gone, then complete. A refused delete is tried again; it never fails the run."""
    doomed = _doomed(facts, run)
    steps: list[Step] = [
        Delete(resource, child.metadata) for resource, child in doomed if not child.metadata.terminating
    ]
    remaining = [_describe(resource, child) for resource, child in doomed]
    remaining += [f"volume {volume.metadata.name}" for volume in _draining(facts)]
    refusal = facts.refused()
    if refusal is not None:
        said = {ConditionType.CLEANED_UP: ("False", reasons.CLEANUP_FAILED, refusal.message)}
        return say_refusal(facts, refusal, reason=reasons.CLEANUP_FAILED, action="CleanUp", now=now, said=said)
    if not remaining:
        return _complete(facts, run, said={}, now=now)
    began = facts.mover.status.phase_started if facts.mover.status else None
    waited = age_of(began, now)
    if waited < PATIENCE:
        return Plan(tuple(steps), wake_after=PATIENCE - waited + 0.1)
    going = [(resource, child) for resource, child in doomed if child.metadata.terminating]
    inquiries = [inquire_users(facts, resource, child, settings=settings) for resource, child in going]
    inquiries += [_inquire_volume(facts, volume, settings=settings) for volume in _draining(facts)]
    inquiry = next((each for each in inquiries if each is not None), Plan())
    if inquiry.steps:
        return Plan((*steps, *inquiry.steps), wake_after=inquiry.wake_after)
    held = "; ".join(
        f"{_describe(resource, child)} is being deleted since {child.metadata.deletion_timestamp}"
        f"{describe_holders(facts, resource, child)}"
        for resource, child in going
    )
    held = held or _describe_driver(facts)
    message = f"waiting until {', '.join(remaining)} is gone{f'; {held}' if held else ''}"
    waiting = {ConditionType.CLEANED_UP: ("False", reasons.CLEANUP_WAITING, message)}
    told = block(facts, reasons.CLEANUP_WAITING, message, action="CleanUp", now=now, said=waiting)
    return Plan((*steps, *told), wake_after=inquiry.wake_after)


def _complete(facts: Facts, run: Run, *, said: Mapping[str, Said], now: datetime) -> Plan:
    spec = facts.mover.spec
    deletes = spec is not None and spec.delete_pvc_after_backup
    ours = facts.clone is not None and facts.clone.metadata.owned_by(facts.mover.metadata.uid)
    retained = None
    if run.copy_method != CopyMethod.DIRECT:
        retained = describe_retained(facts, run, clone_deleted=deletes and not ours)
    if run.copy_method == CopyMethod.DIRECT:
        cleaned: Said = ("True", reasons.NO_CLONE_NEEDED, "there was no clone")
    elif deletes and ours:
        kept = (
            f"the clone is left alone: it no longer carries the label {names.CREATED_BY_LABEL}={names.CREATED_BY_VALUE}"
        )
        cleaned = ("False", reasons.CLONE_KEPT, kept)
    elif deletes and retained is not None:
        cleaned = ("False", reasons.VOLUME_RETAINED, f"the clone and its Job are gone, but {retained}")
    elif deletes:
        cleaned = ("True", reasons.CLEANED_UP, "the clone and its Job are gone")
    else:
        also = f". {retained}" if retained is not None else ""
        cleaned = ("False", reasons.CLONE_KEPT, f"the clone is kept: spec.deletePvcAfterBackup is false{also}")
    where = f" to {run.destination}" if run.destination else ""
    amount = (
        f"{amounts.count(run.files, 'file')}, {amounts.size(run.bytes or 0)}" if run.files is not None else "the data"
    )
    unknown = "" if run.files is not None else ", unverified: the mover left no outcome that can be read"
    left = f"; {amounts.count(run.skipped, 'special file')} (fifo, socket, device) left out" if run.skipped else ""
    message = f"{amount} of {run.source}{where}{unknown}{left}"
    status = compose(
        facts.mover,
        now=now,
        state=State.DONE,
        reason=reasons.COMPLETED,
        message=message,
        phase=Phase.COMPLETED,
        run=replace(run, finished=seconds(now), progress=None),
        said={**said, ConditionType.CLEANED_UP: cleaned},
    )
    if status is None:
        return REST
    gone = confirm_clean(facts, run, deletes=bool(deletes) and run.copy_method != CopyMethod.DIRECT)
    steps: list[Step] = [*gone, WriteStatus(status), Emit("Normal", reasons.COMPLETED, message, "Complete")]
    if retained is not None:
        steps.append(Emit("Warning", reasons.VOLUME_RETAINED, retained, "CleanUp"))
    return Plan(tuple(steps))


def collect_strays(facts: Facts, status: DataMoverStatus, *, now: datetime) -> Plan:
    """Delete what came after the run had been cleaned up: a create that was long on its way (law L5). A refusal is told."""
    deletes = _strays(facts, status)
    stalled = status.condition(ConditionType.STALLED)
    refusal = facts.refused()
    if deletes and refusal is not None:
        message = f"{refusal.message}; trying again"
        told = _note(status, ("True", reasons.CLEANUP_FAILED, message), message, now=now)
        if told == status:
            return Plan(wake_after=refusal.retry_after)
        steps = (WriteStatus(told), Emit("Warning", reasons.CLEANUP_FAILED, message, "CleanUp"))
        return Plan(steps, wake_after=refusal.retry_after)
    done = status.condition(ConditionType.COMPLETE)
    if not deletes and done is not None and stalled is not None and stalled.reason == reasons.CLEANUP_FAILED:
        return Plan((WriteStatus(_note(status, ("False", done.reason, done.message), done.message, now=now)),))
    return Plan(deletes)


def _note(status: DataMoverStatus, stalled: Said, message: str, *, now: datetime) -> DataMoverStatus:
    """Return the status of a complete run with another `Stalled`: the run itself stays complete."""
    wanted = {ConditionType.STALLED: stalled}
    conditions = merge(status.conditions or (), wanted, order=ORDER, now=now, generation=status.observed_generation)
    return replace(status, message=clean(message), conditions=conditions)


def _strays(facts: Facts, status: DataMoverStatus) -> tuple[Step, ...]:
    if status.run is None:
        return ()
    cleaned = status.condition(ConditionType.CLEANED_UP)
    strays: list[tuple[Resource[Any], HasMeta | None]] = []
    if cleaned is not None and cleaned.reason in (reasons.CLEANED_UP, reasons.VOLUME_RETAINED):
        strays += [(JOBS, facts.job), (PERSISTENT_VOLUME_CLAIMS, facts.clone)]
    if status.run.copy_method == CopyMethod.SNAPSHOT:
        strays.append((VOLUME_SNAPSHOTS, facts.snapshot))
    return tuple(
        Delete(resource, child.metadata)
        for resource, child in strays
        if facts.owns(child) and not child.metadata.terminating
    )


def _doomed(facts: Facts, run: Run) -> list[tuple[Resource[Any], HasMeta]]:
    """What has served its purpose and is ours: by owner UID and by label (law L2)."""
    spec = facts.mover.spec
    deletes = spec is not None and spec.delete_pvc_after_backup and run.copy_method != CopyMethod.DIRECT
    candidates: list[tuple[Resource[Any], HasMeta | None]] = []
    if deletes:
        candidates += [(JOBS, facts.job), (PERSISTENT_VOLUME_CLAIMS, facts.clone)]
    if run.copy_method == CopyMethod.SNAPSHOT:
        candidates.append((VOLUME_SNAPSHOTS, facts.snapshot))
    return [(resource, child) for resource, child in candidates if facts.owns(child)]


def _draining(facts: Facts) -> tuple[HasMeta, ...]:
    """The clone's volumes that its driver still has to delete. One that its class retains is not waited for."""
    return tuple(
        volume
        for volume in facts.volumes
        if facts.clone is None and volume.spec is not None and volume.spec.persistent_volume_reclaim_policy == "Delete"
    )


def _inquire_volume(facts: Facts, volume: HasMeta, *, settings: Settings) -> Plan:
    """Return the question why a driver does not delete a volume; without steps while the answer is fresh."""
    known = facts.diagnosis
    if known is None or known.target != volume.metadata.uid or known.age >= settings.inquire_interval:
        return Plan((Inquire(PERSISTENT_VOLUMES.kind, volume.metadata),), wake_after=settings.inquire_interval)
    return Plan(wake_after=settings.inquire_interval - known.age + 0.05)


def _describe_driver(facts: Facts) -> str:
    """Return what the driver says of a volume that it does not delete, empty when it says nothing."""
    known = facts.diagnosis
    about = known is not None and known.target in {volume.metadata.uid for volume in _draining(facts)}
    return f"its driver says: {known.text}" if known is not None and about and known.text else ""


def _describe(resource: Resource[Any], child: HasMeta) -> str:
    return f"{resource.kind} {child.metadata.name}"
