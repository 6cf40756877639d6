"""Parts of the cluster and the operator die in the middle of a run: the end is the same, and nothing is left."""

import time

import pytest

from cluster.rig import Rig
from datamover.api import transfer
from datamover.api.names import Phase
from support.cluster import wait_for
from support.leftovers import demand_no_uploads
from support.place import SLOWLY, Place, class_for

STORAGE = ("storage-driver", "csi-provisioner", "csi-snapshotter")
"""What is one Pod elsewhere: the provisioner ends when it loses its driver."""


@pytest.mark.disrupts
def test_runs_in_which_the_operator_was_killed_end_as_if_nothing_had_been(place: Place) -> None:
    """One run for each phase, into a bucket of its own. The next one begins when the operator is back, whatever the others are at by then."""
    runs = {phase: phase.lower() for phase in place.phases()}
    sources = {class_for(phase) for phase in place.phases()}
    for source in sources:
        place.create_volume(source, storage_class=source)
    place.create_buckets(*runs.values())
    for phase, name in runs.items():
        wanted = {"deletePvcAfterBackup": True, "addTimestampPrefix": True, "additionalEnv": SLOWLY}
        place.create_mover(name, source=class_for(phase), secret=name, **wanted)
        place.wait_phase(name, phase)
        place.cluster.kill_operator()
        place.cluster.renew_operator()
    for name in runs.values():
        place.wait_complete(name, seconds=180)
    for name in runs.values():
        place.demand_one_run(name, bucket=place.bucket_of(name), sources=len(sources))
        demand_no_uploads(place, bucket=place.bucket_of(name))


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
def test_parts_of_the_cluster_that_are_restarted_in_the_middle_change_nothing(place: Place) -> None:
    """All of them in the course of one run, which takes about a minute for that."""
    if place.cluster.rig is None:
        pytest.skip("only the parts of our own rig are ours to kill")
    place.create_volume()
    place.create_secret()
    slower = [{"name": "RCLONE_BWLIMIT", "value": "160k"}]
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=slower)
    place.wait_phase("backup", Phase.CREATING_POD)
    for parts in (("kubelet",), ("kube-apiserver",), ("etcd", "kube-apiserver"), STORAGE):
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
