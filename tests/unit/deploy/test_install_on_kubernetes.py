"""The chart on a real API server: installed, upgraded, uninstalled and installed again, and the rights that it gives."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml

from cluster.certificates import Authority
from datamover.cli.operator import MetricsAccess, Operator, Options, find_cluster, new_metrics
from datamover.kube.client import Client
from datamover.kube.config import load_config
from datamover.kube.http import HttpTransport
from support.definitions import snapshot_definitions
from support.kubernetes import ControlPlane, MissingPrograms, find_programs
from support.programs import free_ports

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "charts" / "datamover"
OPERATOR = "datamover-operator-system"
ACCOUNT = "datamover-operator-controller-manager"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/datamovers.datamover.a-cup-of.coffee"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{OPERATOR}/deployments"
MOVERS = "/apis/datamover.a-cup-of.coffee/v1alpha1/namespaces/default/datamovers"
MOVER = {
    "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
    "kind": "DataMover",
    "metadata": {"name": "kept", "namespace": "default"},
    "spec": {"sourcePvc": "app-data", "secretName": "storage-credentials"},
}


class Cluster(NamedTuple):
    """A control plane of this module's own, and Helm for it."""

    plane: ControlPlane
    helm: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        place = self.plane.directory
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "KUBECONFIG": str(self.plane.admin_kubeconfig),
            **{f"HELM_{kind}_HOME": str(place / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        }
        command = [self.helm, *arguments, "--namespace", OPERATOR]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, env=environment)

    def install(self, *settings: str, release: str = "datamover", flags: tuple[str, ...] = ()) -> None:
        chosen = [flag for setting in settings for flag in ("--set", setting)]
        done = self.run("upgrade", "--install", release, str(CHART), "--create-namespace", *chosen, *flags)
        assert done.returncode == 0, done.stderr

    def uninstall(self, release: str = "datamover") -> None:
        done = self.run("uninstall", release)
        assert done.returncode == 0, done.stderr

    def get(self, path: str) -> Any:
        status, answer = self.plane.call("GET", path)
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def cluster(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without our own definition: the chart brings it."""
    try:
        programs = find_programs()
    except MissingPrograms as missing:
        if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    plane = ControlPlane(programs, logs=tmp_path_factory.mktemp("kubernetes"))
    plane.start(manifests=snapshot_definitions())
    try:
        yield Cluster(plane, helm)
    finally:
        plane.stop()


@pytest.fixture(autouse=True)
def uninstalled(cluster: Cluster) -> Iterator[None]:
    """After each test, neither a release nor the definition is there."""
    yield
    for release in cluster.run("list", "--short").stdout.split():
        cluster.uninstall(release)
    cluster.plane.call("DELETE", DEFINITION)
    cluster.plane.api_server.wait_until(lambda: cluster.plane.call("GET", DEFINITION)[0] == 404, seconds=60)


def served(cluster: Cluster) -> bool:
    return cluster.plane.call("GET", MOVERS)[0] == 200


def create_mover(cluster: Cluster) -> None:
    cluster.plane.api_server.wait_until(lambda: served(cluster), seconds=30)
    cluster.plane.create(MOVER)


def test_a_release_is_installed_upgraded_uninstalled_and_installed_again_and_no_data_mover_is_lost(
    cluster: Cluster,
) -> None:
    cluster.install()
    deployment = cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")
    assert deployment["spec"]["replicas"] == 2
    create_mover(cluster)

    cluster.install("replicaCount=3", "moverImage.tag=v9")
    assert cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")["spec"]["replicas"] == 3

    cluster.uninstall()
    assert cluster.get(DEPLOYMENTS)["items"] == []
    (mover,) = cluster.get(MOVERS)["items"]
    cluster.install()
    assert cluster.get(MOVERS)["items"] == [mover]


def test_an_upgrade_brings_what_is_new_in_the_definition(cluster: Cluster) -> None:
    cluster.install()
    old = {"spec": {"names": {"shortNames": ["old"]}}}
    status, _ = cluster.plane.call("PATCH", DEFINITION, old, kind="application/merge-patch+json")
    assert status == 200
    cluster.install("replicaCount=1")
    assert cluster.get(DEFINITION)["spec"]["names"]["shortNames"] == ["dm"]


def test_another_release_takes_the_definition_over_when_told_to(cluster: Cluster) -> None:
    cluster.install()
    create_mover(cluster)
    cluster.uninstall()
    refused = cluster.run("install", "other", str(CHART))
    assert refused.returncode != 0
    assert "cannot be imported into the current release" in refused.stderr
    cluster.install(release="other", flags=("--take-ownership",))
    assert len(cluster.get(MOVERS)["items"]) == 1


def test_the_plain_manifest_is_applied_and_removed_but_for_the_definition(cluster: Cluster) -> None:
    manifest = str(ROOT / "deploy" / "install.yaml")
    for _ in range(2):
        done = cluster.plane.kubectl("apply", "--server-side", "-f", manifest)
        assert done.returncode == 0, done.stderr
    create_mover(cluster)
    selector = "app.kubernetes.io/managed-by=Helm"
    done = cluster.plane.kubectl("delete", "-f", manifest, "--selector", selector, "--wait=false")
    assert done.returncode == 0, done.stderr
    assert cluster.get(DEPLOYMENTS)["items"] == []
    assert len(cluster.get(MOVERS)["items"]) == 1


def test_the_pods_are_admitted_where_restricted_is_enforced(cluster: Cluster) -> None:
    cluster.install("metrics.secure=true", "metrics.tls.secretName=certificate")
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{OPERATOR}"
    assert cluster.plane.call("PATCH", path, label, kind="application/merge-patch+json")[0] == 200
    template = cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")["spec"]["template"]
    for wanted in (True, False):
        if not wanted:  # the test can fail
            template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "operator-"}, "spec": template["spec"]}
        status, answer = cluster.plane.call("POST", f"{path}/pods?dryRun=All", pod)
        assert (status == 201) is wanted, answer


@asynccontextmanager
async def running(cluster: Cluster, options: Options) -> AsyncIterator[Operator]:
    """Run an operator with the rights of the release's service account."""
    registry, metrics = new_metrics()
    transport = HttpTransport(load_config(cluster.plane.service_account_kubeconfig(OPERATOR, ACCOUNT)))
    client = Client(transport, observe=metrics.request)
    name = await find_cluster(client)
    operator = Operator(client, cluster=name, options=options, registry=registry, metrics=metrics)
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    try:
        yield operator
    finally:
        stop.set()
        await task
        await transport.close()


async def until_ready(operator: Operator) -> None:
    async with asyncio.timeout(60):
        while any(check() for check in operator.checks().values()):
            await asyncio.sleep(0.05)


async def test_with_one_namespace_the_operator_asks_for_nothing_that_it_may_not_have(cluster: Cluster) -> None:
    cluster.plane.create_namespace("shop")
    cluster.install("watchNamespace=shop")
    since = len(cluster.plane.audit())
    options = Options(namespace="shop", mover_image="x", leader_namespace=OPERATOR, check_definitions=True)
    async with running(cluster, options) as operator:
        await until_ready(operator)
    asked = cluster.plane.audit(user=f"system:serviceaccount:{OPERATOR}:{ACCOUNT}", since=since)
    assert [entry for entry in asked if entry.code == 403] == []
    namespaced = {"datamovers", "persistentvolumeclaims", "jobs", "pods", "volumesnapshots"}
    assert {entry.namespace for entry in asked if entry.resource in namespaced} == {"shop"}


async def test_secure_metrics_are_for_those_whom_the_api_server_lets_read_them(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.install("metrics.secure=true", "metrics.tls.secretName=certificate")
    plane = cluster.plane
    for name in ("reader", "stranger"):
        plane.service_account_kubeconfig("default", name)
    plane.create(
        yaml.safe_load(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: reads}, "
            "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: datamover-metrics-reader}, "
            "subjects: [{kind: ServiceAccount, name: reader, namespace: default}]}"
        )
    )
    tokens = {
        200: plane.service_account_token("default", "reader"),
        403: plane.service_account_token("default", "stranger"),
        401: "made-up",
    }
    authority = Authority()
    certificate, key = authority.server("metrics").write(tmp_path, "tls")
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}"
    access = MetricsAccess(authenticated=True, certificate=Path(certificate), key=Path(key))
    options = Options(mover_image="x", status_address=f"127.0.0.1:{port}", metrics_access=access)
    async with running(cluster, options) as operator, aiohttp.ClientSession() as session:
        await until_ready(operator)
        async with session.get(f"{url}/readyz", ssl=trust) as answer:
            assert answer.status == 200
        for wanted, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{url}/metrics", headers=headers, ssl=trust) as answer:
                assert answer.status == wanted
                assert ("datamover_informer_state" in await answer.text()) is (wanted == 200)
    assert tokens[200] not in caplog.text
