"""How long ago: ages as kubectl prints them."""

from datetime import datetime

from kubekit.words import timestamps
from localkube.store.trees import text

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def age(stamp: object, now: datetime) -> str:
    """Return the time since a timestamp, or `<unknown>` when there is none."""
    try:
        return human((now - timestamps.parse(text(stamp))).total_seconds())
    except ValueError:
        return "<unknown>"


def between(start: object, end: object, now: datetime) -> str:
    """Return the time from one timestamp to another, or to now; empty when the first is missing."""
    if not text(start):
        return ""
    until = timestamps.parse(text(end)) if text(end) else now
    return human((until - timestamps.parse(text(start))).total_seconds())


def human(seconds: float) -> str:
    """Return a duration in at most two units, the second only where it matters."""
    if seconds < -1:
        return "<invalid>"
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def _two(whole: int, large: int, name: str, small: int, rest: str) -> str:
    minor = whole % large // small
    return f"{whole // large}{name}" + (f"{minor}{rest}" if minor else "")
