"""`make bench`, or `python -m bench [--quick] [--only WORD]`: measure, print a table, write bench/results/<time>.json."""

import argparse
import asyncio
import json
import platform
import time
from pathlib import Path
from typing import Any

from bench import collection, fleet, operator
from bench.servers import embedded_server, real_server
from datamover.api.definitions import data_volume_crds

_ANCHOR = {
    "1000 to Completed, s": 34.0,
    "clone 1 s, Job 2 s: created to Job, s": 15.0,
    "clone 1 s, Job 2 s: created to Completed, s": 30.1,
    "1000 to Completed, operator CPU s": 7.9,
}
"""The original Go operator on a real API server, measured once on a machine of two cores; not measured in this run."""


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="100 objects where it is otherwise up to 10,000")
    parser.add_argument(
        "--full", action="store_true", help="restores of 5,000 files and 512 MiB, memory of 50,000 files"
    )
    parser.add_argument("--only", default="", help="run only benchmarks whose name holds this word")
    arguments = parser.parse_args()
    counts = (100,) if arguments.quick else (100, 1000, 10000)
    many = 100 if arguments.quick else 1000
    results: dict[str, dict[str, Any]] = {}
    for world, server in (("embedded", embedded_server), ("real", real_server)):
        for name, measure in (
            ("one", operator.measure_one),
            ("many", lambda path: operator.measure_many(path, count=many)),
        ):
            label = f"{world} {name}"
            if arguments.only in label:
                with server() as kubeconfig:
                    asyncio.run(_furnish(kubeconfig))
                    results[label] = _report(label, measure(kubeconfig))
        if arguments.only in f"{world} idle":
            with server() as kubeconfig:
                asyncio.run(_furnish(kubeconfig))
                for count in counts:
                    label = f"{world} idle {count}"
                    results[label] = _report(label, operator.measure_idle(kubeconfig, count=count))
    for world, server in (("embedded", embedded_server), ("real", real_server)):
        label = f"{world} fleet"
        if arguments.only in label:
            with server() as kubeconfig:
                asyncio.run(_furnish(kubeconfig))
                results[label] = _report(label, fleet.measure(kubeconfig, count=100 if arguments.quick else 1000))
    if arguments.only in "real datavolumes":
        with real_server(definitions=data_volume_crds()) as kubeconfig:
            asyncio.run(_furnish(kubeconfig))
            results["real datavolumes"] = _report("real datavolumes", collection.measure(kubeconfig, count=many))
    if arguments.only in "mover rclone agent":
        from bench import mover

        results["mover"] = _report("mover", mover.measure(files=500 if arguments.quick else 5000))
        results["mover start"] = _report("mover start", mover.measure_start())
        results["mover large"] = _report("mover large", mover.measure_large())
    if arguments.only in "importer":
        from bench import importer

        results["importer"] = _report("importer", importer.measure(mebibytes=128 if arguments.quick else 1024))
    for engine in ("restic", "rclone"):
        label = f"replication {engine}"
        if arguments.only in label:
            from bench import replication

            measure_engine = replication.measure_restic if engine == "restic" else replication.measure_rclone
            size = {"files": 200, "large": 8} if arguments.quick else {"files": 5000, "large": 512}
            results[label] = _report(label, measure_engine(**size))
    if arguments.only in "restore digests":
        from bench import plots, restore

        size = {"files": 5000, "large": 512} if arguments.full else {"files": 200, "large": 16}
        results["restore"] = _report("restore", restore.measure(**size))
        results["restore digests"] = _report("restore digests", restore.measure_digests(**size))
        picture = _place().with_suffix(".png")
        drawn = plots.draw_restores(results["restore"], picture)
        print(f"  drew {picture}" if drawn else "  no picture: pip install --require-hashes -r requirements/bench.txt")
    if arguments.only in "memory":
        from bench import memory

        few, many = (10_000, 50_000) if arguments.full else (1_000, 5_000)
        results["memory"] = _report("memory", memory.measure(few=few, many=many))
    _save(results)


async def _furnish(kubeconfig: Path) -> None:
    async with operator.connect(kubeconfig) as client:
        await operator.furnish(client)


def _report(label: str, figures: dict[str, Any]) -> dict[str, Any]:
    print(f"\n{label}", flush=True)
    for name, value in figures.items():
        anchor = (
            f"   original operator, other run: {_ANCHOR[name]}" if name in _ANCHOR and label.startswith("real") else ""
        )
        print(f"  {name:<58} {value}{anchor}", flush=True)
    return figures


def _place() -> Path:
    """Return a path for a file of this moment."""
    place = Path(__file__).parent / "results"
    place.mkdir(exist_ok=True)
    return place / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"


def _save(results: dict[str, dict[str, Any]]) -> None:
    path = _place()
    document = {"machine": platform.platform(), "python": platform.python_version(), "results": results}
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
