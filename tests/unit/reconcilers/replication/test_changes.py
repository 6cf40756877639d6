"""What its user changes while it is there already: caches, volumes, Services and movers follow, and nothing else is touched."""

from dataclasses import replace
from typing import Any

import pytest

from datamover.runs.facts import Unread
from support.theatre import METHODS, SETTINGS, Theatre

CACHE = "volsync-src-db-cache"
VOLUME = "volsync-back-dest"
ASKED = "datamover.a-cup-of.coffee/asked"


def size(it: Theatre, claim: str) -> str:
    return it.objects["PersistentVolumeClaim", claim]["spec"]["resources"]["requests"]["storage"]


def again(it: Theatre, trigger: str = "t2") -> Theatre:
    it.later(60)
    it.trigger(manual=trigger)
    return it.finish()


# volumes that stay


@pytest.mark.parametrize(
    ("field", "claim"), [("cleanupTempPVC", VOLUME), ("cleanupCachePVC", "volsync-dst-back-cache")]
)
def test_whether_a_volume_is_cleaned_up_may_be_changed_at_any_time_before_the_end(field: str, claim: str) -> None:
    it = Theatre.destination().finish()
    assert claim in it.there("PersistentVolumeClaim")
    it.change(restic={field: True})
    assert not it.plan().steps, "what stayed of the last one stays until the next one ends"
    again(it)
    assert claim not in it.there("PersistentVolumeClaim")
    it.later(60)
    it.trigger(manual="t3")
    it.start()
    it.change(restic={field: False})
    it.act()
    it.succeed()
    it.act()
    it.bind_all()
    it.act()
    assert it.status["lastManualSync"] == "t3"
    assert claim in it.there("PersistentVolumeClaim")


def test_a_cache_and_a_volume_that_became_too_small_are_made_larger_and_never_smaller() -> None:
    it = Theatre.source(cacheCapacity="2Gi").finish()
    it.change(restic={"cacheCapacity": "8Gi"})
    assert not it.plan().steps, "between two synchronisations nobody needs it"
    again(it)
    assert size(it, CACHE) == "8Gi"
    it.change(restic={"cacheCapacity": "1Gi"})
    again(it, "t3")
    assert size(it, CACHE) == "8Gi"
    back = Theatre.destination(capacity="2Gi").finish()
    back.change(restic={"capacity": "3Gi"})
    again(back)
    assert size(back, VOLUME) == "3Gi"
    back.change(restic={"capacity": None})  # it was needed when the volume was made
    again(back, "t3")
    assert size(back, VOLUME) == "3Gi"


def test_a_cache_that_is_full_in_mid_run_is_made_larger_at_once() -> None:
    it = Theatre.source(copy="Direct").start()
    uid = it.job["metadata"]["uid"]
    it.change(restic={"cacheCapacity": "5Gi"})
    it.act()
    assert size(it, CACHE) == "5Gi"
    assert it.job["metadata"]["uid"] == uid


def test_where_a_class_cannot_expand_its_volumes_the_synchronisation_goes_on_with_what_there_is() -> None:
    it = Theatre.source(cacheCapacity="2Gi")
    it.expands = False
    it.finish()
    it.change(restic={"cacheCapacity": "8Gi"})
    assert again(it).synced
    assert size(it, CACHE) == "2Gi"


def test_a_volume_that_the_user_gave_is_never_changed() -> None:
    it = Theatre.destination(destinationPVC="given", capacity="90Gi", cleanupTempPVC=True)
    it.claim("given")
    before = dict(it.objects["PersistentVolumeClaim", "given"]["metadata"])
    it.finish()
    assert size(it, "given") == "2Gi"
    assert it.objects["PersistentVolumeClaim", "given"]["metadata"] == before


# Services


@pytest.mark.parametrize("method", ["rsync", "rsyncTLS"])
def test_a_service_gets_another_type_while_its_mover_listens(method: str) -> None:
    it = Theatre.destination(method, **({"sshKeys": "ssh-keys"} if method == "rsync" else {"keySecret": "tls-psk"}))
    it.start()
    [name] = it.there("Service")
    job = it.job["metadata"]["uid"]
    it.change(**{method: {"serviceType": "LoadBalancer", "serviceAnnotations": {"lb.example.com/pool": "a"}}})
    it.objects["Service", name]["metadata"]["annotations"]["cloud.example.com/id"] = "7"
    it.act()
    service = it.objects["Service", name]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == {"lb.example.com/pool": "a", "cloud.example.com/id": "7"}
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
    it.act()
    assert it.status[method]["address"] == "203.0.113.7"
    assert it.job["metadata"]["uid"] == job


# movers

MOVERS: list[tuple[str, dict[str, Any]]] = [
    ("restic", {"moverSecurityContext": {"runAsUser": 1000}}),
    ("restic", {"moverResources": {"limits": {"memory": "2Gi"}}}),
    ("restic", {"moverServiceAccount": "mine"}),
    ("restic", {"moverPodLabels": {"team": "blue"}}),
    ("restic", {"moverAffinity": {"nodeAffinity": {}}}),
    ("restic", {"moverVolumes": [{"mountPath": "r", "volumeSource": {"persistentVolumeClaim": {"claimName": "r"}}}]}),
    ("restic", {"retain": {"daily": 7}}),
    ("rclone", {"rcloneDestPath": "bucket/y"}),
    ("rclone", {"rcloneConfigSection": "other"}),
    ("rsyncTLS", {"address": "other.example"}),
    ("rsyncTLS", {"port": 9000}),
    ("rsync", {"address": "other.example"}),
]


