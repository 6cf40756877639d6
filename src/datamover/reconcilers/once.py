"""What kinds of our own have in common that happen once and then are over, by the phase and the conditions of their status."""

import logging
from abc import ABC
from typing import TypeVar

from datamover.api.names import ConditionType, Phase
from datamover.plans.kind import HasStatus, Kind, Line
from datamover.reconcilers.summary import S, is_cancelled, says_same

T = TypeVar("T", bound=HasStatus)
F = TypeVar("F")


class OnceKind(Kind[T, S, F], ABC):
    """See the module. `title` is what the log calls a new phase."""

    title: str

    def is_over(self, obj: T) -> bool:
        """Tell whether it has ended."""
        return self.stage(obj.status) in Phase.TERMINAL

    def stage(self, status: S | None) -> str:
        """Return the phase."""
        return (status.phase if status is not None else None) or Phase.NONE

    def says_same(self, one: S | None, other: S | None) -> bool:
        """Tell whether two statuses differ in nothing but times. None, where nothing was written yet, says the same as None alone."""
        return one == other if one is None or other is None else says_same(one, other)

    def headline(self, before: S | None, status: S) -> Line | None:
        """Return the phase that begins, and why."""
        if self.stage(status) == self.stage(before):
            return None
        ready = status.condition(ConditionType.READY)
        reason = f" ({ready.reason})" if ready is not None else ""
        level = logging.WARNING if status.phase == Phase.FAILED and not is_cancelled(status) else logging.INFO
        return Line(f"{self.title} {status.phase}{reason}: {status.message or ''}", level)

    def occasion(self, obj: T) -> str:
        """Return that it is the clean-up, in the word that the documents look for."""
        return "cleanup: " if self.stage(obj.status) == Phase.CLEANING_UP else ""

    def is_told(self, obj: T) -> bool:
        """A failure is told with its phase."""
        return self.stage(obj.status) == Phase.FAILED
