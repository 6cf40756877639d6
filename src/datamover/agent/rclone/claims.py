"""Claiming a timestamp folder: two runs that start in the same second never write into one folder. Pure.

The rule, for a store where a listing shows every write that ended before it began:

1. A run writes its claim, then lists the claims of that folder. Only one that sees nobody else's, and a folder without objects,
   holds the folder. It never takes its claim back.
2. Where several are seen, the smallest run id waits for the others to withdraw, a few rounds; all others withdraw at once.
3. Who does not hold the folder deletes its claim and takes the next second.

Guarantees: at most one run holds a folder. Of two runs, the one that wrote its claim last lists after both were written, so it sees
the other one; a holder's claim stays, so whoever comes later sees it as well.
Assumptions: run ids are unique to runs; the attempts of one run follow each other.
Caveats: a run that dies between claim and record leaves its claim, and a folder that nobody uses.
"""

from collections.abc import Generator, Iterable
from datetime import timedelta

import msgspec

from datamover.agent.environment import is_timestamp, read_timestamp, write_timestamp
from datamover.agent.errors import Failure
from datamover.api import transfer

ROUNDS = 4
"""How often the smallest run id looks again."""
SECONDS = 600
"""How many seconds, its own the first, a run tries."""

PUT = "put"
LOOK = "look"
WITHDRAW = "withdraw"
PAUSE = "pause"


class Action(msgspec.Struct, frozen=True):
    """What is to be done at the store: put or withdraw this run's claim on `folder`, look at it, or wait before round `number`."""

    kind: str
    folder: str
    number: int = 0


class Seen(msgspec.Struct, frozen=True):
    """The answer to `look`: the run ids that claim the folder, and whether it holds objects."""

    claimants: frozenset[str] = frozenset()
    occupied: bool = False


def find_held(claimed: Iterable[str], *, run_id: str) -> str:
    """Return the folder that a run which has begun holds, by all claims (`<folder>/<run id>.json`): the only one that it claims, and nobody else.
    Empty when that is not certain.
    """
    claimants: dict[str, set[str]] = {}
    for name in claimed:
        folder, slash, record = name.partition("/")
        if slash and is_timestamp(folder):
            claimants.setdefault(folder, set()).add(record.removesuffix(".json"))
    found = [folder for folder, those in claimants.items() if run_id in those]
    return found[0] if len(found) == 1 and claimants[found[0]] == {run_id} else ""


def claiming(timestamp: str, *, run_id: str) -> Generator[Action, Seen, str]:
    """Yield what to do next; return the folder that this run then holds: `timestamp`, or the next free second.

    Raises Failure (retryable) when there is none, and when the store does not keep the claim.
    """
    moment = read_timestamp(timestamp)
    for second in range(SECONDS):
        folder = write_timestamp(moment + timedelta(seconds=second))
        yield Action(PUT, folder)
        seen = yield Action(LOOK, folder)
        if run_id not in seen.claimants:
            raise Failure(
                transfer.VERIFY,
                transfer.REASON_RECORD_LOST,
                f"The store said that it had taken this run's claim on the folder {folder}, and does not list it. Without it two runs may take one"
                " folder. Nothing was moved. It is tried again; if it comes back, look at the store, and at what else deletes there.",
            )
        for number in range(ROUNDS):
            if seen.occupied or seen.claimants == frozenset((run_id,)) or run_id != min(seen.claimants, default=""):
                break
            yield Action(PAUSE, folder, number)
            seen = yield Action(LOOK, folder)
        if seen.claimants == frozenset((run_id,)) and not seen.occupied:
            return folder
        yield Action(WITHDRAW, folder)
    raise Failure(
        transfer.GUARD,
        transfer.REASON_NO_FREE_FOLDER,
        f"No free timestamp folder in the {SECONDS} seconds from {timestamp} on: other runs hold them all. Let fewer DataMovers start in"
        f" the same second, or give each its own {transfer.CUSTOM_PATH_PREFIX}.",
        retryable=True,
    )
