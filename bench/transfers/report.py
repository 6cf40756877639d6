"""From samples to rows, one table, and a word on each goal. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.transfers.cases import DATAMOVER, GOALS, RCLONE, TOOLS, Case, Goal

_WIDTH = 29
"""Characters of one tool's column."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One step of one tool in one round: what it took, or why it failed. `round_trip`: milliseconds."""

    tree: str
    round_trip: int
    action: str
    state: str
    tool: str
    round: int
    seconds: float = 0.0
    cpu: float = 0.0
    mebibytes: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One step of one tool over all rounds: medians, and the most memory. `speed`: how many times as fast as rclone; None where there is nothing
    to compare. `failure`: of one round is one of all.
    """

    seconds: float
    cpu: float
    mebibytes: float
    speed: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One step, tool by tool."""

    tree: str
    round_trip: int
    action: str
    state: str
    cells: Mapping[str, Cell]

    @property
    def label(self) -> str:
        """Say which it is."""
        return f"{self.tree}, {self.round_trip} ms, {self.action}, {self.state}"


def gather_rows(samples: Iterable[Sample]) -> list[Row]:
    """Return one row a step, in the order in which steps were first measured."""
    steps: dict[tuple[str, int, str, str], dict[str, list[Sample]]] = {}
    for sample in samples:
        step = sample.tree, sample.round_trip, sample.action, sample.state
        steps.setdefault(step, {}).setdefault(sample.tool, []).append(sample)
    return [
        Row(*step, _compare({tool: _sum_up(each) for tool, each in tools.items()})) for step, tools in steps.items()
    ]


def speed_to(row: Row, peer: str) -> float | None:
    """Return how many times as fast as `peer` datamover was; None where one of them failed or is missing."""
    ours, theirs = row.cells.get(DATAMOVER), row.cells.get(peer)
    if ours is None or theirs is None or ours.failure or theirs.failure or not ours.seconds:
        return None
    return theirs.seconds / ours.seconds


def write_table(rows: Sequence[Row]) -> str:
    """Return the table as text: for each tool seconds, speed to rclone's, seconds of the processor, MiB; and below it why what failed did."""
    tools = [tool for tool in TOOLS if any(tool in row.cells for row in rows)]
    first = max((len(row.label) for row in rows), default=0)
    lines = [
        " " * first + "".join(f" | {tool:<{_WIDTH}}" for tool in tools),
        " " * first + f" | {_columns('s', 'x rclone', 'CPU s', 'MiB')}" * len(tools),
    ]
    failures: dict[str, int] = {}
    before = None
    for row in rows:
        if before != (row.tree, row.round_trip):
            lines.append("-" * first + f"-+-{'-' * _WIDTH}" * len(tools))
            before = row.tree, row.round_trip
        cells = [_write_cell(row.cells.get(tool), failures) for tool in tools]
        lines.append(f"{row.label:<{first}}" + "".join(f" | {cell}" for cell in cells))
    lines += [f"[{number}] {why}" for why, number in failures.items()]
    return "\n".join(line.rstrip() for line in lines)


def judge(rows: Sequence[Row], cases: Sequence[Case], *, goals: Sequence[Goal] = GOALS) -> list[str]:
    """Return a line for each goal and each budget that these rows say something about."""
    by_step = {(row.tree, row.round_trip, row.action, row.state): row for row in rows}
    lines: list[str] = []
    for goal in goals:
        row = by_step.get((goal.tree, goal.round_trip, goal.step.action, goal.step.state))
        if row is None:
            continue
        speed = speed_to(row, goal.peer)
        found = "not measured" if speed is None else f"{speed:.2f} times: {_verdict(met=speed >= goal.speed)}"
        lines.append(f"{row.label}: {goal.speed:g} times as fast as {goal.peer} is wanted; {found}")
    for case in cases:
        for step in case.steps if case.budget else ():
            row = by_step.get((case.tree.name, case.round_trip, step.action, step.state))
            cell = row.cells.get(DATAMOVER) if row else None
            if row is None or cell is None:
                continue
            found = (
                "not measured"
                if cell.failure
                else f"{cell.mebibytes:.0f}: {_verdict(met=cell.mebibytes <= case.budget)}"
            )
            lines.append(f"{row.label}: at most {case.budget} MiB for all processes are wanted; {found}")
    return lines


def to_document(samples: Sequence[Sample], cases: Sequence[Case], **about: Any) -> dict[str, Any]:
    """Return all of it for machines. `about`: what else is to be known."""
    rows = gather_rows(samples)
    trees = {case.tree.name: {"files": case.tree.files, "bytes": case.tree.bytes} for case in cases}
    return {
        **about,
        "trees": trees,
        "rows": [asdict(row) for row in rows],
        "goals": judge(rows, cases),
        "samples": [asdict(sample) for sample in samples],
    }


def _sum_up(samples: Sequence[Sample]) -> Cell:
    if failure := next((each.failure for each in samples if each.failure), ""):
        return Cell(0.0, 0.0, 0.0, failure=failure)
    return Cell(
        statistics.median(each.seconds for each in samples),
        statistics.median(each.cpu for each in samples),
        max(each.mebibytes for each in samples),
    )


def _compare(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    rclone = cells.get(RCLONE)
    if rclone is None or rclone.failure:
        return dict(cells)
    return {
        tool: cell
        if cell.failure or not cell.seconds
        else Cell(cell.seconds, cell.cpu, cell.mebibytes, speed=rclone.seconds / cell.seconds)
        for tool, cell in cells.items()
    }


def _write_cell(cell: Cell | None, failures: dict[str, int]) -> str:
    if cell is None:
        return " " * _WIDTH
    if cell.failure:
        return f"{f'failed [{failures.setdefault(cell.failure, len(failures) + 1)}]':<{_WIDTH}}"
    speed = "" if cell.speed is None else f"{cell.speed:.2f}"
    return _columns(f"{cell.seconds:.2f}", speed, f"{cell.cpu:.2f}", f"{cell.mebibytes:.0f}")


def _columns(seconds: str, speed: str, cpu: str, mebibytes: str) -> str:
    return f"{seconds:>8}{speed:>9}{cpu:>7}{mebibytes:>5}"


def _verdict(*, met: bool) -> str:
    return "met" if met else "MISSED"
