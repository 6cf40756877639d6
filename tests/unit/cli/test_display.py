"""What people see while DataMovers run: each change once, no markup of theirs taken for ours."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from datamover.cli.display import (
    LineDisplay,
    LiveDisplay,
    NoDisplay,
    choose_display,
    print_summary,
    progress_table,
    size,
    summary_table,
)
from support.builders import data_mover, run, status

NOW = "2026-01-31T02:00:00Z"


def now() -> datetime:
    return datetime(2026, 1, 31, 2, tzinfo=UTC)


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=200)


def printed(made: Console) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def mover(phase: str, name: str = "nightly", **fields):
    return data_mover(name=name, uid=f"uid-{name}", status=status(phase, **fields))


def test_lines_tell_each_change_once() -> None:
    made = console()
    with LineDisplay(made, now=now) as display:
        display.update((mover("CreatingClonedPVC"), mover("CreatingClonedPVC", "other")))
        display.update((mover("CreatingClonedPVC"),))
        display.update((mover("CreatingPod", message="the mover runs"),))
        display.update((mover("CreatingPod", message="the mover runs", run=run(progress="5%")),))
        display.update((mover("CreatingPod", message="the mover runs", run=run(progress="5%")),))
    assert printed(made).splitlines() == [
        f"{NOW}  default/nightly  CreatingClonedPVC  copying app-data",
        f"{NOW}  default/other  CreatingClonedPVC  copying app-data",
        f"{NOW}  default/nightly  CreatingPod  the mover runs",
        f"{NOW}  default/nightly  CreatingPod  5%  the mover runs",
    ]


def test_lines_are_plain_and_never_broken() -> None:
    made = Console(file=io.StringIO(), width=40)
    long = "[red]x[/red] " + "word " * 60
    LineDisplay(made, now=now).update((mover("Failed", message=long),))
    assert printed(made) == f"{NOW}  default/nightly  Failed  {long.rstrip()}\n"


def test_a_datamover_without_a_status_is_shown_as_pending() -> None:
    made = console()
    LineDisplay(made, now=now).update((data_mover(),))
    assert printed(made) == f"{NOW}  default/nightly  Pending\n"


def test_the_live_table_keeps_those_that_are_not_updated() -> None:
    made = console(terminal=True)
    with LiveDisplay(made) as display:
        display.update((mover("CreatingPod"), mover("CreatingPod", "other")))
        display.update((mover("Completed"),))
    last = printed(made)
    assert "other" in last.rpartition("NAME")[2]
    assert "Completed" in last


def test_the_live_table_goes_at_the_end_for_the_summary_says_the_same() -> None:
    made = Console(file=io.StringIO(), force_terminal=True, width=80, height=5, color_system=None)
    with LiveDisplay(made) as display:
        display.update((mover("CreatingPod", message="many words " * 60),))
    left = printed(made).rpartition("\x1b[2K")[2]
    assert "nightly" not in left


def test_nothing_is_nothing() -> None:
    with NoDisplay() as display:
        display.update((mover("Completed"),))


def test_the_display_fits_where_the_output_goes() -> None:
    assert isinstance(choose_display(console(), quiet=True), NoDisplay)
    assert isinstance(choose_display(console(), quiet=False), LineDisplay)
    assert isinstance(choose_display(console(terminal=True), quiet=False), LiveDisplay)


def test_the_progress_table_has_a_bar_where_there_is_something_to_measure() -> None:
    made = console()
    half = run(bytes=50, total_bytes=100, progress="50%, 3s left")
    made.print(
        progress_table((mover("CreatingPod", run=half), mover("CreatingPod", "walking", run=run(progress="walking"))))
    )
    lines = printed(made).splitlines()
    assert "━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌ 50%, 3s left" in lines[1]
    assert "━" not in lines[2]
    assert "walking" in lines[2]


def test_markup_in_a_message_is_shown_and_not_obeyed() -> None:
    made = console()
    made.print(progress_table((mover("Failed", message="[bold]not[/bold] ours"),)))
    assert "[bold]not[/bold] ours" in printed(made)


def test_the_summary_says_what_was_moved_and_where_to() -> None:
    made = console()
    done = run(started="2026-01-31T02:00:00Z", files=254, transferred_bytes=1536, destination="s3generic:backups/[x]/")
    made.print(summary_table((mover("Completed", run=done), mover("", "waiting"), data_mover(name="new"))))
    rows = [line.split() for line in printed(made).splitlines()]
    assert rows[0] == ["NAME", "PHASE", "FILES", "MOVED", "COPY", "OF", "DESTINATION"]
    assert rows[1] == ["nightly", "Completed", "254", "1.5", "KiB", "2026-01-31", "02:00:00Z", "s3generic:backups/[x]/"]
    assert rows[2] == ["waiting", "Pending", "2024-08-06", "14:30:52Z"]
    assert rows[3] == ["new", "Pending"]


@pytest.mark.parametrize("width", [80, 200])
def test_a_destination_stays_whole_where_the_table_has_no_room_for_it(width: int) -> None:
    made = Console(file=io.StringIO(), width=width)
    where = "s3generic:archive/2026-11-29-135956/"
    print_summary(made, (mover("Completed", run=run(files=3, destination=where)), mover("Pending", "other")))
    lines = printed(made).splitlines()
    assert all(len(line) <= width for line in lines)
    assert sum(where in line for line in lines) == 1
    assert (f"destination of nightly: {where}" in lines) is (width == 80)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 40, "3.0 TiB"),
        (1 << 54, "16384.0 TiB"),
    ],
)
def test_sizes_as_people_read_them(count: int, text: str) -> None:
    assert size(count) == text


def test_a_bar_has_letters_that_the_terminal_has() -> None:
    plain = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width=200)
    working = mover("CreatingPod", run=run(progress="50%, 3s left", bytes=5, total_bytes=10))
    with plain.capture() as capture:
        plain.print(progress_table((working,)))
    assert "##########---------- 50%, 3s left" in capture.get()


def test_a_terminal_that_cannot_redraw_gets_lines() -> None:
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(choose_display(dumb, quiet=False), LineDisplay)
