"""What is recorded of a run: what the kind's status says of it now. Pure."""

from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """How far a run is recorded to be."""

    COPYING = 1
    COPIED = 2
    MOVING = 3
    CLEANING = 4
    DONE = 5


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is moved of how much, as it was last recorded; None where nothing was."""

    bytes: int | None = None
    total_bytes: int | None = None
    files: int | None = None
    total_files: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What a kind's status says of its run. A kind that cannot record something leaves it out: a run then says a word twice, or asks the
    server once more. Only `copied` is missed: without it, attempts on a copy by snapshot are told the second of the run when that is gone.

    `begun` is the second in which the run was recorded, `copied` the one before which the copy was not made, both as
    `kubekit.words.timestamps.folder` writes them. `reason` is the reason that is told now. `halted` is whether the status says that the
    run is not at work. `since` is when the stage began. `cancelled` is since when the run is recorded to be cancelled, None when it is not.
    """

    stage: Stage
    begun: str
    copied: str | None = None
    reason: str = ""
    halted: bool = False
    since: str | None = None
    cancelled: str | None = None
    attempts: int = 0
    amounts: Amounts = Amounts()
