"""What goes wrong in a cluster: told with a reason and a sentence, nothing lost, and healed without a restart where it can be."""

from datamover.api import reasons
from support.cluster import wait_for
from support.place import TREE, Place, digests_of


def test_a_missing_secret_that_appears_later_heals_the_run(place: Place) -> None:
    place.create_volume()
    place.create_mover("backup", deletePvcAfterBackup=True)
    # With replication the operator may read Secrets. Where it may not, the kubelet tells, and the reason is MoverCannotStart.
    ready = place.wait_reason("backup", reasons.SECRET_NOT_FOUND)
    assert "storage-credentials" in ready["message"]
    place.create_secret()
    place.wait_complete("backup", seconds=180)
    assert place.store.digests(place.bucket) == digests_of(TREE)


def test_a_missing_source_is_told_and_heals(place: Place) -> None:
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    ready = place.wait_reason("backup", reasons.SOURCE_NOT_FOUND)
    assert "app-data" in ready["message"]
    place.create_volume()
    place.wait_complete("backup")


def test_a_class_that_cannot_clone_is_told(place: Place) -> None:
    place.create_volume(storage_class="rig-no-clone", tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    ready = place.wait_reason("backup", reasons.CLONE_PROVISIONING_FAILED)
    assert "copyMethod" in ready["message"], ready


def test_a_quota_that_forbids_the_clone_is_told_and_heals(place: Place) -> None:
    place.create_volume(tree=TREE)
    place.create_secret()
    place.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "claims"},
            "spec": {"hard": {"persistentvolumeclaims": "1"}},
        },
        namespace=place.namespace,
    )
    wait_for(lambda: "used" in place.kubectl.get("resourcequota", "claims", "-n", place.namespace).get("status", {}))
    place.create_mover("backup", deletePvcAfterBackup=True)
    assert "quota" in place.wait_reason("backup", reasons.CLONE_FORBIDDEN)["message"]
    place.run("delete", "resourcequota/claims")
    place.wait_complete("backup", seconds=180)


def test_an_image_that_cannot_be_pulled_is_told(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", image={"repository": "registry.invalid/team/mover", "tag": "1"})
    assert "registry.invalid/team/mover" in place.wait_reason("backup", reasons.IMAGE_PULL_FAILED)["message"]


def test_a_mover_that_cannot_be_scheduled_is_told(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", mover={"nodeSelector": {"disk": "none-such"}})
    assert "node" in place.wait_reason("backup", reasons.MOVER_UNSCHEDULABLE)["message"]


def test_names_of_200_characters_work(place: Place) -> None:
    name, claim, secret = "a" * 200, "b" * 200, "c" * 200
    place.create_volume(claim, tree={"a": b"a"})
    place.create_secret(secret)
    place.create_mover(name, source=claim, secret=secret, deletePvcAfterBackup=True)
    place.wait_complete(name)
    assert place.store.digests(place.bucket) == digests_of({"a": b"a"})
    assert place.claims() == {claim}
