"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.amounts import count, duration, size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (3407872, "3.2 MiB"),
        (256 << 20, "256 MiB"),
        ((1 << 30) - 1, "1023 MiB"),
        (1 << 50, "1.0 PiB"),
        ((1 << 63) - 1, "7.9 EiB"),
    ],
)
def test_sizes_have_units(number: int, text: str) -> None:
    assert size(number) == text


@given(st.integers(0, (1 << 63) - 1))
def test_no_size_is_more_than_there_is(number: int) -> None:
    amount, unit = size(number).split()
    factor = 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit)
    assert float(amount) * factor <= number < (float(amount) + 1) * factor + factor


def test_one_is_one() -> None:
    assert [count(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (90, "1m30s"), (3661, "1h01m"), (360000, "100h00m")]
)
def test_durations_are_short(seconds: int, text: str) -> None:
    assert duration(seconds) == text
