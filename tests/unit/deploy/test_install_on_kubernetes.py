"""The chart on a real API server: installed, upgraded, uninstalled and installed again, and the rights that it gives."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from cluster.certificates import Authority
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import MetricsAccess, Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from support.definitions import snapshot_definitions
from support.kubernetes import ControlPlane, MissingPrograms, find_programs
from support.parsing import read_yaml
from support.programs import free_ports

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "charts" / "datamover"
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
OPERATOR = "datamover-operator-system"
ACCOUNT = "datamover-operator-controller-manager"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/datamovers.datamover.a-cup-of.coffee"
RESTORES = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/datamoverrestores.datamover.a-cup-of.coffee"
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

    @property
    def environment(self) -> dict[str, str]:
        place = self.plane.directory
        assert self.plane.programs.kubectl is not None
        return {
            "PATH": f"{self.plane.programs.kubectl.parent}:{os.environ['PATH']}",
            "HOME": str(place),
            "KUBECONFIG": str(self.plane.admin_kubeconfig),
            **{f"HELM_{kind}_HOME": str(place / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        }

    def run(self, *arguments: str, namespace: str = OPERATOR) -> subprocess.CompletedProcess[str]:
        command = [self.helm, *arguments, "--namespace", namespace]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, env=self.environment)

    def shell(self, command: str, directory: Path = ROOT) -> str:
        """Run what somebody would copy from the page, and return what it printed."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-ec", command],
            cwd=directory, capture_output=True, text=True, check=False, timeout=90, env=self.environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(
        self, *settings: str, release: str = "datamover", flags: tuple[str, ...] = (), namespace: str = OPERATOR
    ) -> None:
        chosen = [flag for setting in settings for flag in ("--set", setting)]
        command = ("upgrade", "--install", release, str(CHART), "--create-namespace", *chosen, *flags)
        done = self.run(*command, namespace=namespace)
        assert done.returncode == 0, done.stderr

    def uninstall(self, release: str = "datamover", *, namespace: str = OPERATOR) -> None:
        done = self.run("uninstall", release, namespace=namespace)
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
    """After each test, neither a release nor a definition is there."""
    yield
    for each in json.loads(cluster.run("list", "--all-namespaces", "--output", "json").stdout):
        cluster.uninstall(each["name"], namespace=each["namespace"])
    if cluster.plane.call("GET", DEFINITION)[0] == 200:  # while it is not served, its finalizer fails, and tries seldom
        cluster.plane.api_server.wait_until(lambda: served(cluster), seconds=30)
    for each in (DEFINITION, RESTORES):
        cluster.plane.call("DELETE", each)
        cluster.plane.api_server.wait_until(lambda: cluster.plane.call("GET", each)[0] == 404, seconds=60)  # noqa: B023 - waited for here


def documented(heading: str) -> list[str]:
    """Return the shell blocks below a heading of the page."""
    match = re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, heading
    return re.findall(r"^```sh\n(.*?)^```$", match[1], re.MULTILINE | re.DOTALL)


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


def test_a_definition_that_is_newer_stays_and_one_that_is_older_goes(cluster: Cluster) -> None:
    """What an older chart does in the place of `helm rollback`."""
    cluster.install()
    annotation = "datamover.a-cup-of.coffee/definition-version"
    for version, stays in (("0.0.9", False), ("99.0.0", True), ("99.1.0-rc.1", True)):
        other = {
            "metadata": {"annotations": {annotation: version}},
            "spec": {"names": {"shortNames": ["other"]}},
        }
        assert cluster.plane.call("PATCH", DEFINITION, other, kind="application/merge-patch+json")[0] == 200
        cluster.install("replicaCount=1")
        found = cluster.get(DEFINITION)
        assert found["spec"]["names"]["shortNames"] == (["other"] if stays else ["dm"])
        assert (found["metadata"]["annotations"][annotation] == version) is stays
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_definitions_are_applied_by_hand_over_those_of_a_release(cluster: Cluster) -> None:
    cluster.install()
    (command,) = [block for block in documented("Upgrade") if "deploy/crds" in block]
    old = {"spec": {"names": {"shortNames": ["old"]}}}
    assert cluster.plane.call("PATCH", DEFINITION, old, kind="application/merge-patch+json")[0] == 200
    cluster.shell(command)
    assert cluster.get(DEFINITION)["spec"]["names"]["shortNames"] == ["dm"]
    cluster.install("crds.install=false")
    cluster.uninstall()
    assert cluster.get(DEFINITION)


def test_two_releases_of_one_name_are_installed_beside_each_other_but_not_in_one_namespace(cluster: Cluster) -> None:
    cluster.plane.create_namespace("first")
    cluster.plane.create_namespace("second")
    cluster.install("watchNamespace=first")
    second = ("crds.install=false", "watchNamespace=second")
    flags = [flag for setting in second for flag in ("--set", setting)]
    refused = cluster.run("install", "other", str(CHART), *flags)
    assert refused.returncode != 0
    assert 'has an operator already, of the release "datamover"' in refused.stderr

    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    before = {each["metadata"]["name"] for each in cluster.get(roles)["items"]}
    cluster.install(*second, namespace="second-backup")
    added = {each["metadata"]["name"] for each in cluster.get(roles)["items"]} - before
    assert "datamover-operator-second-backup" in added
    cluster.uninstall(namespace="second-backup")
    assert {each["metadata"]["name"] for each in cluster.get(roles)["items"]} == before
    cluster.install("watchNamespace=first", "replicaCount=1")


