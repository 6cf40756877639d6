"""What to do next for a DataImportCron. Pure.

In order: what is wrong with it, what there is to import, whether that is there already, its way to the end, then what follows from it: the
DataSource, what goes, and what outlives it.
"""

from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.conditions import Said
from datamover.api.cdi.data_import_cron import DataImportCronSpec, DataImportCronStatus, ImportStatus
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES, ObjectSource
from datamover.plans.known import Refusal
from datamover.plans.steps import REST, Create, Patch, Plan, Step
from datamover.reconcilers.import_cron.asking import Flaw, Reason, Wanted, find_flaw, find_wanted, goes_along, label_of
from datamover.reconcilers.import_cron.build import (
    build_move,
    build_release,
    build_source,
    build_volume,
    labels_of,
    marks_of,
)
from datamover.reconcilers.import_cron.facts import Facts, Import, State
from datamover.reconcilers.import_cron.polling import find_problem, poll
from datamover.reconcilers.import_cron.pruning import prune
from datamover.reconcilers.import_cron.status import current_of, last_imported, tell
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import HasMeta, ObjectMeta, Resource
from kubekit.words.timestamps import micros, seconds

Decision = Plan[DataImportCronStatus]
Steps = tuple[Step[DataImportCronStatus], ...]
_Held = tuple[Resource[Any], HasMeta | None]


def decide(facts: Facts) -> Decision:
    """Return what to do next."""
    cron, spec = facts.cron, facts.cron.spec
    if spec is None or cron.metadata.terminating:
        return REST  # what goes with it is owned by it
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh and not _is_over(facts, refusal):
        said = tell(cron, Reason.REFUSED, refusal.message, now=facts.now)
        return Plan(said, refusal.retry_after)
    flaw = find_flaw(spec)
    if flaw is not None:
        return Plan(_blocked(facts, flaw))
    released = _release(facts, spec)
    if released:
        return Plan(released)
    polled = poll(facts, spec)
    if polled.steps:
        return polled
    return _at_the_latest(_import(facts, spec), polled.wake_after)


def _at_the_latest(plan: Decision, wake_after: float | None) -> Decision:
    times = [each for each in (plan.wake_after, wake_after) if each is not None]
    return Plan(plan.steps, min(times, default=None))


def _import(facts: Facts, spec: DataImportCronSpec) -> Decision:
    """Return what to do about what there is to import."""
    cron = facts.cron
    wanted, current = find_wanted(cron, spec), current_of(cron)
    if isinstance(wanted, Flaw):
        # What was imported before stays as it is; there is nothing that could be newer.
        settled = _settle(facts, spec, current) if current is not None else None
        problem = find_problem(cron, spec)
        return settled or Plan(_blocked(facts, Flaw(Reason.POLL_FAILED, problem) if problem else wanted))
    if current is None:
        return _begin(facts, spec, wanted)
    if (current.digest, current.data_volume_name) == (wanted.digest, wanted.name):
        return _follow(facts, spec, wanted)
    return _finish(facts, spec, Wanted(current.digest, current.data_volume_name), wanted) or _begin(facts, spec, wanted)


def _is_over(facts: Facts, refusal: Refusal) -> bool:
    """Tell whether an import that could not be created is there all the same: another replica has made it."""
    kind, name = refusal.target or ("", "")
    return kind == DATA_VOLUMES.kind and facts.find(name).is_labelled(label_of(facts.cron))


def _blocked(facts: Facts, flaw: Flaw) -> Steps:
    return tell(facts.cron, flaw.reason, flaw.message, now=facts.now)


# An import.


def _finish(facts: Facts, spec: DataImportCronSpec, current: Wanted, wanted: Wanted) -> Decision | None:
    """Let an import come to its end that was overtaken meanwhile; None when nothing keeps the next one from its beginning.

    A source may change faster than it is imported. If each change began anew, there would be ever more imports, and never an image.
    """
    found = facts.find(current.name)
    if facts.find(wanted.name).state is State.DONE or _find_foreign(facts, found) is not None:
        return None
    if found.state is State.DONE:
        if last_imported(facts.cron) != current.name:
            return Plan(_take(facts, spec, found, current, newer=wanted))
        settled = _settle(facts, spec, current_of(facts.cron))
        return settled if settled is not None and settled.steps else None
    if not found.is_writing:
        return None
    return Plan(
        tell(
            facts.cron,
            Reason.OUTDATED,
            f"there is something new to import, {wanted.digest}: it is begun when {current.name} has come to its end",
            now=facts.now,
            progressing=Said("True", Reason.IMPORTING, f"importing into {current.name}"),
        )
    )


