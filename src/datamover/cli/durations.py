"""Durations on the command line: `12h`, `1d12h`, `90m`, or a plain number of seconds."""

import re
from datetime import timedelta
from typing import Final

import click

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([dhms])")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")
_PLAIN: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")


def parse_duration(text: str) -> timedelta:
    """Return the duration. Raises ValueError."""
    if _PLAIN.fullmatch(text):
        return timedelta(seconds=float(text))
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return timedelta(seconds=sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text)))


def tell_duration(duration: timedelta) -> str:
    """Return a duration in one unit or two: `45s`, `12h`, `1d3h`; a negative one is `0s`."""
    left = max(0, int(duration.total_seconds()))
    parts: list[str] = []
    for unit, seconds in _UNITS.items():
        count, left = divmod(left, int(seconds))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


class DurationType(click.ParamType[timedelta]):
    """The option's type: a duration from `least` to `most`, None for the longest that there is."""

    name = "DURATION"

    def __init__(self, *, least: timedelta = timedelta(0), most: timedelta | None = None) -> None:
        self._least = least
        self._most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the duration."""
        if isinstance(value, timedelta):
            return value
        try:
            found = parse_duration(str(value))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a duration such as 12h, 90m or 0", param, ctx)
        if found < self._least or (self._most is not None and found > self._most):
            until = f" to {tell_duration(self._most)}" if self._most is not None else ""
            self.fail(f"{value!r} is not from {tell_duration(self._least)}{until}", param, ctx)
        return found
