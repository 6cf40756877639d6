"""Processes that are measured: started, watched through /proc, and stopped by pid."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Cost = tuple[float, float]
"""Seconds of the clock and of the processor."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far and resident MiB now."""

    cpu: float
    rss: float


def usage(pid: int) -> Usage:
    """Read /proc for one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Usage(cpu, rss)


@contextmanager
def operator_process(
    kubeconfig: Path,
    log: Path,
    *,
    workers: int = 8,
    environment: Mapping[str, str] | None = None,
    status_address: str = "0",
) -> Generator["subprocess.Popen[bytes]"]:
    """Run `datamover operator` as users do, its log in a file. `status_address` is where it serves its metrics; 0 is nowhere."""
    command = [
        sys.executable,
        "-m",
        "datamover.cli.main",
        "operator",
        "--kubeconfig",
        str(kubeconfig),
        "--mover-image",
        "stand-in",
        "--metrics-bind-address",
        status_address,
        "--log-level",
        "warning",
        "--workers",
        str(workers),
    ]
    with (
        log.open("ab") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def settle(pid: int, *, quiet: float = 2.0, limit: float = 120.0) -> float:
    """Wait until a process has used no more than 2 % of a core for `quiet` seconds; return how long that took."""
    begun = time.monotonic()
    last, since = usage(pid).cpu, time.monotonic()
    while time.monotonic() - begun < limit:
        time.sleep(0.25)
        now = usage(pid).cpu
        if now - last > 0.005:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return since - begun
    return limit


def run(command: Sequence[str | Path], environment: Mapping[str, str], *, folder: Path | None = None) -> Cost:
    """Run a program to its end; return what it cost. Raises RuntimeError with the end of what it said when it fails."""
    begun, used = time.monotonic(), used_by_children()
    done = subprocess.run(command, env=dict(environment), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[:4]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - begun, used_by_children() - used


def used_by_children() -> float:
    """Return the seconds of the processor that our children, and theirs, took so far."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime
