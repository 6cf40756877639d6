"""Histogram buckets, in seconds."""

from typing import Final

PHASE_BUCKETS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 3600, 14400, 43200, 86400)
"""The documented operator range of 0.1 s to 1,200 s, extended upwards for long syncs."""
RECONCILE_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30)
QUEUE_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)
