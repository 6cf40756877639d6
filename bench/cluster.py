"""`python -m bench.cluster [--only WORD]`: what one backup costs in the cluster of `make cluster-up`, step by step, and thirty at once; and what
two synchronisations of a ReplicationSource do.

Everything is real: kubelet, CSI driver, the operator from its chart, the mover's image, an S3 server with TLS in the cluster. The moments are
those at which a watch of ours sees an object change. The operator's own share is what passes while nobody else has anything to do.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.synchronization import measure_source
from bench.watches import watching
from support.cluster import (
    OPERATOR_NAMESPACE,
    Kubectl,
    RealCluster,
    condition,
    find_cluster,
    wait_for,
)
from support.images import find_images
from support.place import Place, mover_manifest
from support.store import create_store

RUNS = 5
AT_ONCE = 30
STEPS = (
    ("the operator sees it, records the run, asks for the clone", "applied", "clone made", True),
    ("the driver clones", "clone made", "clone bound", False),
    ("the operator makes the Job", "clone bound", "job made", True),
    ("Job controller and scheduler", "job made", "pod scheduled", False),
    ("kubelet: mount, image, start", "pod scheduled", "pod running", False),
    ("the mover", "pod running", "pod ended", False),
    ("Job controller", "pod ended", "job ended", False),
    ("the operator begins to clean up", "job ended", "job deleted", True),
    ("Job, Pod, clone and storage go", "job deleted", "clone gone", False),
    ("the operator says so", "clone gone", "completed", True),
)


class Moments:
    """When we first saw what, in seconds of one clock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.seen: dict[str, float] = {}

    def note(self, event: dict[str, Any]) -> None:
        """Take in one event of a watch."""
        now, found, gone = time.monotonic(), event["object"], event["type"] == "DELETED"
        status, kind = found.get("status", {}), found["kind"]
        if kind == "PersistentVolumeClaim" and found["metadata"]["name"].startswith("restored-"):
            self._see("clone made", True, now)
            self._see("clone bound", status.get("phase") == "Bound", now)
            self._see("clone gone", gone, now)
        elif kind == "Job":
            self._see("job made", True, now)
            self._see("job ended", bool(condition(found, "Complete")), now)
            self._see("job deleted", gone or "deletionTimestamp" in found["metadata"], now)
        elif kind == "Pod":
            self._see("pod scheduled", bool(found["spec"].get("nodeName")), now)
            self._see("pod running", status.get("phase") in {"Running", "Succeeded"}, now)
            self._see("pod ended", status.get("phase") == "Succeeded", now)
        elif found["metadata"]["name"] == self._name:  # earlier ones are still there
            self._see("completed", status.get("phase") == "Completed", now)

    def _see(self, what: str, holds: bool, now: float) -> None:
        if holds:
            self.seen.setdefault(what, now)


def measure_one(place: Place) -> dict[str, float]:
    """Return the seconds of each step of one backup, the whole, and the operator's share; medians of some."""
    found: dict[str, list[float]] = {}
    for number in range(RUNS):
        name = f"one-{number}"
        moments = Moments(name)
        with watching(place.kubectl, place.namespace, ("pvc", "jobs", "pods", "datamovers"), moments.note):
            moments.seen["applied"] = time.monotonic()
            place.create_mover(name, deletePvcAfterBackup=True)
            wait_for(lambda moments=moments: "completed" in moments.seen)
            time.sleep(0.3)
        seen = moments.seen
        for step, begin, end, _ in STEPS:
            found.setdefault(step, []).append(max(0.0, seen[end] - seen[begin]))
        found.setdefault("all", []).append(seen["completed"] - seen["applied"])
        share = sum(max(0.0, seen[end] - seen[begin]) for _, begin, end, ours in STEPS if ours)
        found.setdefault("of which the operator's", []).append(share)
    return {step: round(statistics.median(values), 2) for step, values in found.items()}


def measure_many(place: Place) -> dict[str, float]:
    """Return the seconds until that many DataMovers that are created together are Completed."""
    begun = time.monotonic()
    wanted = {"deletePvcAfterBackup": True, "addTimestampPrefix": True}
    manifests = (mover_manifest(f"many-{number}", **wanted) for number in range(AT_ONCE))
    place.kubectl.apply(*manifests, namespace=place.namespace)
    created = time.monotonic()
    place.run("wait", "--for=condition=Complete", "datamover", "--all", "--timeout=300s", seconds=320)
    return {
        f"{AT_ONCE} created": round(created - begun, 2),
        f"{AT_ONCE} Completed": round(time.monotonic() - begun, 2),
    }


def _measure(cluster: RealCluster, scratch: Path, *, only: str) -> dict[str, dict[str, float]]:
    cluster.create_namespace(OPERATOR_NAMESPACE)
    cluster.install()
    cluster.create_namespace("bench-store")
    store = create_store(cluster, "bench-store", scratch=scratch)
    cluster.create_namespace("bench")
    store.make_bucket("bench")
    place = Place(cluster, store, "bench", "bench", scratch)
    place.create_volume(tree={f"file-{number}": b"x" * 1000 for number in range(100)})
    place.create_secret()
    measures = {
        "one backup of 100 files, s": measure_one,
        "at once, s": measure_many,
        "a ReplicationSource of 100 files, restic, Direct, without a trigger, s": measure_source,
    }
    return {title: measure(place) for title, measure in measures.items() if only in title}


def main() -> None:
    """Install, measure, print, and take everything away."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster")
    parser.add_argument("--only", default="", help="measure only what has this word in its title")
    arguments = parser.parse_args()
    kubeconfig, rig, kubectl, helm = find_cluster()
    cluster = RealCluster(Kubectl(kubectl, kubeconfig), find_images(rig), helm, rig)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            results = _measure(cluster, Path(scratch), only=arguments.only)
        finally:
            for namespace in ("bench", "bench-store"):
                cluster.kubectl.run("delete", "namespace", namespace, "--ignore-not-found", "--wait=true")
            cluster.run_helm("uninstall", "datamover", "--wait", "--ignore-not-found")
            cluster.kubectl.run("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait=true")
    for title, figures in results.items():
        print(f"\n{title}")
        for name, value in figures.items():
            print(f"  {name:<62}{value:>7}")
    path = ROOT / "bench" / "results" / f"cluster-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2))
    print(f"\nwrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
