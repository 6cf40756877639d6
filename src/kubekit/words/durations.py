"""Durations as Go writes them, and so Kubernetes: `1m2.5s`. Pure conversions."""

import re
from typing import Final

_SECOND: Final = 1_000_000_000
_SMALL: Final = ((1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


def duration(nanoseconds: int) -> str:
    """Return a duration as Go's `time.Duration` says it: `0s`, `300ms`, `8.594905473s`, `1m2.5s`, `26h0m0s`."""
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left == 0:
        return "0s"
    if left < _SECOND:
        size, unit = next((size, unit) for size, unit in _SMALL if left >= size)
        return f"{sign}{_decimal(left, size)}{unit}"
    minutes, rest = divmod(left, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{before}{_decimal(rest, _SECOND)}s"


def duration_of_seconds(seconds: float) -> str:
    """Return a duration in seconds as Go says it, to the microsecond: a float knows no more of the time since 1970."""
    return duration(round(seconds * 1_000_000) * 1_000)


def _decimal(amount: int, size: int) -> str:
    """Return amount / size, exactly and without zeros at the end."""
    whole, rest = divmod(amount, size)
    digits = len(str(size)) - 1
    fraction = f"{rest:0{digits}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


_UNITS: Final = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3_600 * _SECOND}  # fmt: skip
_PART: Final = re.compile(r"([0-9]{1,19})?(?:\.([0-9]{0,40}))?(ns|us|µs|μs|ms|s|m|h)")
_LONGEST: Final = 200
_LARGEST: Final = (1 << 63) - 1


def nanoseconds_of(text: str) -> int:
    """Return the nanoseconds that a duration of Go says: `10m0s`, `1.5h`, `-2s`, `0`. Raises ValueError for what Go would refuse, and for endless texts."""
    if len(text) > _LONGEST:
        raise ValueError("it is too long for a duration")
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest) or not rest:
        part = _PART.match(rest, at)
        if part is None or (not part[1] and not part[2]):
            raise ValueError("it is no duration such as 10m or 1h30m")
        unit = _UNITS[part[3]]
        fraction = part[2] or ""
        total += int(part[1] or 0) * unit + (int(fraction or 0) * unit // 10 ** len(fraction))
        at = part.end()
    if total > _LARGEST:
        raise ValueError("it is longer than 292 years")
    return -total if negative else total
