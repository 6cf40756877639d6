"""The control plane of our tests works by itself: it starts, keeps data over crashes, counts, and knows who asks."""

import json
from pathlib import Path

import pytest

from support.kubernetes import ControlPlane, wait_for
from support.request_counts import WRITES, RequestKind

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "one"},
    "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/none"}]}}
    },
}


def config_map(namespace: str, name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def test_kubectl_creates_a_job_and_the_controllers_make_its_pod(kubernetes: ControlPlane, namespace: str) -> None:
    applied = kubernetes.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(JOB))
    assert applied.returncode == 0, applied.stderr

    pods = wait_for(lambda: kubernetes.call("GET", f"/api/v1/namespaces/{namespace}/pods")[1]["items"], what="the Pod")

    assert pods[0]["metadata"]["ownerReferences"][0]["kind"] == "Job"


def test_request_counters_tell_verbs_resources_and_codes_apart(kubernetes: ControlPlane, namespace: str) -> None:
    # Secrets, because the controllers make a ConfigMap of their own in each new namespace, at any time.
    secret = {**config_map(namespace, "a"), "kind": "Secret"}
    before = kubernetes.counts()

    kubernetes.create(secret)
    kubernetes.call("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    kubernetes.call("GET", f"/api/v1/namespaces/{namespace}/secrets/a")

    happened = kubernetes.counts() - before
    assert happened[RequestKind("POST", "", "secrets", "", 201)] == 1
    assert happened[RequestKind("POST", "", "secrets", "", 409)] == 1
    assert happened.total(verbs=["GET"], resource="secrets", code=200) == 1
    # a namespace of an earlier test may be going at this moment
    assert happened.total(verbs=WRITES - {"DELETECOLLECTION"}, resource="secrets") == 2


def test_the_audit_log_tells_who_asked(kubernetes: ControlPlane, namespace: str) -> None:
    kubeconfig = kubernetes.user_kubeconfig("nobody-special")

    refused = kubernetes.kubectl("get", "secrets", "-n", namespace, kubeconfig=kubeconfig)

    assert "forbidden" in refused.stderr.lower()
    asked = kubernetes.audit(user="nobody-special")
    assert [(entry.verb, entry.resource, entry.namespace, entry.code) for entry in asked if entry.resource] == [
        ("list", "secrets", namespace, 403)
    ]


def test_service_accounts_have_tokens_and_only_granted_rights(kubernetes: ControlPlane, namespace: str) -> None:
    kubeconfig = kubernetes.service_account_kubeconfig(namespace, "reader")
    question = ("auth", "can-i", "list", "pods", "-n", namespace)
    assert kubernetes.kubectl(*question, kubeconfig=kubeconfig).stdout.strip() == "no"

    granted = kubernetes.kubectl(
        "create", "rolebinding", "reader", "--clusterrole=view", f"--serviceaccount={namespace}:reader", "-n", namespace
    )

    assert granted.returncode == 0, granted.stderr
    wait_for(lambda: kubernetes.kubectl(*question, kubeconfig=kubeconfig).stdout.strip() == "yes", what="the right")


@pytest.mark.parametrize("part", ["api_server", "etcd", "controller_manager"])
def test_a_killed_part_starts_again_with_its_data(kubernetes: ControlPlane, namespace: str, part: str) -> None:
    kubernetes.create(config_map(namespace, "kept"))
    pid = getattr(kubernetes, part).pid

    getattr(kubernetes, f"restart_{part}")()

    assert getattr(kubernetes, part).pid != pid
    assert kubernetes.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/kept")[0] == 200


def test_collection_by_owner_knows_our_kinds_from_the_start(kubernetes: ControlPlane, namespace: str) -> None:
    owner = kubernetes.create(
        {
            "apiVersion": "testing.datamover.example/v1",
            "kind": "Widget",
            "metadata": {"name": "owner", "namespace": namespace},
            "spec": {"size": 1},
        }
    )
    child = config_map(namespace, "child")
    reference = {"apiVersion": owner["apiVersion"], "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}
    kubernetes.create(child | {"metadata": child["metadata"] | {"ownerReferences": [reference]}})  # type: ignore[operator]

    kubernetes.call("DELETE", f"/apis/testing.datamover.example/v1/namespaces/{namespace}/widgets/owner")

    path = f"/api/v1/namespaces/{namespace}/configmaps/child"
    wait_for(lambda: kubernetes.call("GET", path)[0] == 404, seconds=20, what="the child's collection")


def test_nothing_is_left_after_stop(tmp_path: Path, kubernetes: ControlPlane) -> None:
    plane = ControlPlane(kubernetes.programs, logs=tmp_path)
    plane.start()
    pids = [part.pid for part in plane.parts]

    plane.stop()

    assert len(pids) >= 2
    assert not plane.directory.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert (tmp_path / "kube-apiserver.log").stat().st_size > 0
