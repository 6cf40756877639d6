"""`make bench`, or `python -m bench [--quick] [--only WORD]…`: measure, print a table, write bench/results/<time>.json."""

import argparse
import asyncio
import json
import platform
import signal
import sys
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
    parser.add_argument("--full", action="store_true", help="transfers and memory in full size")
    parser.add_argument(
        "--only", action="append", help="run only benchmarks whose name holds this word; may be said again"
    )
    parser.add_argument("--scale", type=float, help="size of the trees of transfers: 1 is the full one")
    parser.add_argument("--rounds", type=int, help="how often transfers are measured; their medians are told")
    arguments = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does, it ends what runs
    try:
        _measure(arguments, results)
    finally:
        if results:
            _save(results)


def _measure(arguments: argparse.Namespace, results: dict[str, dict[str, Any]]) -> None:
    """Run what was asked for; what was measured until a failure is in `results`."""

    def wanted(name: str) -> bool:
        return not arguments.only or any(word in name for word in arguments.only)

    counts = (100,) if arguments.quick else (100, 1000, 10000)
    many = 100 if arguments.quick else 1000
    for world, server in (("embedded", embedded_server), ("real", real_server)):
        for name, measure in (
            ("one", operator.measure_one),
            ("many", lambda path: operator.measure_many(path, count=many)),
        ):
            label = f"{world} {name}"
            if wanted(label):
                with server() as kubeconfig:
                    asyncio.run(_furnish(kubeconfig))
                    results[label] = _report(label, measure(kubeconfig))
        if wanted(f"{world} idle"):
            with server() as kubeconfig:
                asyncio.run(_furnish(kubeconfig))
                for count in counts:
                    label = f"{world} idle {count}"
                    results[label] = _report(label, operator.measure_idle(kubeconfig, count=count))
    for world, server in (("embedded", embedded_server), ("real", real_server)):
        label = f"{world} fleet"
        if wanted(label):
            with server() as kubeconfig:
                asyncio.run(_furnish(kubeconfig))
                results[label] = _report(label, fleet.measure(kubeconfig, count=100 if arguments.quick else 1000))
    if wanted("real datavolumes"):
        with real_server(definitions=data_volume_crds()) as kubeconfig:
            asyncio.run(_furnish(kubeconfig))
            results["real datavolumes"] = _report("real datavolumes", collection.measure(kubeconfig, count=many))
    if wanted("mover rclone agent"):
        from bench import mover

        results["mover start"] = _report("mover start", mover.measure_start())
    if wanted("importer"):
        from bench import importer

        results["importer"] = _report("importer", importer.measure(mebibytes=128 if arguments.quick else 1024))
    for engine in ("restic", "rclone"):
        label = f"replication {engine}"
        if wanted(label):
            from bench import replication

            measure_engine = replication.measure_restic if engine == "restic" else replication.measure_rclone
            size = {"files": 200, "large": 8} if arguments.quick else {"files": 5000, "large": 512}
            results[label] = _report(label, measure_engine(**size))
    if wanted("digests"):
        from bench import digests

        size = {"files": 5000, "large": 512} if arguments.full else {"files": 200, "large": 16}
        results["digests"] = _report("digests", digests.measure(**size))
    if wanted("transfers"):
        from bench.transfers import cases
        from bench.transfers.measure import measure as measure_transfers

        print("\ntransfers", flush=True)
        results["transfers"] = measure_transfers(
            (*cases.COMPARED, *cases.BOUNDED) if arguments.full else cases.COMPARED,
            scale=arguments.scale or (1.0 if arguments.full else cases.SHORT / 5 if arguments.quick else cases.SHORT),
            rounds=arguments.rounds or (1 if arguments.full or arguments.quick else 3),
            plot=_place().with_suffix(".png"),
        )
    if wanted("memory"):
        from bench import memory

        few, many = (10_000, 50_000) if arguments.full else (1_000, 5_000)
        results["memory"] = _report("memory", memory.measure(few=few, many=many))


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
