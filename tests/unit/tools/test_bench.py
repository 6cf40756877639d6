"""The benchmarks can be started: nobody runs them each day, so that a name which moved would be noticed late."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_module_of_the_benchmarks_finds_what_it_imports() -> None:
    """As `make bench` does, without the paths that pytest adds."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "bench").rglob("*.py"))
        if not path.stem.startswith("__")
    ]
    assert len(modules) > 5
    program = f"import bench.__main__, {', '.join(modules)}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
