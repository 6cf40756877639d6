"""Copy triggers with everything real: what is written before the trigger is in the copy, and what is written after Completed is not."""

import pytest

from datamover.api import reasons
from datamover.api.copy_trigger import (
    LATEST_ANNOTATION,
    STATUS_ANNOTATION,
    TRIGGER_ANNOTATION,
    USE_ANNOTATION,
    Status,
)
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS
from support.s3 import S3Server
from support.scenario import CLASS, TREE, Cluster, ready_reason

SECRET = "storage-credentials"


async def annotate(cluster: Cluster, **values: str | None) -> None:
    """Change annotations of the source, as its user would: `use` and `trigger`."""
    names = {"use": USE_ANNOTATION, "trigger": TRIGGER_ANNOTATION}
    patch = {"metadata": {"annotations": {names[name]: value for name, value in values.items()}}}
    await cluster.client.patch(
        PERSISTENT_VOLUME_CLAIMS, "app-data", patch, namespace=cluster.namespace, field_manager="author"
    )


async def annotations(cluster: Cluster) -> dict[str, str]:
    claim = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "app-data", namespace=cluster.namespace)
    return claim.metadata.annotations or {}


@pytest.mark.parametrize("method", ["Clone", "Snapshot"])
async def test_the_copy_is_of_the_moment_that_its_user_chooses(method: str, cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    directory = await cluster.create_volume("app-data")
    await annotate(cluster, use="")
    settings = {"volumeSnapshotClassName": CLASS} if method == "Snapshot" else {}
    await cluster.create_mover("quiet", copyMethod=method, deletePvcAfterBackup=True, **settings)

    waiting = await cluster.wait_reason("quiet", reasons.COPY_TRIGGER_WAITING)
    assert waiting.status is not None
    assert f"annotate pvc app-data {TRIGGER_ANNOTATION}=" in (waiting.status.message or "")
    assert (await annotations(cluster))[STATUS_ANNOTATION] == Status.WAITING
    assert "VolumeSnapshot" not in await cluster.children()

    (directory / "ledger").write_bytes(b"closed")
    await annotate(cluster, trigger="go1")

    async def told() -> bool:
        return (await annotations(cluster)).get(LATEST_ANNOTATION) == "go1"

    await cluster.wait_for(told)
    assert (await annotations(cluster))[STATUS_ANNOTATION] == Status.COMPLETED
    (directory / "ledger").write_bytes(b"open again")

    done = await cluster.wait_phase("quiet", "Completed", "Failed")
    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert s3.objects() == {**TREE, "ledger": b"closed"}
    triggered = done.status.condition("CopyTriggered") if done.status is not None else None
    assert triggered is not None
    assert triggered.reason == reasons.COPY_TRIGGER_COMPLETED

    async def all_told() -> bool:
        said = {event.reason for event in await cluster.client.list(EVENTS, namespace=cluster.namespace)}
        return {reasons.COPY_TRIGGER_WAITING, reasons.COPY_TRIGGER_RECEIVED, reasons.COPY_TRIGGER_COMPLETED} <= said

    await cluster.wait_for(all_told)


async def test_two_movers_share_one_trigger(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data")
    await annotate(cluster, use="")
    for name in ("one", "two"):
        await cluster.create_mover(name, deletePvcAfterBackup=True, addTimestampPrefix=True)
    for name in ("one", "two"):
        await cluster.wait_reason(name, reasons.COPY_TRIGGER_WAITING)
    await annotate(cluster, trigger="go1")
    for name in ("one", "two"):
        done = await cluster.wait_phase(name, "Completed", "Failed")
        assert ready_reason(done) == reasons.COMPLETED, done.status
    said = await annotations(cluster)
    assert (said[STATUS_ANNOTATION], said[LATEST_ANNOTATION]) == (Status.COMPLETED, "go1")


async def test_who_leaves_is_not_waited_for(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data")
    await annotate(cluster, use="false")
    await cluster.create_mover("quiet", deletePvcAfterBackup=True)
    await cluster.wait_reason("quiet", reasons.COPY_TRIGGER_WAITING)
    await annotate(cluster, use=None)
    done = await cluster.wait_phase("quiet", "Completed", "Failed")
    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert not [key for key in await annotations(cluster) if "copy" in key]
