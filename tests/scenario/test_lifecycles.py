"""Whole lifecycles in both worlds: copy methods, healing, retry, incremental mirrors, deletion, budgets."""

import asyncio
from pathlib import Path

import pytest

from datamover.api import names, reasons, transfer
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, Run
from datamover.cli.embedded.world import PROVISIONER
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SECRETS
from kubekit.words.snapshot import IS_DEFAULT_CLASS, VOLUME_SNAPSHOT_CLASSES
from support.kubernetes import ControlPlane
from support.s3 import S3Server
from support.scenario import CLASS, TREE, Cluster, embedded_cluster, ready_reason, real_cluster

SECRET = "storage-credentials"
VERIFY = [{"name": "VERIFY_BACKUP", "value": "true"}]


def run_of(mover: DataMover) -> Run:
    assert mover.status is not None
    assert mover.status.run is not None
    return mover.status.run


def told(mover: DataMover) -> str:
    return (mover.status and mover.status.message) or ""


async def prepare(cluster: Cluster, s3: S3Server, **secret: str) -> Path:
    await cluster.create_secret(SECRET, s3.secret(**secret))
    return await cluster.create_volume("app-data")


async def test_direct_reads_the_source_itself_and_makes_no_clone(cluster: Cluster, s3: S3Server) -> None:
    await prepare(cluster, s3)
    await cluster.create_mover("direct", copyMethod="Direct", additionalEnv=VERIFY)

    done = await cluster.wait_phase("direct", "Completed", "Failed")

    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert s3.objects() == TREE
    assert "PersistentVolumeClaim" not in await cluster.children()
    assert done.status is not None
    assert not done.status.restored_pvc_name


@pytest.mark.parametrize("class_", [CLASS, f"{CLASS}-late"], ids=["immediate", "on first use"])
async def test_a_snapshot_is_moved_and_nothing_of_it_stays(class_: str, cluster: Cluster, s3: S3Server) -> None:
    await prepare(cluster, s3)
    settings = {"copyMethod": "Snapshot", "storageClassName": class_, "volumeSnapshotClassName": CLASS}
    await cluster.create_mover("snapped", deletePvcAfterBackup=True, additionalEnv=VERIFY, **settings)

    done = await cluster.wait_phase("snapped", "Completed", "Failed")

    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert run_of(done).copy_method == "Snapshot"
    assert run_of(done).snapshot_name
    assert s3.objects() == TREE
    assert await cluster.children() == {}


async def test_the_clone_of_a_snapshot_is_kept_when_nobody_asked_for_its_removal_and_the_snapshot_is_not(
    cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3)
    await cluster.create_mover("snapped", copyMethod="Snapshot")

    done = await cluster.wait_phase("snapped", "Completed", "Failed")

    assert ready_reason(done) == reasons.COMPLETED, done.status
    children = await cluster.children()
    assert children["PersistentVolumeClaim"] == [done.status and done.status.restored_pvc_name]
    assert children.keys().isdisjoint({"VolumeSnapshot", "VolumeSnapshotContent"})


async def test_a_snapshot_class_that_appears_later_heals_the_run_and_one_of_another_driver_does_not(
    cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3)
    later = f"later-{cluster.namespace}"
    manifest = {"metadata": {"name": later}, "driver": "csi.example.com", "deletionPolicy": "Delete"}
    await cluster.create_mover("patient", copyMethod="Snapshot", volumeSnapshotClassName=later)
    await cluster.wait_mover("patient", lambda mover: f"{later} does not exist" in told(mover))

    await cluster.client.create(VOLUME_SNAPSHOT_CLASSES, manifest)
    waiting = await cluster.wait_mover("patient", lambda mover: "of driver csi.example.com" in told(mover))
    assert ready_reason(waiting) == reasons.SNAPSHOT_CLASS_NOT_FOUND
    assert await cluster.children() == {}
    await cluster.client.patch(VOLUME_SNAPSHOT_CLASSES, later, {"driver": PROVISIONER}, field_manager="test")

    done = await cluster.wait_phase("patient", "Completed", "Failed")
    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert s3.objects() == TREE
    await cluster.client.delete(VOLUME_SNAPSHOT_CLASSES, later)


async def test_of_several_snapshot_classes_none_is_guessed_and_a_default_heals_the_run(
    cluster: Cluster, s3: S3Server
) -> None:
    async def make_default(name: str, value: str | None) -> None:
        annotations = {"annotations": {IS_DEFAULT_CLASS: value}}
        await cluster.client.patch(VOLUME_SNAPSHOT_CLASSES, name, {"metadata": annotations}, field_manager="test")

    await prepare(cluster, s3)
    second = {"metadata": {"name": f"second-{cluster.namespace}"}, "driver": PROVISIONER, "deletionPolicy": "Delete"}
    await cluster.client.create(VOLUME_SNAPSHOT_CLASSES, second)
    for each in await cluster.client.list(VOLUME_SNAPSHOT_CLASSES):  # the embedded world brings a default
        await make_default(each.metadata.name, None)
    await cluster.create_mover("undecided", copyMethod="Snapshot")
    waiting = await cluster.wait_mover("undecided", lambda mover: "several VolumeSnapshotClasses" in told(mover))
    assert ready_reason(waiting) == reasons.SNAPSHOT_CLASS_NOT_FOUND

    await make_default(CLASS, "true")

    try:
        done = await cluster.wait_phase("undecided", "Completed", "Failed")
    finally:
        await make_default(CLASS, None)
        await cluster.client.delete(VOLUME_SNAPSHOT_CLASSES, second["metadata"]["name"])
    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert s3.objects() == TREE


