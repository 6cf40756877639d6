"""An action that is loaded when something is asked of it.

A Velero server starts this program for each backup, whatever is in it, and asks first what the actions want to see. Most backups have no hosted control
plane: for them the verdict, and the way to the API server, need not be loaded.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from datamover.velero.actions import Call, Executed, Operations, Progress, Selector

NAME = "datamover.a-cup-of.coffee/hosted-control-plane"
"""Of the actions for hosted control planes, of either kind."""
CONTROL_PLANES = "hostedcontrolplanes.hypershift.openshift.io"


class Followed(Operations, Protocol):
    """What is loaded."""

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        """Look at one item while it is backed up."""
        ...


class Deferred:
    """Of kind BackupItemActionV2, for HostedControlPlanes only: no other item costs anything. Safe for threads."""

    name = NAME
    selector = Selector(resources=(CONTROL_PLANES,))

    def __init__(self, load: Callable[[], Followed]) -> None:
        """`load` is called once, when something is asked for the first time."""
        self._load = load
        self._lock = threading.Lock()
        self._loaded: Followed | None = None

    @property
    def operations(self) -> Operations:
        """Return itself."""
        return self

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        """Ask the action."""
        return self._action().execute(item, backup, call)

    def progress(self, operation: str, backup: bytes, call: Call, /) -> Progress:
        """Ask the action."""
        return self._action().progress(operation, backup, call)

    def cancel(self, operation: str, backup: bytes, call: Call, /) -> None:
        """Ask the action."""
        self._action().cancel(operation, backup, call)

    def _action(self) -> Followed:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded
