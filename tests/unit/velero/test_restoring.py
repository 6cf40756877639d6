import json
from typing import Any

import pytest

from datamover.velero.actions import ActionError, Restored
from datamover.velero.logs import Log
from datamover.velero.restoring import RestoreHostedControlPlane

action = RestoreHostedControlPlane(Log("error"))
NAMESPACE = "clusters-a"
TAINT = {"key": "hypershift.openshift.io/cluster", "operator": "Equal", "value": NAMESPACE, "effect": "NoSchedule"}


def pod(*, namespace: str = NAMESPACE, labels: Any = None, tolerations: Any = None) -> dict[str, Any]:
    meta = {"name": "etcd-0", "namespace": namespace, "labels": labels}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"tolerations": tolerations}}


def labelled(value: str = NAMESPACE) -> dict[str, str]:
    return {"app": "etcd", "hypershift.openshift.io/hosted-control-plane": value}


def machine(**labels: str) -> dict[str, str]:
    """Labels of a Pod in which KubeVirt runs a machine: its own, and those of the machine."""
    return {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "pool-x7k2p", **labels}


NODE = {"hypershift.openshift.io/infra-id": "a-x7k2p", "hypershift.openshift.io/nodepool-name": "pool"}


def execute(item: Any, restore: Any = None) -> Restored:
    raw = json.dumps(item).encode()
    done = action.execute(raw, json.dumps(restore or {}).encode())
    assert done.item == raw
    return done


@pytest.mark.parametrize(
    "item",
    [
        pod(labels=labelled()),
        pod(tolerations=[{"key": "x", "operator": "Exists"}, TAINT]),
        pod(labels=labelled(), tolerations=[TAINT]),
        pod(labels=machine(**NODE)),
    ],
    ids=["label", "toleration", "both", "a node on KubeVirt"],
)
def test_a_pod_of_a_hosted_control_plane_is_not_restored(item: dict[str, Any]):
    assert execute(item).skip


@pytest.mark.parametrize(
    "item",
    [
        pod(),
        pod(labels={"app": "etcd"}),
        pod(labels={"app": "etcd", "hypershift.openshift.io/control-plane": "true"}),
        pod(namespace="shop", labels=labelled()),
        pod(namespace="shop", tolerations=[TAINT]),
        pod(labels={"hypershift.openshift.io/hosted-control-plane": ""}),
        pod(tolerations=[{"operator": "Exists"}]),
        pod(labels=machine()),
        pod(namespace="shop", labels=machine(app="shop")),
        pod(labels=NODE),
        pod(labels=machine(**{"hypershift.openshift.io/infra-id": ""})),
        {"kind": "Deployment", "metadata": {"name": "a", "namespace": NAMESPACE, "labels": labelled()}},
        {"kind": "Pod"},
        {"kind": "Pod", "metadata": {"labels": 7}},
        {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"tolerations": "x"}},
        {},
    ],
)
def test_whatever_else_goes_back_as_it_came(item: dict[str, Any]):
    assert not execute(item).skip


def test_a_pod_without_a_namespace_belongs_to_no_control_plane():
    assert not execute(pod(namespace="", labels=labelled())).skip


def test_a_restore_into_another_namespace_knows_where_the_pod_comes_from():
    mapped = {"spec": {"namespaceMapping": {NAMESPACE: "copy", "other": "shop"}}}
    assert execute(pod(namespace="copy", labels=labelled()), mapped).skip
    assert execute(pod(labels=labelled()), mapped).skip
    assert not execute(pod(namespace="shop", labels=labelled()), mapped).skip


@pytest.mark.parametrize("restore", [{"spec": None}, {"spec": {"namespaceMapping": None}}, {"spec": 3}])
def test_a_restore_that_says_little_does_no_harm(restore: dict[str, Any]):
    assert execute(pod(labels=labelled()), restore).skip


def test_a_hosted_control_plane_is_restored_as_it_was():
    item = {
        "kind": "HostedControlPlane",
        "metadata": {"name": "a", "namespace": NAMESPACE},
        "spec": {"platform": {"type": "AWS"}},
    }
    assert not execute(item).skip


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\x00"])
def test_what_is_no_object_is_told(raw: bytes):
    with pytest.raises(ActionError, match="the item cannot be read"):
        action.execute(raw, b"{}")
