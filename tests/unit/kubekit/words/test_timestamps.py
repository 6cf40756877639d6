"""Timestamps: conversions only, always in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubekit.words import timestamps

MOMENT = datetime(2024, 8, 6, 14, 30, 52, tzinfo=UTC)
TEXTS = {
    "as the API server writes it": "2024-08-06T14:30:52Z",
    "with an offset": "2024-08-06T16:30:52+02:00",
    "with a fraction": "2024-08-06T14:30:52.000000Z",
    "without a zone, which is UTC": "2024-08-06T14:30:52",
}


@pytest.mark.parametrize("case", TEXTS)
def test_parse(case: str) -> None:
    assert timestamps.parse(TEXTS[case]) == MOMENT


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01T00:00:00Z"])
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        timestamps.parse(text)


def test_the_documented_forms() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-7)))
    assert timestamps.compact(elsewhere) == "20240806143052"
    assert timestamps.folder(elsewhere) == "2024-08-06-143052"
    assert timestamps.seconds(elsewhere) == "2024-08-06T14:30:52Z"
    assert timestamps.micros(elsewhere) == "2024-08-06T14:30:52.000000Z"


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)))
def test_a_round_trip_keeps_the_moment(moment: datetime) -> None:
    assert timestamps.parse(timestamps.micros(moment)) == moment
    assert timestamps.parse(timestamps.seconds(moment)) == moment.replace(microsecond=0)
