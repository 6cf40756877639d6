"""What must not be left after a scenario: in the cluster, on the driver's disk, in the bucket, and in what can be read."""

import json
from collections.abc import Sequence

from support.cluster import SECRET_KEY, Place, RealCluster, Store, wait_for

_UNHANDLED = ("Traceback (most recent call last)", "Task exception was never retrieved", "never awaited")


class Leftovers:
    """Compares the cluster with what it was before the first scenario."""

    def __init__(self, cluster: RealCluster, store: Store, *, ignored: Sequence[str]) -> None:
        self._cluster = cluster
        self._store = store
        self._ignored = tuple(ignored)
        self._before = self._cluster_wide()
        self._disk_before = self._on_disk()

    def demand_no_secret(self, place: Place) -> None:
        """Search the secret key in every object, event, and log that is not a Secret's own (law L8)."""
        kubectl = self._cluster.kubectl
        kinds = "pods,jobs,pvc,events,configmaps,datamovers"
        seen = kubectl.run("get", kinds, "-n", place.namespace, "-o", "json")
        assert SECRET_KEY not in seen, "the secret key is in an object or event"
        for pod in json.loads(seen)["items"]:
            if pod["kind"] == "Pod":
                log = kubectl.run(
                    "logs", "-n", place.namespace, pod["metadata"]["name"], "--all-containers", check=False
                )
                assert SECRET_KEY not in log, f"the secret key is in the log of {pod['metadata']['name']}"

    def demand_nothing(self, place: Place) -> None:
        """Demand that everything that the scenario made is gone, and that the operator has nothing unhandled in its log."""
        wait_for(
            lambda: self._cluster_wide() <= self._before,
            seconds=60,
            what=lambda: str(self._cluster_wide() - self._before),
        )
        wait_for(
            lambda: self._on_disk() <= self._disk_before,
            seconds=30,
            what=lambda: str(self._on_disk() - self._disk_before),
        )
        pending = json.loads(self._store.rclone("backend", "list-multipart-uploads", f"s3:{place.bucket}") or "{}")
        assert not any(pending.values()), f"uploads that nobody ended: {pending}"
        log = self._cluster.operator_log()
        for words in (*_UNHANDLED, SECRET_KEY):
            assert words not in log, f"{words!r} in the operator's log:\n{log[-6000:]}"

    def _cluster_wide(self) -> set[str]:
        listed = self._cluster.kubectl.run(
            "get",
            "pv,volumesnapshotcontents,namespaces",
            "-o",
            'jsonpath={range .items[*]}{.kind}/{.metadata.name}{"\\n"}{end}',
        )
        return set(listed.split()) - {f"Namespace/{name}" for name in self._ignored}

    def _on_disk(self) -> set[str]:
        if self._cluster.rig is None:
            return set()  # somebody else's storage, of which we see the volumes only
        volumes = self._cluster.rig.layout.volumes
        return {
            str(path.relative_to(volumes))
            for folder in ("volumes", "snapshots")
            for path in (volumes / folder).glob("*")
        }
