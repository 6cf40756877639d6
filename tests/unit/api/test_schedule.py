"""Schedules as robfig/cron reads them: held against answers that it gave, and against its rules followed minute by minute."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamover.api.schedule import LONGEST, Schedule, ScheduleError, parse
from kubekit.words import timestamps

ANSWERS = [
    # after, schedule, next: what robfig/cron 3.0.1 answered where the machine's zone is UTC
    ("2024-01-31T10:07:30Z", "0 3 * * *", "2024-02-01T03:00:00Z"),
    ("2024-01-31T10:07:30Z", "*/15 * * * *", "2024-01-31T10:15:00Z"),
    ("2024-01-31T10:15:00Z", "*/15 * * * *", "2024-01-31T10:30:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 1,15 * 3", "2024-02-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 */2 * 1", "2024-02-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 */1 * 1", "2024-02-05T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 13 * */1", "2024-02-13T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 1-31 * 5", "2024-02-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 ? * 5", "2024-02-02T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 13 * *,1", "2024-02-13T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 30 2 1", "2024-02-05T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 29 2 *", "2024-02-29T00:00:00Z"),
    ("2024-03-31T10:07:30Z", "0 0 29 2 *", "2028-02-29T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "5/20 * * * *", "2024-01-31T10:25:00Z"),
    ("2024-01-31T10:07:30Z", "5-45/20 * * * *", "2024-01-31T10:25:00Z"),
    ("2024-01-31T10:07:30Z", "*/100 * * * *", "2024-01-31T11:00:00Z"),
    ("2024-01-31T10:07:30Z", "+5 07 * * *", "2024-02-01T07:05:00Z"),
    ("2024-01-31T10:07:30Z", "1,,2 5 * * *", "2024-02-01T05:01:00Z"),
    ("2024-01-31T10:07:30Z", "*-5 5 * * *", "2024-02-01T05:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 1 Jan SUN", "2025-01-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "0 0 * jun-aug mon-fri", "2024-06-03T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "  0   3 * * *  ", "2024-02-01T03:00:00Z"),
    ("2024-01-31T10:07:30Z", "@yearly", "2025-01-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "@annually", "2025-01-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "@monthly", "2024-02-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "@weekly", "2024-02-04T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "@daily", "2024-02-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "@midnight", "2024-02-01T00:00:00Z"),
    ("2024-01-31T10:07:30Z", "@hourly", "2024-01-31T11:00:00Z"),
    ("2024-01-31T10:07:30Z", "CRON_TZ=Europe/Berlin 0 3 * * *", "2024-02-01T02:00:00Z"),
    ("2024-01-31T10:07:30Z", "TZ=America/New_York 0 3 * * *", "2024-02-01T08:00:00Z"),
    ("2024-01-31T10:07:30Z", "TZ=Asia/Kolkata @daily", "2024-01-31T18:30:00Z"),
    ("2024-01-31T10:07:30Z", "TZ=UTC 0 3 * * *", "2024-02-01T03:00:00Z"),
    ("2024-01-31T10:07:30Z", "TZ= 0 3 * * *", "2024-02-01T03:00:00Z"),
    ("2024-03-30T12:00:00Z", "TZ=Europe/Berlin 30 2 * * *", "2024-04-01T00:30:00Z"),
    ("2024-03-31T00:59:00Z", "TZ=Europe/Berlin 0 * * * *", "2024-03-31T01:00:00Z"),
    ("2024-03-31T00:59:00Z", "TZ=Europe/Berlin */7 2,3 * * *", "2024-03-31T01:00:00Z"),
    ("2024-10-26T22:00:00Z", "TZ=Europe/Berlin 30 2 * * *", "2024-10-27T00:30:00Z"),
    ("2024-10-27T00:30:00Z", "TZ=Europe/Berlin 30 2 * * *", "2024-10-27T01:30:00Z"),
    ("2024-10-27T01:30:00Z", "TZ=Europe/Berlin 30 2 * * *", "2024-10-28T01:30:00Z"),
    ("2024-10-27T00:45:00Z", "TZ=Europe/Berlin 15 2 * * *", "2024-10-27T01:15:00Z"),
    ("2024-11-03T05:59:59Z", "TZ=America/New_York 0 1 * * *", "2024-11-03T06:00:00Z"),
]


def following(text: str, after: str) -> str | None:
    found = parse(text).next_after(timestamps.parse(after))
    return None if found is None else timestamps.seconds(found)


@pytest.mark.parametrize(("after", "text", "expected"), ANSWERS)
def test_the_next_time_is_the_one_that_robfig_cron_answers(after: str, text: str, expected: str) -> None:
    assert following(text, after) == expected


def test_where_midnight_does_not_exist_only_the_times_that_do_not_exist_are_left_out() -> None:
    """robfig/cron loses the first hour of such a day, or the whole day."""
    assert following("TZ=Asia/Beirut 30 * * * *", "2025-03-29T21:45:00Z") == "2025-03-29T22:30:00Z"
    assert following("TZ=Asia/Beirut 0 0 * * *", "2025-03-29T12:00:00Z") == "2025-03-30T21:00:00Z"
    assert following("TZ=Australia/Lord_Howe * 2 * * *", "2024-10-05T15:29:00Z") == "2024-10-05T15:30:00Z"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0 * * 7", "'7' is no day of the week: write 0 to 6 (Sunday is 0)"),
        ("0 0 * * 5-7", "(Sunday is 0)"),
        ("60 0 * * *", "'60' is no minute: write 0 to 59"),
        ("0 24 * * *", "'24' is no hour: write 0 to 23"),
        ("0 0 0 * *", "'0' is no day of the month: write 1 to 31"),
        ("0 0 * 13 *", "'13' is no month: write 1 to 12"),
        ("0 0 * foo *", "'foo' is no month"),
        ("0 0 L * *", "'L' is no day of the month"),
        ("0 0 * * 5#2", "'5#2' is no day of the week"),
        ("5-1 * * * *", "ends before it begins"),
        ("*/0 * * * *", "'*/0' has no step"),
        ("*/ * * * *", "'*/' has no step"),
        ("1/2/3 * * * *", "write one number"),
        ("1-2-3 * * * *", "write one number"),
        (", * * * *", "names no minute"),
        ("\u0661 * * * *", "is no minute"),  # a digit, but not of Go's
        ("12345", "and has 1:"),
        ("0 0 * * * *", "and has 6:"),
        ("junk 0 3 * * *", "and has 6:"),
        ("", "and has 0:"),
        ("@every 5m", "is no schedule: write one of @annually, @daily"),
        ("@hourly @daily", "is no schedule"),
        ("CRON_TZ=Mars/Olympus 0 3 * * *", "there is no time zone 'Mars/Olympus'"),
        ("CRON_TZ=Europe 0 3 * * *", "there is no time zone"),  # a folder of the tz database
        ("CRON_TZ=../../etc/passwd 0 3 * * *", "there is no time zone"),
        ("CRON_TZ=/etc/passwd 0 3 * * *", "there is no time zone"),
        ("CRON_TZ=A\0B 0 3 * * *", "there is no time zone"),
        (f"CRON_TZ={'x' * 900} 0 3 * * *", "there is no time zone"),
        ("CRON_TZ=Europe/Berlin", "ends with its time zone"),
        ("0 0 30 2 *", "never comes: none of its months has a day 30. Write 29 or less"),
        ("0 0 31 2,4,6 *", "never comes: none of its months has a day 31. Write 30 or less"),
        ("0," * 5000 + "0 * * * *", f"{LONGEST:,} are the most"),
    ],
)
def test_a_schedule_that_cannot_be_kept_says_why_and_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ScheduleError) as failure:
        parse(text)
    message = str(failure.value)
    assert said in message
    assert len(message) < 300
    assert message.isprintable()


def test_the_longest_list_of_minutes_fits_several_times() -> None:
    minutes = ",".join(str(minute) for minute in range(60))
    assert following(f"{minutes} {','.join(map(str, range(24)))} * * *", "2024-01-31T10:07:30Z") == (
        "2024-01-31T10:08:00Z"
    )


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
def test_a_moment_before_1970_counts_as_the_first_of_1970(moment: str) -> None:
    assert following("TZ=America/New_York 0 0 1 1 *", moment) == "1970-01-01T05:00:00Z"


def test_at_the_end_of_the_calendar_nothing_comes_any_more() -> None:
    """A status may name any moment (law L11)."""
    assert following("0 0 29 2 *", "9999-12-31T23:59:59Z") == "9904-02-29T00:00:00Z"


# --- robfig/cron's rules, minute by minute --------------------------------------------------------------------------

BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Africa/Casablanca"]
MINUTE = timedelta(minutes=1)


def bits(text: str, low: int, high: int) -> tuple[set[int], bool]:
    """Return the values of a field, and whether it is a star."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        whole, _, step = part.partition("/")
        first, _, last = whole.partition("-")
        if first == "*":
            begin, end = low, high
            star |= step in {"", "1"}
        else:
            begin = int(first)
            end = int(last) if last else (high if step else begin)
        values |= set(range(begin, end + 1, int(step or 1)))
    return values, star


