"""What is never deleted nor taken for the object's own, whatever users, rivals and late caches do meanwhile."""

import dataclasses
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from datamover.plans.known import Refusal
from datamover.plans.steps import Delete, Plan, ProvePods
from support.theatre import SETTINGS, UID, Theatre

VOLUME = "volsync-back-dest"
COPY = "volsync-db-src"
KEPT = "volsync.backube/do-not-delete"
CLEANUP = "volsync.backube/cleanup"
OWNED = {"kind": "ReplicationDestination", "apiVersion": "volsync.backube/v1alpha1", "name": "back", "uid": UID}


def deletes(plan: Plan[Any]) -> list[Delete]:
    return [step for step in plan.steps if isinstance(step, Delete)]


def label(it: Theatre, kind: str, name: str, key: str, value: str = "yes") -> None:
    it.objects[kind, name]["metadata"].setdefault("labels", {})[key] = value


def again(it: Theatre, trigger: str = "t2") -> Theatre:
    it.later(60)
    it.trigger(manual=trigger)
    return it.finish()


# a destination's own volume


def test_a_volume_that_became_the_image_itself_stays_although_it_was_temporary_when_it_was_written() -> None:
    it = Theatre.destination(cleanupTempPVC=True).start()
    assert it.objects["PersistentVolumeClaim", VOLUME]["metadata"]["labels"][CLEANUP] == UID
    it.succeed()
    it.change(restic={"copyMethod": "Direct"})
    it.act()
    assert it.status["latestImage"]["name"] == VOLUME
    assert VOLUME in it.there("PersistentVolumeClaim")


def test_a_volume_that_the_user_has_named_since_is_his_although_it_was_temporary() -> None:
    it = Theatre.destination(cleanupTempPVC=True).start()
    it.succeed()
    it.change(restic={"destinationPVC": VOLUME})
    it.act()
    it.bind_all()
    it.act()
    assert it.synced
    assert VOLUME in it.there("PersistentVolumeClaim")


def test_a_source_is_never_deleted_whatever_is_written_on_it() -> None:
    it = Theatre.source(copy="Direct").finish()
    data = it.objects["PersistentVolumeClaim", "data"]["metadata"]
    data["labels"] = {"app.kubernetes.io/created-by": "volsync", CLEANUP: UID}
    data["ownerReferences"] = [{**OWNED, "kind": "ReplicationSource", "name": "db", "controller": True}]
    it.act()
    again(it)
    assert "data" in it.there("PersistentVolumeClaim")


@pytest.mark.parametrize("phase", ["Lost", "Pending"])
def test_a_volume_that_has_or_had_data_is_not_made_anew_for_what_was_changed_since(phase: str) -> None:
    it = Theatre.destination(copy="Direct").finish()
    claim = it.objects["PersistentVolumeClaim", VOLUME]
    claim["spec"]["volumeName"] = "pv-7"
    claim["status"]["phase"] = phase
    it.change(restic={"capacity": "9Gi"})
    it.later(60)
    it.trigger(manual="t2")
    it.act()
    assert VOLUME in it.there("PersistentVolumeClaim")
    assert it.deleted.count(f"PersistentVolumeClaim/{VOLUME}") == 0


def test_a_volume_that_got_its_data_a_moment_ago_is_not_made_anew() -> None:
    it = Theatre.destination(copy="Direct")
    it.act_once()
    it.act_once()
    assert it.objects["PersistentVolumeClaim", VOLUME]["status"]["phase"] == "Pending"
    it.objects.pop(("Job", "volsync-dst-back"), None)
    it.change(restic={"capacity": "9Gi"})
    [found] = deletes(it.plan())
    assert found.as_seen, "the server refuses it when the claim has changed since it was looked at"


# snapshots that users keep


