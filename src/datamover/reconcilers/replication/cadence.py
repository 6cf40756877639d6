"""When a ReplicationSource or ReplicationDestination is to be synchronised. Pure: the time is an argument.

- What was never synchronised is due at once, with whatever trigger.
- `manual` wins over `schedule`: due when it differs from the one of the last synchronisation.
- A schedule is due at its first time after the *end* of the last synchronisation. Times that passed meanwhile are left out, never queued.
- Without a trigger it is due again as soon as it has ended.

While one is under way nothing is decided, so that an edited schedule counts from its end on. A schedule that cannot be kept is told before
anything is copied for it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from datamover.api.schedule import Schedule, ScheduleError, parse
from datamover.api.volsync.common import CommonStatus, Trigger
from datamover.runs.wait import share_of
from kubekit.words import timestamps

_AHEAD: Final = timedelta(hours=1)
"""How far clocks of two replicas may differ. A last synchronisation later than that was dated by a clock that was wrong."""


class Due(Enum):
    """What there is to do."""

    UNDER_WAY = "a synchronisation is under way"
    NOW = "one is due"
    AT = "the schedule says when"
    MANUAL = "spec.trigger.manual must change"
    NEVER = "the schedule cannot be kept"


@dataclass(frozen=True, slots=True)
class Cadence:
    """When it is due."""

    due: Due
    next_sync: datetime | None = None
    """What `status.nextSyncTime` says: with a schedule, when the next one is due, or was."""
    deadline: datetime | None = None
    """Out of sync is what has not been synchronised by then. None without a schedule, and before the first time."""
    error: str = ""
    """Of NEVER: why, and what to write."""


_SKEW: Final = timedelta(days=1)


def begins_at(now: datetime, before: str | None) -> datetime:
    """Return when a synchronisation begins that follows upon the moment `before`: it is known by that second, so it never goes back to an earlier one.

    The clock of the replica that leads now may be behind that of the one before. A Job that is going would count for this synchronisation.
    """
    last = _moment(before)
    ahead = (
        last is not None and timedelta(0) < last - now.replace(microsecond=0) < _SKEW
    )  # more than that is nobody's clock (law L11)
    return last + timedelta(seconds=1) if ahead and last is not None else now


def cadence_of(
    trigger: Trigger | None, status: CommonStatus | None, *, now: datetime, uid: str, jitter: timedelta = timedelta(0)
) -> Cadence:
    """Return when an object is due. `jitter`: up to how long after a time of the schedule; each object has its own share of it."""
    asked = trigger or Trigger()
    told = status or CommonStatus()
    last = _moment(told.last_sync_time)
    begun = bool(told.last_sync_start_time)
    if asked.manual:
        waits = last is not None and asked.manual == told.last_manual_sync
        return Cadence(Due.UNDER_WAY if begun else Due.MANUAL if waits else Due.NOW)
    if not asked.schedule:
        return Cadence(Due.UNDER_WAY if begun else Due.NOW)
    try:
        schedule = parse(asked.schedule)
    except ScheduleError as failure:
        return Cadence(Due.UNDER_WAY if begun else Due.NEVER, error=f"spec.trigger.schedule: {failure}")
    if last is None:
        return Cadence(Due.UNDER_WAY if begun else Due.NOW)
    due, deadline = _times(schedule, last, uid=uid, jitter=jitter)
    if begun:
        state = Due.UNDER_WAY
    elif due is None or due <= now or last > now + _AHEAD:
        # no next time: the calendar has ended, in the year 9999 (a schedule that never comes was refused above)
        state = Due.NOW
    else:
        state = Due.AT
    return Cadence(state, due, deadline)


def jitter_of(uid: str, most: timedelta) -> timedelta:
    """Return an object's own share of a jitter: always the same, from nothing to just below the most."""
    return most * share_of(uid)


def _times(
    schedule: Schedule, last: datetime, *, uid: str, jitter: timedelta
) -> tuple[datetime | None, datetime | None]:
    """Return when the next one is due, and by when it must have ended so that no interval was missed.

    The jitter is at most half of the time to the one after: else a synchronisation that ends late would leave that out each time.
    """
    first = schedule.next_after(last)
    second = None if first is None else schedule.next_after(first)
    if first is None or second is None:
        return first, second
    later = jitter_of(uid, min(jitter, (second - first) / 2))
    return first + later, second + later


def _moment(text: str | None) -> datetime | None:
    """Return what a status names; None for what is no time (law L11)."""
    seconds = timestamps.moment_of(text, default=None)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
