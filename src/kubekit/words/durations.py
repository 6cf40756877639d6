"""Durations as Go writes them, and so Kubernetes: `1m2.5s`. Pure conversions."""

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
