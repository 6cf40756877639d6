"""Numbers formatted for people. Pure; the agent reads this at every start, so nothing slow is imported."""

from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP: Final = 1024
_TENTHS: Final = 100
"""Amounts below this are shown with one decimal digit."""


def count(number: int, noun: str) -> str:
    """Return `1 file`, `3 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return a number of bytes in the unit that suits it: `0 B`, `1023 B`, `1.5 KiB`, `256 MiB`. Rounded down, so never more than there is."""
    amount, unit = number, 0
    rest = 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, rest = divmod(amount, _STEP)
        unit += 1
    tenths = f".{rest * 10 // _STEP}" if unit and amount < _TENTHS else ""
    return f"{amount}{tenths} {_UNITS[unit]}"


def duration(seconds: int) -> str:
    """Return `45s`, `1m30s`, `2h05m`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
