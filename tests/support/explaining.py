"""Somebody who asks `datamover hcp explain` again and again while a backup is made, and keeps what it says."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from datamover.cli.hcp import Exit
from support.velero_node import LONG, NodeVelero

PACE = 0.5
"""Seconds between an answer and the next question."""
_ENDED_WITH = {"MOVED": Exit.MOVED, "NOTHING_TO_MOVE": Exit.MOVED, "WAITING": Exit.WAITING, "UNKNOWN": Exit.WAITING}
_COLLECTED = ("WaitingForPluginOperations", "Finalizing", "Completed")
"""How the phases of a Backup begin in which Velero has processed all items; each may end with `PartiallyFailed`."""


class Follower:
    """Asks from `with` on until its end, about a backup of one control plane.

    Guarantees: of each answer it was checked that its exit code fits what it says, and that nothing is called moved before Velero has processed all
    items and ended all uploads well. `looks` are the answers about the control plane, in their order.
    """

    def __init__(self, velero: NodeVelero, backup: str) -> None:
        self.looks: list[dict[str, Any]] = []
        self._velero = velero
        self._backup = backup
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=60)
        if error is not None:
            error.add_note(self.tell())
        elif self._failure is not None:
            raise self._failure

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an answer, from the last one on, of which something holds, and return it."""
        at, deadline = max(0, len(self.looks) - 1), time.monotonic() + LONG
        while True:
            if self._failure is not None:
                raise self._failure
            for look in self.looks[at:]:
                at += 1
                if holds(look):
                    return look
            assert time.monotonic() < deadline, self.tell()
            time.sleep(0.1)

    def tell(self) -> str:
        """Return what was said, each sentence once."""
        told: list[str] = []
        for look in self.looks:
            rows = ", ".join(f"{row['claim']}: {row['kind']} {row['phase']}" for row in look["volumes"])
            line = f"{look['state']} {look['completed']}/{look['total']} ({rows}) {look['description']}"
            if line not in told[-1:]:
                told.append(line)
        return "\n".join(told)

    def demand_order(self) -> None:
        """Demand that it was waited for, then moved, and that what was moved once stayed so."""
        states = [look["state"] for look in self.looks]
        moved = [look["completed"] for look in self.looks]
        assert sorted(moved) == moved, self.tell()
        assert set(states) <= {"WAITING", "MOVED"}, self.tell()
        assert sorted(states, key=("WAITING", "MOVED").index) == states, self.tell()
        assert (states[0], states[-1]) == ("WAITING", "MOVED"), self.tell()

    def _follow(self) -> None:
        try:
            while not self._over.is_set():
                self.looks.append(self._look())
                self._over.wait(PACE)
        except BaseException as failure:
            self._failure = failure

    def _look(self) -> dict[str, Any]:
        home = self._velero.home
        asked = ("-n", home.namespace, "-o", "json", "--kubeconfig", str(home.kubectl.kubeconfig))
        answer = subprocess.run(
            [Path(sys.executable).with_name("datamover"), "hcp", "explain", self._backup, *asked],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert answer.returncode in (Exit.MOVED, Exit.FAILED, Exit.WAITING), f"{answer.stdout}{answer.stderr}"
        document = json.loads(answer.stdout)
        (plane,) = document["controlPlanes"]
        assert document["exitCode"] == answer.returncode == _ENDED_WITH.get(plane["state"], Exit.FAILED), document
        if plane["state"] == "MOVED":
            assert document["backup"]["phase"].removesuffix("PartiallyFailed") in (*_COLLECTED, ""), document
            assert document["backup"]["phase"], document
            # looked at after the verdict: what has ended well stays so
            assert set(self._velero.phases(self._backup).values()) == {"Completed"}, document
        return plane


def rows(look: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of an answer by their claims."""
    return {row["claim"]: row for row in look["volumes"]}
