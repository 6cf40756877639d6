"""What is mounted below a directory, by the kernel's own list."""

import os
import re
import subprocess
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")


def mount_points(directory: Path, table: str | None = None) -> list[Path]:
    """Return the mount points below a directory (not itself), the deepest first. `table` is the text of mountinfo, by default this process's."""
    if table is None:
        table = os.fsdecode(_TABLE.read_bytes())
    points = [Path(_decode(line.split(" ")[4])) for line in table.split("\n") if line]
    inside = [point for point in points if directory in point.parents]
    return sorted(inside, key=lambda point: len(point.parts), reverse=True)


def unmount_below(directory: Path) -> None:
    """Unmount everything below a directory, the deepest first."""
    for point in mount_points(directory):
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _decode(field: str) -> str:
    """Return a path as it is; the kernel writes white space and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
