"""What the checksums in a manifest cost a backup: the mover's first run of the same files with and without them, in pairs, without latency and through
20 ms of round trip. Times are in seconds, of the clock and of the processor (the mover's with all that it starts, not the server's).
"""

import os
import shutil
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.mover import make_files
from bench.processes import Cost, run
from bench.transfers.runner import reach, scratch, serve
from datamover.api import transfer
from support.agent import Container
from support.s3 import BUCKET

_ROUNDS = 3
_MOMENT = "2024-08-01-143052"
_ROUND_TRIPS = (0, 20)
"""Milliseconds."""

_WITHOUT = """
import runpy, sys
from datamover.agent.rclone import digests
if sys.argv[1] == "without":
    digests.are_proved = lambda *_, **__: False
module = sys.argv[4]
sys.argv[1:] = sys.argv[5:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def measure(*, files: int, large: int) -> dict[str, Any]:
    """Return what a first run of the mover costs with and without checksums in its manifest, in pairs."""
    found: dict[str, Any] = {"small files": files, "MiB of the large one": large}
    with scratch() as (base, _), serve(base) as server:
        _fill(base / "container/data", files, large)
        for round_trip in _ROUND_TRIPS:
            latency = f"{round_trip} ms"
            costs: dict[str, list[Cost]] = {"with": [], "without": []}
            with reach(server, round_trip) as port:
                for round_ in range(_ROUNDS):
                    for which in sorted(costs, reverse=bool(round_ % 2)):
                        prefix = f"{which}-{latency.replace(' ', '')}-{round_}"
                        wrapper = [sys.executable, "-c", _WITHOUT, which]
                        costs[which].append(_agent(base, server.secret(BUCKET_PORT=str(port)), prefix, wrapper))
                        shutil.rmtree(server.directory / BUCKET / prefix)
            for number, unit in enumerate(("s", "CPU s")):
                for which, values in costs.items():
                    found[f"{latency}, {which} checksums, {unit}"] = _median(values, number)
            ratios = [here[0] / there[0] for here, there in zip(costs["with"], costs["without"], strict=True)]
            found[f"{latency}, with to without, each pair"] = " ".join(f"{ratio:.2f}" for ratio in ratios)
    return found


def _agent(place: Path, secret: Mapping[str, str], prefix: str, wrapper: list[str]) -> Cost:
    """Run the mover; return what it cost. Its engine collects garbage as it does for users."""
    container = Container(place / "container", dict(secret), wrapper=wrapper)
    environment = container.variables(
        {
            "GOGC": None,
            "GOMEMLIMIT": None,
            "CUSTOM_PATH_PREFIX": prefix,
            transfer.RUN_ID: prefix,
            "DATAMOVER_TIMESTAMP": _MOMENT,
        }
    )
    return run([*wrapper, sys.executable, "-m", "datamover.agent.main"], environment)


def _fill(data: Path, files: int, large: int) -> Path:
    data.mkdir(parents=True)
    make_files(data, files)
    if large:
        with (data / "large.bin").open("wb") as file:
            for _ in range(large):
                file.write(os.urandom(1 << 20))
    return data


def _median(costs: list[Cost], number: int) -> float:
    return round(statistics.median(cost[number] for cost in costs), 2)
