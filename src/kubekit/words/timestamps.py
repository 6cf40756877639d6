"""Kubernetes timestamps: RFC 3339 in UTC. Pure conversions, no clock."""

from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T", float, None)


def parse(text: str) -> datetime:
    """Return the moment that `2024-08-06T14:30:52Z` (or with a fraction or offset) names. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment_of(text: str | None, *, default: T) -> float | T:
    """Return the moment that a status names, in seconds since 1970. Whoever may write it may have written anything (law L11)."""
    try:
        return parse(text).timestamp() if text else default
    except (ValueError, OverflowError):
        return default


def seconds(moment: datetime) -> str:
    """Return `metav1.Time`: whole seconds."""
    return f"{moment.astimezone(UTC).isoformat(timespec='seconds')[:19]}Z"  # strftime takes five times as long


def micros(moment: datetime) -> str:
    """Return `metav1.MicroTime`: six digits of a second."""
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"


def compact(moment: datetime) -> str:
    """Return `YYYYMMDDHHMMSS`, for names of objects."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def folder(moment: datetime) -> str:
    """Return `YYYY-MM-DD-HHMMSS`, for names of folders."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d-%H%M%S")
