"""Keeps what Pods have logged after they are gone, so that nothing is said that nobody reads."""

import contextlib
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.layout import Layout

PERIOD = 0.2


class Witness:
    """Follows the logs of the Pods of some namespaces on the rig: a hard link keeps a file that the kubelet removes.

    Caveat: a container that lives for less than `PERIOD` seconds after its Pod's other ones have gone may be missed.
    """

    def __init__(self, layout: Layout, prefix: str) -> None:
        """`prefix`: what the namespaces' names begin with."""
        self._pods = layout.logs / "pods"
        # on the same file system, or there would be no links
        self._kept = layout.logs / "kept" / f"{prefix}-{os.getpid()}"
        self._prefix = prefix
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._kept.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        for file in self._kept.iterdir():
            file.unlink()
        self._kept.rmdir()

    def logs(self) -> dict[str, str]:
        """Return the logs so far by Pod and container."""
        self._take()
        return {file.name: file.read_text(errors="replace") for file in sorted(self._kept.iterdir())}

    def mark(self) -> dict[str, int]:
        """Return how long the logs are now, by the same names."""
        return {name: len(log) for name, log in self.logs().items()}

    def _follow(self) -> None:
        while not self._end.wait(PERIOD):
            self._take()

    def _logs(self) -> list[Path]:
        """Return the files that are there now; folders go while they are listed."""
        found: list[Path] = []
        with contextlib.suppress(OSError):
            for pod in self._pods.iterdir():
                if pod.name.startswith(self._prefix):
                    with contextlib.suppress(OSError):
                        found += [file for container in pod.iterdir() for file in container.iterdir()]
        return found

    def _take(self) -> None:
        for file in self._logs():
            pod = file.parents[1].name
            # the number of a file is part of its name here: a rotated log is another file
            with contextlib.suppress(OSError):
                kept = self._kept / f"{pod}.{file.parent.name}.{file.stat().st_ino}.log"
                os.link(file, kept)
