"""The whole of it: cases to a table on the terminal, a document for machines, and a plot."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.transfers import picture
from bench.transfers.cases import GIB, MIB, RCLONE, RESTIC, Case, Tree
from bench.transfers.report import Sample, gather_rows, to_document, write_table
from bench.transfers.runner import Bench, run_cases
from bench.transfers.tools import find_programs, make_tools


def measure(cases: Sequence[Case], *, scale: float, rounds: int, plot: Path) -> dict[str, Any]:
    """Measure cases in their `scale`, print the table, draw the plot; return all of it."""
    programs, before = find_programs(), os.getloadavg()[0]
    scaled = [case.scaled(scale) for case in cases]
    samples = run_cases(scaled, Bench(make_tools(programs), rounds, _tell))
    load = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    rows = gather_rows(samples)
    versions = {RCLONE: _version(programs[RCLONE]), RESTIC: _version(programs[RESTIC])}
    document = to_document(samples, scaled, scale=scale, rounds=rounds, load=load, versions=versions)
    print(f"\n{write_table(rows)}\n")
    print(f"scale {scale:g}, rounds {rounds}, load of the machine {load}; {versions[RCLONE]}, {versions[RESTIC]}")
    for line in document["goals"]:
        print(line)
    titles = {case.tree.name: describe(case.tree) for case in scaled}
    if picture.draw(rows, titles, plot, note=f"Load of the machine: {load}"):
        print(f"drew {plot}")
    else:
        print("no plot: pip install --require-hashes -r requirements/bench.txt")
    return document


def describe(tree: Tree) -> str:
    """Say in a few words what a tree is."""
    if tree.files <= 10:
        return f"{tree.files} x {_size(tree.bytes // tree.files)}"
    return f"{tree.files:,} files, {_size(tree.bytes)}"


def _size(count: int) -> str:
    if count >= GIB:
        return f"{count / GIB:.3g} GiB"
    return f"{count / MIB:.3g} MiB" if count >= MIB else f"{count / 1024:.3g} KiB"


def _tell(sample: Sample) -> None:
    result = sample.failure or f"{sample.seconds:.2f} s, CPU {sample.cpu:.2f} s, {sample.mebibytes:.0f} MiB"
    name = f"{sample.tree}, {sample.round_trip} ms, {sample.action}, {sample.state}, {sample.tool}"
    print(f"  {name:<58} {result}", flush=True)


def _version(program: str) -> str:
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False, timeout=30)
    return next(iter(done.stdout.splitlines()), "?")
