"""How much memory a backup and a restore of many files take at the most: our process, and the engine apart. All in one run, on loopback."""

import tempfile
from pathlib import Path
from typing import Any

from support.peaks import measure_trips
from support.s3 import find_versitygw, run_server


def measure(*, few: int, many: int) -> dict[str, Any]:
    """Return MiB for both numbers of tiny files, and bytes that each file more took of our own process."""
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as scratch:
        for server in run_server("versitygw" if find_versitygw() else "rclone", Path(scratch)):
            trips = measure_trips(server, Path(scratch), counts=(few, many))
            found: dict[str, Any] = {}
            for name in ("backup", "restore"):
                peaks = {trip.files: getattr(trip, name) for trip in trips}
                for files, peak in peaks.items():
                    found[f"{name} of {files} files, our process, MiB"] = round(peak.ours, 1)
                    found[f"{name} of {files} files, the engine, MiB"] = round(peak.engine, 1)
                grown = (peaks[many].ours - peaks[few].ours) * (1 << 20) / (many - few)
                found[f"{name}, our process, bytes for each file more"] = round(grown)
            return found
    raise RuntimeError("no server")
