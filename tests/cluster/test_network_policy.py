"""The chart's NetworkPolicy, enforced: what the operator needs goes through, and nothing else does."""

import subprocess

import pytest

from cluster.layout import API_PORT, NODE_ADDRESS
from support.cluster import OPERATOR_NAMESPACE, wait_for
from support.enforcement import enforced
from support.place import Place
from support.pods import processes_of, restricted_pod

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
except ConnectionRefusedError:
    pass  # somebody has answered
except TimeoutError:
    sys.exit(7)
"""
SILENCE = 7


def reaches(pod: dict[str, object], address: str, port: int) -> bool:
    """Tell whether a process in the Pod's network gets a connection."""
    process = processes_of(pod["metadata"]["uid"])[0]  # type: ignore[index]
    command = ["nsenter", f"--net=/proc/{process}/ns/net", "python3", "-c", CONNECT, address, str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, SILENCE}, done.stderr
    return done.returncode == 0


@pytest.mark.disrupts
def test_the_operator_works_behind_its_policy(place: Place) -> None:
    cluster, kubectl = place.cluster, place.kubectl
    if cluster.rig is None:
        pytest.skip("Pods' networks are reached from the node")
    values = {"enabled": "true", "apiServerPorts": f"{{443,{API_PORT}}}"}
    cluster.install(*(f"networkPolicy.{name}={value}" for name, value in values.items()))
    try:
        (policy,) = kubectl.items("networkpolicies", "-n", OPERATOR_NAMESPACE)
        labels = ",".join(f"{key}={value}" for key, value in policy["spec"]["podSelector"]["matchLabels"].items())
        pods = kubectl.items("pods", "-n", OPERATOR_NAMESPACE, "-l", labels)
        assert {pod["metadata"]["name"] for pod in pods} == set(cluster.operator_pods())
        server = kubectl.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
        store = cluster.kubectl.get("service", "store", "-n", place.store.namespace)["spec"]
        elsewhere = (store["clusterIP"], store["ports"][0]["port"])
        assert reaches(pods[0], *elsewhere), "without the policy nothing is stopped"

        with enforced(policy, pods, node=NODE_ADDRESS):
            assert reaches(pods[0], server, 443)
            assert not reaches(pods[0], *elsewhere)
            before = cluster.restarts()
            cluster.kill_operator()  # its connections are older than the policy
            wait_for(lambda: all(cluster.restarts()[name] > before[name] for name in before))
            wait_for(lambda: len(cluster.ready_pods()) == len(pods), what=cluster.describe_operator)
            place.create_volume()
            place.create_secret()
            place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True)
            place.demand_one_run("backup")

            address = pods[0]["status"]["podIP"]
            assert can_ask(place, address, 8082), "Prometheus is let in"
            assert not can_ask(place, address, 22)
    finally:
        try:
            cluster.install()
        finally:
            cluster.renew_operator()


def can_ask(place: Place, address: str, port: int) -> bool:
    """Tell whether a Pod of another namespace gets an answer."""
    name = f"ask-{port}"
    command = ["python3", "-c", CONNECT, address, str(port)]
    place.kubectl.apply(
        restricted_pod(name, image=place.cluster.images.mover, command=command), namespace=place.namespace
    )

    def phase() -> str:
        return str(place.kubectl.get("pod", name, "-n", place.namespace)["status"].get("phase"))

    wait_for(lambda: phase() in {"Succeeded", "Failed"}, what=place.explain)
    return phase() == "Succeeded"
