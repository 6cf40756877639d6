"""Benchmarks: ratios in one run, as JSON and a short table. See bench/README.md.

What they need of the tests' support and of the tools is imported from there, found as pytest finds it.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]