def _begin(facts: Facts, spec: DataImportCronSpec, wanted: Wanted) -> Decision:
    """Record another import, then make it, unless it is there already."""
    found = facts.find(wanted.name)
    foreign = _find_foreign(facts, found)
    if foreign is not None:
        return Plan(_blocked(facts, foreign))
    current = (ImportStatus(data_volume_name=wanted.name, digest=wanted.digest),)
    if found.state is State.DONE:
        return Plan(_take(facts, spec, found, wanted, current=current))
    told = tell(
        facts.cron,
        Reason.OUTDATED,
        f"there is something new to import, {wanted.digest}",
        now=facts.now,
        progressing=Said("True", Reason.IMPORTING, f"importing into {wanted.name}"),
        fields={"current_imports": current},
    )
    return Plan((*told, *_make(facts, spec, found, wanted)))


def _follow(facts: Facts, spec: DataImportCronSpec, wanted: Wanted) -> Decision:
    """Go on with the import that is recorded."""
    cron, found = facts.cron, facts.find(wanted.name)
    foreign = _find_foreign(facts, found)
    if foreign is not None:
        return Plan(_blocked(facts, foreign))
    if found.state is State.DONE:
        if last_imported(cron) != wanted.name or not found.used_at:
            return Plan(_take(facts, spec, found, wanted))
        told = _tell_done(facts, spec, wanted)
        return Plan(told) if told else _settle(facts, spec, current_of(cron)) or Plan()
    status = found.volume.status if found.volume is not None else None
    phase = (status.phase if status is not None else None) or "not set"
    how = f"its phase is {phase}" if found.volume is not None else "its DataVolume is to be made"
    if found.volume is None and found.claim is not None:
        how = "its claim has no DataVolume and is not Bound: who fills it?"
    if found.state is State.GOING:
        how = "it is being deleted, and is imported anew then"
    if found.state is State.LOST:
        how = "its claim has lost its volume: delete it, and it is imported anew"
    told = tell(
        cron,
        Reason.OUTDATED,
        f"the newest, {wanted.digest}, is being imported",
        now=facts.now,
        progressing=Said("True", Reason.IMPORTING, f"importing into {wanted.name}: {how}"),
    )
    last = last_imported(cron)
    stands_for = last if facts.find(last).state is State.DONE else wanted.name
    steps = (*told, *_make(facts, spec, found, wanted), *_keep_source(facts, spec, stands_for))
    return Plan(steps) if steps else prune(facts, spec, unfinished=True) or Plan()


def _make(facts: Facts, spec: DataImportCronSpec, found: Import, wanted: Wanted) -> Steps:
    """Make a DataVolume where neither it nor its claim is there: nothing is imported twice."""
    if found.state is not State.MISSING:
        return ()
    manifest = build_volume(facts.cron, spec, wanted, used_at=micros(facts.now))
    return (Create(DATA_VOLUMES, manifest),)


def _find_foreign(facts: Facts, found: Import) -> Flaw | None:
    """Return why an import cannot have its name: a claim or a DataVolume of somebody else has it.

    A claim that belongs to nobody, and bears no label, is taken for what its name says: the digest in it was imported before. One that a
    DataVolume of its user's has filled bears no label either: it is a disk of his.
    """
    label, volume = label_of(facts.cron), found.volume.metadata if found.volume is not None else None
    allowed = {facts.cron.metadata.uid, volume.uid if volume is not None else ""}
    for resource, each in ((DATA_VOLUMES, found.volume), (PERSISTENT_VOLUME_CLAIMS, found.claim)):
        if each is None:
            continue
        said, owners = each.metadata.label(names.CRON_LABEL), each.metadata.owner_references or ()
        free = said == label or (
            resource is PERSISTENT_VOLUME_CLAIMS and said is None and not _is_filled(each.metadata)
        )
        rival = each.metadata.annotation(names.IMPORT_OF) in facts.rivals
        if free and not rival and not {owner.uid for owner in owners} - allowed:
            continue
        return Flaw(
            Reason.NAME_TAKEN,
            f"{resource.kind} {found.name} exists and is somebody else's, as its owners, annotations, or its label {names.CRON_LABEL} say: delete or rename it, "
            f"or name another DataSource in spec.managedDataSource",
        )
    return None


