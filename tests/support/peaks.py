"""How much memory a process of ours takes at its most, its engine apart."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.agent import Container
from support.points import datamover, write_secret
from support.programs import GO
from support.s3 import S3Server

_PATIENCE = 900
"""Seconds."""

# The peak of the process itself is its own memory's: what getrusage tells of it counts from the process that started it. That of the engine is
# therefore told as not less than what the process had when it started it.
_MEASURING = """
import atexit, os, resource, runpy, sys
place, module = sys.argv[1], sys.argv[4]
sys.argv[1:] = sys.argv[5:]
ours = os.getpid()
def tell():
    if os.getpid() == ours:
        with open("/proc/self/status") as file:
            own = next(line.split()[1] for line in file if line.startswith("VmHWM"))
        with open(place, "w") as file:
            file.write(f"{own} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
atexit.register(tell)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class Peak(NamedTuple):
    """MiB, at the most: of our process, and of the largest process that it started."""

    ours: float
    engine: float


def measuring(place: Path) -> list[str]:
    """Return what begins a command `python -m MODULE …` so that its peak is written to `place`."""
    return [sys.executable, "-c", _MEASURING, str(place)]


def read_peak(place: Path) -> Peak:
    """Return what was written."""
    ours, engine = place.read_text().split()
    return Peak(int(ours) / 1024, int(engine) / 1024)


class Trip(NamedTuple):
    """A backup of so many files and its restore."""

    files: int
    backup: Peak
    restore: Peak


def measure_trips(server: S3Server, scratch: Path, *, counts: Sequence[int]) -> list[Trip]:
    """Back up and restore ever more tiny files, a hundred in a folder. The engine collects its garbage as it does for users."""
    server.bucket()
    place = scratch / "peak"
    container = Container(scratch / "container", dict(server.secret()), wrapper=measuring(place))
    secret = write_secret(scratch / "secret.yaml", server.secret())
    found: list[Trip] = []
    made = 0
    for count in counts:
        for number in range(made, count):
            folder = container.data / f"{number // 100:04}"
            folder.mkdir(exist_ok=True)
            (folder / f"{number:06}").write_bytes(b"%d" % number)
        made = count
        prefix = f"of-{count}"
        changes = dict.fromkeys(GO) | {"DATAMOVER_RUN_ID": prefix, "CUSTOM_PATH_PREFIX": prefix}
        ended = container.run(timeout=_PATIENCE, DATAMOVER_TIMESTAMP="2024-08-01-143052", **changes)
        assert ended.code == 0, ended.output
        backup = read_peak(place)
        options = ("--secret", secret, "--prefix", prefix)
        target = scratch / prefix
        said = datamover("restore", *options, "latest", target, before=measuring(place), timeout=_PATIENCE)
        assert said.code == 0, said.errors
        assert sum(len(files) for _, _, files in os.walk(target)) == count
        shutil.rmtree(target)
        found.append(Trip(count, backup, read_peak(place)))
    return found
