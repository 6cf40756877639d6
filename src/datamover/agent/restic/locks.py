"""Whose the locks in a repository are, and what can be done about them. Pure.

A restic that is killed leaves its lock behind. Others then wait for nobody: restic itself takes a lock as stale half an hour after it was
last renewed, or at once where it was made on the same machine by a process that is gone. A mover's machine is its Pod, whose name is that of
its Job with five letters behind it; so a lock of another Pod of our Job is one that an earlier mover has left.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from datamover.agent.errors import Failure
from datamover.agent.restic.choices import read_moment
from datamover.agent.restic.messages import Lock
from datamover.api import outside, transfer

STALE_AFTER: Final = timedelta(minutes=30)
"""Age of a lock, since it was last renewed, from which restic's own `unlock` removes it."""
SILENT_AFTER: Final = timedelta(minutes=6)
"""The same, from which a lock of an earlier mover of ours is removed where that is asked for. A restic that lives renews its lock every five minutes."""
_SUFFIX: Final = 6
"""A hyphen and five letters, which a Pod's name has more than its Job's."""
_QUOTED: Final = 3


def is_left_behind(lock: Lock, *, hostname: str) -> bool:
    """Tell whether a lock is of an earlier Pod of the Job that this Pod, called `hostname`, is of."""
    return lock.hostname != hostname and _job_of(hostname) != "" and _job_of(lock.hostname) == _job_of(hostname)


def may_remove_all(locks: Sequence[Lock], *, hostname: str, now: datetime) -> bool:
    """Tell whether all locks are of earlier movers of ours that have not renewed them: then nobody is harmed when all are removed."""
    return bool(locks) and all(
        is_left_behind(lock, hostname=hostname) and (age := _age(lock, now)) is not None and age >= SILENT_AFTER
        for lock in locks
    )


def failure_of(
    locks: Sequence[Lock], *, hostname: str, repository: str, now: datetime, removal: bool, said: str
) -> Failure:
    """Return what to tell of a repository that is locked. `removal`: the removal of locks that were left is asked for. `said` are restic's words."""
    left = [lock for lock in locks if is_left_behind(lock, hostname=hostname)]
    if locks and len(left) == len(locks):
        return Failure(
            transfer.GUARD,
            transfer.REASON_REPOSITORY_LOCK_LEFT,
            f"The repository {repository} is locked by an earlier mover of this very object, which ended before it could remove its lock:"
            f" {_tell(left, now)}. {_cure(left, now=now, removal=removal)}",
            retryable=True,
        )
    who = f" by {_tell(locks, now)}" if locks else f" ({said})" if said else ""
    return Failure(
        transfer.GUARD,
        transfer.REASON_REPOSITORY_LOCKED,
        f"The repository {repository} is locked{who}. Somebody else works on it, and it is tried again. If that process is gone, its lock counts as stale 30 minutes"
        " after it was last renewed: give spec.restic.unlock a new value then.",
        retryable=True,
    )


def _cure(left: Sequence[Lock], *, now: datetime, removal: bool) -> str:
    moments = [moment for lock in left if (moment := read_moment(lock.time)) is not None]
    if removal:
        until = max(moments, default=now) + SILENT_AFTER
        return f"The next mover removes it, from {until:%H:%M:%S} UTC: until then the earlier one might still live."
    stale = max(moments, default=now) + STALE_AFTER
    when = "now" if stale <= now else f"from {stale:%H:%M:%S} UTC on, when restic takes it as stale"
    return (
        f"Give spec.restic.unlock a new value {when}; or set the annotation datamover.a-cup-of.coffee/remove-stale-locks to true, and the next mover removes"
        " what an earlier one has left."
    )


def _tell(locks: Sequence[Lock], now: datetime) -> str:
    told = [_tell_one(lock, now) for lock in locks[:_QUOTED]]
    more = len(locks) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _tell_one(lock: Lock, now: datetime) -> str:
    host = outside.clean(lock.hostname, limit=outside.NAME_LIMIT) or "an unknown host"
    age = _age(lock, now)
    since = f", renewed {max(0, round(age.total_seconds()))} s ago" if age is not None else ""
    return f"process {lock.pid} on {host}{since}"


def _age(lock: Lock, now: datetime) -> timedelta | None:
    moment = read_moment(lock.time)
    return now - moment if moment is not None else None


def _job_of(hostname: str) -> str:
    """Return the name of the Job that a Pod's name begins with; empty when it is no Pod of a Job."""
    name, hyphen, suffix = hostname[:-_SUFFIX], hostname[-_SUFFIX : -_SUFFIX + 1], hostname[-_SUFFIX + 1 :]
    return name if hyphen == "-" and suffix.isalnum() and name.startswith("volsync-") else ""
