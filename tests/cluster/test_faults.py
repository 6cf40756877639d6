"""Parts of the cluster and the operator die in the middle of a run: the end is the same, and nothing is left."""

import time

import pytest

from cluster.rig import Rig
from datamover.api.names import Phase
from support.cluster import OPERATOR_NAMESPACE, SLOWLY, Place, wait_for

STORAGE = ("storage-driver", "csi-provisioner", "csi-snapshotter")
"""What is one Pod elsewhere: the provisioner ends when it loses its driver."""


@pytest.mark.parametrize("phase", [Phase.CREATING_CLONE, Phase.CREATING_POD, Phase.CLEANING_UP])
def test_the_operator_killed_in_any_phase_ends_as_if_nothing_had_been(place: Place, phase: str) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", phase)
    place.kubectl.run(
        "delete", "pod", "-n", OPERATOR_NAMESPACE, *place.cluster.operator_pods(), "--grace-period=0", "--force"
    )
    place.demand_one_run("backup")


def test_the_other_replica_takes_over(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    leases = place.kubectl.items("leases", "-n", OPERATOR_NAMESPACE)
    holder = leases[0]["spec"]["holderIdentity"]
    leader = next(name for name in place.cluster.operator_pods() if name in holder)
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.kubectl.run("delete", "pod", "-n", OPERATOR_NAMESPACE, leader, "--grace-period=0", "--force")
    place.demand_one_run("backup")
    taken = place.kubectl.items("leases", "-n", OPERATOR_NAMESPACE)[0]["spec"]["holderIdentity"]
    assert leader not in taken


@pytest.mark.parametrize("parts", [("kubelet",), ("kube-apiserver",), ("etcd", "kube-apiserver"), STORAGE])
def test_a_part_of_the_cluster_that_is_restarted_in_the_middle_changes_nothing(
    place: Place, parts: tuple[str, ...]
) -> None:
    if place.cluster.rig is None:
        pytest.skip("only the parts of our own rig are ours to kill")
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", Phase.CREATING_POD)
    time.sleep(1)
    restart(place.cluster.rig, parts)
    place.demand_one_run("backup")


def restart(rig: Rig, parts: tuple[str, ...]) -> None:
    """Kill parts of the rig and bring everything up again."""
    daemons = rig.daemons(rig.build("cluster"))
    for name in parts:
        daemons[name].kill()
    rig.up()


def test_a_mover_that_is_killed_is_tried_again(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    wait_for(
        lambda: any(pod["status"]["phase"] == "Running" for pod in place.kubectl.items("pods", "-n", place.namespace))
    )
    place.run("delete", "pod", "-l", "app.kubernetes.io/component=mover", "--grace-period=0", "--force")
    place.demand_one_run("backup")


def test_a_server_that_dies_in_the_middle_and_comes_back_is_waited_for(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    wait_for(
        lambda: any(pod["status"]["phase"] == "Running" for pod in place.kubectl.items("pods", "-n", place.namespace))
    )
    place.store.stop()
    time.sleep(3)
    place.store.start()
    place.demand_one_run("backup")