@pytest.mark.parametrize(("method", "change"), MOVERS)
def test_a_mover_that_does_not_run_yet_is_replaced_and_reads_the_same_copy(method: str, change: dict[str, Any]) -> None:
    it = Theatre.source(method, "Snapshot", claim={"use_copy_trigger": "", "copy_trigger": "go1"}).start()
    first, begun = it.job["metadata"]["uid"], it.status["lastSyncStartTime"]
    copy = it.objects["PersistentVolumeClaim", "volsync-db-src"]["metadata"]["uid"]
    it.later(30)
    it.claim("r")
    it.change(**{method: change})
    it.act()
    assert it.job["metadata"]["uid"] != first
    assert it.objects["PersistentVolumeClaim", "volsync-db-src"]["metadata"]["uid"] == copy
    assert it.annotations("data")["latest-copy-status"] == "Completed"
    assert it.status["lastSyncStartTime"] == begun
    assert not [each for each in it.events if each.type == "Warning"]
    it.succeed()
    it.act()
    assert it.synced


def test_the_one_that_is_replaced_is_gone_before_another_one_begins() -> None:
    it = Theatre.source().start()
    it.slow = {"volsync-src-db"}
    it.change(restic={"retain": {"last": "3"}})
    it.act()
    assert [each["kind"] for each in it.created].count("Job") == 1
    assert it.deleted == ["Job/volsync-src-db"]
    it.delete("Job", "volsync-src-db")
    it.act()
    assert it.environment["FORGET_OPTIONS"] == " --keep-last 3"


@pytest.mark.parametrize(
    "change",
    [
        {"cacheCapacity": "5Gi"},
        {"cacheStorageClassName": "slow"},
        {"pruneIntervalDays": 1},
        {"unlock": "now"},
        {"capacity": "9Gi"},
        {"volumeSnapshotClassName": "other"},
    ],
)
def test_what_is_no_matter_of_the_mover_leaves_it_alone(change: dict[str, Any]) -> None:
    it = Theatre.source().start()
    uid = it.job["metadata"]["uid"]
    it.change(restic=change)
    it.trigger(schedule="0 3 * * *")
    it.act()
    assert it.job["metadata"]["uid"] == uid


@pytest.mark.parametrize("method", METHODS)
def test_an_upgrade_of_the_operator_and_its_restart_end_no_mover(method: str) -> None:
    it = Theatre.source(method).start()
    uid = it.job["metadata"]["uid"]
    it.run()
    it.settings = replace(SETTINGS, mover_image="example.com/mover:2", deadline=60)
    it.restart()
    it.namespace_unread = Unread.NOT_SYNCED
    it.act()
    it.namespace_unread = None
    it.act()
    assert it.job["metadata"]["uid"] == uid


def test_one_that_says_nothing_of_what_was_asked_was_made_by_volsync_and_is_left_alone() -> None:
    it = Theatre.source().start()
    uid = it.job["metadata"]["uid"]
    del it.job["metadata"]["annotations"][ASKED]
    it.change(restic={"moverPodLabels": {"team": "blue"}})
    it.act()
    assert it.job["metadata"]["uid"] == uid


def test_a_namespace_that_allows_privileged_movers_now_gets_one() -> None:
    it = Theatre.source().start()
    it.namespace_annotations["volsync.backube/privileged-movers"] = "true"
    it.act()
    assert it.environment["PRIVILEGED_MOVER"] == "1"
    assert it.condition()[1] == "SyncInProgress"


@pytest.mark.parametrize("method", METHODS)
def test_a_mover_that_runs_ends_as_it_began_and_the_next_one_is_as_is_said_now(method: str) -> None:
    it = Theatre.source(method).start()
    it.run()
    it.change(**{method: {"moverPodLabels": {"team": "blue"}}})
    it.act()
    assert it.deleted == []
    it.succeed()
    it.act()
    it.later(5)
    it.trigger(manual="t2")
    it.start()
    assert it.job["spec"]["template"]["metadata"]["labels"]["team"] == "blue"


def test_one_that_listens_listens_with_the_key_that_is_said_now() -> None:
    it = Theatre.destination("rsyncTLS").start()
    it.run()
    it.secrets["another"] = ("psk.txt",)
    it.change(rsyncTLS={"keySecret": "another"})
    it.act()
    [mounted] = [each["secret"]["secretName"] for each in it.pod["volumes"] if each["name"] == "keys"]
    assert mounted == "another"
    assert not [each for each in it.events if each.type == "Warning"]


def test_a_mover_that_has_failed_is_tried_again_at_once_when_its_user_has_changed_something() -> None:
    it = Theatre.source("rclone").start()
    it.fail("AuthenticationFailed", "the server refuses the keys")
    it.act()
    assert it.get_job().condition("Failed") is not None
    it.change(rclone={"rcloneDestPath": "other/place"})
    it.act()
    assert it.get_job().condition("Failed") is None
    assert it.environment["RCLONE_DEST_PATH"] == "other/place"
    assert it.job["metadata"]["annotations"]["datamover.a-cup-of.coffee/failures-before"] == "1"


def test_an_annotation_that_lifts_a_guard_is_not_waited_with() -> None:
    it = Theatre.source("rclone").start()
    it.fail("EmptySource", "the source is empty")
    it.act()
    it.manifest["metadata"]["annotations"] = {"datamover.a-cup-of.coffee/allow-empty-source": "true"}
    it.act()
    assert it.environment["DATAMOVER_ALLOW_EMPTY_SOURCE"] == "true"
    it.succeed()
    it.act()
    assert it.synced


def test_a_mover_that_has_succeeded_counts_whatever_was_changed_meanwhile() -> None:
    it = Theatre.source().start()
    it.succeed()
    it.change(restic={"retain": {"daily": 1}})
    it.act()
    assert it.synced
    assert [each["kind"] for each in it.created].count("Job") == 1
