"""What two synchronisations in a row cost in the cluster of `make cluster-up`: a ReplicationSource, restic, Direct, without a trigger.

The moments are those at which a watch of ours sees an object change; the object itself is one of them, so that kubectl's own start is nobody's.
"""

import statistics
import time
from typing import Any

from bench.watches import watching
from support.cluster import condition, wait_for
from support.place import Place
from support.replicas import SOURCE, create, create_authority, create_secret, restic_secret

RUNS = 5
STEPS = (
    ("the operator makes the Job", "begun", "job made", True),
    ("Job controller and scheduler", "job made", "pod scheduled", False),
    ("kubelet: mount, image, start", "pod scheduled", "pod running", False),
    ("the mover", "pod running", "pod ended", False),
    ("Job controller", "pod ended", "job ended", False),
    ("the operator says so", "job ended", "said", True),
)


class Rounds:
    """When we first saw what, for each synchronisation of one source: each has a Job of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._job = f"volsync-src-{name}"
        self._created = 0.0
        self._jobs: dict[str, dict[str, float]] = {}
        self._said: dict[str, float] = {}

    def note(self, event: dict[str, Any]) -> None:
        """Take in one event of a watch. Kinds are watched side by side: what follows may be seen first."""
        now, found = time.monotonic(), event["object"]
        metadata, status = found["metadata"], found.get("status", {})
        if found["kind"] == "ReplicationSource" and metadata["name"] == self._name:
            self._created = self._created or now
            if status.get("lastSyncTime"):
                self._said.setdefault(status["lastSyncTime"], now)
        elif found["kind"] == "Job" and metadata["name"] == self._job:
            moments = self._jobs.setdefault(metadata["uid"], {"job made": now})
            if condition(found, "Complete"):
                moments.setdefault("job ended", now)
        elif found["kind"] == "Pod":
            for owner in metadata.get("ownerReferences", []):
                if owner["name"] == self._job:
                    self._note_pod(self._jobs.setdefault(owner["uid"], {"job made": now}), found, now)

    @staticmethod
    def _note_pod(moments: dict[str, float], pod: dict[str, Any], now: float) -> None:
        phase = pod.get("status", {}).get("phase")
        if pod["spec"].get("nodeName"):
            moments.setdefault("pod scheduled", now)
        if phase in {"Running", "Succeeded"}:
            moments.setdefault("pod running", now)
        if phase == "Succeeded":
            moments.setdefault("pod ended", now)

    def ended(self) -> list[dict[str, float]]:
        """Return the moments of each that is over. One begins when the one before it is."""
        said = list(self._said.values())
        begun = [self._created, *said]
        jobs = list(self._jobs.values())
        return [
            {"begun": begin, **moments, "said": end} for begin, moments, end in zip(begun, jobs, said, strict=False)
        ]


def measure_source(place: Place) -> dict[str, Any]:
    """Return the seconds of each step of the first and of the second synchronisation, the whole, and the operator's share; medians of some."""
    create_secret(place, "repository", restic_secret(place, "restic"))
    authority = create_authority(place)
    found: dict[str, list[float]] = {}
    for number in range(RUNS):
        name = f"source-{number}"
        seen = Rounds(name)
        with watching(place.kubectl, place.namespace, ("replicationsources", "jobs", "pods"), seen.note):
            spec = {"repository": "repository", "customCA": authority, "copyMethod": "Direct"}
            create(place, SOURCE, name, "restic", source="app-data", **spec)
            wait_for(lambda seen=seen: len(seen.ended()) > 1, seconds=180, what=place.explain)
            time.sleep(0.3)
        place.run("delete", SOURCE, name, "--wait=true")
        for which, moments in zip(("first", "second"), seen.ended(), strict=False):
            for step, begin, end, _ in STEPS:
                found.setdefault(f"{which}: {step}", []).append(max(0.0, moments[end] - moments[begin]))
            found.setdefault(f"{which}: all", []).append(moments["said"] - moments["begun"])
            share = sum(max(0.0, moments[end] - moments[begin]) for _, begin, end, ours in STEPS if ours)
            found.setdefault(f"{which}: of which the operator's", []).append(share)
    return {step: round(statistics.median(values), 2) for step, values in found.items()}
