"""Quantities are exact."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubekit.words.quantity import larger, parse_quantity

VALUES = {
    "1": Decimal(1),
    "10Gi": Decimal(10 * 2**30),
    "1.5Gi": Decimal(3 * 2**29),
    "500m": Decimal("0.5"),
    "100n": Decimal("1e-7"),
    "3u": Decimal("3e-6"),
    "2k": Decimal(2000),
    "1Ki": Decimal(1024),
    "1M": Decimal(10**6),
    "1Mi": Decimal(2**20),
    "1T": Decimal(10**12),
    "1Ti": Decimal(2**40),
    "1P": Decimal(10**15),
    "1Pi": Decimal(2**50),
    "1E": Decimal(10**18),
    "1Ei": Decimal(2**60),
    "1e3": Decimal(1000),
    "1E3": Decimal(1000),
    "1e-3": Decimal("0.001"),
    "+2": Decimal(2),
    "-2": Decimal(-2),
    ".5": Decimal("0.5"),
    "1.": Decimal(1),
}


@pytest.mark.parametrize("text", VALUES)
def test_quantity(text: str) -> None:
    assert parse_quantity(text) == VALUES[text]


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "1GB", "1K", "1gi", "1e", "0x10", "1,5", "1e3Gi", "--1", "١Gi", "1Gi\n1"]
)
def test_what_is_no_quantity_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity") as caught:
        parse_quantity(text)
    assert repr(text) in str(caught.value)


def test_numbers_as_json_may_hold_them() -> None:
    assert parse_quantity(1024) == 1024
    assert parse_quantity(0.5) == Decimal("0.5")


LARGER = {
    "the first": ("10Gi", "5Gi", "10Gi"),
    "the second": ("1Gi", "1025Mi", "1025Mi"),
    "equal, as the first is written": ("1Gi", "1024Mi", "1Gi"),
    "only one": (None, "5Gi", "5Gi"),
    "none": (None, None, None),
    "an unreadable one loses": ("lots", "1Ki", "1Ki"),
    "a number": (2048, "1Ki", "2048"),
}


@pytest.mark.parametrize("case", LARGER)
def test_larger(case: str) -> None:
    first, second, expected = LARGER[case]
    assert larger(first, second) == expected


QUANTITIES = st.builds(
    lambda number, suffix: f"{number}{suffix}",
    st.integers(0, 10**6),
    st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi", "Ti", "G", "e3"]),
)


@given(QUANTITIES, QUANTITIES)
def test_the_larger_one_is_one_of_both_and_not_smaller(first: str, second: str) -> None:
    chosen = larger(first, second)
    assert chosen in (first, second)
    assert parse_quantity(chosen) == max(parse_quantity(first), parse_quantity(second))


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    try:
        amount = parse_quantity(text)
    except ValueError:
        return
    assert amount.is_finite()
