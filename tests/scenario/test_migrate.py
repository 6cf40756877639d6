"""`datamover migrate volsync` against a real API server: it shows what there is, stops the other operator, and changes no object."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from datamover.api.volsync.names import LEASE_NAME
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.migrate_command import to_json
from datamover.cli.migration import MigrationError, survey, take_over
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from kubekit.words.apps import DEPLOYMENTS
from kubekit.words.coordination import LEASES
from kubekit.words.timestamps import micros
from support.kubernetes import ControlPlane

pytestmark = pytest.mark.kubernetes


def deployment(name: str) -> dict[str, Any]:
    pod = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "manager", "image": "example.com/x"}]},
    }
    return {
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": pod},
    }


async def test_the_other_operator_is_scaled_down_and_no_object_is_changed(
    kubernetes: ControlPlane, namespace: str
) -> None:
    transport = HttpTransport(load_config(kubernetes.admin_kubeconfig, None))
    client = Client(transport, user_agent="test")
    said: list[str] = []
    try:
        for name in ("volsync", "somebody-else", "repository-for-volsync"):
            manifest = deployment(name)
            manifest["metadata"]["namespace"] = namespace
            await client.create(DEPLOYMENTS, manifest)
        spec = {"sourcePVC": "data", "restic": {"copyMethod": "Clone", "repository": "r"}}
        made = await client.create(
            REPLICATION_SOURCES, {"metadata": {"name": "nightly", "namespace": namespace}, "spec": spec}
        )
        lease = {"holderIdentity": "volsync-1", "leaseDurationSeconds": 2, "renewTime": micros(datetime.now(UTC))}
        await client.create(LEASES, {"metadata": {"name": LEASE_NAME, "namespace": namespace}, "spec": lease})

        found = await survey(client, namespace=namespace, volsync_namespace=namespace)
        document = json.loads(to_json(found, taken=False))
        await asyncio.wait_for(take_over(client, found.other, say=said.append), 30)

        replicas = {
            each.metadata.name: each.spec.replicas
            for each in await client.list(DEPLOYMENTS, namespace=namespace)
            if each.spec is not None
        }
        after = await client.get(REPLICATION_SOURCES, "nightly", namespace=namespace)
    finally:
        await transport.close()
    assert document["volsync"] == {
        "namespace": namespace,
        "holder": "volsync-1",
        "deployments": ["volsync"],
        "replicas": 2,
    }
    assert [(each["name"], each["method"], each["goesOn"]) for each in document["objects"]] == [
        ("nightly", "restic", True)
    ]
    assert replicas == {"volsync": 0, "somebody-else": 2, "repository-for-volsync": 2}
    assert said[0] == f"scaled down: Deployment {namespace}/volsync, which had 2"
    assert after == made


async def test_a_lease_that_is_held_without_a_deployment_is_told(kubernetes: ControlPlane, namespace: str) -> None:
    transport = HttpTransport(load_config(kubernetes.admin_kubeconfig, None))
    client = Client(transport, user_agent="test")
    try:
        lease = {"holderIdentity": "volsync-1", "leaseDurationSeconds": 2}
        await client.create(LEASES, {"metadata": {"name": LEASE_NAME, "namespace": namespace}, "spec": lease})
        found = await survey(client, namespace=namespace, volsync_namespace=namespace)
        with pytest.raises(MigrationError, match="no Deployment of it is in namespace"):
            await take_over(client, found.other, say=print)
    finally:
        await transport.close()
