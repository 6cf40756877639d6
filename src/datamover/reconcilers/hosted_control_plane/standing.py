"""What is to be said of a backup now: the verdicts on its control planes, joined with what was known before. Pure.

A stall is no timeout. A timeout is a limit that somebody has set, after which a thing is given up; a stall is that nothing has gone on for a while: no
byte was moved, no node-agent has taken it, no node takes its Pod. It is told, and nothing is given up.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import asdict, replace

from datamover.api.hypershift import HostedControlPlane, HostedControlPlaneSpec, HostedPlatform
from datamover.api.outside import clean
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import COLLECTED, ENDED, FINALIZING, OVER, UploadPhase
from datamover.reconcilers.hosted_control_plane.facts import Facts, Hosted, Pace
from datamover.reconcilers.hosted_control_plane.record import SENTENCE, FollowedPlane, FollowedVolume, Record
from datamover.verdicts.document import Volume, fields_of, volume_of
from datamover.verdicts.limits import stamp
from datamover.verdicts.readings import name
from datamover.verdicts.validate import validate_data_mover
from datamover.verdicts.verdict import Kind, Row, State, Verdict
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import seconds

_FINAL: Final = frozenset({State.MOVED, State.NOTHING_TO_MOVE, State.UNSUPPORTED})
"""What does not become another thing by itself. A failure may: what was late arrives, and what is left may still be moved."""
_IN_TURN: Final = frozenset({UploadPhase.NEW, UploadPhase.PREPARED})
"""Phases of what waits until a node-agent has a hand free."""
_TOLD_SINCE: Final = frozenset({UploadPhase.NEW, UploadPhase.ACCEPTED})
"""Phases of which the object itself says truly since when."""


def stand(facts: Facts) -> Record:
    """Return what is to be said. Of what is final nothing is changed."""
    before = facts.record or Record()
    planes = [_plane(each, before.plane((name(each.hcp.metadata.namespace), name(each.hcp.metadata.name))), facts) for each in facts.planes or ()]  # fmt: skip
    status = facts.backup.status
    began = stamp(status.start_timestamp if status is not None else None)
    return Record(
        began=seconds(began) if began is not None else None,
        updated=seconds(facts.now),
        backup=name(facts.backup.metadata.name),
        control_planes=tuple(planes),
        left_off=facts.left_off,
        notes=tuple(clean(each, limit=SENTENCE) for each in facts.notes),
    )


def is_told(backup: Backup, record: Record | None, *, told: bool, now: datetime, pace: Pace) -> bool:
    """Tell whether nothing is left to be told of a backup: all is final, or it was over before anybody looked.

    `told` tells that its end was written, if there is no record of it any more.
    """
    over = backup.phase in OVER
    if record is not None:
        # As long as Velero collects another control plane may come in.
        return record.final and (over or backup.phase in COLLECTED)
    return over and (told or not _is_recent(backup, now=now, pace=pace))


def _is_recent(backup: Backup, *, now: datetime, pace: Pace) -> bool:
    """Tell whether a backup that is over came to its end here, and not long ago. Velero also lists those that another cluster has made."""
    made = stamp(backup.metadata.creation_timestamp)
    ended = stamp(backup.status.completion_timestamp if backup.status is not None else None) or made
    return made is not None and ended is not None and ended >= made and now - ended <= pace.recent


def remembered(plane: FollowedPlane) -> HostedControlPlane:
    """Return a control plane that is gone, as far as was written of it: what is moved of it goes on."""
    return HostedControlPlane(
        metadata=ObjectMeta(name=plane.name, namespace=plane.namespace),
        spec=HostedControlPlaneSpec(platform=HostedPlatform(type=plane.platform)),
    )


def _plane(hosted: Hosted, before: FollowedPlane | None, facts: Facts) -> FollowedPlane:
    if before is not None and before.final:
        return before
    backup = facts.backup
    verdict = validate_data_mover(
        hcp=hosted.hcp, backup=backup, seen=hosted.seen, configuration=facts.configuration, now=facts.now
    )
    final = is_final(verdict, backup)
    if before is not None and _is_only_gone(before, verdict, backup):
        return replace(before, final=final, ended=seconds(_ended(backup, facts.now)) if final else None)
    known = {_key(each): each for each in before.volumes} if before is not None else {}
    found = fields_of(hosted.hcp, verdict)
    found |= {
        "error": clean(verdict.error, limit=SENTENCE),
        "description": clean(verdict.description, limit=SENTENCE),
        "warnings": tuple(clean(each, limit=SENTENCE // 2) for each in verdict.warnings[:8]),
    }
    return FollowedPlane(
        **found,
        volumes=tuple(
            _volume(row, known, facts, waits=verdict.state is State.WAITING, first=before is None)
            for row in verdict.rows
        ),
        final=final,
        ended=seconds(_ended(backup, facts.now)) if final else None,
    )


def _is_only_gone(before: FollowedPlane, verdict: Verdict, backup: Backup) -> bool:
    """Tell whether what had failed is no longer seen: Velero removes snapshots at the end of a backup, and that mends nothing."""
    ends = backup.phase in FINALIZING or backup.phase in OVER
    return before.state == State.FAILED.name and verdict.state in (State.NOTHING_TO_MOVE, State.UNKNOWN) and ends


def is_final(verdict: Verdict, backup: Backup) -> bool:
    """Tell whether a verdict stays as it is."""
    if verdict.state in _FINAL:
        return True
    return verdict.over and backup.phase in OVER


def _volume(
    row: Row, known: Mapping[tuple[str, str, str], FollowedVolume], facts: Facts, *, waits: bool, first: bool
) -> FollowedVolume:
    now = volume_of(row)
    before = known.get(_key(now))
    since, stood = facts.now, False
    if before is not None and (before.phase, before.bytes_done) == (now.phase, now.bytes_done):
        since, stood = stamp(before.progressed) or facts.now, before.stalled
    elif first and row.since is not None and row.phase in _TOLD_SINCE:
        since = row.since
    turn = _turn(row, facts.moved)
    if turn is not None and turn > since:
        since, stood = turn, False
    since = min(since, facts.now)  # the clock may have been set back
    is_open = waits and not row.finished and row.kind != Kind.CLAIM and row.phase not in ENDED
    # What was told stays so, whatever the clock of another replica says.
    stalled = is_open and (stood or facts.now - since >= facts.pace.stall)
    fields: dict[str, Any] = asdict(now) | {
        "sentence": clean(now.sentence, limit=SENTENCE),
        "progressed": seconds(since) if is_open else None,
        "stalled": stalled,
    }
    return FollowedVolume(**fields)


def _turn(row: Row, moved: Mapping[str, datetime]) -> datetime | None:
    """Return until when it was only not its turn: others were moved, by the node-agent that has it if one has."""
    if row.phase not in _IN_TURN:
        return None
    return moved.get(row.node) if row.node else max(moved.values(), default=None)


def _key(volume: Volume) -> tuple[str, str, str]:
    return volume.kind, volume.name, volume.claim


def _ended(backup: Backup, now: datetime) -> datetime:
    """Return when it ended: it may have been looked at later, after a restart."""
    completed = stamp(backup.status.completion_timestamp if backup.status is not None else None)
    return min(completed, now) if completed is not None else now
