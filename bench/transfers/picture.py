"""One plot of what was measured: for each tree, distance and action how many times as fast as rclone each tool was. `make bench` installs what draws it
(requirements/bench.txt).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.transfers.cases import DATAMOVER, RAW, RCLONE, RESTIC
from bench.transfers.report import Row

_COLOURS = {DATAMOVER: "tab:blue", RESTIC: "tab:orange", RAW: "tab:gray"}
"""By tool, from the top of each group to its bottom; rclone is the line at 1."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One tool in one state: how many times as fast as rclone it was, and what is written at it."""

    tool: str
    speed: float
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One tree, distance and action: groups of bars, by state. A group's name says how long rclone took."""

    tree: str
    round_trip: int
    action: str
    groups: Mapping[str, Sequence[Bar]]


def arrange(rows: Sequence[Row]) -> list[Panel]:
    """Return the panels of all rows that rclone is in. Where it failed nothing can be compared, and its group says so."""
    panels: dict[tuple[str, int, str], dict[str, list[Bar]]] = {}
    for row in rows:
        rclone = row.cells.get(RCLONE)
        if rclone is None:
            continue
        told = "failed" if rclone.failure else f"{_short(rclone.seconds)}"
        bars = [
            Bar(tool, 1.0, "failed")
            if cell.failure
            else Bar(tool, cell.speed or 1.0, f"{_times(cell.speed)}{_short(cell.seconds)}")
            for tool in _COLOURS
            if (cell := row.cells.get(tool)) is not None
        ]
        panels.setdefault((row.tree, row.round_trip, row.action), {})[f"{row.state}\n(rclone: {told})"] = bars
    return [Panel(*which, groups) for which, groups in panels.items()]


def draw(rows: Sequence[Row], titles: Mapping[str, str], path: Path, *, note: str = "") -> bool:
    """Draw them; return whether there is anything to draw with, and anything to draw. `titles`: of each tree."""
    panels = {(panel.action, panel.round_trip, panel.tree): panel for panel in arrange(rows)}
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
        from matplotlib.lines import Line2D  # pyright: ignore[reportMissingImports]
        from matplotlib.patches import Patch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    if not panels:
        return False
    lines = sorted({which[:2] for which in panels})
    trees = list(dict.fromkeys(which[2] for which in panels))
    picture = Figure(figsize=(1.5 + 5.2 * len(trees), 1.6 + 2.9 * len(lines)), layout="constrained")
    least, most = _range(panels.values())
    for line, (action, round_trip) in enumerate(lines):
        for column, tree in enumerate(trees):
            axes = picture.add_subplot(len(lines), len(trees), line * len(trees) + column + 1)
            panel = panels.get((action, round_trip, tree))
            if panel is None:
                axes.set_axis_off()
                continue
            _draw_panel(axes, panel, least, most)
            axes.set_title(f"{action}, {round_trip} ms: {titles.get(tree, tree)}", fontsize=10)
    handles = [Patch(color=colour, label=tool) for tool, colour in _COLOURS.items()]
    handles.append(Line2D([], [], color="black", label="rclone with its defaults"))
    picture.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=10)
    between = " " if len(trees) > 2 else "\n"  # a narrow picture would cut the line off
    title = "How many times as fast as rclone: right of the line is faster."
    picture.suptitle(f"{title}{between}{note}".rstrip(), fontsize=12)
    picture.savefig(path, dpi=110)
    return True


def _draw_panel(axes: Any, panel: Panel, least: float, most: float) -> None:
    height = 0.8 / len(_COLOURS)
    for group, bars in enumerate(panel.groups.values()):
        for number, bar in enumerate(bars):
            place = group + (number - (len(bars) - 1) / 2) * height
            axes.barh(place, bar.speed - 1, height * 0.9, left=1, color=_COLOURS[bar.tool])
            axes.text(max(bar.speed, 1) * 1.08, place, bar.text, va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if least <= tick <= most]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(panel.groups)), list(panel.groups), fontsize=8)
    axes.set_ylim(len(panel.groups) - 0.4, -0.6)
    axes.set_xlabel("times as fast as rclone", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _range(panels: Iterable[Panel]) -> tuple[float, float]:
    """Return the ends of the axis, the same for all panels, with room for what is written right of the longest bar."""
    speeds = [bar.speed for panel in panels for bars in panel.groups.values() for bar in bars] or [1.0]
    least, most = min(0.5, *speeds) / 1.2, max(2.0, *speeds)
    return least, most * (most / least) ** 0.6


def _times(speed: float | None) -> str:
    return "" if speed is None else f"{speed:.1f}x, " if speed >= 1 else f"{speed:.2f}x, "


def _short(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
