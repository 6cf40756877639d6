"""What holds up a run in the middle is told, in the words of somebody on call, and heals when it is mended. In both worlds."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names, reasons
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli import kinds
from datamover.runs.facts import Patience
from kubekit.words.batch import JOBS
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubekit.words.storage import STORAGE_CLASSES
from support.s3 import S3Server
from support.scenario import CLASS, TREE, Cluster, ready_reason, storage_classes

SECRET = "storage-credentials"
FINALIZER = "example.com/audit"


def told(mover: DataMover) -> str:
    return (mover.status and mover.status.message) or ""


async def prepare(cluster: Cluster, s3: S3Server) -> Path:
    await cluster.create_secret(SECRET, s3.secret())
    return await cluster.create_volume("app-data")


async def change(cluster: Cluster, resource: Any, name: str, **fields: Any) -> None:
    namespace = cluster.namespace if resource.namespaced else None
    await cluster.client.patch(resource, name, fields, namespace=namespace, field_manager="author")


async def retry(cluster: Cluster, name: str, wish: str) -> None:
    await change(cluster, DATA_MOVERS, name, metadata={"annotations": {names.RETRY_ANNOTATION: wish}})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute until a removal that waits is told is too long for a test."""
    monkeypatch.setattr(kinds, "Patience", partial(Patience, removal=2.0))


async def test_a_clone_that_loses_its_volume_fails_the_run_and_a_retry_takes_another(
    cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3)
    # The image cannot be had, so that the mover does not start before the volume goes.
    await cluster.create_mover("unlucky", addTimestampPrefix=True, image={"repository": "nowhere.invalid/mover"})
    stuck = await cluster.wait_reason("unlucky", reasons.IMAGE_PULL_FAILED)
    assert stuck.status is not None
    name = stuck.status.restored_pvc_name or ""
    clone = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=cluster.namespace)
    volume = (clone.spec and clone.spec.volume_name) or ""
    await cluster.client.delete(PERSISTENT_VOLUMES, volume)
    await change(cluster, PERSISTENT_VOLUMES, volume, metadata={"finalizers": None})

    failed = await cluster.wait_phase("unlucky", "Failed", "Completed")

    assert ready_reason(failed) == reasons.CLONE_VOLUME_LOST, failed.status
    for words in (f"clone {name} has lost its volume {volume}", "the source is intact", names.RETRY_ANNOTATION):
        assert words in told(failed)
    assert s3.objects() == {}

    patch = {"annotations": {names.RETRY_ANNOTATION: "1"}}
    await change(cluster, DATA_MOVERS, "unlucky", metadata=patch, spec={"image": None})
    done = await cluster.wait_phase("unlucky", "Completed")
    assert done.status is not None
    assert done.status.run is not None
    assert s3.objects(done.status.run.timestamp) == TREE
    again = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=cluster.namespace)
    assert again.metadata.uid != clone.metadata.uid
    assert again.spec is not None
    assert again.spec.storage_class_name == CLASS


async def test_a_volume_that_its_class_retains_is_named_and_freed_by_the_command_in_the_message(
    cluster: Cluster, s3: S3Server
) -> None:
    await prepare(cluster, s3)
    name = f"keeps-{cluster.namespace}"
    keeping = {
        **next(each for each in storage_classes() if each["metadata"]["name"] == CLASS),
        "reclaimPolicy": "Retain",
    }
    await cluster.client.create(STORAGE_CLASSES, {**keeping, "metadata": {"name": name}}, field_manager="author")
    await cluster.create_mover("leaky", addTimestampPrefix=True, deletePvcAfterBackup=True, storageClassName=name)

    done = await cluster.wait_phase("leaky", "Completed", "Failed")

    assert ready_reason(done) == reasons.COMPLETED, done.status
    assert done.status is not None
    cleaned = done.status.condition("CleanedUp")
    assert cleaned is not None
    assert (cleaned.status, cleaned.reason) == ("False", reasons.VOLUME_RETAINED)
    found = re.search(r"kubectl patch pv (\S+) -p '(.+?)'", cleaned.message)
    assert found is not None, cleaned.message
    assert await cluster.children() == {"PersistentVolume": [found[1]]}, "the clone itself is gone"
    kept = await cluster.client.get(PERSISTENT_VOLUMES, found[1])
    assert kept.spec is not None
    assert kept.spec.claim_ref is not None
    assert kept.spec.claim_ref.name == done.status.restored_pvc_name

    async def told() -> bool:
        return ("Warning", reasons.VOLUME_RETAINED) in await cluster.events("leaky")

    await cluster.wait_for(told)
    await change(cluster, PERSISTENT_VOLUMES, found[1], **json.loads(found[2]))
    await cluster.wait_gone(PERSISTENT_VOLUMES, found[1])


