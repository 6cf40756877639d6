"""What the cluster's scenarios read is what kubectl shows."""

import json
from pathlib import Path

import pytest

from support.cluster import Kubectl
from support.kubernetes import ControlPlane
from support.reading import Reader


@pytest.fixture
def kubectl(kubernetes: ControlPlane) -> Kubectl:
    assert kubernetes.programs.kubectl is not None
    return Kubectl(str(kubernetes.programs.kubectl), kubernetes.admin_kubeconfig)


def shown(kubectl: Kubectl, *arguments: str) -> dict[str, object]:
    output = kubectl.run("get", *arguments, "-o", "json", "--ignore-not-found")
    return json.loads(output) if output else {}


def test_kinds_are_those_that_kubectl_lists(kubectl: Kubectl) -> None:
    for namespaced in (True, False):
        listed = kubectl.run("api-resources", f"--namespaced={namespaced}".lower(), "--verbs=list", "-o", "name")
        assert kubectl.kinds(namespaced=namespaced) == set(listed.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("configmap", "kube-root-ca.crt", "-n", "kube-system"),
        ("crd", "datamovers.datamover.a-cup-of.coffee"),
        ("configmap", "no-such", "-n", "default"),
        ("ns",),
        ("datamovers", "--all-namespaces"),
        ("clusterroles", "-l", "kubernetes.io/bootstrapping=rbac-defaults"),
        ("sa,services", "-n", "default"),
        ("events.events.k8s.io", "-n", "no-such-namespace"),
    ],
    ids=" ".join,
)
def test_what_is_read_is_what_kubectl_shows(kubectl: Kubectl, arguments: tuple[str, ...]) -> None:
    expected, found = shown(kubectl, *arguments), kubectl.get(*arguments)
    if "items" in found:
        assert found["items"] == expected.get("items", [])
    else:
        assert found == expected


def test_it_reads_on_after_the_api_server_was_started_anew(kubernetes: ControlPlane, kubectl: Kubectl) -> None:
    before = kubectl.get("ns", "default")
    kubernetes.restart_api_server()
    assert kubectl.get("ns", "default") == before
    assert kubectl.get("namespace", "default")["metadata"]["name"] == "default"


def test_a_kind_that_the_server_does_not_have_is_named(kubectl: Kubectl) -> None:
    with pytest.raises(AssertionError, match="gadgets"):
        kubectl.items("gadgets")


def test_credentials_that_a_program_gives_are_left_to_kubectl(tmp_path: Path, kubernetes: ControlPlane) -> None:
    text = kubernetes.admin_kubeconfig.read_text()
    path = tmp_path / "kubeconfig"
    path.write_text(text.replace("client-certificate-data", "client-certificate-elsewhere"))
    with pytest.raises(ValueError, match="credentials"):
        Reader(path)
    assert Kubectl("kubectl", path)._reader is None
