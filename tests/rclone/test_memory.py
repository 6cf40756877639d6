"""Memory does not grow with the number of files: of a run of the mover that writes a manifest, and of `datamover restore`. As processes, with the
real engine and a real server.

`make bench-full` takes 10,000 and 50,000.
"""

from pathlib import Path

import pytest

from support.peaks import Peak, measure_trips
from support.s3 import run_server

FEW, MANY = 1_000, 6_000
PER_FILE = 600
"""Bytes that a file more may take of our own process: in a restore what one run of the engine brings, up to 20,000 files, is held as a list, and took
350 for each; a mover took 100."""
ENGINE = 300
"""MiB that the engine may take; it has lists of what it moves."""


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    for server in run_server("versitygw", tmp_path):
        few, many = measure_trips(server, tmp_path, counts=(FEW, MANY))
        for before, after in ((few.backup, many.backup), (few.restore, many.restore)):
            demand(before, after)


def demand(before: Peak, after: Peak) -> None:
    grown = (after.ours - before.ours) * (1 << 20) / (MANY - FEW)
    assert grown < PER_FILE, (before, after)
    assert after.engine < ENGINE, after
