"""When the record of a backup is written, and when it is looked at again. Pure.

A backup that is over and told is done with: neither a restart nor another leader writes anything of it again. While one is under way nothing is asked for
at intervals: changes of the cluster wake it, and the moments at which something becomes late or stalled.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from datamover.api.hosted_control_plane import BACKED_UP_SNAPSHOTS, STATUS_MAPS, Reason, status_labels
from datamover.api.velero.backup import BACKUPS, BackupStatus
from datamover.api.velero.names import BACKUP_NAME_LABEL, label_value
from datamover.api.velero.phases import BackupPhase
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.plans.steps import REST, Create, Emit, Patch, Plan, ProveListed
from datamover.reconcilers.hosted_control_plane.announcements import ACTION, announce
from datamover.reconcilers.hosted_control_plane.facts import Facts
from datamover.reconcilers.hosted_control_plane.record import FollowedPlane, Record, build, change, fit, words_of
from datamover.reconcilers.hosted_control_plane.standing import is_told, stand
from datamover.runs.wait import LITTLE
from datamover.verdicts.claims import NOT_SEEN
from datamover.verdicts.limits import moment_at, stamp
from datamover.verdicts.verdict import Kind, State
from kubekit.words.meta import ObjectMeta

Decision = Plan[BackupStatus]

_NONE: Final = timedelta(0)
_PROVED: Final = frozenset({State.MOVED, State.NOTHING_TO_MOVE})
"""What is concluded from there being nothing else."""


def decide(facts: Facts) -> Decision:
    """Return what to do next."""
    backup, before = facts.backup, facts.record
    if backup.metadata.terminating or backup.phase == BackupPhase.DELETING:
        return REST
    told = is_told(backup, before, told=facts.told, now=facts.now, pace=facts.pace)
    if told or not facts.planes:
        return REST
    if facts.status is not None and not facts.status.metadata.owned_by(backup.metadata.uid):
        return _yield_to(facts.status.metadata, facts)
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        event = Emit("Warning", refusal.reason, refusal.message, ACTION)
        return Plan(() if facts.known.told == event else (event,), refusal.retry_after)
    after = fit(stand(facts))
    pause = _pause(before, after, facts)
    if pause is None:
        return Plan(wake_after=_wake_after(after, facts))
    age = _age(before, facts)
    if age is not None and age < pause:
        seconds = (pause - age).total_seconds() + LITTLE
        again = _wake_after(after, facts)
        return Plan(wake_after=seconds if again is None else min(seconds, again))
    step = (
        Patch(STATUS_MAPS, facts.status.metadata, change(backup, after), unhurried=True)
        if facts.status is not None
        else Create(STATUS_MAPS, build(backup, after), once=True)
    )
    found = announce(before, after, misconfigured=facts.misconfigured)
    events = [each for each in found if each != facts.known.told]  # another replica may take it back and forth
    return Plan((*_proofs(before, after, facts), step, *events), _wake_after(after, facts))


def _yield_to(taken: ObjectMeta, facts: Facts) -> Decision:
    """Leave alone a ConfigMap that is not this backup's. That of a backup of the same name goes with that one, so it is told only when it does not."""
    meta = facts.backup.metadata
    owners = taken.owner_references or ()
    is_left = bool(owners) and all((each.kind, each.name) == (BACKUPS.kind, meta.name) for each in owners)
    made = moment_at(meta.creation_timestamp, now=facts.now) if is_left else None
    left = (made + facts.pace.stall - facts.now).total_seconds() if made is not None else 0.0
    if left > 0:
        return Plan(wake_after=left + LITTLE)
    message = f"{STATUS_MAPS.kind} {taken.name} exists and is not this {BACKUPS.kind}'s: delete or rename it"
    event = Emit("Warning", Reason.NAME_TAKEN.value, message, ACTION)
    return REST if facts.known.told == event else Plan((event,))


def _proofs(before: Record | None, after: Record, facts: Facts) -> Iterator[ProveListed]:
    """Yield what has to be asked before something is called moved or lost: the caches may not know the last upload yet, and nobody would look again."""
    ended = {each.namespace for each in after.control_planes if _is_concluded(before, each)}
    hidden = {each.kind for hosted in facts.planes or () for each in hosted.seen.unread}
    meta = facts.backup.metadata
    labels = f"{BACKUP_NAME_LABEL}={label_value(meta.name)}"
    for kind, resource in ((Kind.UPLOAD, DATA_UPLOADS), (Kind.POD_VOLUME_BACKUP, POD_VOLUME_BACKUPS)):
        if ended and kind not in hidden:
            yield ProveListed(resource, meta.namespace or "", labels)
    if Kind.SNAPSHOT not in hidden:
        for namespace in sorted(ended):
            yield ProveListed(BACKED_UP_SNAPSHOTS, namespace, labels)


