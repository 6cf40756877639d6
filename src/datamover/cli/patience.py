"""When `datamover run` stops waiting for objects that make no progress. Pure: the time is an argument.

A wait that only a person can end is given up soon, because nobody is there to end it. A wait that a driver, a node or a server may end is given
up after the time that the user allows. A run that works is never given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from datamover.api import reasons
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.api.waits import EndedBy, find_hold, find_wait
from datamover.cli import fillings, synchronisations
from datamover.cli.runnables import Name, Runnable

PERSON_PATIENCE: Final = 5.0
"""Seconds that something may be missing which only a person can bring: it may still be on its way through the caches."""
DEFAULT_PATIENCE: Final = 600.0
"""Seconds that something may be missing which may come by itself."""


_HERE: Final[Mapping[str, EndedBy]] = {
    reasons.COPY_TRIGGER_WAITING: EndedBy.PERSON,
    **dict.fromkeys(fillings.ENDED_BY_A_PERSON, EndedBy.PERSON),
}
"""Waits that only a person can end where nobody but this command reaches the objects: whose script would set a trigger?"""


def ended_by(reason: str) -> EndedBy:
    """Return who can end a wait while this command runs."""
    return _HERE.get(reason) or find_wait(reason).ended_by


def held_by(mover: Runnable) -> str | None:
    """Return the reason why an unfinished run waits, or None when it works."""
    if isinstance(mover, DataVolume):
        return fillings.hold_of(mover)
    if not isinstance(mover, DataMover | DataMoverRestore):
        return synchronisations.hold_of(mover)
    status = mover.status
    if status is None or status.phase in Phase.TERMINAL:
        return None
    hold = find_hold(status)
    return hold.reason if hold is not None else None


@dataclass(frozen=True, slots=True)
class _Held:
    ended_by: EndedBy
    since: float


class Patience:
    """Watches objects, and tells when to stop waiting for them.

    `limit` is in seconds, for what may come by itself.
    """

    def __init__(self, *, limit: float = DEFAULT_PATIENCE) -> None:
        self._limits = {EndedBy.PERSON: PERSON_PATIENCE, EndedBy.EITHER: limit}
        self._held: dict[Name, _Held] = {}
        self._worked = float("-inf")

    def is_over(self, found: Mapping[Name, Runnable | None], *, now: float) -> bool:
        """Tell whether every object has ended or is given up. None is one that has not been seen yet. `now` in seconds, rising.

        While one of them works none is given up. When it ends the time of the others starts again, because they may have waited for it.
        """
        left = {key: mover for key, mover in found.items() if mover is None or not _has_ended(mover)}
        for key, mover in left.items():
            reason = held_by(mover) if mover is not None else None
            if reason is None:
                self._worked = now
                self._held.pop(key, None)
                continue
            who = ended_by(reason)
            held = self._held.get(key)
            if held is None or held.ended_by is not who:
                self._held[key] = _Held(who, now)
        return all(key in self._held and self._is_given_up(self._held[key], now) for key in left)

    def _is_given_up(self, held: _Held, now: float) -> bool:
        limit = self._limits.get(held.ended_by)
        return limit is not None and now - max(held.since, self._worked) >= limit


def _has_ended(mover: Runnable) -> bool:
    if isinstance(mover, DataVolume):
        return fillings.phase_of(mover) in Phase.TERMINAL
    if not isinstance(mover, DataMover | DataMoverRestore):
        return synchronisations.phase_of(mover) in Phase.TERMINAL
    return mover.status is not None and mover.status.phase in Phase.TERMINAL
