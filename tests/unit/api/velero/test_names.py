"""How Velero shortens what it writes into labels."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.velero.names import label_value


@pytest.mark.parametrize("length", [1, 62, 63])
def test_a_name_that_fits_stays(length: int) -> None:
    assert label_value("b" * length) == "b" * length


@pytest.mark.parametrize("length", [64, 100, 200, 253])
def test_a_longer_one_is_57_characters_and_six_digits_of_its_hash(length: int) -> None:
    name = "b" * length
    assert label_value(name) == "b" * 57 + hashlib.sha256(name.encode()).hexdigest()[:6]


def test_a_known_value() -> None:
    name = "the-really-long-location-name-that-is-much-more-than-63-characters"
    assert (
        label_value(name) == "the-really-long-location-name-that-is-much-more-than-63-c69e779"
    )  # sha256sum says 69e7796b…


@given(st.text(max_size=300))
def test_whatever_the_name_there_is_a_short_value(name: str) -> None:
    assert len(label_value(name).encode(errors="replace")) <= 63
