"""The words of copy triggers: annotations of the source claim, their values, and what is said of them. Pure.

They are another project's interface: users' scripts rely on each of them, so they never change.
"""

from collections.abc import Mapping
from typing import Final

from datamover.api import names

PREFIX: Final = "volsync.backube/"

USE_ANNOTATION: Final = f"{PREFIX}use-copy-trigger"
"""The user's: its presence counts, whatever its value, `false` and nothing included."""
TRIGGER_ANNOTATION: Final = f"{PREFIX}copy-trigger"
"""The user's: any text that is not empty. One that differs from the latest lets the copy be taken."""
STATUS_ANNOTATION: Final = f"{PREFIX}latest-copy-status"
LATEST_ANNOTATION: Final = f"{PREFIX}latest-copy-trigger"
SINCE_ANNOTATION: Final = f"{PREFIX}latest-copy-trigger-waiting-since"
"""RFC 3339 in UTC, whole seconds; there only while somebody waits."""

OURS: Final = frozenset({STATUS_ANNOTATION, LATEST_ANNOTATION, SINCE_ANNOTATION})
"""All that is ever changed of a source (law L1)."""
ALL: Final = OURS | {USE_ANNOTATION, TRIGGER_ANNOTATION}

CONSUMED_ANNOTATION: Final = f"{names.GROUP}/consumed-copy-trigger"
"""On a copy, from its creation: the trigger that it was taken for."""

TIMEOUT: Final = 600.0
"""Seconds of waiting after which it is told that nobody triggers."""

ACTION: Final = "CreateSrcCopyUsingCopyTrigger"
"""The action of all events of copy triggers."""


class Status:
    """Values of `latest-copy-status`."""

    WAITING: Final = "WaitingForTrigger"
    IN_PROGRESS: Final = "InProgress"
    COMPLETED: Final = "Completed"


def note_waiting(claim: str) -> str:
    """Return the note of the event that a copy waits."""
    return f"Waiting on copy trigger on {_source(claim)} before creating snapshot or clone"


def note_timed_out(claim: str) -> str:
    """Return the note of the event that it has waited too long."""
    return f"waiting on copy trigger on {_source(claim)} before creating snapshot or clone; check PVC annotations"


def note_received(claim: str) -> str:
    """Return the note of the event that the copy is taken now."""
    return f"Received updated copy trigger on {_source(claim)}, proceeding to create snapshot or clone"


def note_completed(claim: str) -> str:
    """Return the note of the event that the copy is there."""
    return f"snapshot or clone complete for {_source(claim)} using copy trigger"


def describe_timeout(claim: str) -> str:
    """Return what a status says of a wait that takes too long."""
    return f"Timed out waiting for copy-trigger to be modified for pvc {claim}"


def is_used(annotations: Mapping[str, str]) -> bool:
    """Tell whether the user of a claim wants to say when copies are taken."""
    return USE_ANNOTATION in annotations


def _source(claim: str) -> str:
    return f"src PVC PersistentVolumeClaim/{claim}"