async def test_a_class_that_binds_on_first_use_is_not_waited_for(cluster: Cluster, s3: S3Server) -> None:
    await prepare(cluster, s3)
    await cluster.create_mover("late", storageClassName=f"{CLASS}-late", deletePvcAfterBackup=True)

    done = await cluster.wait_phase("late", "Completed", "Failed")

    assert ready_reason(done) == reasons.COMPLETED, done.status
    clone = done.status.condition("CloneReady") if done.status else None
    assert clone is not None
    assert clone.reason == reasons.CLONE_WAITS_FOR_CONSUMER
    assert s3.objects() == TREE
    assert await cluster.children() == {}


async def test_a_secret_that_appears_later_heals_the_run_without_a_restart(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_volume("app-data")
    await cluster.create_mover("early", addTimestampPrefix=True)
    waiting = await cluster.wait_reason("early", reasons.SECRET_NOT_FOUND)
    assert waiting.status is not None
    assert SECRET in (waiting.status.message or "")
    assert await cluster.children() == {}

    await cluster.create_secret(SECRET, s3.secret())

    done = await cluster.wait_phase("early", "Completed", "Failed")
    assert ready_reason(done) == reasons.COMPLETED, done.status


async def test_a_wrong_key_fails_at_once_keeps_the_clone_and_a_retry_goes_on_where_it_stopped(
    cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3, AWS_SECRET_ACCESS_KEY="wrong")
    await cluster.create_mover("retried", addTimestampPrefix=True, deletePvcAfterBackup=True)
    failed = await cluster.wait_phase("retried", "Failed", "Completed")
    assert ready_reason(failed) == transfer.REASON_WRONG_CREDENTIALS, failed.status
    assert run_of(failed).attempts == 1
    assert failed.status is not None
    assert names.RETRY_ANNOTATION in (failed.status.message or "")
    children = await cluster.children()
    assert children["PersistentVolumeClaim"] == [failed.status.restored_pvc_name]

    secret = {"stringData": s3.secret()}
    await cluster.client.patch(SECRETS, SECRET, secret, namespace=cluster.namespace, field_manager="test")
    annotation = {"metadata": {"annotations": {names.RETRY_ANNOTATION: "1"}}}
    await cluster.client.patch(DATA_MOVERS, "retried", annotation, namespace=cluster.namespace, field_manager="test")

    done = await cluster.wait_phase("retried", "Completed")
    assert run_of(done).id == run_of(failed).id
    assert run_of(done).timestamp == run_of(failed).timestamp
    assert s3.objects(run_of(done).timestamp) == TREE
    assert await cluster.children() == {}
    assert {path.split("/")[0] for path in s3.objects()} == {run_of(done).timestamp}


async def test_a_mirror_moves_only_what_changed_and_deletes_what_is_gone(cluster: Cluster, s3: S3Server) -> None:
    source = await prepare(cluster, s3)
    await cluster.create_mover("first", deletePvcAfterBackup=True, additionalEnv=VERIFY)
    await cluster.wait_phase("first", "Completed")
    (source / "app/config.json").write_bytes(b'{"answer": 43}\n')
    (source / "added.txt").write_bytes(b"new")
    (source / "data/empty").unlink()

    await cluster.create_mover("second", deletePvcAfterBackup=True, additionalEnv=VERIFY)
    done = await cluster.wait_phase("second", "Completed", "Failed")

    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert (run_of(done).transferred_files, run_of(done).deleted) == (2, 1)
    expected = {**TREE, "app/config.json": b'{"answer": 43}\n', "added.txt": b"new"}
    del expected["data/empty"]
    assert s3.objects() == expected


async def test_two_datamovers_of_one_source_in_the_same_second_get_clones_and_folders_of_their_own(
    cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3)
    names_ = [f"twin-{index}" for index in range(4)]
    await asyncio.gather(*(cluster.create_mover(name, addTimestampPrefix=True) for name in names_))

    done = [await cluster.wait_phase(name, "Completed", "Failed") for name in names_]

    assert [ready_reason(mover) for mover in done] == [reasons.COMPLETED] * 4, [mover.status for mover in done]
    assert len({mover.status.restored_pvc_name for mover in done if mover.status}) == 4
    folders = {run_of(mover).timestamp for mover in done}
    assert len(folders) == 4
    for folder in folders:
        assert s3.objects(folder) == TREE


@pytest.mark.parametrize("phase", ["CreatingClonedPVC", "ClonedPVCReady", "CreatingPod", "CleaningUp", "Completed"])
@pytest.mark.parametrize("method", ["Clone", "Snapshot"])
async def test_deleting_the_datamover_at_any_phase_leaves_nothing_behind(
    method: str, phase: str, cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3)
    keep = phase == "Completed"
    order = list(names.Phase.ORDER)
    await cluster.create_mover("doomed", copyMethod=method, addTimestampPrefix=True, deletePvcAfterBackup=not keep)
    await cluster.wait_mover(
        "doomed",
        lambda mover: order.index((mover.status.phase if mover.status else "") or "") >= order.index(phase),
    )

    await cluster.client.delete(DATA_MOVERS, "doomed", namespace=cluster.namespace)

    await cluster.wait_gone(DATA_MOVERS, "doomed")

    async def nothing_left() -> bool:
        return await cluster.children() == {}

    await cluster.wait_for(nothing_left, seconds=40)
    source = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "app-data", namespace=cluster.namespace)
    assert not source.metadata.terminating


