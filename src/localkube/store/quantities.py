"""Quantities: parsing, comparing, and the one spelling that the API server gives back (`1024Mi` is `1Gi`).

Source: Kubernetes `resource.Quantity`.
"""

import re
from decimal import ROUND_UP, Decimal, InvalidOperation

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
FAULT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
"""What is said of text that is no quantity."""


def parse_quantity(text: str) -> Decimal:
    """Return the exact value. Raises ValueError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(FAULT)
    number, suffix = match[1], match[2] or ""
    try:
        value = Decimal(number)
    except InvalidOperation:
        raise ValueError(FAULT) from None
    if suffix in _BINARY:
        return value * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return value.scaleb(_DECIMAL[suffix])
    return value.scaleb(int(suffix[1:]))


def canonical_quantity(text: str) -> str:
    """Return the spelling that the server gives back. Raises ValueError."""
    value = parse_quantity(text)
    suffix = (_FORM.fullmatch(text) or [None, None, ""])[2] or ""
    value = value.quantize(Decimal("1e-9"), rounding=ROUND_UP)
    if suffix in _BINARY and value == value.to_integral_value() and abs(value) >= 1024:
        whole, power = int(value), 0
        while power < 6 and whole % 1024 == 0:
            whole, power = whole // 1024, power + 1
        return f"{whole}{next((name for name, p in _BINARY.items() if p == power), '')}"
    exponent = 18 if value else 0
    while exponent > -9 and value.scaleb(-exponent) != value.scaleb(-exponent).to_integral_value():
        exponent -= 3
    whole = int(value.scaleb(-exponent))
    if suffix[:1] in {"e", "E"} and suffix not in _DECIMAL:
        return f"{whole}e{exponent}" if exponent else str(whole)
    return f"{whole}{next(name for name, p in _DECIMAL.items() if p == exponent)}"