def _is_concluded(before: Record | None, plane: FollowedPlane) -> bool:
    """Tell whether it is said now, and said because there is nothing, or nothing else: all is moved, or a claim is lost."""
    if State[plane.state] in _PROVED:
        return _ends(before, plane)
    old = before.plane(plane.place) if before is not None else None
    fails = plane.state == State.FAILED.name and (old is None or old.state != plane.state)
    return fails and any(volume.phase == NOT_SEEN for volume in plane.volumes)


def _ends(before: Record | None, plane: FollowedPlane) -> bool:
    """Tell whether a control plane becomes final now."""
    old = before.plane(plane.place) if before is not None else None
    return plane.final and not (old is not None and old.final)


def _pause(before: Record | None, after: Record, facts: Facts) -> timedelta | None:
    """Return for how long the last write has to have been; None where nothing is to be written."""
    if before is None or _states(before) != _states(after):
        return _NONE
    if _phases(before) != _phases(after) or _is_altered(before, facts) or _is_ahead(before, after):
        return facts.pace.soon
    return facts.pace.interval if _words(before) != _words(after) else None


def _age(before: Record | None, facts: Facts) -> timedelta | None:
    """Return how long ago was written; None for never. A moment that is still to come is none."""
    written = stamp(before.updated) if before is not None else None
    return facts.now - written if written is not None and written <= facts.now else None


def _is_altered(before: Record, facts: Facts) -> bool:
    """Tell whether somebody has changed the words for people, which `kubectl get` shows, or the labels, without which it is not seen after a restart."""
    if facts.status is None:
        return False
    said, meta = facts.status.data or {}, facts.status.metadata
    labels = status_labels(facts.backup.metadata.name)
    return any(said.get(key) != text for key, text in words_of(before).items()) or any(
        meta.label(key) != text for key, text in labels.items()
    )


def _is_ahead(before: Record, after: Record) -> bool:
    """Tell whether the record says of a volume that it went on at a moment which is still to come: a clock was wrong, and a stall would not be seen."""
    known = {
        (plane.place, each.name, each.kind): each.progressed
        for plane in before.control_planes
        for each in plane.volumes
    }
    return any(
        each.progressed is not None and (known.get((plane.place, each.name, each.kind)) or "") > each.progressed
        for plane in after.control_planes
        for each in plane.volumes
    )


def _states(record: Record) -> object:
    """What is told at once."""
    stalled = [
        (
            each.place,
            each.state,
            each.timed_out,
            each.final,
            [volume.claim for volume in each.volumes if volume.stalled],
        )
        for each in record.control_planes
    ]
    return stalled, record.left_off


def _phases(record: Record) -> object:
    """What is told soon: whatever goes on in steps."""
    return [
        (
            each.completed,
            each.total,
            each.flags,
            each.error,
            [(one.name, one.phase, one.finished) for one in each.volumes],
        )
        for each in record.control_planes
    ]


def _words(record: Record) -> Record:
    """What is told now and then: all but the moments of our own."""
    planes = tuple(
        replace(each, volumes=tuple(replace(one, progressed=None) for one in each.volumes))
        for each in record.control_planes
    )
    return replace(record, updated="", control_planes=planes)


def _wake_after(after: Record, facts: Facts) -> float | None:
    """Return after how many seconds something of it may be late or stalled; None where nothing of that can come."""
    found = [each for plane in after.control_planes if not plane.final for each in _moments(plane, facts)]
    return min(found) + LITTLE if found else None


def _moments(plane: FollowedPlane, facts: Facts) -> Iterator[float]:
    """Yield the seconds until each limit that is not over yet."""
    for volume in plane.volumes:
        if volume.finished:
            continue
        since, deadline = stamp(volume.progressed), stamp(volume.deadline)
        for limit in (since + facts.pace.stall if since is not None else None, deadline):
            left = (limit - facts.now).total_seconds() if limit is not None else 0.0
            if left > 0:
                yield left