def test_values_are_kept_and_those_that_are_new_arrive_by_the_documented_upgrade(
    cluster: Cluster, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(CHART, older)
    values = older / "values.yaml"
    values.write_text(values.read_text(encoding="utf-8").replace("    stuckHours: 6\n", ""), encoding="utf-8")
    (older / "values.schema.json").unlink()
    chosen = ("--set", "replicaCount=3", "--set", "image.repository=registry.example.com/team/operator")
    done = cluster.run("install", "datamover", str(older), "--create-namespace", *chosen)
    assert done.returncode == 0, done.stderr
    command = documented("Upgrade")[0].replace("helm ", f"{cluster.helm} ")
    with pytest.raises(AssertionError, match="missing property 'stuckHours'"):
        cluster.shell(command.replace("--reset-then-reuse-values", "--reuse-values"))
    cluster.shell(command)
    deployment = cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")
    assert deployment["spec"]["replicas"] == 3
    assert images(deployment)[0].startswith("registry.example.com/team/operator:")


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


def images(deployment: Any) -> tuple[str, str]:
    """Return the operator's image and the movers'."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (mover,) = [each["value"] for each in container["env"] if each["name"] == "MOVER_IMAGE"]
    return container["image"], mover


def test_the_documented_command_installs_with_other_images_and_upgrades_and_rolls_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    command, _, rest = documented("With kubectl")[0].partition("\nkubectl")
    assert rest.startswith(" -n datamover-operator-system rollout status")
    manifest = tmp_path / "deploy" / "install.yaml"
    manifest.parent.mkdir()
    text = (ROOT / "deploy" / "install.yaml").read_text(encoding="utf-8")
    version = re.search(r'localhost/datamover/operator:([\d.]+)"', text)
    assert version
    newer = (
        text.replace(f':{version[1]}"', ':9.0.0"').replace("replicas: 2", "replicas: 3").replace("- dm\n", "- dmv\n")
    )
    assert "- dmv\n" in newer
    own = "registry.example.com/team"
    for content, tag, replicas in ((text, version[1], 2), (text, version[1], 2), (newer, "9.0.0", 3)):
        manifest.write_text(content, encoding="utf-8")
        cluster.shell(command, tmp_path)
        deployment = cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")
        assert images(deployment) == (f"{own}/operator:{tag}", f"{own}/mover:{tag}")
        assert deployment["spec"]["replicas"] == replicas

    changed = cluster.plane.kubectl(
        "-n", OPERATOR, "set", "image", f"deployment/{ACCOUNT}", "manager=registry.example.com/elsewhere:1"
    )
    assert changed.returncode == 0, changed.stderr
    with pytest.raises(AssertionError, match="conflict"):  # as the page says
        cluster.shell(command, tmp_path)
    cluster.shell(f"{command} --force-conflicts", tmp_path)

    manifest.write_text(text, encoding="utf-8")
    selector = "--selector app.kubernetes.io/managed-by=Helm"
    assert selector in PAGE
    cluster.shell(f"{command} {selector}", tmp_path)
    assert images(cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")) == (
        f"{own}/operator:{version[1]}",
        f"{own}/mover:{version[1]}",
    )
    assert cluster.get(DEFINITION)["spec"]["names"]["shortNames"] == ["dmv"], "rolled back, but for the definition"
    done = cluster.plane.kubectl("delete", "-f", str(manifest), *selector.split(), "--wait=false")
    assert done.returncode == 0, done.stderr


ORIGINAL = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: datamover-operator-controller-manager, namespace: datamover-operator-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: datamover-operator-controller-manager, namespace: datamover-operator-system}
spec:
  selector: {matchLabels: {control-plane: controller-manager}}
  template:
    metadata: {labels: {control-plane: controller-manager}}
    spec: {containers: [{name: manager, image: original}], serviceAccountName: datamover-operator-controller-manager}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: datamover-operator-manager-role}
rules: [{apiGroups: [""], resources: [pods, persistentvolumeclaims], verbs: [get, list, watch, create, update, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: datamover-operator-manager-rolebinding}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: datamover-operator-manager-role}
subjects: [{kind: ServiceAccount, name: datamover-operator-controller-manager, namespace: datamover-operator-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: datamover-operator-leader-election-role, namespace: datamover-operator-system}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: datamover-operator-leader-election-rolebinding, namespace: datamover-operator-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: datamover-operator-leader-election-role}
subjects: [{kind: ServiceAccount, name: datamover-operator-controller-manager, namespace: datamover-operator-system}]
"""
"""What of the original operator is under names of ours, or bound to a service account of ours."""


def test_the_original_operators_rights_are_gone_when_this_one_has_taken_over(cluster: Cluster) -> None:
    if cluster.plane.call("GET", f"/api/v1/namespaces/{OPERATOR}")[0] != 200:
        cluster.plane.create_namespace(OPERATOR)
    done = cluster.plane.kubectl("apply", "-f", "-", text=ORIGINAL)
    assert done.returncode == 0, done.stderr
    clean, check = documented("In the place of the original operator")
    bound, question = check.strip().splitlines()
    assert len(cluster.shell(bound).splitlines()) == 2
    assert cluster.shell(question).strip() == "yes"
    cluster.shell(clean)
    cluster.install(flags=("--take-ownership",))
    found = set(re.findall(r"(?:ClusterRole|Role)/(\S+)", cluster.shell(bound)))
    assert found == {"datamover-operator", "datamover-operator-leader-election"}
    assert cluster.shell(f"{question} || true").strip() == "no"
    (container,) = cluster.get(f"{DEPLOYMENTS}/{ACCOUNT}")["spec"]["template"]["spec"]["containers"]
    assert container["image"] != "original"


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
        read_yaml(
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