def comes(sets: list[tuple[set[int], bool]], clock: datetime) -> bool:
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = sets
    day, weekday = clock.day in days, clock.isoweekday() % 7 in weekdays
    fits = (day and weekday) if any_day or any_weekday else (day or weekday)
    return fits and clock.minute in minutes and clock.hour in hours and clock.month in months


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> str:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    step = st.integers(1, 12)
    part = st.one_of(
        st.just("*"),
        number.map(str),
        pair.map(lambda two: f"{two[0]}-{two[1]}"),
        st.tuples(pair, step).map(lambda found: f"{found[0][0]}-{found[0][1]}/{found[1]}"),
        step.map(lambda by: f"*/{by}"),
        st.tuples(number, step).map(lambda found: f"{found[0]}/{found[1]}"),
    )
    return ",".join(draw(st.lists(part, min_size=1, max_size=3)))


expressions = st.tuples(*(fields(low, high) for low, high in BOUNDS))
changes = st.sampled_from(
    [  # near to changes of clocks in these zones, and to none
        datetime(2024, 3, 30, 21, tzinfo=UTC),
        datetime(2024, 10, 26, 20, tzinfo=UTC),
        datetime(2024, 11, 3, 3, tzinfo=UTC),
        datetime(2024, 10, 5, 13, tzinfo=UTC),
        datetime(2024, 4, 6, 13, tzinfo=UTC),
        datetime(2024, 3, 10, 0, tzinfo=UTC),
        datetime(2024, 2, 28, 20, tzinfo=UTC),
        datetime(2024, 12, 31, 20, tzinfo=UTC),
    ]
)
moments = st.builds(
    lambda start, minutes, seconds: start + timedelta(minutes=minutes, seconds=seconds),
    changes,
    st.integers(0, 600),
    st.integers(0, 59),
)


