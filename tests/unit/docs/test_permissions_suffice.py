"""The rights of the install manifest, held against a real API server: an operator that has these and no others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datamover.api import copy_trigger, names, reasons, transfer
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from localkube.node.node import LocalNode, NodeOptions
from support.kubernetes import ControlPlane
from support.parsing import read_documents
from support.s3 import S3Server, s3
from support.scenario import CLASS, IMAGES, Cluster, create_classes, ready_reason

__all__ = ["s3"]

ROOT = Path(__file__).resolve().parents[3]
MANIFEST = (ROOT / "deploy" / "install.yaml").read_text(encoding="utf-8")
RIGHTS = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
OPERATOR = "datamover-operator-system"
ACCOUNT = "datamover-operator-controller-manager"
SECRET = "storage-credentials"


@asynccontextmanager
async def cluster_by_the_manifest(plane: ControlPlane, namespace: str, place: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator is the manifest's service account, with leader election; the node is the administrator."""
    for document in read_documents(MANIFEST):
        if document and document["kind"] in RIGHTS:
            plane.create(document)
    registry, metrics = new_metrics()
    operators = HttpTransport(load_config(plane.service_account_kubeconfig(OPERATOR, ACCOUNT)))
    others = HttpTransport(load_config(plane.admin_kubeconfig))
    admin = Client(others, user_agent="administrator")
    client = Client(operators, user_agent="operator", observe=metrics.request)
    await create_classes(admin)
    movers = NodeOptions(environment={"PYTHONPATH": str(ROOT / "src")})
    node = LocalNode(admin, state_dir=place / "node", images=IMAGES, options=movers)
    operator = Operator(
        client,
        cluster=await find_cluster(client),
        options=Options(leader_namespace=OPERATOR, progress_interval=0.2, check_definitions=True),
        registry=registry,
        metrics=metrics,
    )
    stop = asyncio.Event()
    tasks = [asyncio.create_task(node.run()), asyncio.create_task(operator.run(stop))]
    try:
        yield Cluster(client=admin, node=node, registry=registry, namespace=namespace, place=place)
    finally:
        stop.set()
        await asyncio.gather(tasks[1], return_exceptions=True)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await operators.close()
        await others.close()


@pytest.mark.slow
@pytest.mark.rclone
async def test_an_operator_with_the_documented_rights_does_all_it_has_to(
    kubernetes: ControlPlane, namespace: str, tmp_path: Path, s3: S3Server
) -> None:
    async with cluster_by_the_manifest(kubernetes, namespace, tmp_path) as cluster:
        await cluster.create_secret(SECRET, s3.secret())
        await cluster.create_secret("wrong", s3.secret(AWS_SECRET_ACCESS_KEY="wrong"))
        await cluster.create_volume("app-data")

        await cluster.create_volume("quiet-data")
        await annotate(cluster, "quiet-data", copy_trigger.USE_ANNOTATION)
        await cluster.create_mover("triggered", source="quiet-data", addTimestampPrefix=True)
        await cluster.create_mover("cleaned", deletePvcAfterBackup=True)
        await cluster.create_mover("held", suspend=True, copyMethod="Direct", addTimestampPrefix=True)
        await cluster.create_mover("stuck", storageClassName=f"{CLASS}-no-clones")
        await cluster.create_mover("failed", secret="wrong", addTimestampPrefix=True)
        await cluster.create_mover("snapped", copyMethod="Snapshot", deletePvcAfterBackup=True, addTimestampPrefix=True)
        cleaned = await cluster.wait_phase("cleaned", "Completed", "Failed")
        assert ready_reason(cleaned) == reasons.COMPLETED, cleaned.status
        failed = await cluster.wait_phase("failed", "Completed", "Failed")
        assert ready_reason(failed) == transfer.REASON_WRONG_CREDENTIALS, failed.status
        await cluster.wait_reason("held", reasons.SUSPENDED)
        snapped = await cluster.wait_phase("snapped", "Completed", "Failed")
        assert ready_reason(snapped) == reasons.COMPLETED, snapped.status
        await cluster.wait_reason("stuck", reasons.CLONE_PROVISIONING_FAILED, seconds=40)

        await cluster.wait_reason("triggered", reasons.COPY_TRIGGER_WAITING)
        await annotate(cluster, "quiet-data", copy_trigger.TRIGGER_ANNOTATION)
        triggered = await cluster.wait_phase("triggered", "Completed", "Failed")
        assert ready_reason(triggered) == reasons.COMPLETED, triggered.status
        await change(cluster, "held", {"spec": {"suspend": False}})
        retry = {"metadata": {"annotations": {names.RETRY_ANNOTATION: "1"}}, "spec": {"secretName": SECRET}}
        await change(cluster, "failed", retry)
        for name in ("held", "failed"):
            done = await cluster.wait_phase(name, "Completed")
            assert ready_reason(done) == reasons.COMPLETED, done.status
        assert ("Normal", reasons.COMPLETED) in await cluster.events("cleaned")

    asked = kubernetes.audit(user=f"system:serviceaccount:{OPERATOR}:{ACCOUNT}")
    assert any(entry.resource == "persistentvolumeclaims" and entry.verb == "patch" for entry in asked)
    assert any(entry.resource == "leases" and entry.verb == "update" for entry in asked)
    refused = {(entry.verb, entry.resource) for entry in asked if entry.code == 403}
    assert refused <= {("list", "secrets"), ("watch", "secrets")}, "only Secrets, which are not granted to everybody"


async def annotate(cluster: Cluster, claim: str, annotation: str) -> None:
    """Annotate a claim, as its user would."""
    patch = {"metadata": {"annotations": {annotation: "go1"}}}
    await cluster.client.patch(
        PERSISTENT_VOLUME_CLAIMS, claim, patch, namespace=cluster.namespace, field_manager="author"
    )


async def change(cluster: Cluster, name: str, patch: dict[str, object]) -> None:
    """Patch a DataMover, as its author would."""
    await cluster.client.patch(DATA_MOVERS, name, patch, namespace=cluster.namespace, field_manager="author")
