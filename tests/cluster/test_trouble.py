"""What goes wrong in a cluster: told with a reason and a sentence, nothing lost, and healed without a restart where it can be."""

import pytest

from datamover.api import reasons
from datamover.api.names import Phase
from support.cluster import TREE, Place, digests_of, wait_for

PHASES = [Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED]


def test_a_missing_secret_that_appears_later_heals_the_run(place: Place) -> None:
    place.create_volume()
    place.create_mover("backup", deletePvcAfterBackup=True)
    ready = place.wait_reason("backup", reasons.MOVER_CANNOT_START)  # it may not read Secrets, so the kubelet tells
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


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "WrongCredentials", "AWS_SECRET_ACCESS_KEY"),
        ({"BUCKET_NAME": "no-such-bucket"}, "BucketNotFound", "no-such-bucket"),
        ({"CA_CERT": ""}, "TLSUntrusted", "CA_CERT"),
    ],
    ids=["a wrong key", "no bucket", "an authority that is not trusted"],
)
def test_a_destination_that_refuses_fails_the_run_with_a_sentence(
    place: Place, changes: dict[str, str], reason: str, words: str
) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret(**changes)
    place.create_mover("backup", deletePvcAfterBackup=True)
    ready = place.wait_reason("backup", reason)
    assert words in ready["message"]
    assert place.mover("backup")["status"]["phase"] == "Failed"
    events = place.run("get", "events", "--field-selector", "type=Warning")
    assert reason in events


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


def test_a_name_of_200_characters_works(place: Place) -> None:
    name = "a" * 200
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    place.create_mover(name, deletePvcAfterBackup=True)
    place.wait_complete(name)
    assert place.store.digests(place.bucket) == digests_of({"a": b"a"})


@pytest.mark.parametrize("phase", PHASES)
def test_deleting_a_datamover_in_any_phase_leaves_nothing(place: Place, phase: str) -> None:
    place.create_volume(tree=TREE)
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    place.wait_phase("backup", phase)
    place.run("delete", "datamover/backup", "--wait=true")
    wait_for(lambda: not place.kubectl.items("jobs,pods", "-n", place.namespace))
    wait_for(lambda: len(place.kubectl.items("pvc", "-n", place.namespace)) == 1)
