"""What an action is: the shapes between the protocol and what is done. Knows no gRPC.

Items, backups and restores are JSON as it came (bytes). An item always goes back whole, also when nothing was changed.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

CALL_LIMIT = 60.0
"""Seconds that an action may be silent within one call. The host sets no limit: whoever hangs would hang the backup."""


class ActionError(Exception):
    """What Velero is told of an item or operation that fails: one sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """The items that an action wants to see: resources as `pods` or `hostedcontrolplanes.hypershift.openshift.io`, and a label selector."""

    resources: tuple[str, ...]
    labels: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What becomes of an item in a backup. `operation` is "" when nothing goes on after the call."""

    item: bytes
    operation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What becomes of an item in a restore."""

    item: bytes
    skip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation is. `error` counts only with `completed`; `done` and `total` are in `units`."""

    completed: bool
    error: str = ""
    done: int = 0
    total: int = 0
    units: str = ""
    description: str = ""
    started: datetime | None = None
    updated: datetime | None = None


class Call:
    """One call of the host: how long it may still take, and whether somebody waits for its answer."""

    def __init__(
        self,
        *,
        limit: float = CALL_LIMIT,
        wanted: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` is in seconds from now."""
        self._now = now
        self._end = now() + limit
        self._wanted = wanted
        self._ended = threading.Event()

    def extend(self, seconds: float) -> None:
        """Say that the action is alive, and wants so many seconds more from now."""
        self._end = max(self._end, self._now() + seconds)

    def left(self) -> float:
        """Return the seconds that are left; not above zero when it is too late."""
        return self._end - self._now()

    def wanted(self) -> bool:
        """Tell whether the answer still matters."""
        return not self._ended.is_set() and self._wanted()

    def end(self) -> None:
        """Say that nobody waits any more."""
        self._ended.set()

    def sleep(self, seconds: float) -> None:
        """Wait, or return early when nobody waits for the answer any more."""
        self._ended.wait(seconds)


class BackupAction(Protocol):
    """Of kind BackupItemActionV2. Called from several threads at once. Raises ActionError; anything else is a fault of ours."""

    @property
    def name(self) -> str:
        """Return the registered name: a DNS name, `/`, a word."""
        ...

    @property
    def selector(self) -> Selector:
        """Return which items it wants to see."""
        ...

    @property
    def operations(self) -> "Operations | None":
        """Return what is asked about the operations that `execute` starts; None when it starts none."""
        ...

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        """Look at one item while it is backed up."""
        ...


class Operations(Protocol):
    """What goes on after `execute`. Called from several threads at once, and in another process than `execute`. Raises ActionError."""

    def progress(self, operation: str, backup: bytes, call: Call, /) -> Progress:
        """Tell how far an operation of `execute` is."""
        ...

    def cancel(self, operation: str, backup: bytes, call: Call, /) -> None:
        """Stop what an operation of `execute` waits for."""
        ...


class RestoreAction(Protocol):
    """Of kind RestoreItemActionV2, without operations and without requests. Called from several threads at once. Raises ActionError."""

    @property
    def name(self) -> str:
        """Return the registered name: a DNS name, `/`, a word."""
        ...

    @property
    def selector(self) -> Selector:
        """Return which items it wants to see."""
        ...

    def execute(self, item: bytes, restore: bytes, /) -> Restored:
        """Look at one item while it is restored."""
        ...