async def test_suspend_stops_a_running_mover_and_goes_on_when_it_is_lifted(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data", {f"file-{index}": bytes(200_000) for index in range(20)})
    slow = [{"name": "RCLONE_BWLIMIT", "value": "300k"}, {"name": "RCLONE_TRANSFERS", "value": "1"}]
    await cluster.create_mover("held", addTimestampPrefix=True, additionalEnv=slow)
    await cluster.wait_mover(
        "held", lambda mover: bool(mover.status and mover.status.run and mover.status.run.progress)
    )

    await _patch_spec(cluster, "held", {"suspend": True})
    suspended = await cluster.wait_reason("held", reasons.SUSPENDED)

    async def no_pods() -> bool:
        return "Pod" not in await cluster.children()

    await cluster.wait_for(no_pods)
    await _patch_spec(cluster, "held", {"suspend": False, "additionalEnv": slow})
    job = await cluster.client.get(JOBS, run_of(suspended).job_name or "", namespace=cluster.namespace)
    assert not job.metadata.terminating
    await cluster.wait_mover("held", lambda mover: ready_reason(mover) != reasons.SUSPENDED)
    done = await cluster.wait_phase("held", "Completed", "Failed", seconds=60)
    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert run_of(done).id == run_of(suspended).id
    assert len(s3.objects(run_of(done).timestamp)) == 20


async def test_one_backup_costs_at_most_twelve_writes_and_reads_nothing(s3: S3Server, tmp_path: Path) -> None:
    async with embedded_cluster(tmp_path, progress_interval=10) as cluster:
        await prepare(cluster, s3)
        await cluster.create_mover("frugal", addTimestampPrefix=True, deletePvcAfterBackup=True)
        await cluster.wait_phase("frugal", "Completed")
        await asyncio.sleep(1.5)  # events are written behind

        writes, reads = requests_of_operator(cluster)
        events = await cluster.events("frugal")

    assert sum(writes.values()) <= 12, (writes, events)
    assert reads == {}


def requests_of_operator(cluster: Cluster) -> tuple[dict[str, float], dict[str, float]]:
    """Return what the operator's client asked for: writes, and reads outside list, watch and log sampling."""
    writes: dict[str, float] = {}
    reads: dict[str, float] = {}
    for family in cluster.registry.collect():
        for sample in family.samples:
            if sample.name != "datamover_api_requests_total":
                continue
            verb = sample.labels["verb"]
            label = f"{verb} {sample.labels['resource']} {sample.labels['code']}"
            if verb in ("create", "apply", "patch", "update", "delete"):
                writes[label] = sample.value
            elif verb == "get" and sample.labels["resource"] != "pods/log":
                reads[label] = sample.value
    return writes, reads


@pytest.mark.kubernetes
async def test_the_real_api_servers_audit_log_agrees_on_the_number_of_writes(
    kubernetes: ControlPlane, namespace: str, tmp_path: Path, s3: S3Server
) -> None:
    async with real_cluster(kubernetes, namespace, tmp_path, progress_interval=10) as cluster:
        await prepare(cluster, s3)
        before = max((entry.number for entry in kubernetes.audit()), default=0)
        await cluster.create_mover("audited", addTimestampPrefix=True, deletePvcAfterBackup=True)
        await cluster.wait_phase("audited", "Completed")
        await asyncio.sleep(1.5)
        entries = [
            entry
            for entry in kubernetes.audit(since=before)
            if entry.agent.startswith("operator") and entry.verb not in ("list", "watch") and entry.subresource != "log"
        ]
    assert 8 <= len(entries) <= 12, entries
    assert {entry.verb for entry in entries} <= {"create", "update", "patch", "delete"}


async def _patch_spec(cluster: Cluster, name: str, spec: dict[str, object]) -> None:
    await cluster.client.patch(DATA_MOVERS, name, {"spec": spec}, namespace=cluster.namespace, field_manager="test")
