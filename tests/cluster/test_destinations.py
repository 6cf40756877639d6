"""S3 servers that refuse, fail, fill up or die: told with a reason and a sentence, waited for where waiting helps."""

import time

import pytest

from datamover.api import reasons, transfer
from datamover.api.names import Phase
from support.cluster import wait_for
from support.leftovers import demand_no_uploads
from support.place import SLOWLY, Place
from support.store import store_pod

IN_PARTS = [{"name": "RCLONE_S3_UPLOAD_CUTOFF", "value": "5Mi"}, {"name": "RCLONE_S3_CHUNK_SIZE", "value": "5Mi"}]
"""With these the large file of TREE goes in parts."""


REFUSALS = {
    "wrong-key": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, transfer.REASON_WRONG_CREDENTIALS, "AWS_SECRET_ACCESS_KEY"),
    "no-bucket": ({"BUCKET_NAME": "no-such-bucket"}, transfer.REASON_BUCKET_NOT_FOUND, "no-such-bucket"),
    "untrusted-authority": ({"CA_CERT": ""}, transfer.REASON_TLS_UNTRUSTED, "CA_CERT"),
    "name-of-another": ({"BUCKET_HOST": "{host}.cluster.local"}, transfer.REASON_TLS_UNTRUSTED, "name"),
}
"""What is wrong with the Secret, and what is said: the server's certificate does not have the last one's name."""


def test_destinations_that_refuse_fail_the_run_with_a_sentence(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    for name, (changes, _, _) in REFUSALS.items():
        place.create_secret(name, **{key: value.format(host=place.store.host) for key, value in changes.items()})
        place.create_mover(name, secret=name, deletePvcAfterBackup=True)
    for name, (_, reason, words) in REFUSALS.items():
        ready = place.wait_reason(name, reason)
        assert words in ready["message"], ready
        assert place.mover(name)["status"]["phase"] == "Failed"
        events = place.run("get", "events", "--field-selector", f"type=Warning,involvedObject.name={name}")
        assert reason in events


@pytest.mark.own_store
def test_a_server_that_is_down_at_the_start_is_waited_for(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.store.stop()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True)
    place.wait_running()
    time.sleep(3)
    assert place.mover("backup")["status"]["phase"] == Phase.CREATING_POD
    place.store.start(store_pod(place.cluster))
    place.demand_one_run("backup")


@pytest.mark.own_store
def test_a_server_that_stays_down_is_named_and_the_run_can_be_tried_again(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.store.stop()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, deadlineSeconds=60)
    wait_for(lambda: "connection refused" in place.ready("backup").get("message", ""), what=place.explain)
    assert place.ready("backup")["reason"] == reasons.SYNCHRONIZING
    message = place.wait_reason("backup", reasons.DEADLINE_EXCEEDED)["message"]
    assert place.store.host in message
    assert "connection refused" in message
    assert len(place.claims()) == 2, "the clone is kept for whoever looks into it"
    place.store.start(store_pod(place.cluster))
    advice = message[message.index("kubectl ") :]
    place.run_shell(advice)
    place.demand_one_run("backup")


@pytest.mark.own_store
def test_a_server_that_dies_amid_a_part_and_comes_back_is_gone_on_with(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=[*SLOWLY, *IN_PARTS])
    wait_for(lambda: bool(place.store.pending_uploads(place.bucket)), what=place.explain)
    place.store.stop()
    time.sleep(3)
    place.store.start(store_pod(place.cluster))
    place.demand_one_run("backup")
    demand_no_uploads(place)


@pytest.mark.own_store
def test_a_server_that_answers_nothing_for_a_while_is_waited_for(place: Place) -> None:
    if place.cluster.rig is None:
        pytest.skip("a Pod is frozen by signals, on the machine that it runs on")
    place.create_volume()
    place.create_secret()
    with place.store.frozen():
        place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True)
        place.wait_running()
        time.sleep(15)
        assert place.mover("backup")["status"]["phase"] == Phase.CREATING_POD
    place.demand_one_run("backup")


@pytest.mark.own_store(size="6Mi")
def test_a_server_that_is_full_is_told(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    assert "full" in place.wait_reason("backup", transfer.REASON_NO_SPACE, seconds=180)["message"]


def test_a_host_that_does_not_exist_is_named(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret(BUCKET_HOST="no-such-store.invalid")
    place.create_mover("backup", deletePvcAfterBackup=True)
    wait_for(lambda: "no-such-store.invalid" in place.ready("backup").get("message", ""), what=place.explain)