def _is_filled(meta: ObjectMeta) -> bool:
    """Tell whether a DataVolume has filled a claim. One of a DataImportCron would have given it the label."""
    return any(meta.annotation(key) for key in (names.CREATED_FOR, names.GARBAGE_COLLECTED, names.RECORD))


def _take(
    facts: Facts,
    spec: DataImportCronSpec,
    found: Import,
    wanted: Wanted,
    *,
    current: tuple[ImportStatus, ...] | None = None,
    newer: Wanted | None = None,
) -> Steps:
    """An import is done: say on its claim that it is the newest, then record it. In this order, so that a crash between them repeats the first.

    `newer` is what there is to import by now.
    """
    cron, claim = facts.cron, found.claim
    if claim is None:
        return ()
    marks = {"labels": labels_of(cron, spec), "annotations": marks_of(cron, used_at=micros(facts.now))}
    fields = {
        "last_imported_pvc": ObjectSource(name=found.name, namespace=cron.metadata.namespace),
        "last_import_timestamp": seconds(facts.now),
        **({} if current is None else {"current_imports": current}),
    }
    reason, message = Reason.UP_TO_DATE, _describe_newest(facts, spec, wanted)
    if newer is not None:
        reason, message = (
            Reason.OUTDATED,
            f"{found.name} is there, and there is something new to import, {newer.digest}",
        )
    told = tell(cron, reason, message, now=facts.now, fields=fields)
    return (Patch(PERSISTENT_VOLUME_CLAIMS, claim.metadata, {"metadata": marks}), *told)


def _tell_done(facts: Facts, spec: DataImportCronSpec, wanted: Wanted) -> Steps:
    return tell(facts.cron, Reason.UP_TO_DATE, _describe_newest(facts, spec, wanted), now=facts.now)


def _describe_newest(facts: Facts, spec: DataImportCronSpec, wanted: Wanted) -> str:
    problem = find_problem(facts.cron, spec)
    unknown = f"; whether there is a newer one is not known: {problem}" if problem else ""
    return f"{wanted.name} is the newest, {wanted.digest}{unknown}"


# What follows from it.


def _settle(facts: Facts, spec: DataImportCronSpec, current: ImportStatus | None) -> Decision | None:
    """The current import is done and recorded: return what else there is to do, None when nothing."""
    name = current.data_volume_name if current is not None else ""
    if not name or last_imported(facts.cron) != name or facts.find(name).state is not State.DONE:
        return None
    source = _keep_source(facts, spec, name)
    return Plan(source) if source else prune(facts, spec)


def _keep_source(facts: Facts, spec: DataImportCronSpec, name: str) -> Steps:
    """Let the DataSource stand for an import. One that is not ours is left alone: taking its label away is how a user keeps it still."""
    cron, source = facts.cron, facts.source
    if source is None:
        return (Create(DATA_SOURCES, build_source(cron, spec, name)),)
    if source.metadata.label(names.CRON_LABEL) != label_of(cron) or source.metadata.terminating:
        return ()
    named = source.spec.source.pvc if source.spec is not None else None
    stands_for = (named.namespace or source.metadata.namespace, named.name) if named is not None else None
    if stands_for == (cron.metadata.namespace, name):
        return ()
    if facts.find(name).state is not State.DONE and named is not None:
        return ()  # it goes on standing for what is there
    return (Patch(DATA_SOURCES, source.metadata, build_move(cron, name)),)


def _release(facts: Facts, spec: DataImportCronSpec) -> Steps:
    """Let go of what was to be deleted with it, when its imports are to outlive it now."""
    if goes_along(spec):
        return ()
    uid = facts.cron.metadata.uid
    held: list[_Held] = [(DATA_SOURCES, facts.source)]
    for each in facts.imports.values():
        held += [(PERSISTENT_VOLUME_CLAIMS, each.claim), (DATA_VOLUMES, each.volume)]
    return tuple(
        Patch(resource, each.metadata, build_release(facts.cron, each.metadata))
        for resource, each in held
        if each is not None and each.metadata.owned_by(uid)
    )
