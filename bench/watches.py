"""Watches of a real cluster, by kubectl, for moments that are measured."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from support.cluster import Kubectl


@contextmanager
def watching(
    kubectl: Kubectl, namespace: str, kinds: Sequence[str], note: Callable[[dict[str, Any]], None]
) -> Iterator[None]:
    """Tell `note` of each event of these kinds."""
    watches = [
        subprocess.Popen(
            [
                kubectl.program, "--kubeconfig", str(kubectl.kubeconfig), "get", kind, "-n", namespace,
                "--watch", "-o", "json", "--output-watch-events",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in kinds
    ]  # fmt: skip
    threads = [threading.Thread(target=_read, args=(watch.stdout, note), daemon=True) for watch in watches]
    for thread in threads:
        thread.start()
    time.sleep(2)  # until all of them watch: those that find nothing say nothing
    try:
        yield
    finally:
        for watch in watches:
            watch.terminate()
            watch.wait()
        for thread in threads:
            thread.join()


def _read(stream: Any, note: Callable[[dict[str, Any]], None]) -> None:
    for line in stream:
        note(json.loads(line))
