"""The pure parts of the benchmark of transfers: trees, rows, ratios, table, goals, and what the plot shows."""

from pathlib import Path

import pytest
from bench.transfers.cases import (
    ALL_STEPS,
    BACKUP,
    BOUNDED,
    COMPARED,
    DATAMOVER,
    FIRST,
    RAW,
    RCLONE,
    RESTIC,
    Case,
    Goal,
    Group,
    Tree,
)
from bench.transfers.picture import arrange
from bench.transfers.report import Sample, gather_rows, judge, speed_to, to_document, write_table
from bench.transfers.trees import change_tree, filled, find_difference, make_tree

FILES = Tree("files", (Group(250, 10, 40), Group(2, 1000, 1000, few=True)))


def sample(tool: str, seconds: float = 0.0, *, round_: int = 0, failure: str = "", memory: float = 50.0) -> Sample:
    return Sample("small", 20, BACKUP, FIRST, tool, round_, seconds, seconds / 2, memory, failure)


def test_a_smaller_scale_has_fewer_small_files_and_smaller_large_ones() -> None:
    small, few = (group.scaled(0.01) for group in (Group(20_000, 1024, 16384), Group(4, 1 << 30, 1 << 30, few=True)))
    assert (small.count, small.least, small.most) == (200, 1024, 16384)
    assert (few.count, few.most) == (4, round((1 << 30) * 0.01))


@pytest.mark.parametrize("case", [*COMPARED, *BOUNDED])
def test_every_case_has_a_limit_and_fits_on_a_small_disk(case: Case) -> None:
    assert 0 < case.limit <= 7200
    assert case.room < 30 << 30


def test_a_tree_has_the_files_and_bytes_that_are_told(tmp_path: Path) -> None:
    make_tree(tmp_path, FILES)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.dat")]
    assert (len(sizes), sum(sizes)) == (FILES.files, FILES.bytes)


def test_a_hundredth_changes_and_no_size_does(tmp_path: Path) -> None:
    make_tree(tmp_path, FILES)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.dat")}
    change_tree(tmp_path, FILES)
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert sum("kind-0" in str(path) for path in changed) == 3  # 0, 100 and 200
    assert sum("kind-1" in str(path) for path in changed) == 2
    assert sum(path.stat().st_size for path in before) == FILES.bytes
    path = next(path for path in changed if "kind-1" in str(path))
    assert sum(one != other for one, other in zip(before[path], path.read_bytes(), strict=True)) <= 10


def test_a_sparse_file_is_a_hole_but_for_its_ends(tmp_path: Path) -> None:
    make_tree(tmp_path, Tree("sparse", (Group(1, 8 << 20, 8 << 20, few=True, sparse=True),)))
    assert filled(tmp_path) < 1 << 20


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("a", b"one", ""),
        ("a", b"two", "a"),
        ("a", b"longer", "a"),
        ("b", b"one", "2 paths are only on one side, among them a"),
    ],
)
def test_what_came_back_is_held_against_what_went_in(tmp_path: Path, path: str, content: bytes, told: str) -> None:
    for side, name, inside in (("in", "a", b"one"), ("out", path, content)):
        (tmp_path / side).mkdir()
        (tmp_path / side / name).write_bytes(inside)
    assert find_difference(tmp_path / "in", tmp_path / "out") == told


def test_a_row_has_medians_the_most_memory_and_the_speed_to_rclones() -> None:
    [row] = gather_rows(
        [sample(RCLONE, 12.0)]
        + [sample(DATAMOVER, each, round_=number, memory=60 + number) for number, each in enumerate((2.0, 9.0, 3.0))]
    )
    ours = row.cells[DATAMOVER]
    assert (ours.seconds, ours.cpu, ours.mebibytes, ours.speed) == (3.0, 1.5, 62, 4.0)
    assert speed_to(row, RCLONE) == 4.0
    assert speed_to(row, RESTIC) is None


