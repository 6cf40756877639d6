"""A real API server without the snapshot kinds: what needs them waits and says so, and all else works; with them it heals."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.api import reasons
from kubekit.runtime import informer
from support.definitions import own_definitions, snapshot_definitions
from support.kubernetes import ControlPlane
from support.s3 import S3Server
from support.scenario import TREE, create_classes, ready_reason, real_cluster

NAMESPACE = "plain"
SECRET = "storage-credentials"


@pytest.fixture
def plain(kubernetes: ControlPlane, tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of its own that knows no kinds but Kubernetes' and ours."""
    plane = ControlPlane(kubernetes.programs, logs=tmp_path / "logs")
    plane.start(manifests=own_definitions())
    try:
        plane.create_namespace(NAMESPACE)
        yield plane
    finally:
        plane.stop()


@pytest.mark.slow
async def test_without_the_snapshot_kinds_clones_are_made_and_snapshots_wait_until_the_kinds_come(
    plain: ControlPlane, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "ABSENT_PAUSE", 1.0)  # a minute, else, until somebody looks again for a kind
    async with real_cluster(plain, NAMESPACE, tmp_path) as cluster:
        await cluster.create_secret(SECRET, s3.secret())
        await cluster.create_volume("app-data")
        await cluster.create_mover("snapped", copyMethod="Snapshot", addTimestampPrefix=True, deletePvcAfterBackup=True)
        await cluster.create_mover("cloned", addTimestampPrefix=True, deletePvcAfterBackup=True)

        done = await cluster.wait_phase("cloned", "Completed", "Failed")
        assert ready_reason(done) == reasons.COMPLETED, done.status
        waiting = await cluster.wait_reason("snapped", reasons.SNAPSHOTS_NOT_SUPPORTED)
        assert waiting.status is not None
        assert "copyMethod: Clone" in (waiting.status.message or "")
        assert await cluster.children() == {}

        for definition in snapshot_definitions():
            await asyncio.to_thread(plain.create, definition)
        await create_classes(cluster.client)

        healed = await cluster.wait_phase("snapped", "Completed", "Failed")
        assert ready_reason(healed) == reasons.COMPLETED, healed.status
        assert healed.status is not None
        assert healed.status.run is not None
        assert s3.objects(healed.status.run.timestamp) == TREE
        assert await cluster.children() == {}
