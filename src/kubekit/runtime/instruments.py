"""What the runtime tells whoever counts. The composition root passes an implementation; the default counts nothing.

Names are bounded: of queues and controllers as the program wires them, of kinds as `plural.group`. Times are in seconds.
"""

from collections.abc import Callable
from typing import Protocol

Check = Callable[[], str | None]
"""A check of health or readiness: returns None when all is well, else what is wrong."""


class QueueInstruments(Protocol):
    """Of a workqueue."""

    def added(self, queue: str, /) -> None:
        """A key was added that was not waiting yet."""
        ...

    def retried(self, queue: str, /) -> None:
        """A key was added after a failure."""
        ...

    def depth(self, queue: str, ready: int, /) -> None:
        """So many keys are ready now."""
        ...

    def waited(self, queue: str, seconds: float, /) -> None:
        """A key was taken, this long after it became ready."""
        ...

    def worked(self, queue: str, seconds: float, /) -> None:
        """A key was given back, this long after it was taken."""
        ...


class ControllerInstruments(Protocol):
    """Of a controller."""

    def reconciled(self, controller: str, outcome: str, seconds: float, /) -> None:
        """One reconcile ended; `outcome` is done, after, error or terminal."""
        ...

    def asleep(self, controller: str, gate: str, yes: bool, /) -> None:
        """A gate that the controller is behind is closed, or open."""
        ...


class WorkInstruments(QueueInstruments, ControllerInstruments, Protocol):
    """Of a controller with its queue."""


class InformerInstruments(Protocol):
    """Of an informer."""

    def state(self, resource: str, state: str, /) -> None:
        """The informer entered a state of `kubekit.runtime.informer.State`, by its value."""
        ...

    def event(self, resource: str, type_: str, /) -> None:
        """A watch event arrived: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
        ...

    def relisted(self, resource: str, reason: str, /) -> None:
        """The whole kind was listed; `reason` is start, expired, ahead, refused or unreadable."""
        ...

    def restarted(self, resource: str, reason: str, /) -> None:
        """A watch ended and goes on from the last version; `reason` is closed, broken or error."""
        ...

    def poisoned(self, resource: str, /) -> None:
        """An object could not be read."""
        ...

    def objects(self, resource: str, count: int, /) -> None:
        """So many objects are cached."""
        ...


class LeaderInstruments(Protocol):
    """Of leader election."""

    def leading(self, lease: str, yes: bool, /) -> None:
        """We began or ceased to lead."""
        ...


class EventInstruments(Protocol):
    """Of the event recorder."""

    def recorded(self, outcome: str, /) -> None:
        """An event met its end: created, series, merged, dropped or failed."""
        ...


class Silence:
    """Counts nothing; fits every protocol of this module."""

    def added(self, queue: str, /) -> None:
        """Ignore."""

    def retried(self, queue: str, /) -> None:
        """Ignore."""

    def depth(self, queue: str, ready: int, /) -> None:
        """Ignore."""

    def waited(self, queue: str, seconds: float, /) -> None:
        """Ignore."""

    def worked(self, queue: str, seconds: float, /) -> None:
        """Ignore."""

    def reconciled(self, controller: str, outcome: str, seconds: float, /) -> None:
        """Ignore."""

    def asleep(self, controller: str, gate: str, yes: bool, /) -> None:
        """Ignore."""

    def state(self, resource: str, state: str, /) -> None:
        """Ignore."""

    def event(self, resource: str, type_: str, /) -> None:
        """Ignore."""

    def relisted(self, resource: str, reason: str, /) -> None:
        """Ignore."""

    def restarted(self, resource: str, reason: str, /) -> None:
        """Ignore."""

    def poisoned(self, resource: str, /) -> None:
        """Ignore."""

    def objects(self, resource: str, count: int, /) -> None:
        """Ignore."""

    def leading(self, lease: str, yes: bool, /) -> None:
        """Ignore."""

    def recorded(self, outcome: str, /) -> None:
        """Ignore."""


SILENCE = Silence()