def test_one_failed_round_is_a_failure_and_nothing_is_compared_with_it() -> None:
    [row] = gather_rows([sample(DATAMOVER, 2.0), sample(RCLONE, 2.0), sample(RCLONE, round_=1, failure="took longer")])
    assert row.cells[RCLONE].failure == "took longer"
    assert row.cells[DATAMOVER].speed is None
    assert speed_to(row, RCLONE) is None


def test_the_table_lines_up_and_says_once_why_what_failed_did() -> None:
    rows = gather_rows(
        [sample(DATAMOVER, 2.0), sample(RCLONE, 8.0), sample(RESTIC, failure="gone"), sample(RAW, failure="gone")]
    )
    head, units, _, line, *notes = write_table(rows).splitlines()
    assert [part.strip() for part in head.split("|")] == ["", DATAMOVER, RCLONE, RESTIC, RAW]
    assert "x rclone" in units
    assert [part.split() for part in line.split("|")[1:3]] == [
        ["2.00", "4.00", "1.00", "50"],
        ["8.00", "1.00", "4.00", "50"],
    ]
    assert [at for at, letter in enumerate(head) if letter == "|"] == [
        at for at, letter in enumerate(line) if letter == "|"
    ]
    assert line.count("failed [1]") == 2
    assert notes == ["[1] gone"]


def test_a_table_of_nothing_can_be_written() -> None:
    assert write_table([]) is not None


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([sample(DATAMOVER, 1.0), sample(RCLONE, 7.0)], "7.00 times: met"),
        ([sample(DATAMOVER, 2.0), sample(RCLONE, 7.0)], "3.50 times: MISSED"),
        ([sample(DATAMOVER, failure="x"), sample(RCLONE, 7.0)], "not measured"),
        ([sample(RCLONE, 7.0)], "not measured"),
    ],
)
def test_a_goal_is_met_or_missed_or_not_measured(samples: list[Sample], told: str) -> None:
    [line] = judge(gather_rows(samples), [], goals=[Goal("small", 20, ALL_STEPS[0], RCLONE, 6.0)])
    assert line.endswith(told)


def test_a_budget_is_held_against_the_memory_of_all_processes() -> None:
    case = Case(Tree("small", (Group(1, 1, 1),)), 20, tools=(DATAMOVER,), steps=ALL_STEPS[:1], budget=300)
    assert judge(gather_rows([sample(DATAMOVER, 1.0, memory=300)]), [case], goals=[])[0].endswith("300: met")
    assert judge(gather_rows([sample(DATAMOVER, 1.0, memory=301)]), [case], goals=[])[0].endswith("301: MISSED")


def test_the_document_has_rows_goals_and_every_sample() -> None:
    document = to_document([sample(DATAMOVER, 1.0), sample(RCLONE, 2.0)], COMPARED, scale=0.5)
    assert document["scale"] == 0.5
    assert len(document["samples"]) == 2
    assert document["rows"][0]["cells"][DATAMOVER]["speed"] == 2.0
    assert document["trees"]["large"]["files"] == 4


def test_the_plot_shows_each_tool_against_rclone_with_its_seconds() -> None:
    [panel] = arrange(gather_rows([sample(DATAMOVER, 2.0), sample(RCLONE, 8.0), sample(RESTIC, 16.0)]))
    [(name, bars)] = panel.groups.items()
    assert name == "first\n(rclone: 8.0 s)"
    assert [(bar.tool, bar.speed, bar.text) for bar in bars] == [
        (DATAMOVER, 4.0, "4.0x, 2.0 s"),
        (RESTIC, 0.5, "0.50x, 16.0 s"),
    ]


def test_the_plot_says_what_failed() -> None:
    [panel] = arrange(gather_rows([sample(DATAMOVER, failure="x"), sample(RCLONE, failure="y"), sample(RESTIC, 150.0)]))
    [(name, bars)] = panel.groups.items()
    assert "failed" in name
    assert [(bar.speed, bar.text) for bar in bars] == [(1.0, "failed"), (1.0, "150 s")]


def test_what_is_measured_alone_is_in_no_plot() -> None:
    assert arrange(gather_rows([sample(DATAMOVER, 2.0)])) == []