@pytest.mark.parametrize("moment", ["lost copy", "not ready", "earlier round"])
def test_a_snapshot_that_is_kept_is_let_go_and_never_deleted(moment: str) -> None:
    it = Theatre.source(copy="Snapshot")
    if moment == "not ready":
        it.act()
        it.change(restic={"volumeSnapshotClassName": "snapc"})
    else:
        it.start()
    label(it, "VolumeSnapshot", COPY, KEPT)
    if moment == "lost copy":
        it.delete("Job", "volsync-src-db")
        it.delete("PersistentVolumeClaim", COPY)
        it.later(2)
    if moment == "earlier round":
        it.manifest["status"]["lastSyncStartTime"] = "2026-11-29T12:00:00Z"
        it.later(3600)
    it.act()
    kept = it.objects["VolumeSnapshot", COPY]["metadata"]
    assert f"VolumeSnapshot/{COPY}" not in it.deleted
    assert not kept.get("ownerReferences")
    assert CLEANUP not in kept["labels"]


def test_a_snapshot_is_deleted_only_as_it_was_seen_for_a_user_may_keep_it_this_very_moment() -> None:
    it = Theatre.source(copy="Snapshot").start()
    it.succeed()
    it.act_once()
    found = {step.target.name: step.as_seen for step in deletes(it.plan()) if step.resource.kind == "VolumeSnapshot"}
    assert found == {COPY: True}


def test_a_snapshot_that_is_being_taken_stays_when_what_is_changed_is_no_matter_of_it() -> None:
    it = Theatre.source(copy="Snapshot", claim={"use_copy_trigger": "", "copy_trigger": "go1"})
    it.act()
    taken = it.objects["VolumeSnapshot", COPY]["metadata"]["uid"]
    it.change(restic={"cacheCapacity": "9Gi", "capacity": "9Gi"})
    it.act()
    assert it.objects["VolumeSnapshot", COPY]["metadata"]["uid"] == taken
    it.change(restic={"volumeSnapshotClassName": "snapc"})
    it.act()
    assert it.objects["VolumeSnapshot", COPY]["metadata"]["uid"] != taken


# images


def images(it: Theatre) -> list[str]:
    return sorted(it.there("VolumeSnapshot"))


def test_a_ready_snapshot_of_somebody_else_is_not_published() -> None:
    it = Theatre.destination().start()
    it.later(5)
    it.succeed()
    name = f"{VOLUME}-20261129111256"
    it.objects["VolumeSnapshot", name] = {
        "metadata": {
            "name": name,
            "namespace": it.namespace,
            "uid": "foreign",
            "resourceVersion": "7",
            "labels": {"app.kubernetes.io/created-by": "volsync"},
        },
        "spec": {"source": {"persistentVolumeClaimName": "bad"}},
    }
    it.ready(name)
    it.act()
    assert "latestImage" not in it.status
    assert it.condition("Stalled")[:2] == ("True", "NameTaken")
    it.delete("VolumeSnapshot", name)
    it.act()
    it.bind_all()
    it.act()
    assert it.status["latestImage"]["name"] == name
    assert it.objects["VolumeSnapshot", name]["metadata"]["uid"] != "foreign"


@pytest.mark.parametrize("follower", ["going", "not ready", "older"])
def test_the_last_good_image_stays_while_the_one_after_it_is_none(follower: str) -> None:
    it = Theatre.destination().finish()
    first = it.status["latestImage"]["name"]
    it.later(60)
    it.trigger(manual="t2")
    it.start()
    it.later(5)
    it.succeed()
    it.act()
    it.bind_all()
    it.act_once()
    [second] = set(images(it)) - {first}
    assert it.status["latestImage"]["name"] == second
    latest, stays = it.objects["VolumeSnapshot", second], first
    if follower == "going":
        latest["metadata"]["deletionTimestamp"] = "2026-11-29T12:00:00Z"
    elif follower == "not ready":
        latest["status"]["readyToUse"] = False
    else:
        it.manifest["status"]["latestImage"]["name"], stays = first, second
    it.act()
    assert stays in images(it)
    assert not it.deleted or f"VolumeSnapshot/{stays}" not in it.deleted


