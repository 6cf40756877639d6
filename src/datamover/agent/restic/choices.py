"""What the object asks for, read from the options in the environment, and which snapshot is restored. Pure.

The options are words of a user: only those that the operator writes are understood, so that nobody gives restic a flag of their own.
"""

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from datamover.agent.restic.messages import Snapshot
from datamover.api import restic

_KEEP: Final = re.compile(
    r"--keep-(?:last|hourly|daily|weekly|monthly|yearly|within(?:-(?:hourly|daily|weekly|monthly|yearly))?)"
)
_VALUE: Final = re.compile(r"-1|unlimited|[0-9][0-9a-zA-Z]{0,30}")
_NOTHING: Final = re.compile(r"0+[hdmy]?")
LAST: Final = "--keep-last"


def read_policy(text: str) -> tuple[str, ...]:
    """Return the flags of `forget` that `FORGET_OPTIONS` holds, and never fewer than keep the last snapshot (law L3).

    Raises ValueError with a sentence.
    """
    try:
        words = [part for word in shlex.split(text) for part in word.split("=", 1)]
    except ValueError:
        raise ValueError("it has a quotation mark that is not closed") from None
    flags: dict[str, str] = {}
    while words:
        flag = words.pop(0)
        if not _KEEP.fullmatch(flag):
            raise ValueError(f"it has {flag[:40]!r}; only flags that begin with --keep- are taken, such as {restic.DEFAULT_FORGET_OPTIONS}")  # fmt: skip
        value = words.pop(0) if words else ""
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"{flag} has the value {value[:40]!r}; write a number, or a time such as 3d12h for --keep-within"
            )
        flags[flag] = value
    if _NOTHING.fullmatch(flags.get(LAST, "0")):
        # whatever else is kept, the newest snapshot is; restic itself would go by the policy alone
        flags[LAST] = "1"
    return tuple(part for pair in flags.items() for part in pair)


def read_restore_options(text: str) -> tuple[str, ...]:
    """Return the flags of `restore` that `RESTORE_OPTIONS` holds. Raises ValueError with a sentence."""
    words = text.split()
    for word in words:
        if word != restic.DELETE_EXTRA_FILES:
            raise ValueError(f"it has {word[:40]!r}; only {restic.DELETE_EXTRA_FILES} is taken, which enableFileDeletion stands for")  # fmt: skip
    return tuple(dict.fromkeys(words))


def read_moment(text: str) -> datetime | None:
    """Return the moment that RFC 3339 names, in whole seconds; None when there is none."""
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.astimezone(UTC).replace(microsecond=0) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def choose_snapshot(
    snapshots: Sequence[Snapshot], *, as_of: datetime | None, previous: int, host: str = restic.HOST
) -> Snapshot | None:
    """Return the newest snapshot of our host up to `as_of`, or one `previous` steps older; None when there is none.

    Moments count in whole seconds, as objects write them.
    """
    dated = [(read_moment(each.time), each) for each in snapshots if each.hostname == host]
    eligible = [(moment, each) for moment, each in dated if moment is not None and (as_of is None or moment <= as_of)]
    # of two in the same second the later one in full
    eligible.sort(key=lambda pair: (pair[0], pair[1].time), reverse=True)
    return eligible[previous][1] if previous < len(eligible) else None
