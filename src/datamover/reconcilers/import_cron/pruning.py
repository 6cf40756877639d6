"""Which imports of a DataImportCron go, and how. Pure.

Those that were used least recently, beyond the number that stays, and those that were overtaken before they were done. In doubt an import stays.
"""

from collections.abc import Iterator
from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import DataImportCronSpec, DataImportCronStatus
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.steps import Delete, Emit, Inquire, Patch, Plan, Step, users_of
from datamover.reconcilers.import_cron.asking import Reason, keeps, label_of
from datamover.reconcilers.import_cron.facts import Facts, Import, State
from datamover.reconcilers.import_cron.status import current_of, last_imported
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import ObjectMeta, Reference, Resource

ACTION: Final = "Prune"
USERS_FRESH: Final = 30.0
"""Seconds for which the answer is believed that nobody mounts a claim."""
LATER: Final = 300.0
"""Seconds after which is looked again whether one that is used is free."""

Decision = Plan[DataImportCronStatus]


def prune(facts: Facts, spec: DataImportCronSpec, *, unfinished: bool = False) -> Decision | None:
    """Return what takes away the next import that is to go; None when none is.

    `unfinished`: only one that we have begun and that was overtaken. All others stay until a newer one is there.
    """
    doomed = find_doomed(facts, spec, unfinished=unfinished)
    if not doomed:
        return None
    found = facts.known.diagnosis
    asked = next((place for place, each in enumerate(doomed) if found and found.target == _topic(each)), None)
    if found is None or asked is None or found.age >= LATER:
        return _remove(facts, doomed[0])
    if found.text == "":
        return _remove(facts, doomed[asked])
    # Somebody mounts that one (or nobody may look): the next one has its turn, and after the last a while passes.
    rest = doomed[asked + 1 :]
    return _remove(facts, rest[0]) if rest else Plan(wake_after=LATER - found.age)


def find_doomed(facts: Facts, spec: DataImportCronSpec, *, unfinished: bool = False) -> tuple[Import, ...]:
    """Return the imports that are to go, the least recently used one first. What was never finished is no image: it goes even if images never do."""
    most = None if unfinished else keeps(spec)
    label, newest = label_of(facts.cron), _newest(facts)
    mine = [each for each in facts.imports.values() if any(m.label(names.CRON_LABEL) == label for m in each.metas)]
    ordered = sorted(mine, key=lambda each: (each.name in newest, *_age_of(each)), reverse=True)
    done = [each for each in ordered if not _is_overtaken(each) and each.state is not State.LOST]
    outdated = done[most:] if most is not None else []
    overtaken = [each for each in ordered if _is_overtaken(each) and not (unfinished and not _is_made(facts, each))]
    beyond = {each.name for each in (*outdated, *overtaken)}
    busy = set(_busy(facts, done))
    return tuple(
        each
        for each in reversed(ordered)
        if each.name in beyond - newest - busy and each.state not in (State.GOING, State.LOST) and _is_ours(facts, each)
    )


def _newest(facts: Facts) -> frozenset[str]:
    """Return the imports that stay whatever is said: the current one, the last one that was done, and what the DataSource stands for."""
    current, source = current_of(facts.cron), facts.source
    named = source.spec.source.pvc if source is not None and source.spec is not None else None
    found = (current.data_volume_name if current else "", last_imported(facts.cron), named.name if named else "")
    return frozenset(each for each in found if each)


def _age_of(each: Import) -> tuple[float, str, str]:
    """Return what imports are ordered by, also those that were never said to be used."""
    return each.used_at, max((meta.creation_timestamp or "" for meta in each.metas), default=""), each.name


def _is_overtaken(each: Import) -> bool:
    """Tell whether a DataVolume works on a disk that nobody waits for any more (the current one is told apart by its name)."""
    return each.volume is not None and each.state is State.WORKING


def _is_made(facts: Facts, each: Import) -> bool:
    """Tell whether this DataImportCron has made the DataVolume."""
    return each.volume is not None and each.volume.metadata.annotation(names.IMPORT_OF) == facts.cron.metadata.uid


def _is_ours(facts: Facts, each: Import) -> bool:
    """Tell whether all that would go bears our label and no mark of another one that lives, and has no owner but us and its own DataVolume (law L2)."""
    label, volume = label_of(facts.cron), each.volume.metadata if each.volume is not None else None
    allowed = {facts.cron.metadata.uid, volume.uid if volume is not None else ""}
    for meta in each.metas:
        if {owner.uid for owner in meta.owner_references or ()} - allowed:
            return False
        if meta.annotation(names.IMPORT_OF) in facts.rivals:
            return False
        if meta.label(names.CRON_LABEL) != label and not (volume is not None and meta.owned_by(volume.uid)):
            return False
    return True


def _busy(facts: Facts, done: list[Import]) -> Iterator[str]:
    """Yield the imports that are copied at the moment.

    Whoever is filled by way of the DataSource may read any import that was the newest at some time since it was created: all but those that
    had been followed by another one before.
    """
    for reader in facts.readers:
        if reader.claim is not None:
            yield reader.claim
            continue
        for place, each in enumerate(done):
            followed = done[place - 1].used_at if place else None
            if followed is None or reader.since <= followed:
                yield each.name


def _remove(facts: Facts, each: Import) -> Decision:
    """Mark it as ours, then ask who mounts its claim, then delete the DataVolume, and when there is none the claim."""
    marks = tuple(_mark(facts, each))
    if marks:
        return Plan(marks)
    claim, volume, found = each.claim, each.volume, facts.known.diagnosis
    if claim is not None and (found is None or found.target != _topic(each) or found.age > USERS_FRESH):
        return Plan((Inquire(PERSISTENT_VOLUME_CLAIMS.kind, claim.metadata, users=True),))
    resource, meta = (
        (DATA_VOLUMES, volume.metadata)
        if volume is not None
        else (PERSISTENT_VOLUME_CLAIMS, claim.metadata if claim is not None else ObjectMeta())
    )
    reason, why = Reason.PRUNED, "newer imports have taken its place"
    if _is_overtaken(each):
        reason, why = Reason.ABANDONED, "it was overtaken before it came to its end"
    message = f"{resource.kind} {meta.name} is deleted: {why}"
    told = Emit("Normal", reason, message, ACTION, related=Reference(resource, meta))
    return Plan((Delete(resource, meta, as_seen=True), told))


def _mark(facts: Facts, each: Import) -> Iterator[Step[DataImportCronStatus]]:
    uid = facts.cron.metadata.uid
    found: tuple[tuple[Resource[Any], ObjectMeta | None], ...] = (
        (PERSISTENT_VOLUME_CLAIMS, each.claim.metadata if each.claim is not None else None),
        (DATA_VOLUMES, each.volume.metadata if each.volume is not None else None),
    )
    for resource, meta in found:
        if meta is not None and meta.annotation(names.IMPORT_OF) != uid:
            yield Patch(resource, meta, {"metadata": {"annotations": {names.IMPORT_OF: uid}}})


def _topic(each: Import) -> str:
    return users_of(each.claim.metadata.uid) if each.claim is not None else ""
