"""The chart's rights with replication, held against a real API server: an operator that has these and no others fills a claim."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import Options
from datamover.cli.population import population_kinds
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from localkube.node.node import LocalNode, NodeOptions
from support.filling import ask, bound, make_image, publish
from support.kubernetes import ControlPlane
from support.scenario import IMAGES, Cluster, create_classes

RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@pytest.mark.parametrize("labels", [None, {}], ids=["an image of ours", "somebody's image"])
async def test_an_operator_with_the_charts_rights_fills_a_claim_and_is_refused_nothing(
    kubernetes: ControlPlane, namespace: str, tmp_path: Path, render: Any, labels: dict[str, str] | None
) -> None:
    rendered = render("replication.enabled=true", release=f"datamover-{namespace[-4:]}", namespace=namespace)
    for document in rendered:
        if document["kind"] in RIGHTS:
            kubernetes.create(document)
    (account,) = [each["metadata"]["name"] for each in rendered if each["kind"] == "ServiceAccount"]
    operators = HttpTransport(load_config(kubernetes.service_account_kubeconfig(namespace, account)))
    others = HttpTransport(load_config(kubernetes.admin_kubeconfig))
    admin, (registry, metrics) = Client(others, user_agent="administrator"), new_metrics()
    client = Client(operators, user_agent="operator", observe=metrics.request)
    await create_classes(admin)
    node = LocalNode(admin, state_dir=tmp_path / "node", images=IMAGES, options=NodeOptions(name=f"node-{namespace}"))
    operator = Operator(
        client,
        cluster=await find_cluster(client),
        options=Options(namespace=namespace),
        registry=registry,
        metrics=metrics,
        kinds=population_kinds(),
    )
    world = Cluster(
        client=admin,
        node=node,
        registry=registry,
        namespace=namespace,
        place=tmp_path,
    )
    stop = asyncio.Event()
    tasks = [asyncio.create_task(node.run()), asyncio.create_task(operator.run(stop))]
    try:
        await world.create(REPLICATION_DESTINATIONS, "restore", spec={"external": {}})
        await make_image(world, labels=labels)
        await publish(world)
        await ask(world)
        await bound(world)
    finally:
        stop.set()
        await asyncio.gather(tasks[1], return_exceptions=True)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await operators.close()
        await others.close()
    asked = kubernetes.audit(user=f"system:serviceaccount:{namespace}:{account}")
    assert any((entry.verb, entry.resource) == ("patch", "persistentvolumes") for entry in asked)
    assert not [(entry.verb, entry.resource) for entry in asked if entry.code == 403]
