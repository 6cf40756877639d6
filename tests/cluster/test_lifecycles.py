"""What people do around a run: delete what it works on, upgrade the operator, take it away and bring it back."""

from datamover.api import reasons
from datamover.api.names import Phase
from support.cluster import SLOWLY, TREE, Place, digests_of, wait_for


def test_a_namespace_that_is_deleted_in_the_middle_goes_with_all_that_is_in_it(place: Place) -> None:
    inner = Place(place.cluster, place.store, f"{place.namespace}-inner", place.bucket)
    place.cluster.create_namespace(inner.namespace)
    inner.create_volume()
    inner.create_secret()
    inner.create_mover("backup", deletePvcAfterBackup=True, additionalEnv=SLOWLY)
    inner.wait_phase("backup", Phase.CREATING_POD)
    place.kubectl.run("delete", "namespace", inner.namespace, "--wait=true", "--timeout=90s")


def test_a_source_that_is_deleted_in_the_middle_is_backed_up_from_its_clone(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", Phase.CREATING_POD)
    place.run("delete", "pvc/app-data", "--wait=true", "--timeout=60s")
    place.wait_complete("backup")
    assert place.store.digests(place.bucket) == digests_of(TREE)
    assert place.kubectl.items("pvc", "-n", place.namespace) == []


def test_a_block_volume_is_refused_clearly(place: Place) -> None:
    place.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "app-data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "volumeMode": "Block",
                "storageClassName": "rig",
                "resources": {"requests": {"storage": "64Mi"}},
            },
        },
        namespace=place.namespace,
    )
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    ready = place.wait_reason("backup", reasons.BLOCK_NOT_SUPPORTED)
    assert "app-data" in ready["message"]
    assert len(place.kubectl.items("pvc", "-n", place.namespace)) == 1, "a clone was made for nothing"


def test_two_runs_of_one_source_in_one_second_are_two_runs(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    for name in ("first", "second"):
        place.create_mover(name, deletePvcAfterBackup=True, addTimestampPrefix=True)
    stamps = {place.wait_complete(name)["status"]["run"]["timestamp"] for name in ("first", "second")}
    assert len(stamps) == 2
    assert {key.split("/", 1)[0] for key in place.store.digests(place.bucket)} == stamps


def test_an_upgrade_of_the_chart_does_not_disturb_a_mover_at_work(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", Phase.CREATING_POD)
    place.cluster.install("log.level=debug")
    try:
        place.demand_one_run("backup")
    finally:
        place.cluster.install()


def test_datamovers_outlive_the_operator_and_go_on_when_it_is_back(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("before", deletePvcAfterBackup=True, addTimestampPrefix=True)
    place.demand_one_run("before")
    place.cluster.run_helm("uninstall", "datamover", "--wait", "--timeout", "90s")
    try:
        assert place.mover("before")["status"]["phase"] == Phase.COMPLETED
        place.create_mover("meanwhile", deletePvcAfterBackup=True, addTimestampPrefix=True)
    finally:
        place.cluster.install()
    place.wait_complete("meanwhile")
    assert place.mover("before")["status"]["phase"] == Phase.COMPLETED
    wait_for(lambda: len({key.split("/", 1)[0] for key in place.store.digests(place.bucket)}) == 2)