@settings(max_examples=150, deadline=None)
@given(parts=expressions, zone=st.sampled_from(ZONES), moment=moments)
@example(parts=("30", "2", "*", "*", "*"), zone="Europe/Berlin", moment=datetime(2024, 10, 27, 0, 45, tzinfo=UTC))
@example(parts=("0", "0", "*/2", "*", "1"), zone="UTC", moment=datetime(2024, 2, 28, 20, tzinfo=UTC))
def test_the_next_time_is_the_first_minute_that_the_rules_let_come(
    parts: tuple[str, ...], zone: str, moment: datetime
) -> None:
    try:
        found = parse(f"CRON_TZ={zone} {' '.join(parts)}").next_after(moment)
    except ScheduleError as failure:
        assert "never comes" in str(failure)  # noqa: PT017
        found = None
    sets = [bits(part, low, high) for part, (low, high) in zip(parts, BOUNDS, strict=True)]
    clock = ZoneInfo(zone)
    minute = moment.replace(second=0) + MINUTE
    end = minute + timedelta(hours=30)
    while minute < end and not comes(sets, minute.astimezone(clock)):
        minute += MINUTE
    if minute < end:
        assert found == minute
    else:
        assert found is None or found >= end


digits = st.text("0123456789", min_size=1, max_size=3)
group = st.one_of(
    st.lists(digits, min_size=1, max_size=3).map(",".join),
    st.tuples(digits, st.sampled_from("/-"), digits).map("".join),
    st.just("*"),
    digits.map("*/{}".format),
)
let_pass = st.one_of(
    st.tuples(
        st.sampled_from(["", "junk ", "CRON_TZ=Europe/Berlin ", "TZ=Mars ", "@", "TZ="]),
        st.lists(group, min_size=5, max_size=5),
        st.sampled_from([" ", "", "\n", "\t"]),
    ).map(lambda parts: parts[0] + parts[2].join(parts[1])),
    st.tuples(st.sampled_from(["@hourly", "@annually"]), st.text(max_size=5)).map("".join),
)
"""Texts that the definitions' pattern lets pass: it is not anchored at the left, and blanks are optional."""
anything = st.text("0123456789*/,-?@ LWTZCRON_=#MONjan\n\t\0\u00e9", max_size=40)


@settings(max_examples=200, deadline=None)
@given(text=let_pass | anything)
def test_whatever_the_definitions_let_pass_or_anybody_writes_is_a_schedule_or_told(text: str) -> None:
    try:
        schedule = parse(text)
    except ScheduleError as failure:
        assert str(failure)  # noqa: PT017
    else:
        assert isinstance(schedule, Schedule)
        assert schedule.next_after(datetime(2024, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    "text",
    [
        "TZ=Africa/Casablanca 59 23 29 2 *",
        "*/999999999 * * * *",
        f"{'*,' * 500}* * * * *",
        "TZ=Europe/Berlin 0 0 29 2 ?",
    ],
)
def test_rare_and_long_ones_cost_little(text: str) -> None:
    """Of CPU: a machine that is busy makes nobody wait longer."""
    began = time.process_time()
    for year in range(2001, 2021):
        parse(text).next_after(datetime(year, 3, 1, tzinfo=UTC))
    assert time.process_time() - began < 2