@pytest.mark.slow  # people are told after half a minute
async def test_an_old_job_that_a_finalizer_holds_is_told_to_whoever_waits_for_the_retry(
    cluster: Cluster, s3: S3Server
) -> None:
    await cluster.create_secret(SECRET, s3.secret(AWS_SECRET_ACCESS_KEY="wrong"))
    await cluster.create_volume("app-data")
    await cluster.create_mover("held", addTimestampPrefix=True)
    failed = await cluster.wait_phase("held", "Failed")
    assert failed.status is not None
    assert failed.status.run is not None
    job = failed.status.run.job_name or ""
    await change(cluster, JOBS, job, metadata={"finalizers": [FINALIZER]})
    await cluster.client.delete(JOBS, job, namespace=cluster.namespace)
    await change(
        cluster,
        DATA_MOVERS,
        "held",
        metadata={"annotations": {names.RETRY_ANNOTATION: "1"}},
        spec={"secretName": "right"},
    )
    await cluster.create_secret("right", s3.secret())

    waiting = await cluster.wait_reason("held", reasons.MOVER_REMOVAL_WAITING, seconds=60)

    assert waiting.status is not None
    assert waiting.status.phase == "Failed"
    for words in (f"Job {job} is being deleted since 20", FINALIZER, "find out who is to remove", "The retry begins"):
        assert words in told(waiting), words
    await change(cluster, JOBS, job, metadata={"finalizers": None})
    done = await cluster.wait_phase("held", "Completed")
    assert done.status is not None
    assert done.status.run is not None
    assert done.status.run.id == failed.status.run.id, "the same run again (law L6)"


@pytest.mark.slow  # people are told after half a minute
async def test_somebody_elses_pod_that_holds_the_clone_is_named(cluster: Cluster, s3: S3Server) -> None:
    await prepare(cluster, s3)
    late = [{"name": "LATE", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]
    await cluster.create_mover("cleaned", addTimestampPrefix=True, deletePvcAfterBackup=True, additionalEnv=late)
    begun = await cluster.wait_reason("cleaned", reasons.MOVER_CANNOT_START)
    assert begun.status is not None
    clone = begun.status.restored_pvc_name
    shell = {
        "containers": [{"name": "shell", "image": "nowhere.invalid/shell"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": clone}}],
    }
    await cluster.create(PODS, "shell", spec=shell)

    async def scheduled() -> bool:
        pod = await cluster.client.get(PODS, "shell", namespace=cluster.namespace)
        return pod.spec is not None and bool(pod.spec.node_name)

    await cluster.wait_for(scheduled)
    await cluster.create(CONFIG_MAPS, "late", data={"k": "v"})

    waiting = await cluster.wait_reason("cleaned", reasons.CLEANUP_WAITING, seconds=60)

    for words in (f"PersistentVolumeClaim {clone} is being deleted since", "pvc-protection", "Pod shell ("):
        assert words in told(waiting), told(waiting)
    await cluster.client.delete(PODS, "shell", namespace=cluster.namespace, grace_period_seconds=0)
    done = await cluster.wait_phase("cleaned", "Completed")
    assert ready_reason(done) == reasons.COMPLETED
    assert await cluster.children() == {}
