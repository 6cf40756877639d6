"""One build at a time, of those that would write to the same place."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TOLD_SECONDS = 20.0
"""Seconds between two remarks while somebody waits."""


@contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold `path` against other builds; says so while it waits. The lock ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        since = time.monotonic()
        told = since - TOLD_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - told >= TOLD_SECONDS:
                    told = time.monotonic()
                    say(f"another build is under way, waiting ({told - since:.0f} s)")
                time.sleep(0.5)
        yield
