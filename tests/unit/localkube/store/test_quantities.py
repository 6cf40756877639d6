from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localkube.store.quantities import canonical_quantity, parse_quantity


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("1000e3", "1e6"),
        ("0", "0"),
        ("00100Mi", "100Mi"),
        ("1023", "1023"),
        ("1Ki", "1Ki"),
        ("-5Gi", "-5Gi"),
        (".5", "500m"),
        ("10G", "10G"),
        ("12000000", "12M"),
        ("0.5Ki", "512"),
    ],
)
def test_a_quantity_is_spelled_as_the_server_spells_it(given, canonical):
    assert canonical_quantity(given) == canonical


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1gi", "Gi", "1.2.3", "--1", "1KiB", "1e", "0x10"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="quantities must match"):
        parse_quantity(text)


def test_quantities_of_different_suffixes_compare_by_value():
    assert parse_quantity("1Gi") == Decimal(2**30)
    assert parse_quantity("1G") < parse_quantity("1Gi") < parse_quantity("1.1Gi")
    assert parse_quantity("100m") == Decimal("0.1")


SUFFIXES = st.sampled_from(["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"])


@given(st.integers(min_value=-(10**6), max_value=10**6), SUFFIXES)
def test_the_canonical_spelling_keeps_the_value_and_is_stable(number, suffix):
    spelled = canonical_quantity(f"{number}{suffix}")

    assert parse_quantity(spelled) == parse_quantity(f"{number}{suffix}")
    assert canonical_quantity(spelled) == spelled
