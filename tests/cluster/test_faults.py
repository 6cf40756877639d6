"""Parts of the cluster and the operator die in the middle of a run: the end is the same, and nothing is left."""

import time

import pytest

from cluster.rig import Rig
from datamover.api.names import Phase
from support.cluster import OPERATOR_NAMESPACE, TREE, Place, digests_of, wait_for

SLOW = [{"name": "RCLONE_BWLIMIT", "value": "4M"}]
"""With these 8 MiB take some seconds, so that a mover can be met at work."""
STORAGE = ("storage-driver", "csi-provisioner", "csi-snapshotter")
"""What is one Pod elsewhere: the provisioner ends when it loses its driver."""


def demand_one_run(place: Place, name: str) -> None:
    """Demand that one run took place, with one clone, one Job and one folder."""
    found = place.wait_complete(name, seconds=180)
    objects = place.store.digests(place.bucket)
    folders = {key.split("/", 1)[0] for key in objects}
    assert folders == {found["status"]["run"]["timestamp"]}
    assert {key.split("/", 1)[1]: digest for key, digest in objects.items()} == digests_of(TREE)
    assert len(place.kubectl.items("pvc", "-n", place.namespace)) == 1


@pytest.mark.parametrize("phase", [Phase.CREATING_CLONE, Phase.CREATING_POD, Phase.CLEANING_UP])
def test_the_operator_killed_in_any_phase_ends_as_if_nothing_had_been(place: Place, phase: str) -> None:
    order = [Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED]
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOW)
    wait_for(lambda: place.mover("backup").get("status", {}).get("phase") in order[order.index(phase) :])
    place.kubectl.run(
        "delete", "pod", "-n", OPERATOR_NAMESPACE, *place.cluster.operator_pods(), "--grace-period=0", "--force"
    )
    demand_one_run(place, "backup")


def test_the_other_replica_takes_over(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    leases = place.kubectl.items("leases", "-n", OPERATOR_NAMESPACE)
    holder = leases[0]["spec"]["holderIdentity"]
    leader = next(name for name in place.cluster.operator_pods() if name in holder)
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOW)
    place.kubectl.run("delete", "pod", "-n", OPERATOR_NAMESPACE, leader, "--grace-period=0", "--force")
    demand_one_run(place, "backup")
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
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOW)
    wait_for(lambda: place.mover("backup").get("status", {}).get("phase") == Phase.CREATING_POD)
    time.sleep(1)
    restart(place.cluster.rig, parts)
    demand_one_run(place, "backup")


def restart(rig: Rig, parts: tuple[str, ...]) -> None:
    """Kill parts of the rig and bring everything up again."""
    daemons = rig.daemons(rig.build("cluster"))
    for name in parts:
        daemons[name].kill()
    rig.up()


def test_a_mover_that_is_killed_is_tried_again(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOW)
    wait_for(
        lambda: any(pod["status"]["phase"] == "Running" for pod in place.kubectl.items("pods", "-n", place.namespace))
    )
    place.run("delete", "pod", "-l", "app.kubernetes.io/component=mover", "--grace-period=0", "--force")
    demand_one_run(place, "backup")
