"""Parts of the cluster and the operator die in the middle of a run: the end is the same, and nothing is left."""

import time

import pytest

from cluster.rig import Rig
from datamover.api import transfer
from datamover.api.names import Phase
from support.cluster import wait_for
from support.place import PHASES, SLOWLY, Place, class_for

STORAGE = ("storage-driver", "csi-provisioner", "csi-snapshotter")
"""What is one Pod elsewhere: the provisioner ends when it loses its driver."""


@pytest.mark.disrupts
@pytest.mark.parametrize("phase", PHASES)
def test_the_operator_killed_in_any_phase_ends_as_if_nothing_had_been(place: Place, phase: str) -> None:
    place.create_volume(storage_class=class_for(phase))
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", phase)
    place.cluster.kill_operator()
    try:
        place.demand_one_run("backup")
    finally:
        place.cluster.renew_operator()


@pytest.mark.disrupts
def test_the_other_replica_takes_over(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    leader = place.cluster.leader()
    assert leader
    assert len(place.cluster.operator_pods()) == 2
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.cluster.delete_operator(leader)
    wait_for(lambda: place.cluster.leader() not in {"", leader})  # empty while the Lease is that of a Pod that is gone
    place.demand_one_run("backup")


@pytest.mark.disrupts
@pytest.mark.parametrize(
    "parts", [("kubelet",), ("kube-apiserver",), ("etcd", "kube-apiserver"), STORAGE], ids="+".join
)
def test_a_part_of_the_cluster_that_is_restarted_in_the_middle_changes_nothing(
    place: Place, parts: tuple[str, ...]
) -> None:
    if place.cluster.rig is None:
        pytest.skip("only the parts of our own rig are ours to kill")
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", Phase.CREATING_POD)
    place.wait_running()
    restart(place.cluster.rig, parts)
    place.demand_one_run("backup", movers=1)


@pytest.mark.disrupts
def test_a_storage_driver_that_dies_while_it_clones_clones_once(place: Place) -> None:
    if place.cluster.rig is None:
        pytest.skip("only the parts of our own rig are ours to kill")
    place.create_volume(storage_class="rig-slow")
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True)
    place.wait_phase("backup", Phase.CREATING_CLONE)
    time.sleep(2)
    restart(place.cluster.rig, STORAGE)
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
    place.wait_running()
    place.run("delete", "pod", "-l", "app.kubernetes.io/component=mover", "--grace-period=0", "--force")
    place.demand_one_run("backup", movers=2)


def test_a_mover_that_is_evicted_is_tried_again(place: Place) -> None:
    """As when a node is drained: the Pod is told to end, and has time to say so."""
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_running()
    place.evict_mover()
    place.demand_one_run("backup", movers=2)


def test_a_mover_that_runs_out_of_memory_says_so(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", mover={"resources": {"limits": {"memory": "24Mi"}}})
    place.wait_reason("backup", transfer.REASON_OUT_OF_MEMORY, seconds=180)
