"""Lengths of time as the engine writes them: `90`, `1.5d`, `1h30m`. Pure."""

import re
from typing import Final

PATTERN: Final = "^([0-9]+([.][0-9]+)?(s|m|h|d|w|y))+$"
"""What a field of ours takes of it: with units, none of which is smaller than a second or differs from another one by a capital letter alone."""

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 7 * 86_400.0,
    "M": 30 * 86_400.0,
    "y": 365 * 86_400.0,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|ms|[smhdwMy])")
_LONGEST = 64


def read_period(text: str) -> float | None:
    """Return the seconds that a period stands for (a bare number is seconds), or None when it is none, such as a date or `off`."""
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
