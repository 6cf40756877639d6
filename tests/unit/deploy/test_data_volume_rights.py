"""The chart's rights with population, held against a real API server: an operator that has these and no others does all that it is there for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names as ours
from datamover.api import upload
from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS, CDIS
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from datamover.cli.kinds import data_volume_kinds
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import DataVolumeOptions, Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import NotFound
from kubekit.client.http import HttpTransport
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SECRET_METAS, SERVICES
from kubekit.words.meta import Resource
from localkube.node.node import LocalNode, NodeOptions
from support.definitions import data_volume_definitions
from support.image_server import Plain, serving
from support.importing import noise
from support.kubernetes import ControlPlane
from support.scenario import CLASS, IMAGES, Cluster, create_classes

RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
SETTINGS = ("dataVolumes.population.enabled=true", "dataVolumes.webhook.enabled=false")
STORAGE = {"storage": {"resources": {"requests": {"storage": "2Mi"}}, "storageClassName": CLASS}}
PROXY = "https://upload.example"
OTHER = f"sha256:{'1' * 64}"


@asynccontextmanager
async def operating(
    kubernetes: ControlPlane, namespace: str, place: Path, account: str
) -> AsyncIterator[tuple[Cluster, Client]]:
    """Run an operator that only populates, with the rights of an account, and a node; yield the world, and a client with these rights."""
    operators = HttpTransport(load_config(kubernetes.service_account_kubeconfig(namespace, account)))
    others = HttpTransport(load_config(kubernetes.admin_kubeconfig))
    admin, (registry, metrics) = Client(others, user_agent="administrator"), new_metrics()
    client = Client(operators, user_agent="operator", observe=metrics.request)
    await create_classes(admin)
    node = LocalNode(admin, state_dir=place / "node", images=IMAGES, options=NodeOptions(name=f"node-{namespace}"))
    options = Options(
        namespace=namespace,
        mover_image=ours.DEFAULT_IMAGE_REPOSITORY,
        data_volumes=DataVolumeOptions(population=True, cdi_namespace=""),
    )
    operator = Operator(
        client,
        cluster=await find_cluster(client),
        options=options,
        registry=registry,
        metrics=metrics,
        kinds=data_volume_kinds(options),
    )
    stop = asyncio.Event()
    tasks = [asyncio.create_task(node.run()), asyncio.create_task(operator.run(stop))]
    try:
        yield Cluster(client=admin, node=node, registry=registry, namespace=namespace, place=place), client
    finally:
        stop.set()
        await asyncio.gather(tasks[1], return_exceptions=True)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await operators.close()
        await others.close()


def reads(world: Cluster, resource: Resource[Any], name: str, judge: Callable[[Any], object]) -> Awaitable[None]:
    """Wait until an object is as it is to be."""

    async def is_so() -> bool:
        try:
            found = await world.client.get(resource, name, namespace=world.namespace if resource.namespaced else None)
        except NotFound:
            return False
        return bool(judge(found))

    return world.wait_for(is_so)


def phase(wanted: str) -> Callable[[Any], object]:
    return lambda found: found.status is not None and found.status.phase == wanted


def says(wanted: str) -> Callable[[Any], object]:
    return lambda found: (
        found.status is not None and any(each.reason == wanted for each in found.status.conditions or ())
    )


def name_of(digest: str) -> str:
    return f"fedora-{digest.partition(':')[2][:12]}"


@pytest.mark.kubernetes
async def test_an_operator_with_the_charts_rights_fills_sends_keeps_and_prunes_and_is_refused_nothing(
    kubernetes: ControlPlane, namespace: str, tmp_path: Path, render: Any
) -> None:
    rendered = render(*SETTINGS, release=f"datamover-{namespace[-4:]}", namespace=namespace)
    for document in rendered:
        if document["kind"] in RIGHTS:
            kubernetes.create(document)
    for definition in data_volume_definitions():  # another test of this process may have brought them
        kubernetes.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    for kind in ("cdiconfigs", "storageprofiles"):  # and its operator these: this one shall make them
        kubernetes.call("DELETE", f"/apis/cdi.kubevirt.io/v1beta1/{kind}")
    (account,) = [each["metadata"]["name"] for each in rendered if each["kind"] == "ServiceAccount"]
    async with operating(kubernetes, namespace, tmp_path, account) as (world, client):
        with serving() as server:
            server.objects["/fedora.img"] = Plain(noise(4096))
            source = {"http": {"url": server.url("/fedora.img")}}
            cron = {
                "managedDataSource": "fedora",
                "schedule": "0 0 1 1 *",
                "importsToKeep": 1,
                "template": {"spec": {"source": source, **STORAGE}},
            }
            await world.create(DATA_VOLUMES, "blank", spec={"source": {"blank": {}}, **STORAGE})
            await world.create(DATA_VOLUMES, "sent", spec={"source": {"upload": {}}, **STORAGE})
            await world.create(DATA_SOURCES, "gold", spec={"source": {"pvc": {"name": "blank"}}})
            await world.create(DATA_IMPORT_CRONS, "fedora", spec=cron)

            await reads(world, DATA_VOLUMES, "blank", phase("Succeeded"))
            await reads(world, DATA_SOURCES, "gold", says("Ready"))
            await reads(world, DATA_SOURCES, "fedora", says("Ready"))
            await reads(world, DATA_IMPORT_CRONS, "fedora", says("UpToDate"))
            found = await world.client.get(DATA_IMPORT_CRONS, "fedora", namespace=namespace)
            first = found.metadata.annotation(names.DESIRED_DIGEST)
            assert first is not None
            said = {"metadata": {"annotations": {names.DESIRED_DIGEST: OTHER}}}
            await world.client.patch(DATA_IMPORT_CRONS, "fedora", said, namespace=namespace, field_manager="author")
            await world.wait_gone(DATA_VOLUMES, name_of(first))
            await reads(world, PERSISTENT_VOLUME_CLAIMS, name_of(OTHER), phase("Bound"))

        await reads(world, DATA_VOLUMES, "sent", phase("UploadReady"))
        sent = await world.client.get(DATA_VOLUMES, "sent", namespace=namespace)
        for resource in (SERVICES, SECRET_METAS):  # as it does when all has come
            await client.delete(resource, upload.name_of(sent.metadata.uid), namespace=namespace)

        await reads(world, STORAGE_PROFILES, CLASS, lambda profile: profile.status is not None)
        # something that no other test of this server is concerned by
        await world.create(CDIS, f"cdi-{namespace}", spec={"config": {"uploadProxyURLOverride": PROXY}})
        await reads(world, CDIS, f"cdi-{namespace}", lambda cdi: (cdi.status or {}).get("phase") == "Deployed")
        await reads(
            world, CDI_CONFIGS, names.CONFIG_NAME, lambda config: (config.status or {}).get("uploadProxyURL") == PROXY
        )
        await world.client.delete(CDIS, f"cdi-{namespace}")
    asked = kubernetes.audit(user=f"system:serviceaccount:{namespace}:{account}")
    assert not [(entry.verb, entry.resource) for entry in asked if entry.code == 403]
    used = {(f"{entry.resource}/{entry.subresource}".rstrip("/"), entry.verb) for entry in asked}
    without = render("restores.population.enabled=false", release=f"datamover-{namespace[-4:]}", namespace=namespace)
    granted = changes(rendered) - changes(without) - {("volumepopulators", "create")}  # which restores make use of
    assert ("persistentvolumes", "patch") in granted
    unused = {("datavolumes", "patch"), ("datavolumes/finalizers", "update")}
    assert granted - used <= unused, (
        "of claims that are taken over, and of clusters that ask for it: all else was made use of"
    )


def changes(rendered: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return what the roles of the operator let it change: resource and verb."""
    roles = [each for each in rendered if each["kind"] in ("ClusterRole", "Role") and "operator" in each["metadata"]["name"]]  # fmt: skip
    return {
        (resource, verb)
        for role in roles
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch")
    }
