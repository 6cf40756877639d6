"""Somebody who asks `datamover hcp explain` again and again while a backup is made, reads what the operator's watcher writes, and keeps both."""

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
from datamover.reconcilers.hosted_control_plane.record import FollowedPlane
from support.velero_node import LONG, NodeVelero
from support.watched import Watched

PACE = 0.5
"""Seconds between an answer and the next question."""
_ENDED_WITH = {"MOVED": Exit.MOVED, "NOTHING_TO_MOVE": Exit.MOVED, "WAITING": Exit.WAITING, "UNKNOWN": Exit.WAITING}
_COLLECTED = ("WaitingForPluginOperations", "Finalizing", "Completed")
"""How the phases of a Backup begin in which Velero has processed all items; each may end with `PartiallyFailed`."""


class Follower:
    """Asks from `with` on until its end, about a backup of one control plane.

    Guarantees: of each answer it was checked that its exit code fits what it says, and that nothing is called moved before Velero has processed all
    items and ended all uploads well; the latter of what is written as well. `looks` are the answers about the control plane, in their order, and
    `written` what the watcher had written by then, each once.
    """

    def __init__(self, velero: NodeVelero, watched: Watched, backup: str) -> None:
        self.looks: list[dict[str, Any]] = []
        self.written: list[FollowedPlane] = []
        self._velero = velero
        self._watched = watched
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
        """Return what was said and written, each sentence once."""
        told: list[str] = []
        for look in self.looks:
            rows = ", ".join(f"{row['claim']}: {row['kind']} {row['phase']}" for row in look["volumes"])
            line = f"{look['state']} {look['completed']}/{look['total']} ({rows}) {look['description']}"
            if line not in told[-1:]:
                told.append(line)
        told += [f"written: {each.state} {each.completed}/{each.total} {each.description}" for each in self.written]
        return "\n".join(told)

    def demand_order(self) -> None:
        """Demand that it was waited for, then moved, and that what was moved once stayed so: of what was said, and of what was written."""
        said = [(look["state"], look["completed"]) for look in self.looks]
        for course in (said, [(each.state, each.completed) for each in self.written]):
            states, moved = [state for state, _ in course], [count for _, count in course]
            assert sorted(moved) == moved, self.tell()
            assert set(states) <= {"WAITING", "MOVED"}, self.tell()
            assert sorted(states, key=("WAITING", "MOVED").index) == states, self.tell()
            assert states[0] == "WAITING", self.tell()
        assert said[-1][0] == "MOVED", self.tell()

    def _follow(self) -> None:
        try:
            while not self._over.is_set():
                self._read()
                self.looks.append(self._look())
                self._over.wait(PACE)
        except BaseException as failure:
            self._failure = failure

    def _read(self) -> None:
        plane = self._watched.plane(self._backup)
        if plane is not None and plane not in self.written[-1:]:
            self.written.append(plane)
            if plane.state == "MOVED":
                phase = self._velero.phase(self._backup)
                self._demand_moved(phase, plane)

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
            self._demand_moved(document["backup"]["phase"], document)
        return plane

    def _demand_moved(self, phase: str, said: object) -> None:
        """Demand that Velero had processed all items in this phase of the backup, and has ended all uploads well."""
        assert phase.removesuffix("PartiallyFailed") in (*_COLLECTED, ""), said
        assert phase, said
        # looked at after the verdict: what has ended well stays so
        assert set(self._velero.phases(self._backup).values()) == {"Completed"}, said


def rows(look: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of an answer by their claims."""
    return {row["claim"]: row for row in look["volumes"]}
