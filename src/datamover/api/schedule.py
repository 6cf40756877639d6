"""Schedules: when the next time has come, for any kind that has one.

A schedule is a cron expression as robfig/cron reads it, the library behind Kubernetes' own CronJob. The search for the next time is the
library cronsim's; what the two read differently is written out here before cronsim sees it:

- Of day-of-month and day-of-week, both count when one of them is a star, and either when both are restricted. A star is `*`, `?` or `*/1`,
  but not `*/2`, which cronsim takes for one.
- Sunday is 0; there is no 7. There is no `L`, no `#`, and no sixth field.
- A part may have a sign and leading zeros, empty parts of a list do not count, and what follows the star of `*-5` neither.
- A local time that does not exist, when clocks go forward, does not come. One that exists twice, when they go back, comes twice. cronsim
  follows Debian's cron there, so it is only asked about clocks that nobody sets.

In one thing this is better than robfig/cron, which passes over an hour, a day or a week, or comes on the wrong day, where a zone's clock is
set at midnight or by half an hour (Beirut, Lord Howe): here nothing is passed over but the times that do not exist.

Pure but for the time zones, which Python reads from the machine's or from the package tzdata's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

from datamover.api.validation import quote

LONGEST: Final = 1024
"""Characters of a schedule. The longest that says anything lists sixty minutes and is shorter than 400."""


class ScheduleError(ValueError):
    """A schedule that cannot be kept. The text says why, and what to write."""


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def number(self, text: str, whole: str) -> int:
        """Return what a part means. Names count from the first value of the field."""
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.first
        if not re.fullmatch(r"\+?[0-9]{1,9}", text):
            raise ScheduleError(f"{quote(whole)} is no {self.name}: write {self.first} to {self.last}")
        return int(text)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_DAY, _MONTH, _WEEKDAY = 2, 3, 4
_DESCRIPTORS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EXAMPLE: Final = "`0 3 * * *` is every day at three"
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SPACE: Final = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""What Go takes for white space: Python's `split` knows four characters more."""
_ZONE: Final = re.compile(r"(?:CRON_)?TZ=([^ ]*)(?: (.*))?", re.DOTALL)
_STEP: Final = timedelta(days=7)
"""How far apart a zone's clock is looked at. No zone sets it twice within a week."""
_SECOND: Final = timedelta(seconds=1)
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """A schedule that can be kept."""

    expression: str
    """The five fields as cronsim reads them: stars, and lists of numbers."""
    zone: ZoneInfo | None
    """None is UTC."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after a moment, in UTC. None when there is none within fifty years.

        The clock of the zone is followed from one change to the next: between two of them it is a clock that nobody sets.
        """
        at = min(max(moment.astimezone(UTC), _EARLIEST), _LATEST)
        offset = self._offset(at)
        while (found := _following(self.expression, (at + offset).replace(tzinfo=None))) is not None:
            candidate = found.replace(tzinfo=UTC) - offset
            change = self._change(at, candidate, offset)
            if change is None:
                return candidate
            offset = self._offset(change)
            at = change - _SECOND  # the time of the change itself may be the next one
        return None

    def _offset(self, at: datetime) -> timedelta:
        """Return how far the zone's clock is ahead."""
        ahead = None if self.zone is None else at.astimezone(self.zone).utcoffset()
        return ahead or timedelta(0)

    def _change(self, after: datetime, until: datetime, offset: timedelta) -> datetime | None:
        """Return the second in which the clock is set for the first time in (after, until], if it is."""
        if self.zone is None:
            return None
        before = after
        while before < until:
            later = min(before + _STEP, until)
            if self._offset(later) != offset:
                return self._bisected(before, later, offset)
            before = later
        return None

    def _bisected(self, before: datetime, later: datetime, offset: timedelta) -> datetime:
        while later - before > _SECOND:
            middle = before + timedelta(seconds=(later - before) // _SECOND // 2)
            if self._offset(middle) == offset:
                before = middle
            else:
                later = middle
        return later.replace(microsecond=0)


@lru_cache(maxsize=1024)
def parse(text: str) -> Schedule:
    """Return the schedule that a text means. Raises ScheduleError."""
    if len(text) > LONGEST:
        raise ScheduleError(f"the schedule has {len(text):,} characters, and {LONGEST:,} are the most: {_EXAMPLE}")
    zone, expression = _zone_of(text)
    if expression.startswith("@"):
        expression = _described(expression)
    fields = [part for part in _SPACE.split(expression) if part]
    if len(fields) != len(_FIELDS):
        raise ScheduleError(
            f"the schedule {quote(text)} needs five fields (minute, hour, day of the month, month, day of the week) "
            f"and has {len(fields)}: {_EXAMPLE}"
        )
    sets = [_values(part, field) for part, field in zip(fields, _FIELDS, strict=True)]
    _check_comes(text, sets)
    return Schedule(" ".join("*" if values is None else _listed(values) for values in sets), zone)


def _zone_of(text: str) -> tuple[ZoneInfo | None, str]:
    """Return the zone that a schedule begins with, and the rest. None is UTC, where the operator runs."""
    found = _ZONE.match(text)
    if found is None:
        return None, text
    name, rest = found[1], found[2]
    if rest is None:
        raise ScheduleError(f"the schedule {quote(text)} ends with its time zone: {_EXAMPLE}, after one blank")
    if name in {"", "UTC", "Local"}:
        return None, rest.strip()
    try:
        return ZoneInfo(name), rest.strip()
    except (OSError, ValueError, LookupError) as error:  # a folder, a damaged file, a path, no such zone
        raise ScheduleError(
            f"there is no time zone {quote(name)}: write a name of the tz database, as CRON_TZ=Europe/Berlin"
        ) from error


def _described(text: str) -> str:
    try:
        return _DESCRIPTORS[text]
    except KeyError:
        known = ", ".join(sorted(_DESCRIPTORS))
        raise ScheduleError(f"{quote(text)} is no schedule: write one of {known}, or five fields") from None


def _values(text: str, field: _Field) -> frozenset[int] | None:
    """Return the values of a field; None for a star."""
    parts = [_part(part, field) for part in text.split(",") if part]
    if not parts:
        raise ScheduleError(f"{quote(text)} names no {field.name}: write {field.first} to {field.last}, or *")
    if None in parts:  # one star among the parts makes the whole a star
        return None
    return frozenset(value for part in parts if part is not None for value in part)


def _part(text: str, field: _Field) -> range | None:
    """Return the values of one part of a list; None for a star."""
    whole, slash, step_text = text.partition("/")
    low, hyphen, high = whole.partition("-")
    if "/" in step_text or (hyphen and "-" in high):
        raise ScheduleError(f"{quote(text)} is no {field.name}: write one number, a range as 1-5, or steps as */10")
    step = _step(step_text, text, field) if slash else 1
    star = low in {"*", "?"}
    if star and step == 1:
        return None
    first = field.first if star else field.number(low, text)
    last = field.last if star or slash else first  # a number with a step goes on to the last one
    if hyphen and not star:
        last = field.number(high, text)
    if first < field.first or last > field.last:
        cure = " (Sunday is 0)" if last == 7 and field is _FIELDS[_WEEKDAY] else ""
        raise ScheduleError(f"{quote(text)} is no {field.name}: write {field.first} to {field.last}{cure}")
    if first > last:
        raise ScheduleError(f"{quote(text)} is a range that ends before it begins: write the lower {field.name} first")
    return range(first, last + 1, step)


def _step(text: str, whole: str, field: _Field) -> int:
    if not re.fullmatch(r"\+?[0-9]{1,9}", text) or int(text) == 0:
        raise ScheduleError(f"{quote(whole)} has no step of one {field.name} or more: write a whole number after /")
    return int(text)


def _check_comes(text: str, sets: list[frozenset[int] | None]) -> None:
    """Refuse what never comes, such as the 30th of February. Where a day of the week is named as well, either is enough."""
    days, months = sets[_DAY], sets[_MONTH]
    if days is None or sets[_WEEKDAY] is not None:
        return
    longest = max(_LONGEST_MONTHS[month - 1] for month in (months or range(1, 13)))
    if min(days) > longest:
        raise ScheduleError(
            f"the schedule {quote(text)} never comes: none of its months has a day {min(days)}. Write {longest} or less"
        )


def _listed(values: frozenset[int]) -> str:
    return ",".join(map(str, sorted(values)))


def _following(expression: str, clock: datetime) -> datetime | None:
    """Return the first time after one, on a clock that nobody sets."""
    try:
        return next(CronSim(expression, clock), None)
    except (OverflowError, ValueError):  # the end of the calendar
        return None
