"""The words for a point of a bucket, as far as they can be judged without the bucket. Pure.

latest              the newest complete one
YYYY-MM-DD-HHMMSS   the folder of a timestamped copy, or the moment of a mirror's copy
RUN                 a run's id
as-of:TIME          the newest whose copy is not later: RFC 3339, a date (its end, in UTC), or an age such as `2h`
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from datamover.api.periods import read_period
from datamover.api.transfer import TIMESTAMP_FORM

LATEST: Final = "latest"
AS_OF: Final = "as-of:"
FORMS: Final = "write latest, YYYY-MM-DD-HHMMSS, a run's id, or as-of:TIME"
MOMENTS: Final = (
    "write a moment with its zone (2024-08-06T14:30:00Z), a date (2024-08-06, its end in UTC) or an age (2h, 3d)"
)
PATTERN: Final = r"^(as-of:[0-9][0-9A-Za-z:.+-]{0,63}|[A-Za-z0-9][A-Za-z0-9._-]{0,127})$"
"""What every such word looks like; that there is such a moment it does not say."""

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_PATTERN: Final = re.compile(PATTERN)
_FOLDER: Final = "%Y-%m-%d-%H%M%S"


def read_moment(text: str, *, now: datetime) -> str:
    """Return the moment that follows `as-of:` as `YYYY-MM-DD-HHMMSS` in UTC; ages are reckoned from `now`. Raises ValueError with a sentence."""
    try:
        if _DATE.fullmatch(text):
            return f"{datetime.fromisoformat(text):%Y-%m-%d}-235959"
        if TIMESTAMP_FORM.fullmatch(text):
            date, clock = text[:10].split("-"), text[11:]
            datetime(*map(int, (*date, clock[0:2], clock[2:4], clock[4:6])), tzinfo=UTC)
            return text
        # the engine takes a number alone for seconds; whoever writes 20240806 means a day
        seconds = None if text.isdecimal() else read_period(text)
        if seconds is not None:
            return f"{now - timedelta(seconds=seconds):{_FOLDER}}"
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return f"{found.astimezone(UTC):{_FOLDER}}"
    except (ValueError, OverflowError):
        pass
    raise ValueError(MOMENTS)


def settle(word: str, *, now: datetime) -> str:
    """Return the word with the moment that it means at `now` in the place of an age: whoever reads it later means the same point (law L6).

    Raises ValueError with a sentence for people, when it is no such word.
    """
    if _PATTERN.fullmatch(word) is None:
        raise ValueError(FORMS)
    if not word.startswith(AS_OF):
        return word
    return f"{AS_OF}{read_moment(word.removeprefix(AS_OF), now=now)}"
