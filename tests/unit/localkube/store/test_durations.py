from datetime import UTC, datetime

import pytest

from localkube.store.durations import age, between, human

NOW = datetime(2024, 8, 6, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-2, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3599, "59m"),
        (3600, "60m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 61, "3h1m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (2 * 365 * 86400, "2y"),
        (2 * 365 * 86400 + 86400, "2y1d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_durations_have_at_most_two_units(seconds, shown):
    assert human(seconds) == shown


def test_ages_are_told_from_timestamps():
    assert age("2024-08-06T14:29:00Z", NOW) == "60s"
    assert age(None, NOW) == "<unknown>"
    assert age("garbage", NOW) == "<unknown>"


def test_a_span_ends_now_when_its_end_is_not_known():
    assert between("2024-08-06T14:00:00Z", "2024-08-06T14:00:05Z", NOW) == "5s"
    assert between("2024-08-06T14:29:50Z", None, NOW) == "10s"
    assert between(None, None, NOW) == ""
