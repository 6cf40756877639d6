"""Durations as Go writes them."""

import pytest

from kubekit.words.durations import duration, duration_of_seconds, nanoseconds_of

SAID_BY_GO = [
    (0, "0s"),
    (1, "1ns"),
    (999, "999ns"),
    (1000, "1µs"),
    (1500, "1.5µs"),
    (999999, "999.999µs"),
    (1000000, "1ms"),
    (300000000, "300ms"),
    (999999999, "999.999999ms"),
    (1000000000, "1s"),
    (1500000000, "1.5s"),
    (8594905473, "8.594905473s"),
    (59999999999, "59.999999999s"),
    (60000000000, "1m0s"),
    (62500000000, "1m2.5s"),
    (3600000000000, "1h0m0s"),
    (3600000000001, "1h0m0.000000001s"),
    (93600000000000, "26h0m0s"),
    (-1500000000, "-1.5s"),
    (9223372036854775807, "2562047h47m16.854775807s"),
]


@pytest.mark.parametrize(("nanoseconds", "text"), SAID_BY_GO)
def test_a_duration_is_written_as_go_writes_it(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.3, "300ms"), (62.5, "1m2.5s"), (8.594905473, "8.594905s"), (5, "5s"), (1e-9, "0s")],
)
def test_seconds_are_told_to_the_microsecond(seconds: float, text: str) -> None:
    assert duration_of_seconds(seconds) == text


@pytest.mark.parametrize(("nanoseconds", "text"), SAID_BY_GO)
def test_what_go_writes_is_read_again(nanoseconds: int, text: str) -> None:
    assert nanoseconds_of(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("10m", 600),
        ("+5s", 5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("1h30m", 5400),
        ("5us", 5e-6),
        ("-2m", -120),
    ],
)
def test_what_people_write_is_read(text: str, seconds: float) -> None:
    assert nanoseconds_of(text) == round(seconds * 1_000_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+",
        "10",
        "m",
        ".m",
        "1x",
        "1m ",
        " 1m",
        "1,5s",
        "--1s",
        "²s",
        "1e3s",
        "99999999999h",
        "9223372036854775808ns",
        "1s" * 200,
        "9" * 5000 + "s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        nanoseconds_of(text)