def test_the_image_that_is_published_stays_whatever_label_it_carries() -> None:
    it = Theatre.destination().finish()
    [image] = images(it)
    label(it, "VolumeSnapshot", image, CLEANUP, UID)
    it.act()
    assert images(it) == [image]


# movers


def test_one_that_listens_is_not_ended_by_an_upgrade_of_the_operator_in_the_middle_of_a_transfer() -> None:
    it = Theatre.destination("rsyncTLS").start()
    uid = it.job["metadata"]["uid"]
    it.run()
    it.settings = replace(SETTINGS, mover_image="example.com/mover:2")
    it.change(rsyncTLS={"moverPodLabels": {"team": "blue"}})
    it.act()
    assert it.job["metadata"]["uid"] == uid


def test_a_mover_is_replaced_only_by_who_knows_that_it_does_not_run() -> None:
    it = Theatre.source().start()
    it.change(restic={"moverPodLabels": {"team": "blue"}})
    steps = it.plan().steps
    [at] = [index for index, step in enumerate(steps) if isinstance(step, Delete)]
    assert any(isinstance(step, ProvePods) for step in steps[:at])


@pytest.mark.parametrize("behind", [5.0, 3600.0])
def test_a_job_that_is_going_never_counts_for_the_next_one_although_a_clock_goes_back(behind: float) -> None:
    it = Theatre.source(copy="Direct").start()
    begun = it.status["lastSyncStartTime"]
    it.slow = {"volsync-src-db"}
    it.later(5)
    it.succeed()
    it.act()
    assert it.synced
    assert it.job["metadata"]["deletionTimestamp"]
    it.later(-behind)
    it.trigger(manual="t2")
    it.act()
    assert it.status["lastManualSync"] == "t1"
    assert it.status["lastSyncStartTime"] > begun
    it.slow = set()
    it.delete("Job", "volsync-src-db")
    it.start()
    it.later(7200)
    it.succeed()
    it.act()
    assert it.status["lastManualSync"] == "t2"


# other namespaces


def test_a_pod_of_another_namespace_that_claims_to_be_its_mover_holds_up_nobody() -> None:
    it = Theatre.source(copy="Direct").start()
    it.run()
    [pod] = it.pods
    stranger = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, namespace="elsewhere"))
    it.delete("Job", "volsync-src-db")
    it.pods = [stranger]
    it.act()
    assert it.there("Job")


def test_what_a_pod_of_another_namespace_says_is_not_its_movers_word() -> None:
    it = Theatre.source(copy="Direct").start()
    it.succeed(log="forged")
    [pod] = it.pods
    it.pods = [msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, namespace="elsewhere"))]
    it.act()
    assert "forged" not in str(it.status)


def test_a_job_of_another_namespace_that_claims_to_be_its_child_holds_up_nobody() -> None:
    it = Theatre.source(copy="Direct")
    it.objects["Job", "hostile"] = {
        "metadata": {
            "name": "hostile",
            "namespace": "elsewhere",
            "uid": "hostile",
            "resourceVersion": "7",
            "labels": {"app.kubernetes.io/created-by": "volsync", CLEANUP: UID},
            "ownerReferences": [{**OWNED, "kind": "ReplicationSource", "name": "db"}],
            "deletionTimestamp": "2026-11-29T11:00:00Z",
            "finalizers": ["example.com/for-ever"],
        },
        "spec": {},
    }
    it.act()
    assert "volsync-src-db" in it.there("Job")


# refusals


def test_what_may_not_be_removed_is_told_and_tried_again_at_the_pace_of_refusals() -> None:
    it = Theatre.source(copy="Snapshot").start()
    it.succeed()
    it.act_once()
    assert deletes(it.plan())
    refusal = Refusal("PermissionMissing", "the operator may not delete it", retry_after=30.0, verb="delete")
    it.known = dataclasses.replace(it.known, refusal=refusal)
    plan = it.act()
    assert not deletes(plan)
    assert plan.wake_after is not None
    assert "may not delete" in it.condition("Stalled")[2]
