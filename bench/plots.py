"""Pictures of what was measured. `make bench` installs what draws them (requirements/bench.txt)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.restore import LATENCIES, TOOLS


def draw_restores(figures: Mapping[str, Any], path: Path) -> bool:
    """Draw the seconds of `bench.restore.measure` as bars; return whether there is anything to draw with."""
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    picture = Figure(figsize=(10, 4.5), layout="constrained")
    titles = {
        "small": f"{figures['small files']} files of 1 to 16 KiB",
        "large": f"one file of {figures['MiB of the large one']} MiB",
    }
    for axes, (name, title) in zip(picture.subplots(1, 2), titles.items(), strict=True):
        tools = [tool for tool in TOOLS if f"{name}, 0 ms, {tool}, s" in figures]
        width = 0.8 / len(tools)
        for number, tool in enumerate(tools):
            places = [group + number * width for group in range(len(LATENCIES))]
            bars = axes.bar(places, [figures[f"{name}, {each}, {tool}, s"] for each in LATENCIES], width, label=tool)
            axes.bar_label(bars, fmt="%.1f", fontsize=8)
        middle = 0.4 - width / 2
        axes.set_xticks(
            [group + middle for group in range(len(LATENCIES))], [f"round trip {each}" for each in LATENCIES]
        )
        axes.set_title(title)
        axes.set_ylabel("seconds (less is better)")
        axes.margins(y=0.15)
        axes.legend(fontsize=8)
    picture.suptitle("Restore from one S3 server on the same machine")
    picture.savefig(path, dpi=120)
    return True
