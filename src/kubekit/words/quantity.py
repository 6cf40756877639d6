"""Kubernetes quantities (`1Gi`, `500m`, `1e3`), as exact numbers."""

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?$", re.ASCII)


def parse_quantity(value: str | float) -> Decimal:
    """Return the number that a quantity names. Raises ValueError that quotes it."""
    match = _QUANTITY.match(str(value).strip())
    if match is None:
        raise ValueError(f"{str(value)[:40]!r} is not a quantity such as 10Gi or 500m")
    number, exponent, suffix = match.groups()
    return Decimal(number + (exponent or "")) * _SUFFIXES[suffix or ""]


def larger(first: str | float | None, second: str | float | None) -> str | None:
    """Return the larger of two quantities as it was written; None counts as nothing. Unreadable ones lose."""
    best: tuple[Decimal, str] | None = None
    for candidate in (first, second):
        if candidate is None:
            continue
        try:
            amount = parse_quantity(candidate)
        except ValueError:
            continue
        if best is None or amount > best[0]:
            best = (amount, str(candidate))
    return best[1] if best else None
