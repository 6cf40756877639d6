"""What is told by events of a Backup when its record changes. Pure."""

from typing import Final, Literal

from datamover.api.hosted_control_plane import Reason
from datamover.api.outside import clean
from datamover.plans.steps import Emit
from datamover.reconcilers.hosted_control_plane.record import FollowedPlane, FollowedVolume, Record
from datamover.verdicts.verdict import State

ACTION: Final = "FollowBackup"
_MOST: Final = 10
"""Events beside one write. What more there is stands in the record."""
_NORMAL: Final = frozenset({Reason.MOVED, Reason.NOTHING_TO_MOVE})


def announce(before: Record | None, after: Record, *, misconfigured: bool) -> tuple[Emit, ...]:
    """Return the events of a change: each end and each failure once, and each stall as it begins; warnings first, and no more than ten."""
    found: list[Emit] = []
    for plane in after.control_planes:
        old = before.plane(plane.place) if before is not None else None
        found += _of_plane(old, plane)
    found.sort(key=lambda each: each.type == "Normal")
    told = before.notes if before is not None else ()
    if misconfigured and after.notes and told != after.notes:
        # the last one: that is what a kind learns to have been told, and counts
        return (*found[: _MOST - 1], _emit(Reason.CONFIGURATION, after.notes[0]))
    return tuple(found[:_MOST])


def reason_of(plane: FollowedPlane) -> Reason | None:
    """Return the reason by which a state is told; None for one of which nothing is told."""
    state = State[plane.state]
    if state is State.FAILED:
        return Reason.TIMED_OUT if plane.timed_out else Reason.FAILED
    if state is State.UNKNOWN and not plane.final:
        return None
    return {
        State.MOVED: Reason.MOVED,
        State.NOTHING_TO_MOVE: Reason.NOTHING_TO_MOVE,
        State.UNSUPPORTED: Reason.UNSUPPORTED,
        State.UNKNOWN: Reason.UNKNOWN,
    }.get(state)


def _of_plane(old: FollowedPlane | None, plane: FollowedPlane) -> list[Emit]:
    reason = reason_of(plane)
    if reason is not None and (old is None or reason_of(old) is not reason):
        return [_emit(reason, f"{_title(plane)}: {plane.description}")]
    stood = {each.claim for each in old.volumes if each.stalled} if old is not None else set[str]()
    stalled = [each for each in plane.volumes if each.stalled and each.claim not in stood]
    return [_emit(Reason.STALLED, _sentence_on(plane, stalled))] if stalled else []


def _sentence_on(plane: FollowedPlane, stalled: list[FollowedVolume]) -> str:
    first = stalled[0]
    what = f"{first.kind} {first.name}".strip()
    more = f"; and {len(stalled) - 1} more" if len(stalled) > 1 else ""
    since = f" since {first.progressed}" if first.progressed else ""
    end = f". Nothing is given up for that{f' before {first.deadline}' if first.deadline else ''}"
    text = f"{_title(plane)}: claim {first.claim} does not go on{since}: {what} ({first.phase}): {first.sentence}"
    return clean(text, limit=1024 - len(more) - len(end)) + more + end


def _title(plane: FollowedPlane) -> str:
    return f"{plane.namespace}/{plane.name} ({plane.platform})"


def _emit(reason: Reason, message: str) -> Emit:
    type_: Literal["Normal", "Warning"] = "Normal" if reason in _NORMAL else "Warning"
    return Emit(type_, reason.value, clean(message), ACTION)
