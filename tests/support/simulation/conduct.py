"""How the simulated cluster behaves: what a seed chooses before a history begins. Durations in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from datamover.api import transfer

IMMEDIATE: Final = "Immediate"
ON_USE: Final = "WaitForFirstConsumer"


@dataclass(frozen=True)
class End:
    """How a mover ends. Without a `reason` it leaves no outcome, as when it is killed for its memory."""

    exit_code: int
    reason: str = ""
    failure_class: str | None = None
    retryable: bool = False

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0


SUCCESS: Final = End(0, transfer.REASON_SUCCEEDED)
NETWORK: Final = End(47, transfer.REASON_SERVER_UNREACHABLE, transfer.NETWORK, retryable=True)
CREDENTIALS: Final = End(21, transfer.REASON_WRONG_CREDENTIALS, transfer.CREDENTIALS)
KILLED: Final = End(137)
INTERRUPTED: Final = End(143, transfer.REASON_INTERRUPTED, transfer.INTERRUPTED, retryable=True)


@dataclass(frozen=True)
class Conduct:
    """`ends` are those of the attempts, in order; all further ones succeed. `compares` are those of comparisons with a backup. `ends_of` are those of single DataMovers, by name.

    `lag` bounds how late controllers notice anything.
    """

    binding: str = IMMEDIATE
    reclaim: str = "Delete"
    lag: tuple[float, float] = (0.002, 0.02)
    clone: float = 1.0
    snapshot: float = 1.0
    start: float = 0.5
    run: float = 2.0
    removal: float = 0.2
    backoff: float = 10.0
    ends: tuple[End, ...] = (SUCCESS,)
    compares: tuple[End, ...] = ()
    ends_of: Mapping[str, tuple[End, ...]] = field(default_factory=dict[str, tuple[End, ...]])
